//! A conversation as every provider's request needs it: checked, with passages rendered and tools sorted out.

use serde_json::{Map, Value, json};

use super::passages::render_passages;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Part, Role, ToolCall, ToolResult};
use crate::model::{Capabilities, ChatRequest};
use crate::tool::ToolChoice;

/// A message, taken apart.
#[derive(Debug)]
pub struct Turn<'m> {
    /// Who speaks.
    pub role: Role,
    /// Text and passages; `None` if there are neither.
    pub text: Option<String>,
    /// Only of the assistant.
    pub calls: Vec<&'m ToolCall>,
    /// Only of a tool's message, which has nothing else and at least one.
    pub results: Vec<&'m ToolResult>,
}

/// Refuses what no model, or this one, can answer.
///
/// # Errors
/// Invalid input: no messages. Unsupported: tools for a model without them.
pub fn check_request(request: &ChatRequest, model: &str, capabilities: Capabilities) -> Result<()> {
    if request.messages.is_empty() {
        return Err(Error::invalid_input("the request has no messages; send at least one"));
    }
    if !request.tools.is_empty() && !capabilities.tools {
        let message = format!("the model {model:?} is configured without tools");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// The messages, taken apart; passages are rendered as quoted data and numbered through.
///
/// # Errors
/// Invalid input: a part in a message of a role that cannot have it.
pub fn turns(messages: &[Message]) -> Result<Vec<Turn<'_>>> {
    let mut passages = 0;
    messages.iter().map(|message| turn(message, &mut passages)).collect()
}

fn turn<'m>(message: &'m Message, passages: &mut usize) -> Result<Turn<'m>> {
    let (mut texts, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    let role = message.role;
    for part in &message.parts {
        match part {
            Part::Text { text } if role != Role::Tool => texts.push(text.clone()),
            Part::Passages { passages: more } if role != Role::Tool => {
                texts.push(render_passages(*passages + 1, more));
                *passages += more.len();
            }
            Part::ToolCall(call) if role == Role::Assistant => calls.push(call),
            Part::ToolResult(result) if role == Role::Tool => results.push(result),
            _ => return Err(misplaced(role)),
        }
    }
    if role == Role::Tool && results.is_empty() {
        return Err(misplaced(role));
    }
    let text = (!texts.is_empty()).then(|| texts.join("\n\n"));
    Ok(Turn { role, text, calls, results })
}

fn misplaced(role: Role) -> Error {
    Error::invalid_input(format!(
        "a message of role {role:?} cannot be sent: tool calls belong to the assistant, and a tool's message holds \
         nothing but one or more tool results"
    ))
}

/// Which tools are to be called, in the words of OpenAI; `named` writes a tool's name. `None` leaves it to the model.
pub fn tool_choice(request: &ChatRequest, named: impl FnOnce(&str) -> Value) -> Option<Value> {
    match &request.tool_choice {
        _ if request.tools.is_empty() => None,
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Tool(name) => Some(named(name)),
    }
}

/// Whether several tools may be called at once, where there are tools and it is said.
#[must_use]
pub fn parallel_tool_calls(request: &ChatRequest) -> Option<bool> {
    request.parallel_tool_calls.filter(|_| !request.tools.is_empty())
}

/// A result's content, for formats that have no other mark for an error.
#[must_use]
pub fn marked_content(result: &ToolResult) -> String {
    let mark = if result.is_error { "error: " } else { "" };
    format!("{mark}{}", result.content)
}

/// A call's arguments as text; those that were no JSON go back as they came.
#[must_use]
pub fn arguments_text(call: &ToolCall) -> String {
    match &call.arguments {
        Value::String(raw) => raw.clone(),
        arguments => arguments.to_string(),
    }
}

/// A call's arguments as an object, for formats that take nothing else.
#[must_use]
pub fn arguments_object(call: &ToolCall) -> Value {
    match &call.arguments {
        object @ Value::Object(_) => object.clone(),
        other => json!({"malformed_arguments": other}),
    }
}

/// A JSON object of which most fields may be left out.
#[derive(Debug, Default)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets a field if there is a value.
    pub fn set_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a field by way of its decimal form, so that 0.7 does not become 0.699999988.
    pub fn set_decimal(&mut self, name: &str, value: Option<f32>) {
        self.set_some(name, value.and_then(|value| value.to_string().parse::<f64>().ok()));
    }

    /// Sets a field if there are values.
    pub fn set_list(&mut self, name: &str, values: Vec<Value>) {
        if !values.is_empty() {
            self.set(name, values);
        }
    }

    /// The whole object.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}
