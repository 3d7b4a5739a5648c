//! The outermost layer: gives a request its trace, and every error its problem document.

use agentkit_core::TraceContext;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::idempotency;
use super::measure;
use super::openai;
use super::problem::{PROBLEM_JSON, Problem, ProblemKind};
use crate::telemetry::{REQUEST, continued};

/// Headers of every answer that does not have its own.
const PROTECTION: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Runs the request in its trace and renders what went wrong.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let (path, span) = (request.uri().path().to_owned(), span(&request));
    let caller = incoming(request.headers());
    let trace = continued(&span, caller.as_ref()).or(caller).unwrap_or_else(TraceContext::fresh);
    span.record("agentkit.trace_id", trace.trace_id());
    request.extensions_mut().insert(trace);
    let begun = std::time::Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = with_document(response, &path, &trace);
    if openai::speaks(&path) {
        openai::name(&mut response, &trace);
    }
    told(&span, response.status());
    span.in_scope(|| tracing::debug!(path, elapsed = ?begun.elapsed(), "answered"));
    protected(response)
}

/// The span of a request, by OpenTelemetry's conventions for HTTP servers. It is no error, but belongs to every log line
/// that is written within, and so has to stand in every log.
fn span(request: &Request) -> Span {
    let (method, route) = (measure::method(request.method()), measure::route(request));
    tracing::error_span!(
        REQUEST,
        otel.name = format_args!("{method} {}", route.as_deref().unwrap_or_default()),
        otel.kind = "server",
        otel.status_code = Empty,
        "error.type" = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        agentkit.trace_id = Empty,
    )
}

/// The span and the trace of something that is no request of its own, such as a message over a WebSocket.
pub(super) fn apart(name: &'static str) -> (Span, TraceContext) {
    let span = tracing::error_span!(
        parent: None,
        REQUEST,
        otel.name = name,
        otel.kind = "server",
        agentkit.trace_id = Empty,
    );
    let trace = continued(&span, None).unwrap_or_else(TraceContext::fresh);
    span.record("agentkit.trace_id", trace.trace_id());
    (span, trace)
}

fn told(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
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
    let mut rendered =
        if openai::speaks(path) { openai::render(&problem) } else { problem.render(path, &trace.trace_id()) };
    rendered.extensions_mut().insert(problem.kind());
    let tells = |name: &HeaderName| {
        *name == header::ALLOW || *name == idempotency::REPLAYED || name.as_str().starts_with("ratelimit-")
    };
    let told = response.headers().iter().filter(|(name, _)| tells(name));
    rendered.headers_mut().extend(told.map(|(name, value)| (name.clone(), value.clone())));
    rendered
}

/// The answer to what could not be read as a request, in the bytes that it has on the wire.
pub(super) fn without_request(problem: &Problem, date: &str) -> Bytes {
    let document = problem.document("/", &TraceContext::fresh().trace_id());
    let body = serde_json::to_string(&document).unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\ndate: {date}\r\n",
        problem.kind().status(),
        body.len()
    );
    for (name, value) in PROTECTION {
        answer.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    answer.extend(["\r\n", &body]);
    answer.into()
}

/// What a browser may do with an answer unless a route says otherwise: guess no type, store it nowhere, run nothing of
/// it, show it in no other page.
fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in PROTECTION {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
