//! Asking a chat model for text about a question and what was said before it.

use std::fmt::Write as _;

use super::super::{Conversation, MAX_QUERY_BYTES, SearchRequest};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::message::{Message, Role};
use crate::model::{ChatModel, ChatRequest, complete};

/// Latest turns that are shown to a model, and most topics.
const TURNS: usize = 12;
const TOPICS: usize = 8;
/// Bytes of one turn that are shown.
const TURN_BYTES: usize = 2_000;

/// What a model is to write, and for what.
pub(super) struct Task<'t> {
    pub(super) instructions: &'t str,
    pub(super) max_tokens: u32,
    /// Whether the turns before are shown.
    pub(super) with_conversation: bool,
}

impl Task<'_> {
    /// The model's answer, trimmed; an error if it is empty or too long to search for.
    pub(super) async fn ask(
        &self,
        model: &dyn ChatModel,
        request: &SearchRequest,
        ctx: &RunContext,
    ) -> Result<String> {
        let mut chat =
            ChatRequest::new(vec![Message::system(self.instructions), Message::user(self.text(request))]);
        chat.max_tokens = Some(self.max_tokens);
        chat.temperature = Some(0.0);
        let answer = complete(model, chat, ctx).await?;
        ctx.spend_tokens(answer.usage.total())?;
        let text = answer.text.trim().replace('\0', " ");
        match text.len() {
            0 => Err(Error::internal("the model wrote nothing to search for")),
            bytes if bytes > MAX_QUERY_BYTES => {
                Err(Error::internal(format!("the model wrote {bytes} bytes to search for")))
            }
            _ => Ok(text),
        }
    }

    /// The conversation and the question, marked as what they are.
    fn text(&self, request: &SearchRequest) -> String {
        let said = if self.with_conversation { shown(&request.conversation) } else { String::new() };
        said + "Question: " + &request.text
    }
}

/// What a conversation is about, if that is known, and its latest turns, a line each.
fn shown(conversation: &Conversation) -> String {
    let mut text = String::new();
    let topics: Vec<_> = conversation.topics.iter().take(TOPICS).map(|topic| beginning(topic)).collect();
    // Writing to a string cannot fail.
    if !topics.is_empty() {
        let _ = writeln!(text, "About: {}", topics.join(", "));
    }
    let turns: Vec<_> = conversation.turns().rev().take(TURNS).collect();
    for (role, turn) in turns.iter().rev() {
        let speaker = if *role == Role::User { "User" } else { "Assistant" };
        let _ = writeln!(text, "{speaker}: {}", beginning(turn));
    }
    text
}

/// As much of a turn as is shown, in one line.
fn beginning(turn: &str) -> String {
    let end = (0..=TURN_BYTES.min(turn.len())).rev().find(|at| turn.is_char_boundary(*at)).unwrap_or(0);
    turn.get(..end).unwrap_or_default().replace(['\n', '\r'], " ")
}
