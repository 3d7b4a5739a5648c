//! Admission: a request that touches data gets one of the slots and the context it runs under, or is shed.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{CancelOnDrop, RunContext, TraceContext};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::problem::{Problem, ProblemKind};
use super::state::{AppState, Caller, Share};
use crate::telemetry::Refusal;

/// When to come again if there was no room.
const SOON: Duration = Duration::from_secs(1);

/// The right to work on a request. The work stops and the slot is free again when the last clone is dropped:
/// with the handler, or with the stream it returned.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) ctx: RunContext,
    _held: Arc<Held>,
}

/// What ends with the work: its tokens are counted, it is stopped, and its slot is free.
#[derive(Debug)]
struct Held {
    state: AppState,
    caller: Arc<Caller>,
    ctx: RunContext,
    _stop: CancelOnDrop,
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.spent(&self.caller, self.ctx.tokens_spent());
    }
}

/// Runs the request if there is a slot for it.
pub(super) async fn admit(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let trace = request.extensions().get::<TraceContext>().copied().unwrap_or_else(TraceContext::fresh);
    let Some(caller) = request.extensions().get::<Arc<Caller>>().cloned() else {
        return outside().into_response();
    };
    match Run::take(state, caller, trace) {
        Ok(run) => {
            request.extensions_mut().insert(run);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Run {
    /// Takes a slot, if there is one.
    pub(super) fn take(state: AppState, caller: Arc<Caller>, trace: TraceContext) -> Result<Self, Problem> {
        let Ok(slot) = state.slots().clone().try_acquire_owned() else {
            state.metrics().refused(Refusal::Concurrency);
            let most = state.limits().max_concurrent_requests;
            let detail = format!("the service already works on {most} requests; try again in a moment");
            return Err(Problem::new(ProblemKind::Overloaded, detail));
        };
        let Some(share) = state.shares().take(caller.owner()) else {
            state.metrics().refused(Refusal::Concurrency);
            let most = state.shares().most();
            let detail =
                format!("{most} of your requests are already worked on; wait for one of them to end");
            return Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(SOON));
        };
        let ctx = state.begin(&caller).with_trace(trace);
        let stop = ctx.cancel_on_drop();
        let held = Held { state, caller, ctx: ctx.clone(), _stop: stop, _slot: slot, _share: share };
        Ok(Self { ctx, _held: Arc::new(held) })
    }
}

impl<S: Sync> FromRequestParts<S> for Run {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(outside)
    }
}

fn outside() -> Problem {
    Problem::new(ProblemKind::Internal, "the route stands outside the layers that let requests in")
}
