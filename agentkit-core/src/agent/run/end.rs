//! How a run ended, and why it was stopped if it was.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunEnd {
    /// The model gave its answer.
    Answered,
    /// The model said that it cannot answer from its sources.
    Refused,
    /// The answer was cut off at the model's token limit.
    Truncated,
    /// The run was stopped before there was an answer.
    Stopped(StopReason),
}

/// Why a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The model was called as often as allowed.
    StepLimit {
        /// The limit.
        limit: u32,
    },
    /// The model asked for more tool calls than allowed.
    ToolCallLimit {
        /// The limit.
        limit: u32,
    },
    /// The tokens allowed are used up.
    TokenLimit {
        /// The limit.
        limit: u64,
    },
    /// The money allowed is spent.
    CostLimit {
        /// The limit in millionths.
        limit: u64,
    },
    /// The time allowed is over.
    TimeLimit {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The model insisted on a call that it has made before.
    Repetition {
        /// The tool.
        tool: String,
    },
    /// The model said nothing and asked for nothing.
    EmptyAnswer,
    /// The model's provider withheld its answer.
    ContentFilter,
    /// The run's context stopped it: its owner, its deadline or its budget.
    Context {
        /// Which of them.
        kind: ErrorKind,
        /// What the context said.
        message: String,
    },
    /// The model failed.
    Model {
        /// The category.
        kind: ErrorKind,
        /// What went wrong.
        message: String,
    },
    /// A tool failed in a way the model cannot mend.
    Tool {
        /// The tool.
        tool: String,
        /// The category.
        kind: ErrorKind,
        /// What went wrong.
        message: String,
    },
    /// A hook failed.
    Hook {
        /// The category.
        kind: ErrorKind,
        /// What went wrong.
        message: String,
    },
    /// A hook did not let the run go on.
    Refused {
        /// What the hook said.
        message: String,
    },
    /// The checkpoint could not be written.
    Checkpoint {
        /// The category.
        kind: ErrorKind,
        /// What went wrong.
        message: String,
    },
}

impl StopReason {
    /// What the context of the run said when it stopped it.
    #[must_use]
    pub fn context(error: &Error) -> Self {
        Self::Context { kind: error.kind(), message: error.message().to_owned() }
    }

    /// The reason as the error that the run ends with.
    #[must_use]
    pub fn to_error(&self) -> Error {
        Error::new(self.kind(), self.message())
    }

    /// Whether the run can go on from its last checkpoint when the obstacle is gone.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Context { .. } | Self::Model { .. } | Self::Hook { .. } | Self::Checkpoint { .. }
        )
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::EmptyAnswer => ErrorKind::Unavailable,
            Self::ContentFilter => ErrorKind::Unsupported,
            Self::Refused { .. } => ErrorKind::InvalidInput,
            Self::Context { kind, .. }
            | Self::Model { kind, .. }
            | Self::Tool { kind, .. }
            | Self::Hook { kind, .. }
            | Self::Checkpoint { kind, .. } => *kind,
            Self::TimeLimit { .. } => ErrorKind::DeadlineExceeded,
            _ => ErrorKind::BudgetExhausted,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::StepLimit { limit } => format!("the run reached its limit of {limit} model calls"),
            Self::ToolCallLimit { limit } => format!("the model asked for more than {limit} tool calls"),
            Self::TokenLimit { limit } => format!("the run reached its limit of {limit} tokens"),
            Self::CostLimit { limit } => format!("the run reached its cost limit of {limit} millionths"),
            Self::TimeLimit { limit_ms } => format!("the run reached its time limit of {limit_ms} ms"),
            Self::Repetition { tool } => format!("the model insisted on repeating a call of tool {tool:?}"),
            Self::EmptyAnswer => "the model gave no answer and asked for no tool".into(),
            Self::ContentFilter => {
                "the model's provider withheld the answer; rephrase the message or use another model".into()
            }
            Self::Tool { tool, message, .. } => format!("tool {tool:?} failed: {message}"),
            Self::Refused { message } => format!("a hook stopped the run: {message}"),
            Self::Context { message, .. }
            | Self::Model { message, .. }
            | Self::Hook { message, .. }
            | Self::Checkpoint { message, .. } => message.clone(),
        }
    }
}
