//! The agent contract: a message in, one numbered stream of events out.

mod compose;
mod event;
mod run;
mod stream;
mod tool_agent;

use async_trait::async_trait;

pub use self::compose::{AgentTool, HandOff, Parallel, Refine, Route, Router, Sequence, Verdict};
pub use self::event::{AgentEvent, AgentEventKind, Citation, Outcome, Source};
pub use self::run::{
    AgentRun, CallIds, Cost, Decision, Deferral, DeferredCall, Price, ReadyCall, Resolution, RunChange,
    RunEnd, RunInput, RunLimits, RunSettings, RunStep, RunTotals, StopReason, validate_history,
};
pub use self::stream::{AgentReply, AgentStream};
pub use self::tool_agent::{CheckAction, Observation, RequestPatch, ToolAction, ToolAgent, ToolAgentBuilder};
#[cfg(feature = "mcp")]
pub(crate) use self::tool_agent::{Offered, Toolbox};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RunId, SessionId};
use crate::message::{Message, Part, Role};
use crate::retrieve::{Filter, plain_text};
use crate::scope::TenantScope;
use crate::tool::ToolOffer;

/// Longest message to an agent in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most messages of a history that comes with a message.
pub const MAX_HISTORY_MESSAGES: usize = 1_000;

/// Something that answers messages, by whatever means.
///
/// # Contract for implementers
/// - Events are numbered from 0 without gaps; the first is `started`, the last `done` or `error`, and exactly
///   one of those is sent.
/// - Every `tool_called` is followed by one `tool_returned`, before the run is done unless that is `waiting`.
/// - Tools of the caller are handed to the model and never run, or are refused as unsupported.
/// - Every `citation` quotes the source text of its document at its span.
/// - A bad request is an invalid-input error of `run` itself; what goes wrong later is the `error` event.
/// - A turn is remembered before `done` is sent, unless the run is only `waiting`, and not at all if it ends in an
///   error.
/// - Dropping the stream or stopping `ctx` stops all work behind it.
#[async_trait]
pub trait Agent: Send + Sync {
    /// Starts answering `input`.
    ///
    /// # Cancel safety
    /// Dropping the future or the stream stops the run.
    ///
    /// # Errors
    /// Invalid input.
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream>;
}

/// A message to an agent.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AgentInput {
    /// For whom the agent acts.
    pub scope: TenantScope,
    /// The message.
    pub message: String,
    /// The conversation it continues; `None` is a conversation of one turn.
    pub session: Option<SessionId>,
    /// What was said before, in place of what is remembered of the session: messages of the user and the assistant, and
    /// calls of tools with their results. Those of the system are further instructions of the application, and take the
    /// place of nothing.
    pub history: Vec<Message>,
    /// What was done since the message: the model's calls of the caller's tools and their results, in turns.
    pub since: Vec<Message>,
    /// Tools of the caller, which the agent does not run: if the model asks for them, the run ends with outcome `waiting`,
    /// and the caller sends the message again with the calls and their results in `since`.
    pub tools: ToolOffer,
    /// Which documents may be used.
    pub filter: Option<Filter>,
    /// Names the run, for agents that keep checkpoints; `None` lets the agent name it.
    pub run: Option<RunId>,
}

impl AgentInput {
    /// A message outside any conversation.
    #[must_use]
    pub fn new(scope: TenantScope, message: impl Into<String>) -> Self {
        Self {
            scope,
            message: message.into(),
            session: None,
            history: Vec::new(),
            since: Vec::new(),
            tools: ToolOffer::default(),
            filter: None,
            run: None,
        }
    }

    /// Continues a conversation.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Says what was said before, for callers that keep their conversations themselves.
    #[must_use]
    pub fn history(mut self, history: Vec<Message>) -> Self {
        self.history = history;
        self
    }

    /// Whether the history has turns, which count in place of what is remembered of the session.
    #[must_use]
    pub fn tells_turns(&self) -> bool {
        self.history.iter().any(|said| said.role != Role::System)
    }

    /// Says what was done since the message: calls of the caller's tools and their results.
    #[must_use]
    pub fn since(mut self, since: Vec<Message>) -> Self {
        self.since = since;
        self
    }

    /// Offers tools of the caller to the model.
    #[must_use]
    pub fn tools(mut self, tools: ToolOffer) -> Self {
        self.tools = tools;
        self
    }

    /// Refuses tools of the caller, for agents that do not hand them to a model.
    ///
    /// # Errors
    /// Unsupported: tools may be called, or were.
    pub fn without_tools(&self) -> Result<()> {
        if !self.tools.is_open() && self.since.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "this agent calls no tools of its callers; leave them out"))
    }

    /// Restricts the documents that may be used.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Names the run, so that it can be found again by its checkpoint.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Checks the limits every agent shares.
    ///
    /// # Errors
    /// Invalid input: a blank or too long message, a history that [`validate_history`] refuses or that has too much,
    /// malformed tools, or a malformed filter.
    pub fn validate(&self) -> Result<()> {
        plain_text("the message", &self.message, MAX_MESSAGE_BYTES)?;
        self.validate_said()?;
        self.tools.validate()?;
        self.filter.as_ref().map_or(Ok(()), Filter::validate)
    }

    /// Checks what was said before the message and since.
    fn validate_said(&self) -> Result<()> {
        let count = self.history.len() + self.since.len();
        if count > MAX_HISTORY_MESSAGES {
            let message =
                format!("the history has {count} messages, at most {MAX_HISTORY_MESSAGES} are allowed");
            return Err(Error::invalid_input(message));
        }
        let said = self.history.iter().chain(&self.since);
        said.enumerate().try_for_each(|(at, said)| validate_one(at, said))?;
        validate_history(&self.history)?;
        validate_history(&self.since)?;
        let calls = |said: &Message| said.parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
        let turns = self.since.chunks(2);
        let are_calls = |turn: &[Message]| turn.first().is_some_and(calls);
        if turns.into_iter().all(are_calls) {
            return Ok(());
        }
        Err(Error::invalid_input("only calls of tools and their results can be behind the message"))
    }
}

/// Checks one message that comes with another.
fn validate_one(at: usize, said: &Message) -> Result<()> {
    let what = format!("message {at} of the history");
    if said.parts.iter().any(|part| matches!(part, Part::Text { .. })) {
        plain_text(&what, &said.joined_text(), MAX_MESSAGE_BYTES)?;
    }
    for part in &said.parts {
        match part {
            Part::Text { .. } => {}
            Part::ToolCall(call) => within(&what, call.arguments.to_string().len())?,
            Part::ToolResult(result) => within(&what, result.content.len())?,
            Part::Passages { .. } => {
                return Err(Error::invalid_input(format!(
                    "{what} holds passages, which an agent finds itself"
                )));
            }
        }
    }
    Ok(())
}

fn within(what: &str, bytes: usize) -> Result<()> {
    if bytes <= MAX_MESSAGE_BYTES {
        return Ok(());
    }
    let message = format!("{what} has {bytes} bytes, at most {MAX_MESSAGE_BYTES} are allowed");
    Err(Error::invalid_input(message))
}
