//! The events of a streamed response.
//!
//! A response is made of items, each announced, built up and closed by events of its own. Text and refusals are
//! handed on as they grow, and a tool call when its item is done, which repeats it whole. Of the many other events
//! only those that end the response matter; unknown ones are passed over.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::wire::{
    Answer, AnswerDecoder, Frame, PartialCall, Protocol, SseDecoder, error_in_frame, too_many_calls,
    unreadable,
};
use crate::model::{FinishReason, Usage};

/// Decodes the events of a streamed response as its bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::ChatEvent;
/// use agentkit_core::model::openai::responses::codec::ResponsesDecoder;
///
/// let mut decoder = ResponsesDecoder::new();
/// decoder.push(b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n");
/// assert_eq!(decoder.next_event().unwrap().unwrap(), ChatEvent::Delta { text: "hi".into() });
/// decoder.push(b"data: {\"type\":\"response.completed\",\"response\":{}}\n\n");
/// assert!(decoder.is_over());
/// ```
pub type ResponsesDecoder = AnswerDecoder<Responses>;

/// The protocol of streamed responses.
#[derive(Debug, Default)]
pub struct Responses {
    response_id: String,
    /// Calls that were handed on, by their ids: the end of the response repeats them.
    called: HashSet<String>,
    calls: usize,
}

#[derive(Deserialize)]
struct Event {
    delta: Option<Value>,
    item: Option<Item>,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Item {
    r#type: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    id: Option<String>,
    error: Option<Value>,
    incomplete_details: Option<Incomplete>,
    output: Option<Vec<Item>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Incomplete {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Protocol for Responses {
    type Frames = SseDecoder;

    fn take(&mut self, frame: &Frame, answer: &mut Answer) -> Result<()> {
        if matches!(frame.data.trim(), "" | "[DONE]") {
            return Ok(());
        }
        let unreadable = |error| unreadable("an event", error);
        let object: Value = serde_json::from_str(&frame.data).map_err(unreadable)?;
        let name = object.get("type").and_then(Value::as_str).unwrap_or(&frame.name).to_owned();
        if name == "error" {
            return Err(failure(&object));
        }
        if let Some(error) = error_in_frame(&object) {
            return Err(error);
        }
        if is_read(&name) {
            self.read(&name, serde_json::from_value(object).map_err(unreadable)?, answer)
        } else {
            Ok(())
        }
    }
}

impl Responses {
    fn read(&mut self, name: &str, event: Event, answer: &mut Answer) -> Result<()> {
        let text = event.delta.as_ref().and_then(Value::as_str).unwrap_or_default();
        match name {
            "response.output_text.delta" => answer.say(text),
            "response.refusal.delta" => answer.refuse(text),
            "response.output_item.done" => {
                event.item.into_iter().try_for_each(|item| self.item(item, answer))?;
            }
            "response.created" => {
                self.response_id = event.response.and_then(|response| response.id).unwrap_or_default();
            }
            "response.failed" => {
                let error = event.response.and_then(|response| response.error).unwrap_or_default();
                return Err(failure(&error));
            }
            _ => self.end(event.response, name == "response.incomplete", answer)?,
        }
        Ok(())
    }

    fn item(&mut self, item: Item, answer: &mut Answer) -> Result<()> {
        if item.r#type.as_deref() != Some("function_call") {
            return Ok(());
        }
        let call = PartialCall {
            id: item.call_id.unwrap_or_default(),
            name: item.name.unwrap_or_default(),
            arguments: item.arguments.unwrap_or_default(),
        };
        if PartialCall::exceed(std::iter::once(&call)) {
            return Err(too_many_calls());
        }
        if !call.id.is_empty() && !self.called.insert(call.id.clone()) {
            return Ok(());
        }
        let at = self.calls;
        self.calls += 1;
        answer.call(call.whole(|| format!("call_{}_{at}", self.response_id)))
    }

    /// The end repeats the whole output, so that a call whose own event was left out is not lost.
    fn end(&mut self, response: Option<Response>, incomplete: bool, answer: &mut Answer) -> Result<()> {
        let Some(response) = response else {
            answer.ends(if incomplete { FinishReason::Length } else { FinishReason::Stop });
            answer.finish();
            return Ok(());
        };
        let mut repeated = response.output.into_iter().flatten().filter(|item| item.call_id.is_some());
        repeated.try_for_each(|item| self.item(item, answer))?;
        if let Some(usage) = response.usage {
            answer.cost(Usage {
                input_tokens: usage.input_tokens.unwrap_or(0),
                output_tokens: usage.output_tokens.unwrap_or(0),
            });
        }
        let reason = response.incomplete_details.and_then(|details| details.reason);
        answer.ends(match reason.as_deref() {
            Some("content_filter") => FinishReason::ContentFilter,
            _ if incomplete => FinishReason::Length,
            _ => FinishReason::Stop,
        });
        answer.finish();
        Ok(())
    }
}

/// Events that matter; what the others hold is not even looked at.
fn is_read(name: &str) -> bool {
    matches!(
        name,
        "response.output_text.delta"
            | "response.refusal.delta"
            | "response.output_item.done"
            | "response.created"
            | "response.completed"
            | "response.incomplete"
            | "response.failed"
    )
}

/// An error stands in a field of its own, or is the event itself.
fn failure(object: &Value) -> Error {
    let own = object.get("error").filter(|error| error.is_object()).unwrap_or(object);
    let wrapped = serde_json::json!({"error": own});
    error_in_frame(&wrapped)
        .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the server broke off its answer"))
}
