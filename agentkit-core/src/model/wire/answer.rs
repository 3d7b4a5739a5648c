//! What a model has said so far, whatever the form it came in.

use std::collections::VecDeque;

use super::calls::{MAX_CALLS, too_many_calls};
use crate::error::{Error, Result};
use crate::message::ToolCall;
use crate::model::{ChatEvent, FinishReason, Usage};

/// Notes what a model says and makes the events of it, so that they keep the contract of a stream: the usage once
/// and before the finish, one finish or one error, nothing behind it.
#[derive(Debug, Default)]
pub struct Answer {
    events: VecDeque<Result<ChatEvent>>,
    calls: usize,
    refused: bool,
    usage: Option<Usage>,
    reason: Option<FinishReason>,
    over: bool,
}

impl Answer {
    /// The model says more.
    pub fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() && !self.over {
            self.events.push_back(Ok(ChatEvent::Delta { text }));
        }
    }

    /// The model says why it will not answer.
    pub fn refuse(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.refused |= !text.is_empty();
        self.say(text);
    }

    /// The model asks for a tool.
    ///
    /// # Errors
    /// Resource exhausted, if it asks for more tools than any sensible answer.
    pub fn call(&mut self, call: ToolCall) -> Result<()> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(too_many_calls());
        }
        if !self.over {
            self.events.push_back(Ok(ChatEvent::ToolCall(call)));
        }
        Ok(())
    }

    /// The cost so far; what was noted before is replaced.
    pub fn cost(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// Why the answer ends or will end; a body that is cut off behind this is whole.
    pub fn ends(&mut self, reason: FinishReason) {
        self.reason = Some(reason);
    }

    /// The answer is whole. Without a reason it has stopped; a stop behind tool calls waits for them, and one
    /// behind a refusal withholds content.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let reason = match self.reason.unwrap_or(FinishReason::Stop) {
            FinishReason::Stop if self.calls > 0 => FinishReason::ToolCalls,
            FinishReason::Stop if self.refused => FinishReason::ContentFilter,
            reason => reason,
        };
        self.events.extend(self.usage.map(|usage| Ok(ChatEvent::Usage(usage))));
        self.events.push_back(Ok(ChatEvent::Finished { reason }));
    }

    /// The answer has failed.
    pub fn fail(&mut self, error: Error) {
        if !std::mem::replace(&mut self.over, true) {
            self.events.push_back(Err(error));
        }
    }

    /// Whether nothing more will be said.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn has_reason(&self) -> bool {
        self.reason.is_some()
    }

    pub(super) fn next_event(&mut self) -> Option<Result<ChatEvent>> {
        self.events.pop_front()
    }
}
