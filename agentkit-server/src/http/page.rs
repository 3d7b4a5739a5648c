//! The page at `/`: static files inside the binary, behind a policy that lets nothing else run.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, routing};

use super::Routes;
use super::state::AppState;

/// Only the page's own scripts and styles, and requests to the service it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; connect-src 'self'";
const INDEX: &str = include_str!("../page/index.html");
const REFERENCE: &str = include_str!("../page/reference.html");

/// A file with the path it is served at.
macro_rules! served {
    ($name:literal) => {
        (concat!("/page/", $name), include_str!(concat!("../page/", $name)))
    };
}

const FILES: [(&str, &str); 20] = [
    served!("api.js"),
    served!("base.css"),
    served!("chat.js"),
    served!("documents.js"),
    served!("dom.js"),
    served!("feedback.js"),
    served!("login.js"),
    served!("main.js"),
    served!("markdown.js"),
    served!("metrics.js"),
    served!("operation.js"),
    served!("panel.js"),
    served!("reference.css"),
    served!("reference.js"),
    served!("search.js"),
    served!("sessions.js"),
    served!("store.js"),
    served!("text.js"),
    served!("turn.js"),
    served!("views.css"),
];

pub(super) fn routes() -> Routes {
    let files = FILES.map(|(path, content)| (path, routing::get(async move || file(path, content))));
    let own = [
        ("/", routing::get(index)),
        ("/reference", routing::get(async || file("/reference", REFERENCE))),
        ("/page/sign-in.json", routing::get(sign_in)),
    ];
    own.into_iter().chain(files).collect()
}

/// The page itself, which may also reach the identity provider if people can sign in there.
async fn index(State(state): State<AppState>) -> Response {
    let mut response = file("/", INDEX);
    let origin = state.sign_in().await.and_then(|sign_in| sign_in.origin());
    if let Some(policy) = origin.and_then(|origin| HeaderValue::from_str(&format!("{POLICY} {origin}")).ok())
    {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// How to sign in at the identity provider; null if that cannot be done.
async fn sign_in(State(state): State<AppState>) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    (no_store, Json(state.sign_in().await.as_deref())).into_response()
}

fn file(path: &str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type(path)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new binary brings a new page, so a browser asks each time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
