//! Where an application has a say in a run: before the model, before a tool, and afterwards as an observer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use crate::agent::run::{RunEnd, RunTotals, validate_history};
use crate::context::RunContext;
use crate::error::Result;
use crate::message::{Message, Role, ToolCall, ToolResult};
use crate::model::{ChatRequest, ChatResponse};

type Decided<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;
pub(super) type BeforeModel = Arc<dyn Fn(ChatRequest, RunContext) -> Decided<RequestPatch> + Send + Sync>;
pub(super) type BeforeTool = Arc<dyn Fn(ToolCall, RunContext) -> Decided<ToolAction> + Send + Sync>;
pub(super) type Observer = Arc<dyn Fn(&Observation<'_>) + Send + Sync>;

/// The hooks of an agent, in the order given.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) before_model: Vec<BeforeModel>,
    pub(super) before_tool: Vec<BeforeTool>,
    pub(super) observers: Vec<Observer>,
}

impl Hooks {
    pub(super) fn observe(&self, observation: &Observation<'_>) {
        self.observers.iter().for_each(|observer| observer(observation));
    }
}

/// What a hook changes of a request, for one call of the model; what it leaves out stays as it is.
///
/// # Examples
/// ```
/// use agentkit_core::{Message, RequestPatch};
///
/// let mut patch = RequestPatch::default();
/// patch.instructions = Some("Answer in French.".into());
/// patch.tools = Some(vec![]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RequestPatch {
    /// Instructions in addition to those of the request.
    pub instructions: Option<String>,
    /// The conversation to send instead. It must be valid: see [`validate_history`](crate::validate_history).
    pub messages: Option<Vec<Message>>,
    /// Names of the tools to offer; others are held back.
    pub tools: Option<Vec<String>>,
    /// Most tokens to generate. It cannot be more than the request allows.
    pub max_tokens: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
}

impl RequestPatch {
    pub(super) fn apply(self, mut request: ChatRequest) -> Result<ChatRequest> {
        if let Some(messages) = self.messages {
            validate_history(&messages)?;
            request.messages = messages;
        }
        if let Some(instructions) = self.instructions {
            let systems = request.messages.iter().take_while(|message| message.role == Role::System).count();
            request.messages.insert(systems, Message::system(instructions));
        }
        if let Some(names) = self.tools {
            request.tools.retain(|tool| names.contains(&tool.name));
        }
        if let Some(most) = self.max_tokens {
            request.max_tokens = Some(request.max_tokens.map_or(most, |allowed| allowed.min(most)));
        }
        request.temperature = self.temperature.or(request.temperature);
        Ok(request)
    }
}

/// What a hook decides about a tool call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ToolAction {
    /// Run it.
    Run,
    /// Run it with these arguments, which must fit the tool's schema.
    Rewrite(Value),
    /// Do not run it; the model is given this as its result.
    Skip(String),
    /// Do not run it, and stop the run for this reason.
    Stop(String),
    /// Run it when somebody outside has approved it.
    Approve,
}

/// What has happened in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Observation<'r> {
    /// The model has spoken.
    ModelAnswered {
        /// What it said.
        response: &'r ChatResponse,
    },
    /// A call has its result.
    ToolReturned {
        /// The result.
        result: &'r ToolResult,
    },
    /// The run is over.
    Ended {
        /// How it ended.
        end: &'r RunEnd,
        /// What it used.
        totals: &'r RunTotals,
    },
}
