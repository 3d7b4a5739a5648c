//! The chat model contract: one streaming call, from which the blocking one is derived.

#[cfg(feature = "anthropic")]
pub mod anthropic;
#[cfg(any(feature = "anthropic", feature = "ollama", feature = "openai", feature = "rerank"))]
pub(crate) mod http;
#[cfg(feature = "ollama")]
pub mod ollama;
#[cfg(feature = "openai")]
pub mod openai;
mod secret;
mod stream;
pub(crate) mod tokens;
#[cfg(feature = "wire")]
pub mod wire;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::secret::Secret;
pub use self::stream::{ChatEvent, ChatResponse, ChatStream, FinishReason, PassageCitation};
use crate::context::RunContext;
use crate::error::Result;
use crate::message::Message;
use crate::tool::{ToolChoice, ToolSpec};

/// A model that continues a conversation.
///
/// # Contract for implementers
/// - The stream ends with exactly one [`ChatEvent::Finished`] or with one error; nothing follows either.
/// - [`ChatEvent::Usage`] comes at most once, before `Finished`.
/// - The call and its stream end with an error of [`is_stopped`](crate::Error::is_stopped) soon after `ctx`
///   stops, also before the first token; dropping the stream releases everything behind it.
/// - A request the model cannot serve is an invalid-input or unsupported error of `stream` itself, not of the
///   stream's first item.
/// - Passages are quoted material. An implementation must present them to the model as data.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// What this model is and can do; constant over its life.
    fn info(&self) -> &ModelInfo;

    /// Starts the model's answer to `request`.
    ///
    /// # Cancel safety
    /// Dropping the future or the stream ends the request.
    ///
    /// # Errors
    /// Invalid input, unsupported, unauthorized, rate limited, unavailable, or stopped.
    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream>;
}

/// Asks `model` and waits for the whole answer.
///
/// # Cancel safety
/// Dropping the future ends the request.
///
/// # Errors
/// As [`ChatModel::stream`], or the first error of the stream.
pub async fn complete(model: &dyn ChatModel, request: ChatRequest, ctx: &RunContext) -> Result<ChatResponse> {
    model.stream(request, ctx).await?.collect().await
}

/// What a model is and can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The model's name as its provider spells it.
    pub name: String,
    /// Who serves it, for example `openai` or `agentkit`.
    pub provider: String,
    /// Most tokens a request and its answer may have together.
    pub context_tokens: usize,
    /// What the model can do beyond text.
    pub capabilities: Capabilities,
}

impl ModelInfo {
    /// Describes a model without special capabilities.
    #[must_use]
    pub fn new(provider: impl Into<String>, name: impl Into<String>, context_tokens: usize) -> Self {
        Self {
            name: name.into(),
            provider: provider.into(),
            context_tokens,
            capabilities: Capabilities::default(),
        }
    }

    /// States what the model can do.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

/// Abilities that not every model has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// The model can ask for tools.
    pub tools: bool,
    /// The model cites passages itself, by [`ChatEvent::Citation`].
    pub citations: bool,
    /// The model keeps to [`ChatRequest::output_schema`]; one that does not ignores it.
    #[serde(default)]
    pub structured_output: bool,
}

impl Capabilities {
    /// Adds the ability to ask for tools.
    #[must_use]
    pub fn with_tools(mut self) -> Self {
        self.tools = true;
        self
    }

    /// Adds answers that keep to a schema.
    #[must_use]
    pub fn with_structured_output(mut self) -> Self {
        self.structured_output = true;
        self
    }

    /// Adds native citations.
    #[must_use]
    pub fn with_citations(mut self) -> Self {
        self.citations = true;
        self
    }
}

/// A conversation to continue and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// Tools the model may ask for.
    pub tools: Vec<ToolSpec>,
    /// Which of them it shall ask for.
    #[serde(default, skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// Whether it may ask for several at once; `None` leaves it to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens to generate; `None` leaves it to the model.
    pub max_tokens: Option<u32>,
    /// Sampling temperature; `None` leaves it to the model.
    pub temperature: Option<f32>,
    /// Generation ends before any of these.
    pub stop: Vec<String>,
    /// Asks for repeatable sampling where the provider offers it.
    pub seed: Option<u64>,
    /// What the answer's text has to be, for models that can keep to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<OutputSchema>,
}

/// The form of an answer that is JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputSchema {
    /// What the answer is called: letters, digits, `_` and `-`.
    pub name: String,
    /// JSON Schema of the answer, an object.
    pub schema: Value,
}

impl ChatRequest {
    /// A request with the provider's default settings.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }
}

/// Tokens used by a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens generated.
    pub output_tokens: u64,
}

impl Usage {
    /// Input and output together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}
