//! Asks once more when an answer is slow to begin, and takes the one that begins first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::begin::begin;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::Result;
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};

/// When to ask once more, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeOptions {
    /// How long an answer may take to begin before the question is asked again.
    pub delay: Duration,
    /// Most further times that a question is asked.
    pub extra: u32,
}

impl HedgeOptions {
    /// Asks once more after `delay`, best about the time that 95 of 100 answers take to begin.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        Self { delay, extra: 1 }
    }

    /// Asks up to this many further times.
    #[must_use]
    pub fn extra(mut self, times: u32) -> Self {
        self.extra = times;
        self
    }
}

/// Cuts the tail of latency: asks again what is slow to begin, takes what begins first and drops the other.
///
/// Nothing is said twice, but what was asked twice is paid for twice; a [`Bulkhead`](super::Bulkhead) behind it
/// bounds what a slow service is asked. A failed call is no reason to ask again, which is for
/// [`Retry`](super::Retry): the error is returned, unless it may pass and another call is still running.
pub struct Hedge<T: ?Sized> {
    options: HedgeOptions,
    inner: Arc<T>,
}

impl<T: ?Sized> Hedge<T> {
    /// Hedges the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, options: HedgeOptions) -> Self {
        Self { options, inner }
    }

    async fn run<O, F>(&self, attempt: impl Fn() -> F) -> Result<O>
    where
        F: Future<Output = Result<O>>,
    {
        let mut running = FuturesUnordered::from_iter([attempt()]);
        let mut left = self.options.extra;
        loop {
            tokio::select! {
                biased;
                Some(done) = running.next() => match done {
                    Err(error) if error.is_retryable() && !running.is_empty() => {
                        tracing::debug!(error = error.chain(), "a hedged call failed, another one is running");
                    }
                    done => return done,
                },
                () = tokio::time::sleep(self.options.delay), if left > 0 => {
                    left -= 1;
                    running.push(attempt());
                }
            }
        }
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for Hedge<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        self.run(|| begin(&*self.inner, request.clone(), ctx)).await
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Hedge<E> {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        self.run(|| self.inner.embed(side, texts.clone(), ctx)).await
    }
}

impl<T: ?Sized> fmt::Debug for Hedge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge").field("options", &self.options).finish_non_exhaustive()
    }
}
