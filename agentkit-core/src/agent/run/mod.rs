//! The agent loop as a state machine that does nothing itself: it says what to do next and is told what happened.
//!
//! A loop that calls models and tools directly can only be tried by calling them. [`AgentRun`] only decides. It
//! reads no clock, draws no random number and waits for nothing, so the same inputs give the same run: it can be
//! tested with a million conversations, written down at any moment, and taken up by another process.
//!
//! What is always true:
//! - [`AgentRun::messages`] is a history that the strictest provider takes, at every moment and however the run
//!   ends: a step's calls and their results enter it together.
//! - A run ends once, with one [`RunEnd`], and stays as it is; [`AgentRun::totals`] counts every call of the
//!   model, interrupted ones too.
//! - An input that is out of place is an error and changes nothing.

mod batch;
mod end;
mod history;
mod limits;
mod snapshot;
mod step;
#[cfg(test)]
mod tests;
mod transition;

use serde::{Deserialize, Serialize};

use self::batch::Batch;
pub use self::end::{RunEnd, StopReason};
pub use self::history::{CallIds, validate_history};
pub use self::limits::{Cost, Price, RunLimits, RunTotals};
pub use self::step::{Decision, Deferral, DeferredCall, ReadyCall, Resolution, RunChange, RunInput, RunStep};
use crate::error::{Error, Result};
use crate::id::{RunId, SessionId};
use crate::message::Message;
use crate::model::ChatRequest;
use crate::retrieve::Filter;

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunSettings {
    /// Names the run; the keys of its tool calls begin with it.
    pub id: RunId,
    /// The conversation the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Which documents may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// The conversation to continue, the tools to offer, and how to sample.
    pub request: ChatRequest,
    /// How much the run may use.
    pub limits: RunLimits,
    /// What the model costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl RunSettings {
    /// Continues the conversation of `request` within the default limits.
    #[must_use]
    pub fn new(id: RunId, request: ChatRequest) -> Self {
        Self { id, session: None, filter: None, request, limits: RunLimits::default(), price: None }
    }

    /// States the conversation the run belongs to.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// States which documents may be used.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// States how much the run may use.
    #[must_use]
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.limits = limits;
        self
    }

    /// States what the model costs.
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        self.price = Some(price);
        self
    }
}

/// A run of an agent as a value: what was said and done, and what has to be done next.
///
/// # Examples
/// ```
/// use agentkit_core::{
///     AgentRun, ChatRequest, ChatResponse, FinishReason, Message, RunEnd, RunId, RunInput, RunSettings, RunStep,
/// };
///
/// # fn main() -> agentkit_core::Result<()> {
/// let request = ChatRequest::new(vec![Message::user("hello")]);
/// let mut run = AgentRun::new(RunSettings::new(RunId::new("run-1")?, request))?;
/// let RunStep::CallModel(request) = run.step() else { panic!("a run begins with the model") };
/// assert_eq!(request.messages.len(), 1);
///
/// let mut run = AgentRun::from_json(&run.to_json()?)?;
/// let mut answer = ChatResponse::new(FinishReason::Stop);
/// answer.text = "hello yourself".into();
/// run.apply(RunInput::ModelAnswered(answer))?;
/// assert_eq!(run.step(), RunStep::Over(RunEnd::Answered));
/// assert_eq!(run.messages().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRun {
    settings: RunSettings,
    /// Messages that were there before the run.
    began: usize,
    totals: RunTotals,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Model,
    Tools(Batch),
    Over(RunEnd),
}

impl AgentRun {
    /// Begins a run. What its messages lack to be a valid history is mended: see [`validate_history`].
    ///
    /// # Errors
    /// Invalid input: no message to answer.
    pub fn new(mut settings: RunSettings) -> Result<Self> {
        let messages = history::mended(std::mem::take(&mut settings.request.messages));
        if messages.is_empty() {
            return Err(Error::invalid_input("a run needs a message to answer"));
        }
        let began = messages.len();
        settings.request.messages = messages;
        let mut run = Self { settings, began, totals: RunTotals::default(), phase: Phase::Model };
        if let Some(reason) = run.exhausted() {
            run.phase = Phase::Over(RunEnd::Stopped(reason));
        }
        Ok(run)
    }

    /// What has to be done next; asking changes nothing.
    #[must_use]
    pub fn step(&self) -> RunStep {
        match &self.phase {
            Phase::Model => RunStep::CallModel(self.request()),
            Phase::Over(end) => RunStep::Over(end.clone()),
            Phase::Tools(batch) => {
                let ready = batch.ready();
                if !ready.is_empty() {
                    RunStep::RunTools(ready)
                } else if batch.has_started() {
                    RunStep::AwaitTools
                } else {
                    RunStep::AwaitResolutions(batch.deferred())
                }
            }
        }
    }

    /// The request of the next step; an answer may be as long as the tokens left allow.
    fn request(&self) -> ChatRequest {
        let mut request = self.settings.request.clone();
        if let Some(limit) = self.settings.limits.tokens {
            let left = limit.saturating_sub(self.totals.usage.total());
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            request.max_tokens = Some(request.max_tokens.map_or(left, |most| most.min(left)));
        }
        request
    }

    /// What the run is called.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.settings.id
    }

    /// The conversation the run belongs to.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        self.settings.session.as_ref()
    }

    /// Which documents may be used.
    #[must_use]
    pub fn filter(&self) -> Option<&Filter> {
        self.settings.filter.as_ref()
    }

    /// How much the run may use.
    #[must_use]
    pub fn limits(&self) -> &RunLimits {
        &self.settings.limits
    }

    /// The conversation with what the run has added so far, valid at every moment: see [`validate_history`]. The
    /// calls of a step that is under way are not in it.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.settings.request.messages
    }

    /// The messages that this run added.
    #[must_use]
    pub fn added(&self) -> &[Message] {
        self.messages().get(self.began..).unwrap_or_default()
    }

    /// The message the run answers: the last one that was there before it.
    #[must_use]
    pub fn asked(&self) -> Option<&Message> {
        self.began.checked_sub(1).and_then(|last| self.messages().get(last))
    }

    /// What the run has used so far.
    #[must_use]
    pub fn totals(&self) -> &RunTotals {
        &self.totals
    }

    /// How the run ended, if it is over.
    #[must_use]
    pub fn end(&self) -> Option<&RunEnd> {
        match &self.phase {
            Phase::Over(end) => Some(end),
            _ => None,
        }
    }
}
