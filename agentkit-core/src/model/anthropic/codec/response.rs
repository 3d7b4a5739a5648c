//! The events of a streamed message.
//!
//! A message is made of blocks, each of which begins, grows and ends. Text is handed on as it grows and a tool call
//! when its block ends; blocks of other kinds, such as thinking, are passed over. The usage is stated at the
//! beginning and again, in full, near the end. Events that are not known are passed over, as the interface's rules
//! of versioning ask.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Result;
use crate::model::wire::{
    Answer, AnswerDecoder, Frame, MAX_CALLS, PartialCall, Protocol, SseDecoder, error_in_frame,
    too_many_calls, unreadable,
};
use crate::model::{FinishReason, Usage};

/// Decodes the events of a streamed message as its bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::ChatEvent;
/// use agentkit_core::model::anthropic::codec::MessagesDecoder;
///
/// let mut decoder = MessagesDecoder::new();
/// decoder.push(b"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":");
/// decoder.push(b"{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n");
/// assert_eq!(decoder.next_event().unwrap().unwrap(), ChatEvent::Delta { text: "hi".into() });
/// decoder.push(b"data: {\"type\":\"message_stop\"}\n\n");
/// assert!(decoder.is_over());
/// ```
pub type MessagesDecoder = AnswerDecoder<Messages>;

/// The protocol of streamed messages.
#[derive(Debug, Default)]
pub struct Messages {
    message_id: String,
    /// Calls whose blocks have begun, by their indices.
    open: Vec<(u64, PartialCall)>,
    called: usize,
    usage: WireUsage,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Option<Message>,
    },
    ContentBlockStart {
        index: Option<u64>,
        content_block: Option<Block>,
    },
    ContentBlockDelta {
        index: Option<u64>,
        delta: Option<BlockDelta>,
    },
    ContentBlockStop {
        index: Option<u64>,
    },
    MessageDelta {
        delta: Option<MessageDelta>,
        usage: Option<WireUsage>,
    },
    MessageStop,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    id: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: Option<String>,
    },
    ToolUse {
        id: Option<String>,
        name: Option<String>,
        input: Option<Value>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: Option<String>,
    },
    InputJsonDelta {
        partial_json: Option<String>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// Counts are cumulative; tokens read from and written to the prompt cache are stated apart from the others.
#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    #[serde(rename = "input_tokens")]
    input: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_creation: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: Option<u64>,
    #[serde(rename = "output_tokens")]
    output: Option<u64>,
}

impl Protocol for Messages {
    type Frames = SseDecoder;

    fn take(&mut self, frame: &Frame, answer: &mut Answer) -> Result<()> {
        if frame.data.trim().is_empty() {
            return Ok(());
        }
        let unreadable = |error| unreadable("an event", error);
        let object: Value = serde_json::from_str(&frame.data).map_err(unreadable)?;
        if let Some(error) = error_in_frame(&object) {
            return Err(error);
        }
        match serde_json::from_value(object).map_err(unreadable)? {
            Event::MessageStart { message } => {
                if let Some(message) = message {
                    self.message_id = message.id.unwrap_or_default();
                    self.cost(message.usage, answer);
                }
            }
            Event::ContentBlockStart { index, content_block } => self.begin(index, content_block, answer)?,
            Event::ContentBlockDelta { index, delta } => self.extend(index, delta, answer)?,
            Event::ContentBlockStop { index } => self.end(index, answer)?,
            Event::MessageDelta { delta, usage } => {
                self.cost(usage, answer);
                if let Some(reason) = delta.and_then(|delta| delta.stop_reason) {
                    answer.ends(reason_of(&reason));
                }
            }
            Event::MessageStop => {
                self.close(answer)?;
                answer.finish();
            }
            Event::Other => {}
        }
        Ok(())
    }

    /// A call whose block was not ended is handed on with what it has.
    fn close(&mut self, answer: &mut Answer) -> Result<()> {
        std::mem::take(&mut self.open).into_iter().try_for_each(|(_, call)| self.call(call, answer))
    }
}

impl Messages {
    fn begin(&mut self, index: Option<u64>, block: Option<Block>, answer: &mut Answer) -> Result<()> {
        match block {
            Some(Block::Text { text }) => answer.say(text.unwrap_or_default()),
            Some(Block::ToolUse { id, name, input }) => {
                if self.open.len() >= MAX_CALLS {
                    return Err(too_many_calls());
                }
                // The input is empty here and follows in pieces, unless a gateway knew all of it beforehand.
                let input = input.filter(|input| input.as_object().is_some_and(|fields| !fields.is_empty()));
                let call = PartialCall {
                    id: id.unwrap_or_default(),
                    name: name.unwrap_or_default(),
                    arguments: input.map(|input| input.to_string()).unwrap_or_default(),
                };
                self.open.push((index.unwrap_or_default(), call));
            }
            Some(Block::Other) | None => {}
        }
        self.check_size()
    }

    fn extend(&mut self, index: Option<u64>, delta: Option<BlockDelta>, answer: &mut Answer) -> Result<()> {
        match delta {
            Some(BlockDelta::TextDelta { text }) => answer.say(text.unwrap_or_default()),
            Some(BlockDelta::InputJsonDelta { partial_json }) => {
                let index = index.unwrap_or_default();
                if let Some((_, call)) = self.open.iter_mut().rfind(|(open, _)| *open == index) {
                    call.arguments.push_str(&partial_json.unwrap_or_default());
                }
            }
            Some(BlockDelta::Other) | None => {}
        }
        self.check_size()
    }

    fn end(&mut self, index: Option<u64>, answer: &mut Answer) -> Result<()> {
        let index = index.unwrap_or_default();
        match self.open.iter().position(|(open, _)| *open == index) {
            Some(at) => {
                let (_, call) = self.open.remove(at);
                self.call(call, answer)
            }
            None => Ok(()),
        }
    }

    fn call(&mut self, call: PartialCall, answer: &mut Answer) -> Result<()> {
        let at = self.called;
        self.called += 1;
        answer.call(call.whole(|| format!("call_{}_{at}", self.message_id)))
    }

    fn check_size(&self) -> Result<()> {
        if PartialCall::exceed(self.open.iter().map(|(_, call)| call)) {
            Err(too_many_calls())
        } else {
            Ok(())
        }
    }

    /// What is stated later replaces what was stated before.
    fn cost(&mut self, usage: Option<WireUsage>, answer: &mut Answer) {
        let Some(new) = usage else { return };
        let old = &mut self.usage;
        old.input = new.input.or(old.input);
        old.cache_creation = new.cache_creation.or(old.cache_creation);
        old.cache_read = new.cache_read.or(old.cache_read);
        old.output = new.output.or(old.output);
        let input = [old.input, old.cache_creation, old.cache_read];
        let input_tokens = input.into_iter().flatten().fold(0, u64::saturating_add);
        answer.cost(Usage { input_tokens, output_tokens: old.output.unwrap_or(0) });
    }
}

fn reason_of(name: &str) -> FinishReason {
    match name {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}
