//! The agent that lets a model use tools until it has an answer: a thin driver around [`AgentRun`].
//!
//! It does what the run asks for and tells it what happened, nothing else. There is one way through it, made of
//! events; an answer as one value is gathered from them, so streaming and waiting cannot differ. Nothing is
//! spawned: model, tools and hooks are polled by whoever reads the stream, and dropped with it.

mod builder;
mod checks;
mod drive;
mod hooks;
mod journal;
mod listen;
mod open;
mod plan;
mod toolbox;
mod tools;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::builder::ToolAgentBuilder;
pub use self::checks::CheckAction;
use self::checks::Guards;
use self::hooks::Hooks;
pub use self::hooks::{Observation, RequestPatch, ToolAction};
#[cfg(feature = "mcp")]
pub(crate) use self::toolbox::Offered;
use self::toolbox::ToolSource;
pub(crate) use self::toolbox::Toolbox;
use super::run::{Price, Resolution, RunLimits};
use super::{Agent, AgentInput, AgentReply, AgentStream};
use crate::checkpoint::{Checkpointer, RunKey};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Memory;
use crate::message::ToolResult;
use crate::model::{ChatModel, ChatRequest};
use crate::scope::TenantScope;

/// Answers messages with a model that may use tools.
///
/// A run calls the model, runs the tools it asks for, and calls it again with their results, until it answers or a
/// limit stops it. Every run ends with one `done` or `error`, preceded by the usage of all its model calls.
/// Cancelling the context or dropping the stream drops the model's stream and all tools at once.
///
/// - Tools run side by side, but their results are told in the order of the calls. Arguments that do not fit a
///   tool's schema, unknown tools and timeouts are told to the model; see [`Tool`](crate::Tool) for errors.
/// - With a [`Checkpointer`] a run is written down before each tool is called and after it has returned, so that
///   [`ToolAgent::resume`] takes it up after a crash without running a finished tool again. A run that its context
///   or its model ended is left as it was written down last, and can be resumed as well.
/// - Calls that need approval, or are run elsewhere, end the stream with outcome `waiting`; resume it with their
///   resolutions.
///
/// Cheap to clone.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{EchoTool, ScriptedModel, ScriptedTurn};
/// use agentkit_core::{TenantScope, ToolAgent};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let model = ScriptedModel::new([
///     ScriptedTurn::tool_call("1", "echo", serde_json::json!({"text": "hello"})),
///     ScriptedTurn::text("it said hello"),
/// ]);
/// let agent = ToolAgent::builder(Arc::new(model)).tool(Arc::new(EchoTool::erased())).build().unwrap();
/// let reply = agent.ask(&TenantScope::local(), "what does the echo say?").await.unwrap();
/// assert_eq!(reply.answer, "it said hello");
/// assert_eq!(reply.usage.output_tokens, 4);
/// # });
/// ```
#[derive(Clone)]
pub struct ToolAgent {
    parts: Arc<Parts>,
}

/// What an agent is made of.
struct Parts {
    model: Arc<dyn ChatModel>,
    tools: Toolbox,
    tool_source: Option<ToolSource>,
    /// How to sample, and the instructions as the only message; the tools are added for each run.
    request: ChatRequest,
    limits: RunLimits,
    price: Option<Price>,
    parallel_tools: usize,
    tool_timeout: Duration,
    idle_timeout: Duration,
    result_bytes: usize,
    memory: Option<Arc<dyn Memory>>,
    recalled: usize,
    checkpoints: Option<Arc<dyn Checkpointer>>,
    hooks: Hooks,
    guards: Guards,
}

impl ToolAgent {
    /// Begins to describe an agent around `model`.
    pub fn builder(model: Arc<dyn ChatModel>) -> ToolAgentBuilder {
        ToolAgentBuilder::new(model)
    }

    /// Asks a question outside any conversation and waits for the answer.
    ///
    /// # Cancel safety
    /// Dropping the future stops the run.
    ///
    /// # Errors
    /// Invalid input, or what stopped the run.
    pub async fn ask(&self, scope: &TenantScope, question: impl Into<String>) -> Result<AgentReply> {
        let input = AgentInput::new(scope.clone(), question);
        self.run(input, &RunContext::new()).await?.collect().await
    }

    /// Takes up a run where it was written down last.
    ///
    /// Each resolution answers the deferred call of that id; those that are not answered are waited for again. Of
    /// the tools that had been started, and whose end was not recorded, keyed ones are called again under the same
    /// key; of any other the model is told that its outcome is unknown. The stream begins with what has not been
    /// told; a run that is over tells its answer and end again.
    ///
    /// # Cancel safety
    /// Dropping the future or the stream stops the run where it is.
    ///
    /// # Errors
    /// Not found; unsupported without a checkpointer; mismatch or corrupt if the checkpoint cannot be read; invalid
    /// input or conflict if a resolution fits no deferred call; unavailable; or stopped.
    pub async fn resume(
        &self,
        key: &RunKey,
        resolutions: Vec<(String, Resolution)>,
        ctx: &RunContext,
    ) -> Result<AgentStream> {
        let Some(store) = &self.parts.checkpoints else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this agent has no checkpointer to resume a run from",
            ));
        };
        let resolutions = self.checked(resolutions, ctx).await?;
        let stored = ctx.run(store.load(key, ctx)).await?;
        let unknown = || Error::not_found(format!("there is no checkpoint of run {}", key.run()));
        let taken_up = open::TakenUp::new(&stored.ok_or_else(unknown)?, resolutions)?;
        let (parts, key, ctx) = (Arc::clone(&self.parts), key.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| open::resume(parts, key, taken_up, ctx, out)))
    }

    /// The resolutions as the checks of results leave them: one may hold the result of a tool run elsewhere.
    async fn checked(
        &self,
        mut resolutions: Vec<(String, Resolution)>,
        ctx: &RunContext,
    ) -> Result<Vec<(String, Resolution)>> {
        for (call_id, resolution) in &mut resolutions {
            if let Resolution::Return { content, is_error } = resolution {
                let what = format!("the result of call {call_id:?}");
                let result = ToolResult {
                    call_id: call_id.clone(),
                    content: std::mem::take(content),
                    is_error: *is_error,
                };
                *content = self.parts.guards.result.admit(&what, result, ctx).await?.content;
            }
        }
        Ok(resolutions)
    }
}

#[async_trait]
impl Agent for ToolAgent {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        if input.filter.is_some() && self.parts.tool_source.is_none() {
            let message = "this agent's tools take no filter; give it tools for each run";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (parts, ctx) = (Arc::clone(&self.parts), ctx.clone());
        Ok(AgentStream::generate(move |out| open::begin(parts, input, ctx, out)))
    }
}

impl fmt::Debug for ToolAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolAgent")
            .field("model", self.parts.model.info())
            .field("tools", &self.parts.tools.names())
            .field("limits", &self.parts.limits)
            .finish_non_exhaustive()
    }
}
