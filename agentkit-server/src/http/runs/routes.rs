//! `/chat/{id}/…`: coming back to a resumable run, and stopping it.

use agentkit_core::Error;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::StreamExt as _;

use super::follow;
use crate::http::admit::Run;
use crate::http::body::Parameters;
use crate::http::events::sse;
use crate::http::problem::Problem;
use crate::http::state::{Ask, Permit};
use crate::http::wire::FollowRun;

/// The header in which a browser says what it had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// The events of a resumable run behind the one that the client had last, those to come included.
///
/// What it had last is the header `Last-Event-ID`, or else `starting_after`; with neither it is told everything. Only who
/// began the run can follow it. The stream ends with the run, or at the deadline of this request.
#[utoipa::path(
    get,
    path = "/chat/{id}/events",
    tag = "chat",
    params(("id" = String, Path, description = "The run, as the header Agentkit-Run of its beginning names it"), FollowRun),
    responses(
        (status = 200, description = "The events", body = crate::http::schema::AgentEventFrameSchema,
            content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn events(
    permit: Permit<Ask>,
    run: Run,
    Path(id): Path<String>,
    Parameters(asked): Parameters<FollowRun>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = permit.runs().find(&permit.owner(), &id)?;
    let next = next_event(&headers, &asked)?;
    let ctx = run.ctx.clone();
    let events = follow(record, next).take_until(async move { ctx.stopped().await });
    Ok(sse(events.map(move |event| {
        let _slot = &run;
        Ok(event.sse())
    })))
}

/// Stops a resumable run; its last event says so. Stopping one that is over changes nothing.
#[utoipa::path(
    post,
    path = "/chat/{id}/stop",
    tag = "chat",
    params(("id" = String, Path, description = "The run, as the header Agentkit-Run of its beginning names it")),
    responses(
        (status = 204, description = "It is told to stop, or over"),
        (status = "default", description = "A problem", body = crate::http::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(in crate::http) async fn stop(
    permit: Permit<Ask>,
    _run: Run,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    permit.runs().find(&permit.owner(), &id)?.stop();
    Ok(StatusCode::NO_CONTENT)
}

/// The number of the first event that the client has not had.
pub(in crate::http) fn next_event(headers: &HeaderMap, asked: &FollowRun) -> Result<usize, Error> {
    let had = last_event(headers)?.or(asked.starting_after);
    Ok(had.map_or(0, |had| usize::try_from(had).unwrap_or(usize::MAX).saturating_add(1)))
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    number.map(Some).ok_or_else(|| Error::invalid_input("Last-Event-ID must be the number of an event"))
}
