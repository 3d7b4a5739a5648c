//! `POST /v1/chat/completions`: the agent as a chat model.

use agentkit_core::{AgentInput, AgentReply};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::chunks::{Chunks, Frame};
use super::error::{finish_reason, unsupported, waits};
use super::messages::{Said, read, split};
use super::models::scope_of;
use super::tools::{self, not_started, outgoing};
use super::wire::{Call, Choice, Completion, CompletionRequest, Reply};
use crate::http::admit::Run;
use crate::http::body::Json;
use crate::http::events::{Guarded, sse};
use crate::http::problem::Problem;
use crate::http::state::{Ask, Permit};

/// Continues a chat with an answer from the documents of a collection, with citations.
///
/// The messages of the request are the whole conversation; nothing of it is remembered. Those of the system are further
/// instructions to the model. Where the chat model can call tools, those of the request are handed to it beside the passages; an
/// answer that calls them is continued by the same messages with the calls and their results. A client that goes away stops
/// the work.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The answer", content(
            (Completion = "application/json"),
            (crate::http::schema::ChunkFrameSchema = "text/event-stream"),
        )),
        (status = "default", description = "A problem", body = super::wire::ErrorDocument),
    ),
)]
pub(in crate::http) async fn completions(
    permit: Permit<Ask>,
    run: Run,
    Json(request): Json<CompletionRequest>,
) -> Result<Response, Problem> {
    check(&request)?;
    let scope = scope_of(&permit, &request.model, &run.ctx).await?;
    let (choice, parallel) = (request.tool_choice.as_ref(), request.parallel_tool_calls);
    let offer = tools::offer(request.tools.as_deref(), choice, parallel)?;
    let Said { question, history, since } = split("messages", read("messages", request.messages)?)?;
    let uses_tools = offer.is_open() || !since.is_empty();
    let mut input = AgentInput::new(scope, question).history(history).since(since).tools(offer.clone());
    input.filter = request.filter;
    let head = Head {
        id: format!("chatcmpl-{}", run.ctx.trace().trace_id()),
        created: permit.now().seconds(),
        model: request.model,
    };
    let events = run.ctx.run(permit.agent()?.run(input, &run.ctx)).await;
    let events = events.map_err(|error| not_started(error, uses_tools))?;
    if request.stream.unwrap_or_default() {
        let usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or_default();
        let mut chunks = Chunks::new(head, usage, offer.is_open());
        let frames = Guarded::new(events, run, None)
            .flat_map(move |event| futures_util::stream::iter(chunks.frames(event.kind)));
        return Ok(sse(frames.map(|frame: Frame| frame.into_event())));
    }
    let reply = run.ctx.run(events.collect()).await?;
    Ok(axum::Json(completion(head, reply)?).into_response())
}

/// What all parts of an answer begin with.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

fn completion(head: Head, reply: AgentReply) -> Result<Completion, Problem> {
    let Head { id, created, model } = head;
    let mine = reply.deferred.is_empty();
    let tool_calls: Vec<Call> = reply.tool_calls.iter().filter(|_| mine).map(outgoing).collect();
    let finish_reason = finish_reason(reply.outcome, !tool_calls.is_empty()).ok_or_else(waits)?;
    let content = Some(reply.answer).filter(|text| tool_calls.is_empty() || !text.is_empty());
    let citations = reply.citations;
    let message = Reply { role: "assistant", content, refusal: None, citations, tool_calls };
    let choices = vec![Choice { index: 0, message, logprobs: (), finish_reason }];
    Ok(Completion { id, object: "chat.completion", created, model, choices, usage: reply.usage.into() })
}

/// Refuses what would give the answer another form than it can have.
fn check(request: &CompletionRequest) -> Result<(), Problem> {
    let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if some(&request.functions) {
        return Err(unsupported("functions", "functions are the older form of tools; send tools"));
    }
    if request.n.is_some_and(|n| n != 1) {
        return Err(unsupported("n", "only one answer can be had; leave n out, or send 1"));
    }
    if request.logprobs == Some(true) {
        return Err(unsupported("logprobs", "probabilities of tokens cannot be had; leave logprobs out"));
    }
    let format = request.response_format.as_ref().and_then(|format| format.get("type"));
    if format.is_some_and(|format| format != "text") {
        return Err(unsupported("response_format", "the answer is plain text; leave response_format out"));
    }
    if request.modalities.iter().flatten().any(|kind| kind != "text") {
        return Err(unsupported("modalities", "the answer is text; leave modalities out"));
    }
    Ok(())
}
