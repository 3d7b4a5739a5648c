//! The events of a streamed chat completion from its bytes.
//!
//! Servers differ in what they leave out: the role, the index or the id of a tool call, the usage, the final
//! `[DONE]`. The decoder asks for no more than it needs to tell a whole answer from a broken one: a finish
//! reason, or `[DONE]`.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Result;
use crate::model::wire::{
    Answer, AnswerDecoder, Frame, MAX_CALLS, PartialCall, Protocol, SseDecoder, error_in_frame,
    too_many_calls, unreadable,
};
use crate::model::{FinishReason, Usage};

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
pub type ChatDecoder = AnswerDecoder<ChatCompletions>;

/// The protocol of streamed chat completions.
#[derive(Debug, Default)]
pub struct ChatCompletions {
    response_id: String,
    calls: Vec<(Option<u64>, PartialCall)>,
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

impl Protocol for ChatCompletions {
    type Frames = SseDecoder;

    fn take(&mut self, frame: &Frame, answer: &mut Answer) -> Result<()> {
        match frame.data.trim() {
            "" => Ok(()),
            DONE => {
                self.close(answer)?;
                answer.finish();
                Ok(())
            }
            data => self.chunk(data, answer),
        }
    }

    /// Tool calls are whole only at the end.
    fn close(&mut self, answer: &mut Answer) -> Result<()> {
        for (at, (_, call)) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            answer.call(call.whole(|| format!("call_{}_{at}", self.response_id)))?;
        }
        Ok(())
    }
}

impl ChatCompletions {
    fn chunk(&mut self, data: &str, answer: &mut Answer) -> Result<()> {
        let unreadable = |error| unreadable("an event", error);
        let object: Value = serde_json::from_str(data).map_err(unreadable)?;
        if let Some(error) = error_in_frame(&object) {
            return Err(error);
        }
        let chunk: Chunk = serde_json::from_value(object).map_err(unreadable)?;
        if let Some(id) = chunk.id.filter(|_| self.response_id.is_empty()) {
            self.response_id = id;
        }
        if let Some(usage) = chunk.usage {
            answer.cost(Usage {
                input_tokens: usage.prompt_tokens.unwrap_or(0),
                output_tokens: usage.completion_tokens.unwrap_or(0),
            });
        }
        let choices = chunk.choices.into_iter().flatten();
        choices
            .filter(|choice| choice.index.unwrap_or(0) == 0)
            .try_for_each(|choice| self.choose(choice, answer))
    }

    fn choose(&mut self, choice: Choice, answer: &mut Answer) -> Result<()> {
        if let Some(delta) = choice.delta {
            answer.say(delta.content.map(text_of).unwrap_or_default());
            answer.refuse(delta.refusal.unwrap_or_default());
            delta.tool_calls.into_iter().flatten().try_for_each(|fragment| self.extend_call(fragment))?;
        }
        if let Some(reason) = choice.finish_reason {
            answer.ends(reason_of(&reason));
        }
        Ok(())
    }

    fn extend_call(&mut self, fragment: CallFragment) -> Result<()> {
        let at = self.call_of(&fragment);
        if at >= MAX_CALLS {
            return Err(too_many_calls());
        }
        if at == self.calls.len() {
            self.calls.push((fragment.index, PartialCall::default()));
        }
        let Some((_, call)) = self.calls.get_mut(at) else { return Err(too_many_calls()) };
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
        if PartialCall::exceed(self.calls.iter().map(|(_, call)| call)) {
            Err(too_many_calls())
        } else {
            Ok(())
        }
    }

    /// Which call a fragment belongs to: the one of its index, unless it has another id; without an index,
    /// the last one, unless it brings an id of its own.
    fn call_of(&self, fragment: &CallFragment) -> usize {
        let new = self.calls.len();
        let id = fragment.id.as_deref().filter(|id| !id.is_empty());
        let same = |call: &PartialCall| id.is_none_or(|id| call.id.is_empty() || call.id == id);
        match fragment.index {
            Some(_) => {
                let known = self.calls.iter().rposition(|(index, _)| *index == fragment.index);
                known.filter(|at| self.calls.get(*at).is_some_and(|(_, call)| same(call))).unwrap_or(new)
            }
            None => self.calls.last().filter(|(_, call)| same(call)).map_or(new, |_| new - 1),
        }
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
