//! `POST /v1/responses`: the agent behind OpenAI's newer interface.

use agentkit_core::{AgentEventKind, AgentInput, Message, SessionId};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::Value;

use super::chat::Head;
use super::error::{failed, unsupported, wrong};
use super::keeping::Keeper;
use super::messages::{Said, read, split};
use super::models::scope_of;
use super::response_events::{Answer, Asked, Frame};
use super::tools::{Tools, not_started};
use super::wire::{Call, CalledFunction, ChatMessage, ResponseRequest};
use crate::http::admit::Run;
use crate::http::body::Json;
use crate::http::events::{Guarded, sse};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{Ask, Permit};
use crate::identity::random_hex;

/// Most pairs of metadata.
const MAX_PAIRS: usize = 16;
/// Longest name of metadata in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Longest value of metadata in bytes.
const MAX_VALUE_BYTES: usize = 512;

/// Answers from the documents of a collection, with citations as annotations.
///
/// With `conversation` the turns are remembered, and the conversation is the one that `/chat` knows as `session_id`. With
/// `previous_response_id` it goes on from a response that is kept. With neither, the input is the whole conversation. Where the
/// chat model can call tools, those of the request are handed to it beside the passages; a response that calls them is
/// continued by their results. A client that goes away stops the work, and its response is not kept.
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
    let tools = Tools::read(&request)?;
    if tools.offer.is_open() && request.conversation.is_some() {
        let detail = "calls of tools are not remembered in a conversation; use previous_response_id instead";
        return Err(unsupported("tools", detail));
    }
    let said = read("input", items(request.input)?)?;
    let previous = request.previous_response_id.clone();
    let now = permit.now();
    let keeper = Keeper { permit, said: said.clone(), previous, ctx: run.ctx.clone() };
    let before = keeper.before(said.len()).await?;
    let Said { question, mut history, since } = split("input", [before, said].concat())?;
    if let Some(instructions) = request.instructions.as_ref().filter(|text| !text.trim().is_empty()) {
        history.insert(0, Message::system(instructions.as_str()));
    }
    let session = request.conversation.as_ref().map(conversation).transpose()?;
    let uses_tools = tools.offer.is_open() || !since.is_empty();
    let mut input = AgentInput::new(scope, question).history(history).since(since).tools(tools.offer.clone());
    input.session = session.as_ref().map(|session| keeper.permit.session(session)).transpose()?;
    input.filter = request.filter;
    // Responses of one trace are told apart by the digits behind it.
    let id = format!("{}{}{}", now.sortable(), run.ctx.trace().trace_id(), random_hex::<4>()?);
    let head = Head { id, created: now.seconds(), model: request.model };
    let asked = Asked {
        instructions: request.instructions,
        conversation: session.clone(),
        previous: request.previous_response_id,
        metadata: request.metadata.unwrap_or_default(),
        store: request.store.unwrap_or(true),
        tools,
    };
    let answer = Answer::new(head, asked);
    let events = run.ctx.run(keeper.permit.agent()?.run(input, &run.ctx)).await;
    let events = events.map_err(|error| not_started(error, uses_tools))?;
    let events = Guarded::new(events, run, session);
    if request.stream.unwrap_or_default() {
        return Ok(sse(frames(events, answer, keeper).map(Frame::into_event)));
    }
    whole(events, answer, keeper).await
}

/// The answer when it is over, and kept.
async fn whole(mut events: Guarded, mut answer: Answer, keeper: Keeper) -> Result<Response, Problem> {
    while let Some(event) = events.next().await {
        match event.kind {
            AgentEventKind::Error { kind, message } => return Err(failed(kind, &message)),
            AgentEventKind::Done { outcome } => {
                return Ok(axum::Json(keeper.end(&mut answer, outcome).await?).into_response());
            }
            kind => answer.take(kind),
        }
    }
    Err(Problem::new(ProblemKind::Internal, "the run ended without saying how"))
}

/// What a client is sent: the end only when the response is kept.
fn frames(events: Guarded, answer: Answer, keeper: Keeper) -> impl Stream<Item = Frame> + Send {
    let parts = stream::unfold((events, answer, keeper), |(mut events, mut answer, keeper)| async move {
        let frames = match events.next().await?.kind {
            AgentEventKind::Done { outcome } => match keeper.end(&mut answer, outcome).await {
                Ok(whole) => answer.end(outcome, whole),
                Err(problem) => answer.fail(&problem),
            },
            kind => answer.frames(kind),
        };
        Some((stream::iter(frames), (events, answer, keeper)))
    });
    parts.flatten()
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
    let text = |member: &str| {
        let text = item.get(member).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| wrong(name, format!("{name} has no {member}")))
    };
    match item.get("type").and_then(Value::as_str) {
        None | Some("message") => {
            let read = serde_json::from_value(item);
            read.map(Some).map_err(|error| wrong(name, format!("read {name}: {error}")))
        }
        Some("reasoning") => Ok(None),
        Some("function_call") => {
            let function = CalledFunction { name: text("name")?, arguments: text("arguments")? };
            Ok(Some(ChatMessage::calling(Call::new(text("call_id")?, function))))
        }
        Some("function_call_output") => {
            let output = item.get("output").cloned().unwrap_or_default();
            Ok(Some(ChatMessage::result(text("call_id")?, output)))
        }
        Some(other) => {
            let detail =
                format!("{name} is of type {other:?}; this agent reads messages and calls of functions only");
            Err(unsupported(name, detail))
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
    if request.previous_response_id.is_some() && request.conversation.is_some() {
        let detail = "a response continues a conversation or an earlier response; leave one of them out";
        return Err(wrong("previous_response_id", detail));
    }
    check_metadata(request)?;
    if request.background == Some(true) {
        return Err(unsupported("background", "answers are not made in the background; leave it out"));
    }
    let format = request.text.as_ref().and_then(|text| text.get("format")?.get("type"));
    if format.is_some_and(|format| format != "text") {
        return Err(unsupported("text", "the answer is plain text; leave its format out"));
    }
    Ok(())
}

fn check_metadata(request: &ResponseRequest) -> Result<(), Problem> {
    let pairs = request.metadata.iter().flatten();
    let fits =
        |(name, value): (&String, &String)| name.len() <= MAX_NAME_BYTES && value.len() <= MAX_VALUE_BYTES;
    if pairs.clone().count() <= MAX_PAIRS && pairs.clone().all(fits) {
        return Ok(());
    }
    let detail =
        format!("metadata takes {MAX_PAIRS} pairs, of {MAX_NAME_BYTES} and {MAX_VALUE_BYTES} bytes, at most");
    Err(wrong("metadata", detail))
}
