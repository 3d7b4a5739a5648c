//! Leaves a service alone that keeps failing, and feels its way back with a few probes.

mod circuit;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::Instant;

pub use self::circuit::BreakerState;
use self::circuit::{Admission, Circuit, Verdict};
use super::begin::is_last;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::rerank::Reranker;

/// When to leave a service alone, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerOptions {
    /// Failures among the last calls that open the circuit.
    pub failures: usize,
    /// How many of the last calls are looked at.
    pub window: usize,
    /// How long no call is let through.
    pub open_for: Duration,
    /// Calls let through afterwards to see whether the service works; all must succeed.
    pub probes: u32,
}

impl Default for BreakerOptions {
    /// Opens after 10 failures in 20 calls, for 30 seconds; 2 probes.
    fn default() -> Self {
        Self { failures: 10, window: 20, open_for: Duration::from_secs(30), probes: 2 }
    }
}

impl BreakerOptions {
    /// Opens when `failures` of the last `window` calls failed.
    #[must_use]
    pub fn failures(mut self, failures: usize, window: usize) -> Self {
        (self.failures, self.window) = (failures, window);
        self
    }

    /// Lets nothing through for this long.
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Lets this many probes through.
    #[must_use]
    pub fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }
}

/// Turns calls away while the service behind `inner` keeps failing.
///
/// Failures are errors that are unavailable, rate limited or internal, also in the middle of an answer. An error
/// that blames the request shows a service that works. A call that was stopped, dropped or turned away by this
/// process counts neither way. While the circuit is open, calls fail at once as unavailable, and say when the next
/// probe will be let through.
pub struct CircuitBreaker<T: ?Sized> {
    circuit: Arc<Mutex<Circuit>>,
    inner: Arc<T>,
}

impl<T: ?Sized> CircuitBreaker<T> {
    /// Watches the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, options: BreakerOptions) -> Self {
        Self { circuit: Arc::new(Mutex::new(Circuit::new(options))), inner }
    }

    /// What the breaker does with calls at this moment.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        lock(&self.circuit).state(Instant::now())
    }

    fn admit(&self, ctx: &RunContext) -> Result<Pending> {
        ctx.check()?;
        let admission = lock(&self.circuit).admit(Instant::now()).map_err(|wait| {
            let message = "the service has failed too often lately and is left alone for a while";
            Error::new(ErrorKind::Unavailable, message).with_retry_after(wait)
        })?;
        Ok(Pending { circuit: Arc::clone(&self.circuit), admission: Some(admission) })
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for CircuitBreaker<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let mut pending = self.admit(ctx)?;
        let answer =
            self.inner.stream(request, ctx).await.inspect_err(|error| pending.settle(blames(error)))?;
        Ok(ChatStream::new(answer.inspect(move |event| match event {
            Err(error) => pending.settle(blames(error)),
            Ok(_) if is_last(event) => pending.settle(Verdict::Success),
            Ok(_) => {}
        })))
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for CircuitBreaker<E> {
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
        let mut pending = self.admit(ctx)?;
        let result = self.inner.embed(side, texts, ctx).await;
        pending.settle(result.as_ref().err().map_or(Verdict::Success, blames));
        result
    }
}

#[async_trait]
impl<R: Reranker + ?Sized> Reranker for CircuitBreaker<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        let mut pending = self.admit(ctx)?;
        let result = self.inner.rerank(query, passages, ctx).await;
        pending.settle(result.as_ref().err().map_or(Verdict::Success, blames));
        result
    }
}

impl<T: ?Sized> fmt::Debug for CircuitBreaker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What an error says about the service.
fn blames(error: &Error) -> Verdict {
    match error.kind() {
        _ if error.is_stopped() || error.is_overloaded() => Verdict::Unknown,
        ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Internal => Verdict::Failure,
        _ => Verdict::Success,
    }
}

/// A call on its way; if nobody says how it ended, it says nothing about the service.
struct Pending {
    circuit: Arc<Mutex<Circuit>>,
    admission: Option<Admission>,
}

impl Pending {
    fn settle(&mut self, verdict: Verdict) {
        if let Some(admission) = self.admission.take() {
            lock(&self.circuit).settle(admission, verdict, Instant::now());
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.settle(Verdict::Unknown);
    }
}

fn lock(circuit: &Mutex<Circuit>) -> MutexGuard<'_, Circuit> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}
