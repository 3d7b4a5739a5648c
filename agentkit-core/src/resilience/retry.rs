//! Tries again what may succeed later, as long as nothing has been said.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::backoff::{Jitter, bound};
use super::begin::begin;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, Result};
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::rerank::Reranker;

/// How often and how patiently to try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// Tries altogether, the first included; 0 counts as 1.
    pub attempts: u32,
    /// Longest wait before the second try; every further try doubles it.
    pub base: Duration,
    /// No wait of our own choice is longer.
    pub cap: Duration,
    /// Longest wait a server may ask for; if it asks for more, the call fails at once.
    pub longest_wait: Duration,
    /// Makes the waits repeatable; `None` makes them differ between processes.
    pub seed: Option<u64>,
}

impl Default for RetryOptions {
    /// Three tries, waits of up to half a second and a second, patience for a server of half a minute.
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            longest_wait: Duration::from_secs(30),
            seed: None,
        }
    }
}

impl RetryOptions {
    /// Tries this often altogether.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Waits at most `base` before the second try, twice that before the third, and so on up to `cap`.
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.base, self.cap) = (base, cap);
        self
    }

    /// Waits at most this long where a server asks for a wait.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// Makes the waits repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// Repeats calls that failed as unavailable or rate limited, with jittered exponential waits.
///
/// An answer is repeated only before its first event: `stream` waits for that event, so what fails later is
/// handed on. A wait the server asked for is kept to and lengthened by the jitter. A call that would have to
/// wait past its deadline, or longer than [`RetryOptions::longest_wait`], fails at once with the error it has. What
/// this process itself turned away is not repeated: shedding is meant to be quick.
pub struct Retry<T: ?Sized> {
    options: RetryOptions,
    jitter: Jitter,
    inner: Arc<T>,
}

impl<T: ?Sized> Retry<T> {
    /// Repeats calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, options: RetryOptions) -> Self {
        let jitter = Jitter::new(options.seed);
        Self { options, jitter, inner }
    }

    async fn run<O, F>(&self, ctx: &RunContext, mut attempt: impl FnMut() -> F) -> Result<O>
    where
        F: Future<Output = Result<O>>,
    {
        let mut tried = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tried += 1;
            let Some(wait) = self.wait_after(&error, tried, ctx) else { return Err(error) };
            tracing::debug!(tried, ?wait, error = error.chain(), "trying again");
            ctx.sleep(wait).await?;
        }
    }

    /// How long to wait before the next try, `None` if there shall be none.
    fn wait_after(&self, error: &Error, tried: u32, ctx: &RunContext) -> Option<Duration> {
        let asked = error.retry_after().unwrap_or_default();
        let repeats = error.is_retryable() && !error.is_overloaded() && tried < self.options.attempts;
        if !repeats || asked > self.options.longest_wait {
            return None;
        }
        let own = bound(self.options.base, self.options.cap, tried);
        let wait = asked.saturating_add(self.jitter.within(own));
        let left = ctx.deadline().map(|end| Instant::from_std(end).saturating_duration_since(Instant::now()));
        left.is_none_or(|left| wait < left).then_some(wait)
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for Retry<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        self.run(ctx, || begin(&*self.inner, request.clone(), ctx)).await
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Retry<E> {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn familiarity(&self, text: &str) -> f32 {
        self.inner.familiarity(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        self.run(ctx, || self.inner.embed(side, texts.clone(), ctx)).await
    }
}

#[async_trait]
impl<R: Reranker + ?Sized> Reranker for Retry<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        self.run(ctx, || self.inner.rerank(query, passages.clone(), ctx)).await
    }
}

impl<T: ?Sized> fmt::Debug for Retry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("options", &self.options).finish_non_exhaustive()
    }
}
