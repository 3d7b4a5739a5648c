//! Conversations that the strictest provider takes: what they have to keep to, and how to bring one there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::message::{Message, Part, Role, ToolCall, ToolResult};
use crate::tool::is_tool_name;

/// What a call without a result is answered with.
const NO_RESULT: &str = "no result of this call was recorded";

/// Checks that the strictest provider would take these messages.
///
/// - Every tool call has an id of its own, a well-formed name and an object of arguments, and is the assistant's.
/// - The message behind one with calls is a tool's, and answers each of them once and nothing else; there is no
///   other tool message.
/// - No message and no text is blank.
///
/// # Errors
/// Invalid input, naming the message, counted from 0, and the rule it breaks.
///
/// # Examples
/// ```
/// use agentkit_core::{Message, Part, Role, ToolCall, validate_history};
///
/// let call = ToolCall { id: "1".into(), name: "clock".into(), arguments: serde_json::json!({}) };
/// let dangling = [Message::user("hi"), Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] }];
/// assert!(validate_history(&dangling[..1]).is_ok());
/// assert!(validate_history(&dangling).unwrap_err().message().contains("without a result"));
/// ```
pub fn validate_history(messages: &[Message]) -> Result<()> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        let broken = |rule: &str| Error::invalid_input(format!("message {at} of the history {rule}"));
        if message.parts.is_empty() {
            return Err(broken("is empty"));
        }
        if message.role != Role::Tool && !open.is_empty() {
            return Err(broken("follows tool calls without a result"));
        }
        if message.role == Role::Tool && open.is_empty() {
            return Err(broken("answers no tool call"));
        }
        for part in &message.parts {
            match part {
                Part::Text { text } if text.trim().is_empty() => return Err(broken("has a blank text")),
                Part::ToolResult(result) if message.role == Role::Tool => {
                    if !open.remove(result.call_id.as_str()) {
                        return Err(broken("answers a call that was not made, or answers it twice"));
                    }
                }
                Part::ToolResult(_) => return Err(broken("has a tool result but is no tool's")),
                _ if message.role == Role::Tool => {
                    return Err(broken("is a tool's but has more than results"));
                }
                Part::ToolCall(_) if message.role != Role::Assistant => {
                    return Err(broken("has a tool call but is not the assistant's"));
                }
                Part::ToolCall(call) => {
                    check_call(call).map_err(broken)?;
                    if !known.insert(&call.id) {
                        return Err(broken("has a tool call whose id is taken"));
                    }
                    open.insert(&call.id);
                }
                Part::Text { .. } | Part::Passages { .. } => {}
            }
        }
        if message.role == Role::Tool && !open.is_empty() {
            return Err(broken("leaves tool calls without a result"));
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid_input("the history ends with tool calls without a result"))
    }
}

fn check_call(call: &ToolCall) -> std::result::Result<(), &'static str> {
    if call.id.is_empty() {
        Err("has a tool call without an id")
    } else if !is_tool_name(&call.name) {
        Err("has a tool call with a malformed name")
    } else if !call.arguments.is_object() {
        Err("has a tool call whose arguments are no object")
    } else {
        Ok(())
    }
}

/// The ids of tool calls that are taken, to bring the next calls into a form that [`validate_history`] takes.
///
/// # Examples
/// ```
/// use agentkit_core::{CallIds, ToolCall};
///
/// let mut ids = CallIds::of(&[]);
/// let call = || ToolCall { id: "1".into(), name: "look".into(), arguments: serde_json::json!({}) };
/// assert_eq!(ids.normalised(call()).id, "1");
/// assert_ne!(ids.normalised(call()).id, "1");
/// ```
#[derive(Debug, Default)]
pub struct CallIds(BTreeSet<String>);

impl CallIds {
    /// Those of `messages`.
    #[must_use]
    pub fn of(messages: &[Message]) -> Self {
        Self(calls(messages).map(|call| call.id.clone()).collect())
    }

    /// `id`, or another if it is empty or taken.
    fn claim(&mut self, id: String) -> String {
        if !id.is_empty() && self.0.insert(id.clone()) {
            return id;
        }
        let mut number = self.0.len();
        loop {
            let id = format!("call_{number}");
            if self.0.insert(id.clone()) {
                return id;
            }
            number += 1;
        }
    }

    /// A call as it can stand in a history: with an id of its own, a well-formed name and an object of arguments.
    pub fn normalised(&mut self, call: ToolCall) -> ToolCall {
        let arguments = match call.arguments {
            object @ Value::Object(_) => object,
            other => json!({ "arguments_that_are_no_object": other }),
        };
        ToolCall { id: self.claim(call.id), name: tool_name(&call.name), arguments }
    }
}

fn tool_name(name: &str) -> String {
    let well_formed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().take(64).map(well_formed).collect();
    if name.is_empty() { "unnamed".into() } else { name }
}

/// All tool calls of `messages`, in order.
pub(super) fn calls(messages: &[Message]) -> impl Iterator<Item = &ToolCall> {
    messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    })
}

/// The message of a model that said `text` and asked for `calls`, unless it did neither.
pub(super) fn said(text: &str, calls: &[ToolCall]) -> Option<Message> {
    let text = (!text.trim().is_empty()).then(|| Part::Text { text: text.to_owned() });
    let parts: Vec<Part> = text.into_iter().chain(calls.iter().cloned().map(Part::ToolCall)).collect();
    (!parts.is_empty()).then_some(Message { role: Role::Assistant, parts })
}

/// `messages` with as little changed as [`validate_history`] asks for.
///
/// Calls without a result get one that says so, results without a call and blank parts are left out, and calls
/// whose id is taken get another.
pub(super) fn mended(messages: Vec<Message>) -> Vec<Message> {
    let mut mending = Mending::default();
    for message in messages {
        if message.role == Role::Tool {
            mending.take_results(message);
        } else {
            mending.take_speech(message);
        }
    }
    mending.answer();
    mending.done
}

#[derive(Default)]
struct Mending {
    done: Vec<Message>,
    ids: CallIds,
    /// The calls of the last message: by the id that results name, the id in the mended history, in order.
    open: Vec<(String, String)>,
    results: BTreeMap<String, ToolResult>,
}

impl Mending {
    fn take_results(&mut self, message: Message) {
        for part in message.parts {
            let Part::ToolResult(mut result) = part else { continue };
            let of = self.open.iter().filter(|(old, _)| *old == result.call_id);
            let Some((_, id)) = of.into_iter().find(|(_, id)| !self.results.contains_key(id)) else {
                continue;
            };
            result.call_id.clone_from(id);
            self.results.insert(id.clone(), result);
        }
    }

    fn take_speech(&mut self, message: Message) {
        self.answer();
        let Message { role, parts } = message;
        let parts: Vec<Part> = parts.into_iter().filter_map(|part| self.part(role, part)).collect();
        if !parts.is_empty() {
            self.done.push(Message { role, parts });
        }
    }

    fn part(&mut self, role: Role, part: Part) -> Option<Part> {
        match part {
            Part::Text { text } if text.trim().is_empty() => None,
            Part::ToolCall(call) if role == Role::Assistant => {
                let old = call.id.clone();
                let call = self.ids.normalised(call);
                self.open.push((old, call.id.clone()));
                Some(Part::ToolCall(call))
            }
            Part::ToolCall(_) | Part::ToolResult(_) => None,
            part => Some(part),
        }
    }

    /// Answers the calls of the last message, if it has any.
    fn answer(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        let parts: Vec<Part> = std::mem::take(&mut self.open)
            .into_iter()
            .map(|(_, id)| results.remove(&id).unwrap_or_else(|| failed(&id, NO_RESULT)))
            .map(Part::ToolResult)
            .collect();
        if !parts.is_empty() {
            self.done.push(Message { role: Role::Tool, parts });
        }
    }
}

/// The result of a call that gave none.
pub(super) fn failed(call_id: &str, why: impl Into<String>) -> ToolResult {
    ToolResult { call_id: call_id.to_owned(), content: why.into(), is_error: true }
}
