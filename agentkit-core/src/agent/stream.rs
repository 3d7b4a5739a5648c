//! A run as a stream of numbered events, and the reply gathered from it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::event::{AgentEvent, AgentEventKind, Citation, Outcome, Source};
use super::run::DeferredCall;
use crate::error::{Error, Result};
use crate::id::{RunId, SessionId};
use crate::message::ToolCall;
use crate::model::Usage;
use crate::stream::{Emitter, Generated};

/// The events of a run before they are numbered.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<AgentEventKind>> + Send>>;

/// The events of a run, numbered; dropping it stops the run.
pub struct AgentStream {
    events: Events,
    next_seq: u64,
}

impl AgentStream {
    /// Makes a run from sequential code that emits events; an error it returns becomes the `error` event.
    pub fn generate<F>(produce: impl FnOnce(Emitter<AgentEventKind>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self { events: Box::pin(Generated::new(produce)), next_seq: 0 }
    }

    /// The same run, its events seen through a wrapper that gives them on unchanged.
    pub(crate) fn seen_through<S>(self, wrap: impl FnOnce(Events) -> S) -> Self
    where
        S: Stream<Item = Result<AgentEventKind>> + Send + 'static,
    {
        Self { events: Box::pin(wrap(self.events)), next_seq: self.next_seq }
    }

    /// The next event, or `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<AgentEvent> {
        StreamExt::next(self).await
    }

    /// Waits for the run's end and gathers its reply.
    ///
    /// # Cancel safety
    /// Dropping the future stops the run.
    ///
    /// # Errors
    /// The run's error, by its kind and message, or internal if the run ended without saying how.
    pub async fn collect(mut self) -> Result<AgentReply> {
        let mut reply = AgentReply::default();
        while let Some(event) = self.next().await {
            if let Some(end) = reply.take(event.kind) {
                return end.map(|outcome| AgentReply { outcome, ..reply });
            }
        }
        Err(Error::internal("the run ended without saying how"))
    }
}

impl Stream for AgentStream {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        self.events.as_mut().poll_next(cx).map(|item| {
            let kind = item?.unwrap_or_else(|error| {
                tracing::warn!(error = error.chain(), "the run failed");
                AgentEventKind::Error { kind: error.kind(), message: error.message().to_owned() }
            });
            let seq = self.next_seq;
            self.next_seq += 1;
            Some(AgentEvent { seq, kind })
        })
    }
}

impl fmt::Debug for AgentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentStream").field("next_seq", &self.next_seq).finish_non_exhaustive()
    }
}

/// A run's answer as one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentReply {
    /// The answer, with `[n]` behind what source n supports.
    pub answer: String,
    /// The quotations it rests on.
    pub citations: Vec<Citation>,
    /// The passages that were found.
    pub sources: Vec<Source>,
    /// The question as it was searched.
    pub query: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// What the models used.
    pub usage: Usage,
    /// The conversation this belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The trace of the run.
    pub trace_id: String,
    /// What to resume, if the run waits for somebody outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<DeferredCall>,
    /// The calls of tools that have no result, in order: if the run waits, the caller's own tools are among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

impl Default for AgentReply {
    fn default() -> Self {
        Self {
            answer: String::new(),
            citations: Vec::new(),
            sources: Vec::new(),
            query: String::new(),
            outcome: Outcome::Answered,
            usage: Usage::default(),
            session_id: None,
            trace_id: String::new(),
            run_id: None,
            deferred: Vec::new(),
            tool_calls: Vec::new(),
        }
    }
}

impl AgentReply {
    /// Adds an event; says how the run ended if this was the last.
    pub(super) fn take(&mut self, event: AgentEventKind) -> Option<Result<Outcome>> {
        match event {
            AgentEventKind::Started { trace_id, session_id } => {
                self.trace_id = trace_id;
                self.session_id = session_id;
            }
            AgentEventKind::Retrieved { query, sources } => {
                self.query = query;
                self.sources = sources;
            }
            AgentEventKind::Delta { text } => self.answer.push_str(&text),
            AgentEventKind::Citation(citation) => self.citations.push(citation),
            AgentEventKind::Usage(usage) => self.usage = usage,
            AgentEventKind::ToolCalled(call) => self.tool_calls.push(call),
            AgentEventKind::ToolReturned(result) => {
                self.tool_calls.retain(|call| call.id != result.call_id);
            }
            AgentEventKind::Deferred { run_id, calls } => {
                self.run_id = Some(run_id);
                self.deferred = calls;
            }
            AgentEventKind::Done { outcome } => return Some(Ok(outcome)),
            AgentEventKind::Error { kind, message } => return Some(Err(Error::new(kind, message))),
        }
        None
    }
}
