//! A conversation as the lines of a chat template.

use agentkit_core::model::wire::{arguments_object, marked_content, turns};
use agentkit_core::{Message, Result, Role, ToolCall};
use serde_json::{Value, json};

use super::template::Line;
use super::vocabulary::Vocabulary;

/// The model is held to the schema; told of it, it says what the members ask for.
const ANSWER_WITH_JSON: &str = "Answer with JSON that fits this JSON Schema: ";

/// The messages as lines, and what the answer has to be; nothing in them reads as a control token.
///
/// # Errors
/// Invalid input: a part in a message of a role that cannot have it.
pub(super) fn lines(
    messages: &[Message],
    schema: Option<&Value>,
    vocabulary: &Vocabulary,
) -> Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(messages.len() + 1);
    for turn in turns(messages)? {
        let role = match turn.role {
            Role::System => "system",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            _ => "user",
        };
        for result in &turn.results {
            let content = vocabulary.quoted(&marked_content(result));
            lines.push(Line { role, content, tool_calls: Vec::new() });
        }
        if turn.results.is_empty() {
            let content = vocabulary.quoted(&turn.text.unwrap_or_default());
            let tool_calls = turn.calls.iter().map(|call| written(call, vocabulary)).collect();
            lines.push(Line { role, content, tool_calls });
        }
    }
    if let Some(schema) = schema {
        instruct(&mut lines, &vocabulary.quoted(&format!("{ANSWER_WITH_JSON}{schema}")));
    }
    Ok(lines)
}

/// Adds to the instructions, or puts them first.
fn instruct(lines: &mut Vec<Line>, instructions: &str) {
    match lines.first_mut() {
        Some(first) if first.role == "system" => {
            first.content = format!("{}\n\n{instructions}", first.content);
        }
        _ => lines.insert(0, Line { role: "system", content: instructions.into(), tool_calls: Vec::new() }),
    }
}

/// A call in the form that templates expect.
fn written(call: &ToolCall, vocabulary: &Vocabulary) -> Value {
    let call = json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments_object(call)},
    });
    quoted(call, vocabulary)
}

/// A value without control tokens in any of its texts.
pub(super) fn quoted(value: Value, vocabulary: &Vocabulary) -> Value {
    match value {
        Value::String(text) => Value::String(vocabulary.quoted(&text)),
        Value::Array(values) => values.into_iter().map(|value| quoted(value, vocabulary)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, value)| (vocabulary.quoted(&name), quoted(value, vocabulary))).collect()
        }
        other => other,
    }
}
