//! Writes down who did what: every request that was let in, with its outcome.
//!
//! What changes something is answered only when its record is durable. Questions and reads are recorded soon, and
//! share commits; a power loss can take the last of them.

use std::sync::Arc;

use agentkit_core::{TenantId, TraceContext};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::AppState;
use super::permit::Caller;
use crate::audit::{AuditEvent, AuditLog};
use crate::http::problem::{Problem, ProblemKind};

/// The outcome of a request whose client did not wait for it, as proxies write it.
const LEFT: u16 = 499;
/// Longest target that is written down, in bytes.
const MAX_TARGET_BYTES: usize = 1024;
/// Routes that are posted to and change nothing.
const QUESTIONS: [&str; 6] =
    ["/chat", "/mcp", "/search", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"];

/// What a handler says the request was about, where its path does not.
#[derive(Debug, Clone)]
pub(in crate::http) struct AuditTarget(pub(in crate::http) String);

/// Records the request when it is answered, or left.
pub(in crate::http) async fn audit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(caller) = request.extensions().get::<Arc<Caller>>().cloned() else {
        return Problem::new(ProblemKind::Internal, "the route stands outside the authentication")
            .into_response();
    };
    let changes = changes(&request);
    let mut pending = Pending {
        log: state.0.audit.clone(),
        tenant: caller.principal.tenant.clone(),
        event: Some(event(&caller, &request)),
    };
    let response = next.run(request).await;
    if let (Some(AuditTarget(told)), Some(event)) = (response.extensions().get(), &mut pending.event) {
        event.target = Some(told.clone());
    }
    match pending.finish(response.status(), changes).await {
        Ok(()) => response,
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Records what came over a line that is no request of its own.
pub(super) async fn note(
    state: &AppState,
    caller: &Caller,
    (action, outcome): (&str, u16),
    trace: &TraceContext,
) -> agentkit_core::Result<()> {
    state.0.audit.note(&caller.principal.tenant, event_of(caller, (action, outcome), trace)).await
}

/// Records what was done to a document on somebody's behalf; it is durable when this returns.
pub(super) async fn record(
    state: &AppState,
    caller: &Caller,
    (action, target): (&str, &str),
    outcome: u16,
    trace: &TraceContext,
) -> agentkit_core::Result<()> {
    let event = AuditEvent { target: Some(target.to_owned()), ..event_of(caller, (action, outcome), trace) };
    state.0.audit.record(&caller.principal.tenant, event).await
}

fn event_of(caller: &Caller, (action, outcome): (&str, u16), trace: &TraceContext) -> AuditEvent {
    AuditEvent {
        actor: caller.pseudonym.to_string(),
        credential: caller.principal.credential.clone(),
        role: Some(caller.principal.role),
        target: None,
        action: action.to_owned(),
        outcome,
        trace_id: trace.trace_id(),
    }
}

fn changes(request: &Request) -> bool {
    let asks = QUESTIONS.contains(&request.uri().path()) || request.method() == Method::GET;
    !asks && request.method() != Method::HEAD
}

fn event(caller: &Caller, request: &Request) -> AuditEvent {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).replace("{*", "{");
    let trace = request.extensions().get::<TraceContext>();
    AuditEvent {
        actor: caller.pseudonym.to_string(),
        credential: caller.principal.credential.clone(),
        role: Some(caller.principal.role),
        target: target(caller, &route, request.uri().path()),
        action: format!("{} {route}", request.method()),
        outcome: LEFT,
        trace_id: trace.map(TraceContext::trace_id).unwrap_or_default(),
    }
}

/// What the path names where the route has a parameter. Names of conversations are people's own, so they are
/// recorded by a hash that only the same person's same conversation has.
fn target(caller: &Caller, route: &str, path: &str) -> Option<String> {
    let (before, _) = route.split_once('{')?;
    let named = path.strip_prefix(before)?;
    if before == "/sessions/" {
        let hash = blake3::hash(format!("{}/{named}", caller.pseudonym).as_bytes());
        return Some(hash.to_hex().chars().take(16).collect());
    }
    let end = (0..=MAX_TARGET_BYTES.min(named.len())).rev().find(|end| named.is_char_boundary(*end));
    named.get(..end?).map(str::to_owned)
}

/// A record that is still to be written; dropped before, it is written as left.
struct Pending {
    log: AuditLog,
    tenant: TenantId,
    event: Option<AuditEvent>,
}

impl Pending {
    async fn finish(&mut self, status: StatusCode, durably: bool) -> agentkit_core::Result<()> {
        let Some(mut event) = self.event.take() else { return Ok(()) };
        event.outcome = status.as_u16();
        if durably {
            self.log.record(&self.tenant, event).await
        } else {
            self.log.note(&self.tenant, event).await
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (Some(event), Ok(runtime)) = (self.event.take(), tokio::runtime::Handle::try_current()) {
            let (log, tenant) = (self.log.clone(), self.tenant.clone());
            runtime.spawn(async move {
                if let Err(error) = log.note(&tenant, event).await {
                    tracing::error!(error = error.chain(), "an audit record could not be written");
                }
            });
        }
    }
}
