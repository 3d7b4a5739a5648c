//! How a tool is to be treated: whether it may be repeated, who runs it, how long it may take.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Tool, ToolSpec};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};

/// How the runtime treats a tool.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use agentkit_core::{Handling, Repeat, ToolPolicy};
///
/// let policy = ToolPolicy::new().handling(Handling::Approve).repeat(Repeat::Keyed).timeout(Duration::from_secs(5));
/// assert_eq!(policy.handling, Handling::Approve);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// Who runs the tool.
    pub handling: Handling,
    /// Whether a call that was interrupted may be made again.
    pub repeat: Repeat,
    /// How long a call may take; `None` leaves it to the agent.
    pub timeout: Option<Duration>,
    /// Whether every failure is told to the model. Otherwise only those are that it can mend, and others stop
    /// the run.
    pub tell_failures: bool,
}

/// Who runs a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Handling {
    /// The runtime, at once.
    #[default]
    Run,
    /// The runtime, after somebody has approved the call.
    Approve,
    /// Somebody else, who hands in the result.
    External,
}

/// Whether a call that was started, and whose end is not known, may be made again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repeat {
    /// Never: after a crash the model is told that the outcome is unknown.
    #[default]
    Never,
    /// With the same [`RunContext::idempotency_key`]: the tool takes effect once for each key.
    Keyed,
}

impl ToolPolicy {
    /// The runtime calls the tool at once, never again after a crash, and only tells the model of what it can mend.
    #[must_use]
    pub const fn new() -> Self {
        Self { handling: Handling::Run, repeat: Repeat::Never, timeout: None, tell_failures: false }
    }

    /// States who runs the tool.
    #[must_use]
    pub fn handling(mut self, handling: Handling) -> Self {
        self.handling = handling;
        self
    }

    /// States whether an interrupted call may be made again.
    #[must_use]
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// States how long a call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tells the model of every failure, so that none stops the run.
    #[must_use]
    pub fn telling_failures(mut self) -> Self {
        self.tell_failures = true;
        self
    }
}

/// A tool that is run elsewhere, for example in the browser of the person asking: the run waits for its result.
#[derive(Debug, Clone)]
pub struct ExternalTool {
    spec: ToolSpec,
    policy: ToolPolicy,
}

impl ExternalTool {
    /// What the model is told about the tool.
    #[must_use]
    pub fn new(spec: ToolSpec) -> Self {
        Self { spec, policy: ToolPolicy::new().handling(Handling::External) }
    }
}

#[async_trait]
impl Tool for ExternalTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, _arguments: Value, _ctx: &RunContext) -> Result<Value> {
        let message = format!("tool {:?} is run elsewhere; hand in its result", self.spec.name);
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
