//! Spans of what agents, models, embedders and retrievers do, by the names of OpenTelemetry's conventions for generative AI.
//!
//! How: [`Traced`] goes around an implementation and opens a `tracing` span for each of its calls; without a subscriber
//! that costs next to nothing. Deeper parts add spans and events of their own by the functions here. All of them have the
//! target [`TARGET`], so that a subscriber can tell them from the log.
//!
//! Always true: no span and no event holds text of a question, a passage or an answer.

mod agent;
mod embedder;
mod model;
mod reranker;
mod retriever;
#[cfg(test)]
mod tests;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracing::Span;

use crate::error::Error;

/// The target of every span and event of this module.
pub const TARGET: &str = "agentkit::telemetry";

/// Opens a span for each call of what it goes around.
///
/// | around | span | attributes |
/// |---|---|---|
/// | [`Agent`](crate::Agent) | `invoke_agent {name}` | `gen_ai.agent.name`, `gen_ai.usage.…`, `agentkit.time_to_first_token` |
/// | [`ChatModel`](crate::ChatModel) | `chat {model}` | `gen_ai.provider.name`, `gen_ai.request.…`, `gen_ai.response.…`, `gen_ai.usage.…` |
/// | [`Embedder`](crate::Embedder) | `embeddings {model}` | `gen_ai.request.model`, `gen_ai.embeddings.dimension.count` |
/// | [`Retriever`](crate::Retriever) | `retrieval {collection}` | `gen_ai.data_source.id`, `agentkit.top_k` |
/// | [`Reranker`](crate::Reranker) | `rerank {name}` | `agentkit.reranker` |
///
/// A call that fails has the attribute `error.type`, the [kind](crate::ErrorKind) of its error.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::ChatModel;
/// use agentkit_core::telemetry::Traced;
///
/// fn traced(model: Arc<dyn ChatModel>) -> Arc<dyn ChatModel> {
///     Arc::new(Traced::new(model))
/// }
/// ```
pub struct Traced<T: ?Sized> {
    inner: Arc<T>,
    name: Arc<str>,
}

impl<T: ?Sized> Traced<T> {
    /// Traces the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>) -> Self {
        Self { inner, name: "agentkit".into() }
    }

    /// What an agent is called in its spans; `agentkit` unless said otherwise.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }
}

impl<T: ?Sized> fmt::Debug for Traced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Runs one leg of a retrieval in a span that is called after it.
pub fn leg<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    tracing::info_span!(target: TARGET, "leg", otel.name = name, agentkit.leg = name).in_scope(work)
}

/// Tells that a job came out of a queue: how long it had waited, and how many are waiting still.
pub fn dequeued(queue: &'static str, waited: Duration, left: usize) {
    let seconds = waited.as_secs_f64();
    let waiting = count(left);
    tracing::debug!(
        target: TARGET,
        { agentkit.queue = queue, agentkit.waited = seconds, agentkit.waiting = waiting },
        "dequeued"
    );
}

/// Tells that something was looked up in a cache, and whether it was there.
pub fn looked_up(cache: &'static str, found: bool) {
    tracing::debug!(target: TARGET, { agentkit.cache = cache, agentkit.found = found }, "looked up");
}

/// Notes on `span` how a call ended that failed.
fn failed(span: &Span, error: &Error) {
    span.record("error.type", name(&error.kind()));
    span.record("otel.status_code", "ERROR");
}

/// A number as traces know them.
fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// How a value without content of its own is called on the wire.
fn name(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}
