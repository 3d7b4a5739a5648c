//! The HTTP interface: routes over the contracts, and everything that stands before them.
//!
//! A request passes, outermost first: `trace` (trace id, problem documents), panics, `hosts` (DNS rebinding),
//! then for routes that touch data `admit` (shedding, deadline, cancellation). What a handler needs it asks
//! for as an extractor; without `scope::Scope` it cannot touch data, without `admit::Run` it cannot work.

mod admit;
mod body;
mod chat;
mod documents;
mod health;
mod hosts;
mod mcp;
mod openapi;
mod page;
mod problem;
mod schema;
mod scope;
mod search;
mod serve;
mod state;
mod trace;
mod wire;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::MethodRouter;
use axum::{middleware, routing};
use tower_http::catch_panic::CatchPanicLayer;

pub use self::body::MAX_DOCUMENT_BYTES;
pub use self::problem::{Problem, ProblemKind};
pub use self::serve::serve;
pub use self::state::{AppState, Limits};
pub(crate) use self::wire::PutDocument;

/// Longest body of a chat or search request in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// The whole service as a router, to be served or nested.
pub fn router(state: AppState) -> Router {
    let admitted = middleware::from_fn_with_state(state.clone(), admit::admit);
    let mut router = Router::new();
    for (path, methods) in data_routes() {
        router = router.route(path, methods.route_layer(admitted.clone()));
    }
    for (path, methods) in open_routes().into_iter().chain(page::routes()) {
        router = router.route(path, methods);
    }
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(hosts::only_loopback_names))
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(middleware::from_fn(trace::trace))
        .with_state(state)
}

/// The documented routes' paths, as the router spells them.
#[must_use]
pub fn documented_paths() -> Vec<&'static str> {
    data_routes().iter().chain(&open_routes()).map(|(path, _)| *path).collect()
}

type Routes = Vec<(&'static str, MethodRouter<AppState>)>;

fn data_routes() -> Routes {
    let small = DefaultBodyLimit::max(MAX_REQUEST_BYTES);
    let large = DefaultBodyLimit::max(body::MAX_DOCUMENT_BODY_BYTES);
    vec![
        ("/chat", routing::post(chat::chat).layer(small)),
        ("/search", routing::post(search::search).layer(small)),
        ("/mcp", routing::post(mcp::mcp).layer(small)),
        ("/documents", routing::get(documents::list)),
        (
            "/documents/{*id}",
            routing::get(documents::get).put(documents::put).delete(documents::delete).layer(large),
        ),
    ]
}

fn open_routes() -> Routes {
    vec![
        ("/health/live", routing::get(health::live)),
        ("/health/ready", routing::get(health::ready)),
        ("/openapi.json", routing::get(openapi::openapi)),
    ]
}

async fn no_such_route(uri: Uri) -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        format!("there is nothing at {:?}; /openapi.json lists the routes", uri.path()),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{:?} does not take {method}; the allow header lists what it takes", uri.path()),
    )
}
