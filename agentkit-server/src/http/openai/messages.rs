//! Reads the messages of a chat: what the application says, what was said before, and the question.

use agentkit_core::{Message, Role};
use serde_json::Value;

use super::error::{unsupported, wrong};
use super::wire::ChatMessage;
use crate::http::problem::Problem;

/// A question and what was said before it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) question: String,
    pub(super) history: Vec<Message>,
}

/// Reads `messages`, whose last has to be the user's; `name` is what the request calls them.
pub(super) fn read(name: &str, messages: Vec<ChatMessage>) -> Result<Said, Problem> {
    let mut history = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        history.extend(message_of(&format!("{name}[{at}]"), message)?);
    }
    match history.pop() {
        Some(last) if last.role == Role::User => Ok(Said { question: last.joined_text(), history }),
        _ => Err(wrong(name, format!("the last of {name} must be the user's question"))),
    }
}

/// A message, or `None` if it says nothing.
fn message_of(name: &str, message: ChatMessage) -> Result<Option<Message>, Problem> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => {
            let detail = format!("{name} is the result of a tool; this service runs its tools itself");
            return Err(unsupported(name, detail));
        }
        other => return Err(wrong(name, format!("{name} has the unknown role {other:?}"))),
    };
    if message.tool_calls.is_some_and(|calls| !calls.is_empty()) {
        let detail = format!("{name} calls tools; this service runs its tools itself");
        return Err(unsupported(name, detail));
    }
    let text = text_of(&format!("{name}.content"), message.content.unwrap_or_default())?;
    let says_nothing = role != Role::User && text.trim().is_empty();
    Ok((!says_nothing).then(|| Message::text(role, text)))
}

/// The text of a content, which is a text or a list of parts.
fn text_of(name: &str, content: Value) -> Result<String, Problem> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let texts: Result<Vec<_>, _> = parts
                .iter()
                .enumerate()
                .map(|(at, part)| part_text(&format!("{name}[{at}]"), part))
                .collect();
            Ok(texts?.join("\n"))
        }
        _ => Err(wrong(name, format!("{name} must be a text or a list of parts"))),
    }
}

fn part_text<'a>(name: &str, part: &'a Value) -> Result<&'a str, Problem> {
    match part.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") => {
            part.get("text").and_then(Value::as_str).ok_or_else(|| wrong(name, format!("{name} has no text")))
        }
        Some("refusal") => Ok(part.get("refusal").and_then(Value::as_str).unwrap_or_default()),
        Some(other) => {
            Err(unsupported(name, format!("{name} is of type {other:?}; this service reads text only")))
        }
        None => Err(wrong(name, format!("{name} has no type"))),
    }
}
