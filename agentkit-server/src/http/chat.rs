//! `POST /chat`: the agent's events, gathered as JSON or streamed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use agentkit_core::{AgentEvent, AgentEventKind, AgentInput, AgentStream, Error, SessionId};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use serde::Deserialize;

use super::admit::Run;
use super::body::Json;
use super::problem::Problem;
use super::state::{Ask, Permit};
use super::wire::ChatRequest;

/// A comment this often keeps a silent stream open through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
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
    let ctx = run.ctx.clone();
    let stopped = Box::pin(async move { ctx.stopped().await });
    let encoded = Guarded { events, session, stopped, next_seq: 0, over: false, _run: run };
    let encoded = futures_util::StreamExt::map(encoded, |event| encode(&event));
    Sse::new(encoded).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
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

/// The events of a run up to its last; a run that does not stop when told to is cut off with an `error` event.
struct Guarded {
    events: AgentStream,
    /// The conversation by the name its owner knows.
    session: Option<SessionId>,
    stopped: Pin<Box<dyn Future<Output = Error> + Send>>,
    next_seq: u64,
    over: bool,
    _run: Run,
}

impl Stream for Guarded {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = Pin::new(&mut this.events).poll_next(cx) {
            let mut event =
                event.unwrap_or_else(|| this.failure(&Error::internal("the run ended without saying how")));
            if let AgentEventKind::Started { session_id, .. } = &mut event.kind {
                session_id.clone_from(&this.session);
            }
            this.next_seq = event.seq.saturating_add(1);
            this.over = matches!(event.kind, AgentEventKind::Done { .. } | AgentEventKind::Error { .. });
            return Poll::Ready(Some(event));
        }
        match this.stopped.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(error) => {
                this.over = true;
                Poll::Ready(Some(this.failure(&error)))
            }
        }
    }
}

impl Guarded {
    fn failure(&self, error: &Error) -> AgentEvent {
        let kind = AgentEventKind::Error { kind: error.kind(), message: error.message().to_owned() };
        AgentEvent { seq: self.next_seq, kind }
    }
}
