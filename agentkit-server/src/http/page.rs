//! The page at `/`: static files inside the binary, behind a policy that lets nothing else run.

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing;

use super::Routes;

/// Only the page's own scripts and styles, and requests to the service it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file with the path it is served at.
macro_rules! served {
    ($name:literal) => {
        (concat!("/page/", $name), include_str!(concat!("../page/", $name)))
    };
}

const FILES: [(&str, &str); 18] = [
    ("/", include_str!("../page/index.html")),
    served!("api.js"),
    served!("base.css"),
    served!("chat.js"),
    served!("documents.js"),
    served!("dom.js"),
    served!("feedback.js"),
    served!("main.js"),
    served!("markdown.js"),
    served!("metrics.js"),
    served!("operation.js"),
    served!("panel.js"),
    served!("search.js"),
    served!("sessions.js"),
    served!("store.js"),
    served!("text.js"),
    served!("turn.js"),
    served!("views.css"),
];

pub(super) fn routes() -> Routes {
    FILES.map(|(path, content)| (path, routing::get(async move || file(path, content)))).into()
}

fn file(path: &str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type(path)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new binary brings a new page, so a browser asks each time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
