//! `POST /chat`: the agent's events, gathered as JSON or streamed.

use std::sync::Arc;

use agentkit_core::{AgentInput, Error};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;

use super::admit::Run;
use super::body::Json;
use super::events::{Encoded, Guarded, sse};
use super::idempotency::IsKeyed;
use super::problem::Problem;
use super::runs::{Record, follow};
use super::state::{Ask, Permit};
use super::wire::ChatRequest;

const EVENT_STREAM: &str = "text/event-stream";
/// Names a resumable run.
const RUN: HeaderName = HeaderName::from_static("agentkit-run");

/// Answers a message from the documents, with citations.
///
/// The same events make up both forms of the answer: one JSON object, or a stream with one server-sent event
/// each (`id` is its number, `event` its type). What fails before the first event is a problem document;
/// afterwards it is the `error` event. A client that goes away stops the work, unless it asked for a resumable run: then
/// the header `Agentkit-Run` names the run, and `GET /chat/{id}/events` gives the events that the client has not had.
#[utoipa::path(
    post,
    path = "/chat",
    tag = "chat",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", content(
            (super::schema::AgentReplySchema = "application/json"),
            (super::schema::AgentEventFrameSchema = "text/event-stream"),
        )),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn chat(
    permit: Permit<Ask>,
    run: Run,
    IsKeyed(keyed): IsKeyed,
    headers: HeaderMap,
    Json(request): Json<ChatRequest>,
) -> Result<Response, Problem> {
    let session = request.session_id.clone();
    let streamed = request.stream.unwrap_or_else(|| accepts_events(&headers));
    let resumable = request.resumable.unwrap_or_default();
    if !streamed && resumable {
        return Err(Error::invalid_input("a resumable run is a stream; set stream to true as well").into());
    }
    if streamed && keyed {
        let message = "a stream cannot be given again; leave Idempotency-Key out, or ask for a resumable run";
        return Err(Error::invalid_input(message).into());
    }
    if streamed {
        return Ok(match begin(&permit, run, request).await? {
            Begun::Bound(events) => sse(events.map(|event| Ok(Encoded::of(&event).sse()))),
            Begun::Kept(record) => resumable_stream(record),
        });
    }
    let input = into_input(request, &permit)?;
    let events = run.ctx.run(permit.agent()?.run(input, &run.ctx)).await?;
    let mut reply = run.ctx.run(events.collect()).await?;
    reply.session_id = session;
    Ok(axum::Json(reply).into_response())
}

/// A run that has begun.
pub(super) enum Begun {
    /// It ends with the one who reads it.
    Bound(Guarded),
    /// It goes on whoever reads it.
    Kept(Arc<Record>),
}

/// Begins a run whose events are to be read one by one.
pub(super) async fn begin(permit: &Permit<Ask>, run: Run, request: ChatRequest) -> Result<Begun, Problem> {
    let (session, resumable) = (request.session_id.clone(), request.resumable.unwrap_or_default());
    let input = into_input(request, permit)?;
    let agent = permit.agent()?;
    if !resumable {
        let events = run.ctx.run(agent.run(input, &run.ctx)).await?;
        return Ok(Begun::Bound(Guarded::new(events, run, session)));
    }
    let runs = permit.runs();
    let place = runs.register(&permit.owner(), &run.ctx)?;
    let events = run.ctx.run(agent.run(input, &run.ctx)).await?;
    Ok(Begun::Kept(place.drive(events, run, session)))
}

/// The record of a run from its beginning, with what it takes to come back to it.
fn resumable_stream(record: Arc<Record>) -> Response {
    let place = format!("/chat/{}/events", record.id());
    let headers = [(RUN, record.id().to_owned()), (header::LOCATION, place)];
    let mut response = sse(follow(record, 0).map(|event| Ok(event.sse())));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn into_input(request: ChatRequest, permit: &Permit<Ask>) -> Result<AgentInput, Problem> {
    let mut input = AgentInput::new(permit.scope(request.collection)?, request.message);
    input.session = request.session_id.map(|id| permit.session(&id)).transpose()?;
    input.filter = request.filter;
    Ok(input)
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(EVENT_STREAM))
    })
}
