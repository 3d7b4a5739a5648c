//! The page at `/`: three static files inside the binary, behind a policy that lets nothing else run.

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing;

use super::Routes;

/// Only the page's own script and style, and requests to the service it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Routes {
    vec![
        ("/", routing::get(async || file("text/html; charset=utf-8", include_str!("../page/index.html")))),
        (
            "/page.css",
            routing::get(async || file("text/css; charset=utf-8", include_str!("../page/page.css"))),
        ),
        (
            "/page.js",
            routing::get(async || file("text/javascript; charset=utf-8", include_str!("../page/page.js"))),
        ),
    ]
}

fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new binary brings a new page, so a browser asks each time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
