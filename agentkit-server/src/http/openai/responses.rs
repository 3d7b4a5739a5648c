//! `POST /v1/responses`: the agent behind OpenAI's newer interface.

use agentkit_core::{AgentEventKind, AgentInput, Message, SessionId};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::chat::Head;
use super::error::{failed, unsupported, waits, wrong};
use super::messages::{self, Said};
use super::models::scope_of;
use super::response_events::{Answer, Frame};
use super::wire::{ChatMessage, ResponseRequest};
use crate::http::admit::Run;
use crate::http::body::Json;
use crate::http::events::{Guarded, sse};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{Ask, Permit};

/// Answers from the documents of a collection, with citations as annotations.
///
/// With `conversation` the turns are remembered, and the conversation is the one that `/chat` knows as `session_id`. Without,
/// the input is the whole conversation. A client that goes away stops the work.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    request_body = ResponseRequest,
    responses(
        (status = 200, description = "The answer", content(
            (Object = "application/json"),
            (Object = "text/event-stream"),
        )),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn responses(
    permit: Permit<Ask>,
    run: Run,
    Json(request): Json<ResponseRequest>,
) -> Result<Response, Problem> {
    check(&request)?;
    let scope = scope_of(&permit, &request.model, &run.ctx).await?;
    let Said { question, mut history } = messages::read("input", items(request.input)?)?;
    if let Some(instructions) = request.instructions.as_ref().filter(|text| !text.trim().is_empty()) {
        history.insert(0, Message::system(instructions.as_str()));
    }
    let session = request.conversation.as_ref().map(conversation).transpose()?;
    let mut input = AgentInput::new(scope, question).history(history);
    input.session = session.as_ref().map(|session| permit.session(session)).transpose()?;
    input.filter = request.filter;
    let trace = run.ctx.trace().trace_id();
    let head = Head { id: trace, created: permit.now().seconds(), model: request.model };
    let mut answer = Answer::new(head, request.instructions, session.clone());
    let events = run.ctx.run(permit.agent()?.run(input, &run.ctx)).await?;
    let mut events = Guarded::new(events, run, session);
    if request.stream.unwrap_or_default() {
        let frames = events.flat_map(move |event| futures_util::stream::iter(answer.frames(event.kind)));
        return Ok(sse(frames.map(|frame: Frame| frame.into_event())));
    }
    while let Some(event) = events.next().await {
        match event.kind {
            AgentEventKind::Error { kind, message } => return Err(failed(kind, &message)),
            AgentEventKind::Done { outcome } => {
                let whole = answer.ended(outcome).ok_or_else(waits)?;
                return Ok(axum::Json(whole).into_response());
            }
            kind => answer.take(kind),
        }
    }
    Err(Problem::new(ProblemKind::Internal, "the run ended without saying how"))
}

/// The messages of an input, which is a text or a list of items.
fn items(input: Value) -> Result<Vec<ChatMessage>, Problem> {
    let items = match input {
        Value::String(text) => return Ok(vec![ChatMessage::user(text)]),
        Value::Array(items) => items,
        _ => return Err(wrong("input", "input must be a text or a list of items")),
    };
    let read = |(at, item): (usize, Value)| item_of(&format!("input[{at}]"), item).transpose();
    items.into_iter().enumerate().filter_map(read).collect()
}

/// A message, or `None` if the item says nothing to this agent.
fn item_of(name: &str, item: Value) -> Result<Option<ChatMessage>, Problem> {
    match item.get("type").and_then(Value::as_str) {
        None | Some("message") => {
            let read = serde_json::from_value(item);
            read.map(Some).map_err(|error| wrong(name, format!("read {name}: {error}")))
        }
        Some("reasoning") => Ok(None),
        Some(other) => {
            Err(unsupported(name, format!("{name} is of type {other:?}; this agent reads messages only")))
        }
    }
}

/// The conversation by its name, or by an object with its `id`.
fn conversation(value: &Value) -> Result<SessionId, Problem> {
    let id = value.as_str().or_else(|| value.get("id").and_then(Value::as_str));
    let id =
        id.ok_or_else(|| wrong("conversation", "conversation must be a name, or an object with its id"))?;
    SessionId::new(id).map_err(|error| wrong("conversation", error.message()))
}

/// Refuses what would give the answer another form than it can have.
fn check(request: &ResponseRequest) -> Result<(), Problem> {
    let may_call = request.tool_choice.as_ref().is_none_or(|choice| choice != "none");
    if request.tools.as_ref().is_some_and(|tools| !tools.is_empty()) && may_call {
        return Err(unsupported("tools", "this agent calls no tools of its clients; leave tools out"));
    }
    if request.previous_response_id.is_some() {
        let detail = "responses are not kept; send the conversation as input, or name it by conversation";
        return Err(unsupported("previous_response_id", detail));
    }
    if request.background == Some(true) {
        return Err(unsupported("background", "answers are not made in the background; leave it out"));
    }
    let format = request.text.as_ref().and_then(|text| text.get("format")?.get("type"));
    if format.is_some_and(|format| format != "text") {
        return Err(unsupported("text", "the answer is plain text; leave its format out"));
    }
    Ok(())
}
