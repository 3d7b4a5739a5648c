//! `POST /chat`: the agent's events, gathered as JSON or streamed.

use agentkit_core::{AgentEvent, AgentInput, AgentStream, SessionId};
use axum::http::{HeaderMap, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::admit::Run;
use super::body::Json;
use super::events::{Guarded, sse};
use super::problem::Problem;
use super::state::{Ask, Permit};
use super::wire::ChatRequest;

const EVENT_STREAM: &str = "text/event-stream";

/// Answers a message from the documents, with citations.
///
/// The same events make up both forms of the answer: one JSON object, or a stream with one server-sent event
/// each (`id` is its number, `event` its type). What fails before the first event is a problem document;
/// afterwards it is the `error` event. A client that goes away stops the work.
#[utoipa::path(
    post,
    path = "/chat",
    tag = "chat",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", content(
            (super::schema::AgentReplySchema = "application/json"),
            (super::schema::AgentEventSchema = "text/event-stream"),
        )),
        (status = "default", description = "A problem", body = super::problem::ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn chat(
    permit: Permit<Ask>,
    run: Run,
    headers: HeaderMap,
    Json(request): Json<ChatRequest>,
) -> Result<Response, Problem> {
    let session = request.session_id.clone();
    let streamed = request.stream.unwrap_or_else(|| accepts_events(&headers));
    let input = into_input(request, &permit)?;
    let events = run.ctx.run(permit.agent()?.run(input, &run.ctx)).await?;
    if streamed {
        return Ok(stream(events, run, session));
    }
    let mut reply = run.ctx.run(events.collect()).await?;
    reply.session_id = session;
    Ok(axum::Json(reply).into_response())
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

fn stream(events: AgentStream, run: Run, session: Option<SessionId>) -> Response {
    sse(Guarded::new(events, run, session).map(|event| encode(&event)))
}

fn encode(event: &AgentEvent) -> Result<Event, axum::Error> {
    let data = serde_json::to_string(event).map_err(axum::Error::new)?;
    let Tag { name } = serde_json::from_str(&data).map_err(axum::Error::new)?;
    Ok(Event::default().id(event.seq.to_string()).event(name).data(&data))
}

/// The type of an event, as its JSON names it.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type")]
    name: &'a str,
}
