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
        let Message { role, mut parts } = unmarked(message);
        parts.retain(|part| match part {
            Part::Text { .. } => true,
            Part::ToolCall(_) | Part::ToolResult(_) => calls,
            _ => false,
        });
        let message = Message { role, parts };
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

/// The message without the numbers of its citations, which mean other passages than those that are found now.
pub(super) fn unmarked(mut message: Message) -> Message {
    for part in &mut message.parts {
        if let Part::Text { text } = part {
            *text = without_markers(text);
        }
    }
    message
}

/// The latest turns of `messages`: at most `most` that fit `budget` tokens, the first of them the user's, since some
/// models want the user to speak first. With `calls` the calls of tools between them are kept if they fit as well.
pub(super) fn turns(messages: Vec<Message>, most: usize, budget: usize, calls: bool) -> Vec<Turn> {
    let said: Vec<Message> = messages.into_iter().filter(|message| message.role != Role::System).collect();
    let (begin, turns) = latest(&said, most, budget);
    if calls {
        let all = said.into_iter().skip(begin).filter_map(|message| Turn::new(message, true));
        let all: Vec<Turn> = all.collect();
        if all.iter().map(Turn::tokens).sum::<usize>() <= budget {
            return all;
        }
    }
    turns
}

/// The latest turns without calls, and where in `said` they begin.
fn latest(said: &[Message], most: usize, budget: usize) -> (usize, Vec<Turn>) {
    let mut left = budget;
    let mut turns = Vec::new();
    let spoken = said.iter().enumerate().rev();
    let spoken = spoken.filter_map(|(at, message)| Some((at, Turn::new(message.clone(), false)?)));
    for (at, turn) in spoken.take(most) {
        let Some(rest) = left.checked_sub(turn.tokens()) else { break };
        left = rest;
        turns.push((at, turn));
    }
    turns.reverse();
    let first = turns.iter().position(|(_, turn)| turn.role() == Role::User).unwrap_or(turns.len());
    let turns = turns.split_off(first);
    let begin = turns.first().map_or(said.len(), |(at, _)| *at);
    (begin, turns.into_iter().map(|(_, turn)| turn).collect())
}
