//! The events of a streamed chat completion from its bytes.
//!
//! Servers differ in what they leave out: the role, the index or the id of a tool call, the usage, the final
//! `[DONE]`. The decoder asks for no more than it needs to tell a whole answer from a broken one: a finish
//! reason, or `[DONE]`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::errors::error_in_stream;
use super::sse::SseDecoder;
use crate::error::{Error, ErrorKind, Result};
use crate::message::ToolCall;
use crate::model::{ChatEvent, FinishReason, Usage};

/// Most tool calls of one answer.
const MAX_CALLS: usize = 128;
/// Most bytes of all tool calls' names and arguments together.
const MAX_CALL_BYTES: usize = 1024 * 1024;
/// Ends the stream.
const DONE: &str = "[DONE]";

/// Decodes a stream of `chat.completion.chunk` objects as its bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::ChatEvent;
/// use agentkit_core::model::openai::codec::ChatDecoder;
///
/// let mut decoder = ChatDecoder::new();
/// decoder.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n");
/// assert_eq!(decoder.next_event().unwrap().unwrap(), ChatEvent::Delta { text: "hi".into() });
/// decoder.finish();
/// assert!(matches!(decoder.next_event(), Some(Ok(ChatEvent::Finished { .. }))));
/// assert!(decoder.is_over());
/// ```
#[derive(Debug, Default)]
pub struct ChatDecoder {
    sse: SseDecoder,
    response_id: String,
    calls: Vec<PartialCall>,
    refused: bool,
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    events: VecDeque<Result<ChatEvent>>,
    over: bool,
}

#[derive(Debug, Default)]
struct PartialCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Chunk {
    id: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Value>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallFragment>>,
}

#[derive(Deserialize)]
struct CallFragment {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionFragment>,
}

#[derive(Deserialize)]
struct FunctionFragment {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl ChatDecoder {
    /// A decoder at the start of an answer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the body; take the events out before giving it more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.sse.push(bytes);
        self.decode();
    }

    /// Says that the body is over.
    pub fn finish(&mut self) {
        self.sse.finish();
        self.decode();
        match self.finish_reason {
            _ if self.over => {}
            Some(_) => self.end(),
            None => self.fail(Error::new(
                ErrorKind::Unavailable,
                "the server closed the stream before its answer was finished",
            )),
        }
    }

    /// The next event, `None` if more bytes are needed or the answer is over.
    ///
    /// # Errors
    /// The error the server sent; unavailable, if the stream is broken or not in this format; resource
    /// exhausted, if it is larger than any sensible answer. Nothing follows an error.
    pub fn next_event(&mut self) -> Option<Result<ChatEvent>> {
        self.events.pop_front()
    }

    /// Whether all that belongs to the answer has been read; further bytes are not looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn decode(&mut self) {
        while !self.over {
            match self.sse.next_event() {
                None => return,
                Some(Err(error)) => self.fail(error),
                Some(Ok(event)) if event.data.trim() == DONE => self.end(),
                Some(Ok(event)) if event.data.trim().is_empty() => {}
                Some(Ok(event)) => {
                    if let Err(error) = self.take(&event.data) {
                        self.fail(error);
                    }
                }
            }
        }
    }

    fn take(&mut self, data: &str) -> Result<()> {
        let unreadable = |error| {
            Error::new(ErrorKind::Unavailable, "the server sent an event that is no chat completion chunk")
                .with_source(error)
        };
        let object: Value = serde_json::from_str(data).map_err(unreadable)?;
        if let Some(error) = error_in_stream(&object) {
            return Err(error);
        }
        let chunk: Chunk = serde_json::from_value(object).map_err(unreadable)?;
        if let Some(id) = chunk.id.filter(|_| self.response_id.is_empty()) {
            self.response_id = id;
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(Usage {
                input_tokens: usage.prompt_tokens.unwrap_or(0),
                output_tokens: usage.completion_tokens.unwrap_or(0),
            });
        }
        let choices = chunk.choices.into_iter().flatten();
        choices.filter(|choice| choice.index.unwrap_or(0) == 0).try_for_each(|choice| self.choose(choice))
    }

    fn choose(&mut self, choice: Choice) -> Result<()> {
        if let Some(delta) = choice.delta {
            self.say(delta.content.map(text_of).unwrap_or_default());
            if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
                self.refused = true;
                self.say(refusal);
            }
            delta.tool_calls.into_iter().flatten().try_for_each(|fragment| self.extend_call(fragment))?;
        }
        if let Some(reason) = choice.finish_reason {
            self.finish_reason = Some(reason_of(&reason));
        }
        Ok(())
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.events.push_back(Ok(ChatEvent::Delta { text }));
        }
    }

    fn extend_call(&mut self, fragment: CallFragment) -> Result<()> {
        let at = self.call_of(&fragment);
        if at >= MAX_CALLS {
            return Err(too_large());
        }
        if at == self.calls.len() {
            self.calls.push(PartialCall { index: fragment.index, ..PartialCall::default() });
        }
        let Some(call) = self.calls.get_mut(at) else { return Err(too_large()) };
        if let Some(id) = fragment.id.filter(|_| call.id.is_empty()) {
            call.id = id;
        }
        if let Some(function) = fragment.function {
            if let Some(name) = function.name.filter(|_| call.name.is_empty()) {
                call.name = name;
            }
            match function.arguments {
                None | Some(Value::Null) => {}
                Some(Value::String(piece)) => call.arguments.push_str(&piece),
                Some(whole) => call.arguments = whole.to_string(),
            }
        }
        let held: usize =
            self.calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
        if held > MAX_CALL_BYTES { Err(too_large()) } else { Ok(()) }
    }

    /// Which call a fragment belongs to: the one of its index, unless it has another id; without an index,
    /// the last one, unless it brings an id of its own.
    fn call_of(&self, fragment: &CallFragment) -> usize {
        let new = self.calls.len();
        let id = fragment.id.as_deref().filter(|id| !id.is_empty());
        let same = |call: &PartialCall| id.is_none_or(|id| call.id.is_empty() || call.id == id);
        match fragment.index {
            Some(_) => {
                let known = self.calls.iter().rposition(|call| call.index == fragment.index);
                known.filter(|at| self.calls.get(*at).is_some_and(same)).unwrap_or(new)
            }
            None => self.calls.last().filter(|call| same(call)).map_or(new, |_| new - 1),
        }
    }

    /// Says what could only be said at the end: whole tool calls, the usage, the reason.
    fn end(&mut self) {
        self.over = true;
        let asked_for_tools = !self.calls.is_empty();
        for (at, call) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            let call = call.whole(&self.response_id, at);
            self.events.push_back(Ok(ChatEvent::ToolCall(call)));
        }
        self.events.extend(self.usage.map(|usage| Ok(ChatEvent::Usage(usage))));
        let reason = match self.finish_reason.unwrap_or(FinishReason::Stop) {
            FinishReason::Stop if asked_for_tools => FinishReason::ToolCalls,
            FinishReason::Stop if self.refused => FinishReason::ContentFilter,
            reason => reason,
        };
        self.events.push_back(Ok(ChatEvent::Finished { reason }));
    }

    fn fail(&mut self, error: Error) {
        self.over = true;
        self.events.push_back(Err(error));
    }
}

impl PartialCall {
    /// Arguments that are no JSON are kept as text: the tool refuses them in words the model can mend.
    fn whole(self, response_id: &str, at: usize) -> ToolCall {
        let arguments = match self.arguments.trim() {
            "" => Value::Object(Map::new()),
            text => serde_json::from_str(text).unwrap_or(Value::String(self.arguments)),
        };
        let id = if self.id.is_empty() { format!("call_{response_id}_{at}") } else { self.id };
        ToolCall { id, name: self.name, arguments }
    }
}

/// Content is a text, or with some servers a list of typed parts.
fn text_of(content: Value) -> String {
    match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

fn reason_of(name: &str) -> FinishReason {
    match name {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

fn too_large() -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        format!("the answer asks for more than {MAX_CALLS} tools or {MAX_CALL_BYTES} bytes of arguments"),
    )
}
