//! The objects of a streamed chat, one a line.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Result;
use crate::message::ToolCall;
use crate::model::wire::{Answer, AnswerDecoder, Frame, LineDecoder, Protocol, error_in_frame, unreadable};
use crate::model::{FinishReason, Usage};

/// Decodes a streamed chat as its bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::ChatEvent;
/// use agentkit_core::model::ollama::codec::OllamaDecoder;
///
/// let mut decoder = OllamaDecoder::new();
/// decoder.push(b"{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"done\":true,\"done_reason\":\"stop\"}\n");
/// assert_eq!(decoder.next_event().unwrap().unwrap(), ChatEvent::Delta { text: "hi".into() });
/// assert!(decoder.is_over());
/// ```
pub type OllamaDecoder = AnswerDecoder<OllamaChat>;

/// The protocol of streamed chats.
#[derive(Debug, Default)]
pub struct OllamaChat {
    began: String,
    called: usize,
}

#[derive(Deserialize)]
struct Chunk {
    created_at: Option<String>,
    message: Option<Message>,
    done: Option<bool>,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

impl Protocol for OllamaChat {
    type Frames = LineDecoder;

    fn take(&mut self, frame: &Frame, answer: &mut Answer) -> Result<()> {
        let unreadable = |error| unreadable("a line", error);
        let object: Value = serde_json::from_str(&frame.data).map_err(unreadable)?;
        if let Some(error) = error_in_frame(&object) {
            return Err(error);
        }
        let chunk: Chunk = serde_json::from_value(object).map_err(unreadable)?;
        if self.began.is_empty() {
            self.began = chunk.created_at.clone().unwrap_or_default();
        }
        let (done, cost, reason) = (chunk.done == Some(true), usage(&chunk), chunk.done_reason);
        if let Some(message) = chunk.message {
            answer.say(message.content.unwrap_or_default());
            message.tool_calls.into_iter().flatten().try_for_each(|call| self.call(call, answer))?;
        }
        if done {
            if let Some(usage) = cost {
                answer.cost(usage);
            }
            answer.ends(reason_of(reason.as_deref()));
            answer.finish();
        }
        Ok(())
    }
}

impl OllamaChat {
    /// A call is whole as it comes. Without an id it gets one of the time its answer began.
    fn call(&mut self, call: Call, answer: &mut Answer) -> Result<()> {
        let at = self.called;
        self.called += 1;
        let id = call.id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| format!("call_{}_{at}", self.began));
        let (name, arguments) = call.function.map(|f| (f.name, f.arguments)).unwrap_or_default();
        let arguments = match arguments {
            None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
            Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            Some(arguments) => arguments,
        };
        answer.call(ToolCall { id, name: name.unwrap_or_default(), arguments })
    }
}

/// A prompt that the server still had in its cache is left out of its count by some versions.
fn usage(chunk: &Chunk) -> Option<Usage> {
    let stated = chunk.prompt_eval_count.is_some() || chunk.eval_count.is_some();
    stated.then(|| Usage {
        input_tokens: chunk.prompt_eval_count.unwrap_or(0),
        output_tokens: chunk.eval_count.unwrap_or(0),
    })
}

fn reason_of(name: Option<&str>) -> FinishReason {
    if name == Some("length") { FinishReason::Length } else { FinishReason::Stop }
}
