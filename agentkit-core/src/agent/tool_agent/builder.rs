//! How an agent with tools is put together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{CheckAction, Guards};
use super::hooks::{Hooks, Observation, RequestPatch, ToolAction};
use super::toolbox::{ToolSource, Toolbox};
use super::{Parts, ToolAgent};
use crate::agent::AgentInput;
use crate::agent::run::{Price, RunLimits};
use crate::checkpoint::Checkpointer;
use crate::context::RunContext;
use crate::error::Result;
use crate::memory::Memory;
use crate::message::{Message, ToolCall, ToolResult};
use crate::model::{ChatModel, ChatRequest};
use crate::tool::Tool;

/// Tools run at a time unless told otherwise.
const PARALLEL_TOOLS: usize = 8;
/// How long a tool may take unless its policy or the agent says otherwise.
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a model may say nothing unless told otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest result that is shown to the model, in bytes, unless told otherwise.
const RESULT_BYTES: usize = 64 * 1024;
/// Most messages recalled of a session.
const RECALLED: usize = 20;

/// Puts a [`ToolAgent`] together.
#[must_use]
pub struct ToolAgentBuilder {
    parts: Parts,
    tools: Vec<Arc<dyn Tool>>,
    instructions: Option<String>,
}

impl ToolAgentBuilder {
    pub(super) fn new(model: Arc<dyn ChatModel>) -> Self {
        let parts = Parts {
            model,
            tools: Toolbox::default(),
            tool_source: None,
            request: ChatRequest::default(),
            limits: RunLimits::default(),
            price: None,
            parallel_tools: PARALLEL_TOOLS,
            tool_timeout: TOOL_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            result_bytes: RESULT_BYTES,
            memory: None,
            recalled: RECALLED,
            checkpoints: None,
            hooks: Hooks::default(),
            guards: Guards::default(),
        };
        Self { parts, tools: Vec::new(), instructions: None }
    }

    /// What the model is told to do, in front of every conversation.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Offers a tool to the model.
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Offers tools to the model.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Offers tools that are made for each run, so that they can be bound to its scope and filter: the model
    /// cannot reach beyond what the tool was made with. A run with tools that [`ToolAgentBuilder::build`] would refuse fails.
    pub fn tools_for_each_run<F>(mut self, make: F) -> Self
    where
        F: Fn(&AgentInput) -> Result<Vec<Arc<dyn Tool>>> + Send + Sync + 'static,
    {
        self.parts.tool_source = Some(ToolSource::new(make));
        self
    }

    /// How the model samples: everything of `request` but its messages and tools.
    pub fn sampling(mut self, request: ChatRequest) -> Self {
        self.parts.request = request;
        self
    }

    /// How much a run may use.
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.parts.limits = limits;
        self
    }

    /// What the model's tokens cost, for the limit on cost.
    pub fn price(mut self, price: Price) -> Self {
        self.parts.price = Some(price);
        self
    }

    /// How many tools run at a time, at least 1; 8 by default.
    pub fn parallel_tools(mut self, count: usize) -> Self {
        self.parts.parallel_tools = count.max(1);
        self
    }

    /// How long a tool may take whose policy does not say; 60 seconds by default. The model is told.
    pub fn tool_timeout(mut self, timeout: Duration) -> Self {
        self.parts.tool_timeout = timeout;
        self
    }

    /// How long the model may say nothing before the run is stopped; 120 seconds by default.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.parts.idle_timeout = timeout;
        self
    }

    /// Longest result of a tool that the model is shown, in bytes; the rest is cut off. 64 KiB by default.
    pub fn result_bytes(mut self, most: usize) -> Self {
        self.parts.result_bytes = most;
        self
    }

    /// Remembers conversations here: the message and the answer of each turn, not the tool calls between them.
    pub fn memory(mut self, memory: Arc<dyn Memory>) -> Self {
        self.parts.memory = Some(memory);
        self
    }

    /// Most messages recalled of a conversation; 20 by default.
    pub fn recalled_messages(mut self, most: usize) -> Self {
        self.parts.recalled = most;
        self
    }

    /// Writes runs down here, so that they can be resumed.
    pub fn checkpoints(mut self, store: Arc<dyn Checkpointer>) -> Self {
        self.parts.checkpoints = Some(store);
        self
    }

    /// Calls `hook` with each request before the model gets it; it may patch the request for this one call.
    /// Hooks are called in the order given, each with what those before it made of the request. An error stops
    /// the run.
    pub fn before_model<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(ChatRequest, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<RequestPatch>> + Send + 'static,
    {
        self.parts.hooks.before_model.push(Arc::new(move |request, ctx| Box::pin(hook(request, ctx))));
        self
    }

    /// Calls `hook` with each call whose arguments are valid, before the tool is run; it decides what becomes of
    /// it. Hooks are called in the order given until one skips or stops; what one of them wants approved is run after
    /// approval, with the arguments that whoever approves leaves, and no hook is asked again. An error stops the run. All calls of a step are decided before the first is run.
    pub fn before_tool<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(ToolCall, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ToolAction>> + Send + 'static,
    {
        self.parts.hooks.before_tool.push(Arc::new(move |call, ctx| Box::pin(hook(call, ctx))));
        self
    }

    /// Calls `check` with the message before the run begins; a refusal is an invalid-input error. Checks are called
    /// in the order given, each with what those before it left.
    pub fn check_message<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(String, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CheckAction>> + Send + 'static,
    {
        self.parts.guards.message.push(check);
        self
    }

    /// Calls `check` with each result of a tool, also of one that was run elsewhere, before anybody sees it.
    pub fn check_result<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(ToolResult, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CheckAction>> + Send + 'static,
    {
        self.parts.guards.result.push(check);
        self
    }

    /// Calls `check` with each text of the model, the answer and what it says before it uses tools. Nothing of a
    /// text is told before all of it has passed, so answers do not come word by word.
    pub fn check_answer<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(String, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CheckAction>> + Send + 'static,
    {
        self.parts.guards.answer.push(check);
        self
    }

    /// Shows the model the results of tools as quotations, line by line behind `> `, under a sentence that says so.
    /// For tools that give what strangers wrote. Events and checkpoints hold them as they are.
    pub fn quote_results(mut self) -> Self {
        self.parts.guards.quotes_results = true;
        self
    }

    /// Calls `observer` with what has happened; it can change nothing, and must not block.
    pub fn observe<F>(mut self, observer: F) -> Self
    where
        F: Fn(&Observation<'_>) + Send + Sync + 'static,
    {
        self.parts.hooks.observers.push(Arc::new(observer));
        self
    }

    /// The agent.
    ///
    /// # Errors
    /// Invalid input: a tool without a sound specification, a schema that is none, two tools of one name, or a
    /// tool that has to wait for somebody outside without a checkpointer. Unsupported: tools for a model without
    /// them.
    pub fn build(self) -> Result<ToolAgent> {
        let mut parts = self.parts;
        parts.tools = Toolbox::new(self.tools)?;
        parts.check(&parts.tools)?;
        parts.request.messages = self.instructions.map(Message::system).into_iter().collect();
        Ok(ToolAgent { parts: Arc::new(parts) })
    }
}

impl fmt::Debug for ToolAgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolAgentBuilder")
            .field("model", self.parts.model.info())
            .field("limits", &self.parts.limits)
            .finish_non_exhaustive()
    }
}
