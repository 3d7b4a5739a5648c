//! Problems in the form that clients of OpenAI read.

use agentkit_core::{Error, ErrorKind, Outcome, TraceContext};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Value, json};

use crate::http::problem::{Problem, ProblemKind};

/// The header by which these clients name a request.
const REQUEST_ID: &str = "x-request-id";

/// Whether answers of this path have OpenAI's form.
pub(in crate::http) fn speaks(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// The problem as an answer.
pub(in crate::http) fn render(problem: &Problem) -> Response {
    problem.respond(&document(problem))
}

/// Names the request by its trace.
pub(in crate::http) fn name(response: &mut Response, trace: &TraceContext) {
    if let Ok(id) = HeaderValue::from_str(&trace.trace_id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// The problem as a member of a stream, or as a whole body.
pub(super) fn document(problem: &Problem) -> Value {
    let kind = problem.kind();
    let code = problem.member("code").map_or_else(|| kind.name().replace('-', "_"), str::to_owned);
    let param = problem.member("param");
    json!({"error": {"message": problem.detail(), "type": group(kind), "param": param, "code": code}})
}

/// The problem of a run that failed after its start.
pub(super) fn failed(kind: ErrorKind, message: &str) -> Problem {
    Error::new(kind, message).into()
}

/// What is wrong with one member of a request.
pub(super) fn wrong(param: &str, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidInput, detail).with_member("param", param)
}

/// A member of a request that asks for what cannot be done.
pub(super) fn unsupported(param: &str, detail: impl Into<String>) -> Problem {
    wrong(param, detail).with_member("code", "unsupported_parameter")
}

/// The answer to a run that waits for somebody outside, which this protocol cannot say.
pub(super) fn waits() -> Problem {
    let detail = "the run waits for somebody outside, which only the events of /chat can tell";
    Problem::new(ProblemKind::Unsupported, detail)
}

/// How a run ended that called tools of the client or did not, in the words of chat completions; `None` if these have none
/// for it.
pub(super) fn finish_reason(outcome: Outcome, called: bool) -> Option<&'static str> {
    match outcome {
        Outcome::Answered | Outcome::Refused => Some("stop"),
        Outcome::Truncated => Some("length"),
        Outcome::Waiting if called => Some("tool_calls"),
        _ => None,
    }
}

fn group(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Unauthorized => "authentication_error",
        ProblemKind::Forbidden | ProblemKind::ForbiddenHost => "permission_error",
        ProblemKind::RateLimited => "rate_limit_error",
        kind if kind.status().is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}
