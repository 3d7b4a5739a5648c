//! Errors as problem documents (RFC 9457), from one table.

use std::any::Any;
use std::time::Duration;

use agentkit_core::{Error, ErrorKind};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Media type of problem documents.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Wait that is advised when the cause named none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What can go wrong with a request; the last part of a problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The request itself is wrong.
    InvalidInput,
    /// The credential is missing or not good.
    Unauthorized,
    /// The credential is good, but not for this.
    Forbidden,
    /// The Host or Origin header is not that of this machine.
    ForbiddenHost,
    /// No such route, document or session.
    NotFound,
    /// The route exists, but not for this method.
    MethodNotAllowed,
    /// Somebody else holds or has changed the thing.
    Conflict,
    /// The body is longer than the route allows.
    TooLarge,
    /// The request's first line and headers are longer than any request may have.
    HeadTooLarge,
    /// The body is of a type the route does not read.
    UnsupportedMediaType,
    /// The run used up its token budget.
    BudgetExhausted,
    /// An idempotency key was used for another request.
    KeyReused,
    /// A defect of the service.
    Internal,
    /// Stored data is damaged.
    Corrupt,
    /// The index belongs to another model or version.
    Mismatch,
    /// The chosen implementation cannot do this.
    Unsupported,
    /// A service behind this one refused its credentials.
    UpstreamUnauthorized,
    /// More than this client may ask for just now.
    RateLimited,
    /// More requests than the service takes at once.
    Overloaded,
    /// A dependency cannot be used just now.
    Unavailable,
    /// The service is shutting down.
    ShuttingDown,
    /// The request took longer than allowed.
    DeadlineExceeded,
    /// Disk or memory is full.
    ResourceExhausted,
}

impl ProblemKind {
    /// Every kind, for documentation and tests.
    pub const ALL: [Self; 23] = [
        Self::InvalidInput,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForbiddenHost,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::HeadTooLarge,
        Self::UnsupportedMediaType,
        Self::BudgetExhausted,
        Self::KeyReused,
        Self::Internal,
        Self::Corrupt,
        Self::Mismatch,
        Self::Unsupported,
        Self::UpstreamUnauthorized,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::DeadlineExceeded,
        Self::ResourceExhausted,
    ];

    /// The one table: status, name and title of every kind.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidInput => (StatusCode::BAD_REQUEST, "invalid-input", "Invalid input"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Credential needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not permitted"),
            Self::ForbiddenHost => (StatusCode::FORBIDDEN, "forbidden-host", "Host not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "Headers too large")
            }
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::BudgetExhausted => {
                (StatusCode::UNPROCESSABLE_ENTITY, "budget-exhausted", "Budget exhausted")
            }
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key reused")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt", "Stored data is damaged"),
            Self::Mismatch => {
                (StatusCode::INTERNAL_SERVER_ERROR, "mismatch", "Index of another model or version")
            }
            Self::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", "Not supported"),
            Self::UpstreamUnauthorized => {
                (StatusCode::BAD_GATEWAY, "upstream-unauthorized", "Upstream refused the credentials")
            }
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Shutting down"),
            Self::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", "Deadline exceeded"),
            Self::ResourceExhausted => {
                (StatusCode::INSUFFICIENT_STORAGE, "resource-exhausted", "Out of space")
            }
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The last part of the problem's `type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The problem's `title`.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// The kind that says most about a bare status of a library under the service.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let same = Self::ALL.into_iter().find(|kind| kind.status() == status);
        same.unwrap_or(if status.is_client_error() { Self::InvalidInput } else { Self::Internal })
    }
}

impl From<ErrorKind> for ProblemKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidInput => Self::InvalidInput,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Unauthorized => Self::UpstreamUnauthorized,
            ErrorKind::RateLimited | ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Overloaded => Self::Overloaded,
            ErrorKind::DeadlineExceeded => Self::DeadlineExceeded,
            // Nobody is left to read the answer unless the service itself stopped the run.
            ErrorKind::Cancelled => Self::ShuttingDown,
            ErrorKind::BudgetExhausted => Self::BudgetExhausted,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Mismatch => Self::Mismatch,
            ErrorKind::ResourceExhausted => Self::ResourceExhausted,
            ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Internal,
        }
    }
}

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem whose `detail` says what was attempted and what to do.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, members: Map::new() }
    }

    /// Adds a member of its own to the document.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    pub(super) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A member of its own, if it is a text.
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// The document, told where and in which trace it happened.
    pub(super) fn document(&self, instance: &str, trace_id: &str) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("urn:agentkit:problem:{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            trace_id: trace_id.to_owned(),
            members: self.members.clone(),
        }
    }

    /// The document as an answer.
    pub(super) fn render(&self, instance: &str, trace_id: &str) -> Response {
        let mut response = self.respond(&self.document(instance, trace_id));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }

    /// An answer of JSON with the status and the headers of this problem.
    pub(super) fn respond(&self, body: &impl Serialize) -> Response {
        let mut response = (self.kind.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if self.kind == ProblemKind::Unauthorized {
            let challenge = HeaderValue::from_static("Bearer realm=\"agentkit\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        let wait = (self.kind.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        if let Some(wait) = self.retry_after.or(wait) {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)),
            );
        }
        response
    }
}

impl Problem {
    /// The problem of work that panicked; the message stays in the log.
    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        tracing::error!(message, "a handler panicked");
        Self::new(ProblemKind::Internal, "the request hit a defect; the service's log tells more")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = ProblemKind::from(error.kind());
        if kind.status().is_server_error() {
            tracing::warn!(error = error.chain(), "the request failed");
        }
        Self { retry_after: error.retry_after(), ..Self::new(kind, error.message()) }
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem to the `trace` layer, which knows the trace and the path.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem document on the wire.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// Identifies the kind of problem.
    #[schema(example = "urn:agentkit:problem:invalid-input")]
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request, and what to do.
    detail: String,
    /// The path of the request.
    instance: String,
    /// Names the request in the service's logs.
    trace_id: String,
    /// Members of this kind alone.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    members: Map<String, Value>,
}

/// The answer of a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer that catches panics hands them over")]
pub(super) fn from_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    Problem::of_panic(&*panic).into_response()
}
