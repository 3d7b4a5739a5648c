//! The HTTP interface: routes over the contracts, and everything that stands before them.
//!
//! A request passes, outermost first: `measure` (metrics), `trace` (trace id, problem documents), panics, where no credential is asked for
//! `hosts` (DNS rebinding), then for routes that touch data `state::authenticate` (who is asking), `state::limit`
//! (how often), `admit` (shedding, deadline, cancellation), `state::audit` and `idempotency`. What a handler needs it asks for as an extractor; without a
//! `state::Permit` it cannot touch data, without `admit::Run` it cannot work.

mod admit;
mod audit;
mod body;
mod chat;
mod collections;
mod documents;
mod events;
mod feedback;
mod health;
mod hosts;
mod idempotency;
mod jobs;
mod keys;
mod mcp;
mod me;
mod measure;
mod metrics;
mod openai;
mod openapi;
mod page;
mod paging;
mod problem;
mod runs;
mod schema;
mod search;
mod serve;
mod sessions;
mod socket;
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
pub(crate) use self::serve::serve_operator;
pub use self::state::{AppState, Limits, Rates};
pub(crate) use self::wire::PutDocument;

/// Longest body of a chat or search request in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// The whole service as a router, to be served or nested.
pub fn router(state: AppState) -> Router {
    let once = middleware::from_fn_with_state(state.clone(), idempotency::once);
    let audited = middleware::from_fn_with_state(state.clone(), state::audit);
    let limited = middleware::from_fn_with_state(state.clone(), state::limit);
    let admitted = middleware::from_fn_with_state(state.clone(), admit::admit);
    let authenticated = middleware::from_fn_with_state(state.clone(), state::authenticate);
    let mut router = Router::new();
    for (path, methods) in data_routes() {
        // The last is the outermost.
        let methods = methods.route_layer(once.clone());
        let methods = methods.route_layer(audited.clone()).route_layer(admitted.clone());
        let methods = methods.route_layer(limited.clone()).route_layer(authenticated.clone());
        router = router.route(path, methods);
    }
    for (path, methods) in operator_routes() {
        router = router.route(path, methods.route_layer(authenticated.clone()));
    }
    for (path, methods) in open_routes().into_iter().chain(page::routes()) {
        router = router.route(path, methods);
    }
    router = router.fallback(no_such_route).method_not_allowed_fallback(no_such_method);
    if state.is_insecure() {
        router = router.layer(middleware::from_fn(hosts::only_loopback_names));
    }
    router
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(middleware::from_fn(trace::trace))
        .layer(middleware::from_fn_with_state(state.clone(), measure::measure))
        .with_state(state)
}

/// The documented routes' paths, as the router spells them.
#[must_use]
pub fn documented_paths() -> Vec<&'static str> {
    data_routes().iter().chain(&operator_routes()).chain(&open_routes()).map(|(path, _)| *path).collect()
}

type Routes = Vec<(&'static str, MethodRouter<AppState>)>;

fn data_routes() -> Routes {
    let small = DefaultBodyLimit::max(MAX_REQUEST_BYTES);
    let large = DefaultBodyLimit::max(body::MAX_DOCUMENT_BODY_BYTES);
    let job = DefaultBodyLimit::max(jobs::MAX_BODY_BYTES);
    vec![
        ("/chat", routing::post(chat::chat).layer(small)),
        ("/chat/{id}/events", routing::get(runs::routes::events)),
        ("/chat/{id}/stop", routing::post(runs::routes::stop)),
        ("/audit", routing::get(audit::list)),
        ("/search", routing::post(search::search).layer(small)),
        ("/mcp", routing::post(mcp::mcp).layer(small)),
        ("/v1/models", routing::get(openai::models)),
        ("/v1/models/{*id}", routing::get(openai::model)),
        ("/v1/chat/completions", routing::post(openai::completions).layer(small)),
        ("/v1/responses", routing::post(openai::responses).layer(small)),
        ("/v1/responses/{id}", routing::get(openai::keeping::get).delete(openai::keeping::delete)),
        ("/v1/embeddings", routing::post(openai::embeddings).layer(small)),
        ("/collections", routing::get(collections::list)),
        ("/documents", routing::get(documents::list)),
        ("/delete", routing::post(documents::delete_matching).layer(small)),
        (
            "/documents/{*id}",
            routing::get(documents::get).put(documents::put).delete(documents::delete).layer(large),
        ),
        ("/sessions", routing::get(sessions::list)),
        (
            "/sessions/{id}",
            routing::get(sessions::get).patch(sessions::rename).delete(sessions::delete).layer(small),
        ),
        ("/sessions/{id}/export", routing::get(sessions::export)),
        ("/feedback", routing::get(feedback::list).post(feedback::give).layer(small)),
        ("/keys", routing::get(keys::list).post(keys::create).layer(small)),
        ("/keys/{id}", routing::delete(keys::revoke)),
        ("/keys/{id}/rotate", routing::post(keys::rotate).layer(small)),
        ("/me", routing::get(me::get).delete(me::delete)),
        ("/me/export", routing::get(me::export)),
        ("/jobs", routing::get(jobs::routes::list).post(jobs::routes::begin).layer(job)),
        ("/jobs/{id}", routing::get(jobs::routes::get)),
        ("/jobs/{id}/events", routing::get(jobs::routes::events)),
        ("/jobs/{id}/cancel", routing::post(jobs::routes::cancel)),
    ]
}

/// What operators use: a credential is asked for, but there is always room for them, and nothing of it is recorded.
fn operator_routes() -> Routes {
    vec![("/metrics", routing::get(metrics::metrics))]
}

fn open_routes() -> Routes {
    vec![
        ("/chat/ws", routing::get(socket::connect)),
        ("/health/live", routing::get(health::live)),
        ("/health/ready", routing::get(health::ready)),
        ("/health/startup", routing::get(health::startup)),
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
