//! Stacking wrappers one on another, the innermost first.

use std::fmt;
use std::sync::Arc;

use super::{
    BreakerOptions, Bulkhead, BulkheadOptions, CircuitBreaker, Fallback, FallbackEmbedder, Hedge,
    HedgeOptions, RateLimit, RateLimitOptions, Retry, RetryOptions, Timeout, TimeoutOptions,
};
#[cfg(feature = "cache")]
use super::{CacheOptions, Cached};
use crate::embed::Embedder;
use crate::error::Result;
use crate::model::ChatModel;
use crate::rerank::Reranker;

/// A model, embedder or reranker and the wrappers around it: each method puts one around all that is there already.
///
/// The [module](super) says in which order they serve best.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use agentkit_core::ChatModel;
/// use agentkit_core::resilience::{BreakerOptions, RetryOptions, Stack, TimeoutOptions};
///
/// fn dependable(model: impl ChatModel + 'static) -> std::sync::Arc<dyn ChatModel> {
///     let timeout = TimeoutOptions::default().first(Duration::from_secs(20)).idle(Duration::from_secs(10));
///     Stack::model(model)
///         .timeout(timeout)
///         .breaker(BreakerOptions::default())
///         .retry(RetryOptions::default())
///         .build()
/// }
/// ```
#[must_use]
pub struct Stack<T: ?Sized>(Arc<T>);

impl Stack<dyn ChatModel> {
    /// Begins with a model.
    pub fn model(model: impl ChatModel + 'static) -> Self {
        Self(Arc::new(model))
    }

    /// Begins with a model that is shared already.
    pub fn shared_model(model: Arc<dyn ChatModel>) -> Self {
        Self(model)
    }

    /// Limits how long an answer may take.
    pub fn timeout(self, options: TimeoutOptions) -> Self {
        Self(Arc::new(Timeout::new(self.0, options)))
    }

    /// Tries again what may succeed later.
    pub fn retry(self, options: RetryOptions) -> Self {
        Self(Arc::new(Retry::new(self.0, options)))
    }

    /// Leaves the model alone while it keeps failing.
    pub fn breaker(self, options: BreakerOptions) -> Self {
        Self(Arc::new(CircuitBreaker::new(self.0, options)))
    }

    /// Bounds the calls that run and wait.
    pub fn bulkhead(self, options: BulkheadOptions) -> Self {
        Self(Arc::new(Bulkhead::new(self.0, options)))
    }

    /// Keeps calls and tokens to rates.
    pub fn rate_limit(self, options: RateLimitOptions) -> Self {
        Self(Arc::new(RateLimit::new(self.0, options)))
    }

    /// Asks once more what is slow to begin.
    pub fn hedge(self, options: HedgeOptions) -> Self {
        Self(Arc::new(Hedge::new(self.0, options)))
    }

    /// Asks each of `others` in order when this one cannot answer.
    pub fn fallback(self, others: impl IntoIterator<Item = Arc<dyn ChatModel>>) -> Self {
        Self(Arc::new(Fallback::new(self.0, others)))
    }

    /// Remembers answers, and asks equal questions once.
    #[cfg(feature = "cache")]
    pub fn cache(self, options: CacheOptions) -> Self {
        Self(Arc::new(Cached::new(self.0, options)))
    }
}

impl Stack<dyn Embedder> {
    /// Begins with an embedder.
    pub fn embedder(embedder: impl Embedder + 'static) -> Self {
        Self(Arc::new(embedder))
    }

    /// Begins with an embedder that is shared already.
    pub fn shared_embedder(embedder: Arc<dyn Embedder>) -> Self {
        Self(embedder)
    }

    /// Limits how long a call may take.
    pub fn timeout(self, options: TimeoutOptions) -> Self {
        Self(Arc::new(Timeout::new(self.0, options)))
    }

    /// Tries again what may succeed later.
    pub fn retry(self, options: RetryOptions) -> Self {
        Self(Arc::new(Retry::new(self.0, options)))
    }

    /// Leaves the embedder alone while it keeps failing.
    pub fn breaker(self, options: BreakerOptions) -> Self {
        Self(Arc::new(CircuitBreaker::new(self.0, options)))
    }

    /// Bounds the calls that run and wait.
    pub fn bulkhead(self, options: BulkheadOptions) -> Self {
        Self(Arc::new(Bulkhead::new(self.0, options)))
    }

    /// Keeps calls and tokens to rates.
    pub fn rate_limit(self, options: RateLimitOptions) -> Self {
        Self(Arc::new(RateLimit::new(self.0, options)))
    }

    /// Asks once more what is slow.
    pub fn hedge(self, options: HedgeOptions) -> Self {
        Self(Arc::new(Hedge::new(self.0, options)))
    }

    /// Asks each of `others` in order when this one cannot answer.
    ///
    /// # Errors
    /// Mismatch: the embedders are not interchangeable.
    pub fn fallback(self, others: impl IntoIterator<Item = Arc<dyn Embedder>>) -> Result<Self> {
        Ok(Self(Arc::new(FallbackEmbedder::new(self.0, others)?)))
    }
}

impl Stack<dyn Reranker> {
    /// Begins with a reranker.
    pub fn reranker(reranker: impl Reranker + 'static) -> Self {
        Self(Arc::new(reranker))
    }

    /// Puts a [`Timeout`] around it.
    pub fn timeout(self, options: TimeoutOptions) -> Self {
        Self(Arc::new(Timeout::new(self.0, options)))
    }

    /// Puts a [`Retry`] around it.
    pub fn retry(self, options: RetryOptions) -> Self {
        Self(Arc::new(Retry::new(self.0, options)))
    }

    /// Puts a [`CircuitBreaker`] around it.
    pub fn breaker(self, options: BreakerOptions) -> Self {
        Self(Arc::new(CircuitBreaker::new(self.0, options)))
    }

    /// Puts a [`Bulkhead`] around it.
    pub fn bulkhead(self, options: BulkheadOptions) -> Self {
        Self(Arc::new(Bulkhead::new(self.0, options)))
    }
}

impl<T: ?Sized> Stack<T> {
    /// What has been stacked.
    #[must_use]
    pub fn build(self) -> Arc<T> {
        self.0
    }
}

impl<T: ?Sized> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}
