//! What was said before a question, as much of it as a model is given.

use agentkit_core::{Message, Part, Role};

use super::cite::without_markers;
use super::pack::message_tokens;

/// A message of an earlier turn.
pub(super) struct Turn {
    pub(super) message: Message,
    /// Its text; empty if it has nothing but calls of tools, or results.
    pub(super) text: String,
}

impl Turn {
    /// The message as a model is given it; `None` if that is nothing. Calls and results are left out unless `calls`.
    fn new(message: Message, calls: bool) -> Option<Self> {
        let Message { role, parts } = message;
        let part = |part| match part {
            // The numbers of an earlier answer mean other passages than those of this turn.
            Part::Text { text } => Some(Part::Text { text: without_markers(&text) }),
            Part::ToolCall(_) | Part::ToolResult(_) if calls => Some(part),
            _ => None,
        };
        let message = Message { role, parts: parts.into_iter().filter_map(part).collect() };
        let text = message.joined_text();
        (!message.parts.is_empty()).then_some(Self { message, text })
    }

    pub(super) fn role(&self) -> Role {
        self.message.role
    }

    pub(super) fn tokens(&self) -> usize {
        message_tokens(&self.message)
    }
}

/// The latest turns of `messages`: at most `most` that fit `budget` tokens, the first of them the user's, since some
/// models want the user to speak first. So no result is without its call.
pub(super) fn turns(messages: Vec<Message>, most: usize, budget: usize, calls: bool) -> Vec<Turn> {
    let mut left = budget;
    let mut turns = Vec::new();
    let spoken = messages.into_iter().rev().filter(|message| message.role != Role::System);
    for turn in spoken.filter_map(|message| Turn::new(message, calls)).take(most) {
        let Some(rest) = left.checked_sub(turn.tokens()) else { break };
        left = rest;
        turns.push(turn);
    }
    turns.reverse();
    let first = turns.iter().position(|turn| turn.role() == Role::User).unwrap_or(turns.len());
    turns.split_off(first)
}
