//! The events of a run: the single stream out of which JSON, SSE and WebSocket answers are made.

use serde::{Deserialize, Serialize};

use super::run::DeferredCall;
use crate::error::ErrorKind;
use crate::id::{ChunkId, DocumentId, RunId, SessionId};
use crate::message::{ToolCall, ToolResult};
use crate::model::Usage;
use crate::retrieve::{Locator, Passage, Span};

/// One numbered event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Position in the run, from 0 without gaps.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: AgentEventKind,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentEventKind {
    /// The run began.
    Started {
        /// The trace the run belongs to.
        trace_id: String,
        /// The conversation it continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
    },
    /// Passages were found; their numbers are those of the citations.
    Retrieved {
        /// The question as it was searched, which may differ from the message in a conversation.
        query: String,
        /// What was found, best first.
        sources: Vec<Source>,
    },
    /// More text of the answer.
    Delta {
        /// The text to append.
        text: String,
    },
    /// The text so far rests on this quotation.
    Citation(Citation),
    /// The model asks for a tool; it is one of the caller's if the run ends with outcome `waiting` and without its result.
    ToolCalled(ToolCall),
    /// A call has its result: what the tool returned, or why it was not run. Results come in the order of the
    /// calls, and each call has one before the run is over.
    ToolReturned(ToolResult),
    /// The run waits for somebody outside, and ends with outcome `waiting`.
    Deferred {
        /// What to resume.
        run_id: RunId,
        /// What it waits for.
        calls: Vec<DeferredCall>,
    },
    /// What the models used.
    Usage(Usage),
    /// The run is over.
    Done {
        /// How it ended.
        outcome: Outcome,
    },
    /// The run failed.
    Error {
        /// The category.
        kind: ErrorKind,
        /// What went wrong.
        message: String,
    },
}

/// A passage the answer may rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its number in the answer's text, counted from 1.
    pub number: usize,
    /// The passage.
    #[serde(flatten)]
    pub passage: Passage,
    /// Its retrieval score; comparable only within one run.
    pub score: f32,
}

/// A quotation that supports the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The number of the source; the `[n]` of the answer's text.
    pub number: usize,
    /// The document quoted.
    pub document_id: DocumentId,
    /// The chunk quoted.
    pub chunk_id: ChunkId,
    /// The document's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The quoted text: the document's source text cut at `span`.
    pub quote: String,
    /// Byte range of the quotation in the document's source text.
    pub span: Span,
    /// Where to find the quotation in the original.
    #[serde(default)]
    pub locator: Locator,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// With the statement that the sources do not support an answer.
    Refused,
    /// With an answer cut off at the model's token limit.
    Truncated,
    /// Not at all: it waits for somebody outside. It can be resumed; or, where the caller's own tools are called, the
    /// message is sent again with the calls and their results.
    Waiting,
}
