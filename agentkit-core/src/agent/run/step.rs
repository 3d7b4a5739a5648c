//! What a run asks of its driver, and what the driver tells it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::end::{RunEnd, StopReason};
use crate::message::{ToolCall, ToolResult};
use crate::model::{ChatRequest, ChatResponse, Usage};
use crate::tool::Repeat;

/// What has to be done next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunStep {
    /// Call the model with this request; answer with [`RunInput::ModelAnswered`] or
    /// [`RunInput::ModelInterrupted`].
    CallModel(ChatRequest),
    /// Run these tools, as many at a time as suits, in this order. Answer each with
    /// [`RunInput::ToolStarted`] and then [`RunInput::ToolSettled`] or [`RunInput::ToolFailed`], or at once with
    /// `ToolSettled`, or with [`RunInput::ToolDeferred`].
    RunTools(Vec<ReadyCall>),
    /// Wait for tools that were started.
    AwaitTools,
    /// Wait for somebody outside, who answers each of these calls by [`RunInput::Resolved`].
    AwaitResolutions(Vec<DeferredCall>),
    /// Nothing; the run is over.
    Over(RunEnd),
}

/// A tool call that can be run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReadyCall {
    /// The call, with the arguments to run it with.
    pub call: ToolCall,
    /// The call's key: unique, and the same when the call is made again after a crash.
    pub key: String,
    /// What was decided about it so far.
    pub decision: Decision,
}

/// What was decided about a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Nothing yet.
    #[default]
    Open,
    /// Somebody has approved it.
    Approved,
    /// It was started before, and is to be made again with the same arguments and key.
    Restarted,
}

/// A tool call that waits for somebody outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeferredCall {
    /// The call, with the arguments to run it with.
    pub call: ToolCall,
    /// What it waits for.
    pub waits_for: Deferral,
}

impl DeferredCall {
    /// `call` waits for `waits_for`.
    #[must_use]
    pub fn new(call: ToolCall, waits_for: Deferral) -> Self {
        Self { call, waits_for }
    }
}

/// What a deferred call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Deferral {
    /// Somebody to approve it; then it is run here.
    Approval,
    /// The result of running it elsewhere.
    Result,
}

/// How somebody outside answers a deferred call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resolution {
    /// Run it, with other arguments if any are given.
    Approve {
        /// What to call it with instead.
        #[serde(default)]
        arguments: Option<Value>,
    },
    /// Do not run it.
    Deny {
        /// The reason, which the model is told.
        reason: String,
    },
    /// It was run elsewhere.
    Return {
        /// The result, as the model shall see it.
        content: String,
        /// Whether `content` describes an error the model can mend.
        #[serde(default)]
        is_error: bool,
    },
}

impl Resolution {
    /// Run it as the model asked for.
    #[must_use]
    pub fn approve() -> Self {
        Self::Approve { arguments: None }
    }

    /// Do not run it, and tell the model why.
    #[must_use]
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny { reason: reason.into() }
    }

    /// It was run elsewhere and gave this.
    #[must_use]
    pub fn returned(content: impl Into<String>) -> Self {
        Self::Return { content: content.into(), is_error: false }
    }
}

/// What happened, as the driver tells a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunInput {
    /// Time passed at work. The run reads no clock.
    Elapsed {
        /// How much, since the last time it was told.
        by: Duration,
    },
    /// The model said all it had to say.
    ModelAnswered(ChatResponse),
    /// The model did not come to its end.
    ModelInterrupted {
        /// What it said until then.
        text: String,
        /// What it used until then, as far as it stated that.
        usage: Usage,
        /// Why.
        reason: StopReason,
    },
    /// A tool is about to be called. Make the run durable between this and the call.
    ToolStarted {
        /// Which call.
        call_id: String,
        /// The arguments, if they differ from the call's.
        arguments: Option<Value>,
        /// Whether it may be called again if its end is not known.
        repeat: Repeat,
    },
    /// A call has to wait for somebody outside.
    ToolDeferred {
        /// Which call.
        call_id: String,
        /// For what.
        waits_for: Deferral,
        /// The arguments, if they differ from the call's.
        arguments: Option<Value>,
    },
    /// A call has its result, or an error that the model is told.
    ToolSettled(ToolResult),
    /// A call failed in a way that stops the run.
    ToolFailed {
        /// Which call.
        call_id: String,
        /// Why the run stops.
        reason: StopReason,
    },
    /// Somebody outside has answered a deferred call.
    Resolved {
        /// Which call.
        call_id: String,
        /// The answer.
        resolution: Resolution,
    },
    /// The run was read from a snapshot, and nobody knows what became of tools that had been started.
    Resumed,
    /// The run has to stop.
    Stop(StopReason),
}

/// What an input brought about.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RunChange {
    /// The calls the model asks for, in its order; their ids are those of the history.
    pub asked: Vec<ToolCall>,
    /// Results that can be told now: each call's once, in the order of the calls.
    pub settled: Vec<ToolResult>,
}
