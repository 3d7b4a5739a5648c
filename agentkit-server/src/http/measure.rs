//! Counts every request: how many, how long until the end of the answer, and how they ended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};

use super::problem::ProblemKind;
use super::state::AppState;
use crate::telemetry::{Metrics, Requested};

/// The status of a request whose client did not wait for it, as proxies write it.
const LEFT: u16 = 499;
/// What stands for a route that there is not.
const NONE: &str = "none";
/// What stands for a method that is none of HTTP's, by OpenTelemetry's conventions.
const OTHER: &str = "_OTHER";

/// Measures the request from here to the last byte of its answer.
pub(super) async fn measure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut measured = Measured::begin(state.metrics().clone(), &request);
    let response = next.run(request).await;
    measured.status = response.status().as_u16();
    if let Some(kind) = response.extensions().get::<ProblemKind>() {
        measured.metrics.problem(kind.name());
    }
    response.map(|body| Body::new(MeasuredBody { body, _measured: measured }))
}

/// The template of a route, as the description of the interface writes it.
pub(super) fn route(request: &Request) -> Option<String> {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map(|path| path.as_str().replace("{*", "{"))
}

/// A method by its name; one that is none of HTTP's has none.
pub(super) fn method(method: &Method) -> &'static str {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
    ];
    let names = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    let at = known.iter().position(|known| known == method);
    at.and_then(|at| names.get(at)).copied().unwrap_or(OTHER)
}

/// A request that is counted when it is over, however that comes about.
struct Measured {
    metrics: Metrics,
    method: &'static str,
    route: String,
    begun: Instant,
    status: u16,
}

impl Measured {
    fn begin(metrics: Metrics, request: &Request) -> Self {
        metrics.request_began();
        let method = method(request.method());
        let route = route(request).unwrap_or_else(|| NONE.to_owned());
        Self { metrics, method, route, begun: Instant::now(), status: LEFT }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Self { metrics, method, route, begun, status } = self;
        metrics.request_ended(&Requested { method, route, status: *status, took: begun.elapsed() });
    }
}

/// The body of an answer, which holds on to the measurement until it is sent or dropped.
struct MeasuredBody {
    body: Body,
    _measured: Measured,
}

impl HttpBody for MeasuredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
