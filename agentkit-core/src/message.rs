//! What is said in a conversation: messages made of typed parts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::retrieve::Passage;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// Retrieved passages the answer may rest on: data, never instructions. The first is cited as `[1]`.
    Passages {
        /// The passages in citation order.
        passages: Vec<Passage>,
    },
    /// The model asks for a tool to be run.
    ToolCall(ToolCall),
    /// What a tool returned.
    ToolResult(ToolResult),
}

/// A model's request to run a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The call's id, unique within the conversation.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as a JSON object, not yet validated.
    pub arguments: Value,
}

/// The outcome of a [`ToolCall`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call this answers.
    pub call_id: String,
    /// The result, or the error, as the model shall see it.
    pub content: String,
    /// Whether `content` describes an error the model can mend.
    pub is_error: bool,
}

impl Message {
    /// A message of one text part.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::{Message, Role};
    /// assert_eq!(Message::text(Role::User, "hello").joined_text(), "hello");
    /// ```
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text { text: text.into() }] }
    }

    /// A message from the person asking.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::text(Role::User, text)
    }

    /// A message from the model.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::text(Role::Assistant, text)
    }

    /// Instructions of the application.
    #[must_use]
    pub fn system(text: impl Into<String>) -> Self {
        Self::text(Role::System, text)
    }

    /// All text parts joined by newlines; other parts are left out.
    #[must_use]
    pub fn joined_text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The passages of all [`Part::Passages`], in citation order.
    pub fn passages(&self) -> impl Iterator<Item = &Passage> {
        self.parts.iter().flat_map(|part| match part {
            Part::Passages { passages } => passages.as_slice(),
            _ => &[],
        })
    }
}
