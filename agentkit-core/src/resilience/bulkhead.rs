//! Bounds the calls that run at once and those that wait, and turns the rest away.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::begin::is_last;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::rerank::Reranker;

/// How many calls may run and how many may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkheadOptions {
    /// Calls that run at once; an answer runs until its stream has ended or is dropped. 0 counts as 1.
    pub concurrency: usize,
    /// Calls that wait for their turn.
    pub queue: usize,
    /// Longest wait for a turn; `None` leaves it to the run's deadline.
    pub longest_wait: Option<Duration>,
}

impl BulkheadOptions {
    /// Runs this many calls at once and lets none wait.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        Self { concurrency, queue: 0, longest_wait: None }
    }

    /// Lets this many calls wait, in the order in which they came.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// Lets no call wait longer than this.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = Some(wait);
        self
    }
}

/// Runs a bounded number of calls at once, lets a bounded number wait, and turns others away as overloaded.
pub struct Bulkhead<T: ?Sized> {
    options: BulkheadOptions,
    /// One for every call that runs or waits.
    places: Arc<Semaphore>,
    /// One for every call that runs; whoever waits gets it in turn.
    turns: Arc<Semaphore>,
    inner: Arc<T>,
}

/// Held while a call runs.
type Slot = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl<T: ?Sized> Bulkhead<T> {
    /// Bounds the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, mut options: BulkheadOptions) -> Self {
        options.concurrency = options.concurrency.clamp(1, Semaphore::MAX_PERMITS / 2);
        options.queue = options.queue.min(Semaphore::MAX_PERMITS / 2);
        let places = Arc::new(Semaphore::new(options.concurrency + options.queue));
        let turns = Arc::new(Semaphore::new(options.concurrency));
        Self { options, places, turns, inner }
    }

    async fn enter(&self, ctx: &RunContext) -> Result<Slot> {
        ctx.check()?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| self.full())?;
        match Arc::clone(&self.turns).try_acquire_owned() {
            Err(TryAcquireError::NoPermits) => Ok((ctx.run(self.wait()).await?, place)),
            turn => Ok((turn.map_err(closed)?, place)),
        }
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Some(longest) = self.options.longest_wait else { return turn.await.map_err(closed) };
        match tokio::time::timeout(longest, turn).await {
            Ok(turn) => turn.map_err(closed),
            Err(_) => {
                Err(overloaded(format!("no call ended within {longest:?}, the longest wait for a turn")))
            }
        }
    }

    fn full(&self) -> Error {
        let (running, waiting) = (self.options.concurrency, self.options.queue);
        overloaded(format!("{running} calls are running and {waiting} waiting, which is all there may be"))
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for Bulkhead<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let mut slot = Some(self.enter(ctx).await?);
        let answer = self.inner.stream(request, ctx).await?;
        Ok(ChatStream::new(answer.inspect(move |event| {
            if is_last(event) {
                drop(slot.take());
            }
        })))
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Bulkhead<E> {
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
        let _slot = self.enter(ctx).await?;
        self.inner.embed(side, texts, ctx).await
    }
}

#[async_trait]
impl<R: Reranker + ?Sized> Reranker for Bulkhead<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        let _slot = self.enter(ctx).await?;
        self.inner.rerank(query, passages, ctx).await
    }
}

impl<T: ?Sized> fmt::Debug for Bulkhead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead").field("options", &self.options).finish_non_exhaustive()
    }
}

fn overloaded(message: String) -> Error {
    Error::new(ErrorKind::Overloaded, message)
}

fn closed<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error::internal("wait for a turn").with_source(error)
}
