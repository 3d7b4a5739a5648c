//! The outermost layer: gives a request its trace, and every error its problem document.

use agentkit_core::TraceContext;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::problem::{Problem, ProblemKind};

/// Runs the request in its trace and renders what went wrong.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let trace = incoming(request.headers()).unwrap_or_else(TraceContext::fresh);
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", method = %request.method(), path, trace_id = trace.trace_id());
    request.extensions_mut().insert(trace);
    let begun = std::time::Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let response = with_document(response, &path, &trace);
    span.in_scope(|| {
        tracing::debug!(status = response.status().as_u16(), elapsed = ?begun.elapsed(), "answered");
    });
    protected(response)
}

/// The trace of the caller, if it sent a well-formed one.
fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get("traceparent")?.to_str().ok().and_then(TraceContext::parse)
}

/// Errors of the libraries under the service have no document yet; none leaves without one.
fn with_document(mut response: Response, path: &str, trace: &TraceContext) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| {
        let kind = ProblemKind::of_status(status);
        Problem::new(kind, format!("the request was refused with status {status}"))
    });
    let mut rendered = problem.render(path, &trace.trace_id());
    if let Some(allow) = response.headers().get(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow.clone());
    }
    rendered
}

/// Browsers guess no types, and nobody stores answers unless a route says so.
fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
