//! A tool call of which the pieces are still coming in.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::message::ToolCall;

/// Most tool calls of one answer.
pub const MAX_CALLS: usize = 128;
/// Most bytes of all tool calls' names and arguments together.
const MAX_CALL_BYTES: usize = 1024 * 1024;

/// What is known of a tool call so far.
#[derive(Debug, Default)]
pub struct PartialCall {
    /// The call's id; empty if the server gives none.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The pieces of its arguments, which make JSON together.
    pub arguments: String,
}

impl PartialCall {
    /// Whether the calls together are larger than any sensible answer.
    #[must_use]
    pub fn exceed<'c>(calls: impl Iterator<Item = &'c Self>) -> bool {
        let held: usize = calls.map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
        held > MAX_CALL_BYTES
    }

    /// The call; without an id of its own it gets the one that `otherwise` makes. Arguments that are no JSON are
    /// kept as text: the tool refuses them in words the model can mend.
    #[must_use]
    pub fn whole(self, otherwise: impl FnOnce() -> String) -> ToolCall {
        let arguments = match self.arguments.trim() {
            "" => Value::Object(Map::new()),
            text => serde_json::from_str(text).unwrap_or(Value::String(self.arguments)),
        };
        let id = if self.id.is_empty() { otherwise() } else { self.id };
        ToolCall { id, name: self.name, arguments }
    }
}

/// The error of an answer that asks for more tools, or with more arguments, than any sensible one.
#[must_use]
pub fn too_many_calls() -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        format!("the answer asks for more than {MAX_CALLS} tools or {MAX_CALL_BYTES} bytes of arguments"),
    )
}
