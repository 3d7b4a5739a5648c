//! Reads the messages of a chat: what the application says, what was said before, the question, and what was done since.

use agentkit_core::{Message, Part, Role, ToolResult};
use serde_json::Value;

use super::error::{unsupported, wrong};
use super::tools::incoming;
use super::wire::ChatMessage;
use crate::http::problem::Problem;

/// A question, what was said before it, and the calls of tools since.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) question: String,
    pub(super) history: Vec<Message>,
    pub(super) since: Vec<Message>,
}

/// Takes `messages` apart, which must end with the user's question, or with results of tools that were called for it;
/// `name` is what the request calls them.
pub(super) fn split(name: &str, mut messages: Vec<Message>) -> Result<Said, Problem> {
    let asked = messages.iter().rposition(|message| message.role == Role::User);
    let since = asked.map(|at| messages.split_off(at + 1)).unwrap_or_default();
    let (further, since): (Vec<_>, Vec<_>) =
        since.into_iter().partition(|message| message.role == Role::System);
    let ended = since.last().is_none_or(|last| last.role == Role::Tool);
    let Some(last) = messages.pop().filter(|last| ended && last.role == Role::User) else {
        let detail =
            format!("the last of {name} must be the user's question, or the results of tools called for it");
        return Err(wrong(name, detail));
    };
    messages.extend(further);
    Ok(Said { question: last.joined_text(), history: messages, since })
}

/// Reads `messages`; results of tools that follow each other are one message, and so are the calls of an answer.
pub(super) fn read(name: &str, messages: Vec<ChatMessage>) -> Result<Vec<Message>, Problem> {
    let mut read: Vec<Message> = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let Some(message) = message_of(&format!("{name}[{at}]"), message)? else { continue };
        match read.last_mut() {
            Some(last) if continues(last, &message) => last.parts.extend(message.parts),
            _ => read.push(message),
        }
    }
    Ok(read)
}

fn continues(last: &Message, message: &Message) -> bool {
    let calls = |message: &Message| message.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    last.role == message.role && (message.role == Role::Tool || calls(last) || calls(message))
}

/// A message, or `None` if it says nothing.
fn message_of(name: &str, message: ChatMessage) -> Result<Option<Message>, Problem> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        "function" => {
            let detail =
                format!("{name} is the result of a function in the older form; send tools and their results");
            return Err(unsupported(name, detail));
        }
        other => return Err(wrong(name, format!("{name} has the unknown role {other:?}"))),
    };
    let text = text_of(&format!("{name}.content"), message.content.unwrap_or_default())?;
    if role == Role::Tool {
        let call_id =
            message.tool_call_id.ok_or_else(|| wrong(name, format!("{name} has no tool_call_id")))?;
        let result = ToolResult { call_id, content: text, is_error: false };
        return Ok(Some(Message { role, parts: vec![Part::ToolResult(result)] }));
    }
    let calls = message.tool_calls.unwrap_or_default().into_iter().map(|call| Part::ToolCall(incoming(call)));
    let says = (role == Role::User || !text.trim().is_empty()).then_some(Part::Text { text });
    let parts: Vec<Part> = says.into_iter().chain(calls).collect();
    Ok((!parts.is_empty()).then_some(Message { role, parts }))
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
