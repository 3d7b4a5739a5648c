//! Wrappers that make a [`ChatModel`](crate::ChatModel), an [`Embedder`](crate::Embedder) or a
//! [`Reranker`](crate::Reranker) dependable.
//!
//! Each is a model, embedder or reranker itself, holds to the same contract and can be used alone or in a [`Stack`]. None of
//! them spawns a task: dropping a future or stream drops all that is behind it. While they wait they end at once
//! when the run is cancelled or its deadline passes. Nothing is ever said twice: what repeats a call or asks
//! another model does so only until the first event of an answer.
//!
//! # In which order?
//! From the inside out, a stack that serves well:
//!
//! | wrapper | why it stands there |
//! |---|---|
//! | [`Timeout`] | limits one try; what waits further out is not counted |
//! | [`Bulkhead`] | bounds what the service is asked at once; a backoff further out holds no slot |
//! | [`RateLimit`] | counts every try, also the repeated ones |
//! | [`CircuitBreaker`] | sees each try's failure, but not what was turned away or cancelled |
//! | [`Hedge`] | its second call passes all limits |
//! | [`Retry`] | sees all failures that may pass; an open circuit tells it when to come again |
//! | [`Fallback`] | goes on to another provider's stack when this one has given up |
//! | `Cached` (feature `cache`) | spares all of it |
//!
//! A deadline for everything together belongs into the [`RunContext`](crate::RunContext).

mod backoff;
mod begin;
mod breaker;
mod bulkhead;
#[cfg(feature = "cache")]
mod cache;
mod fallback;
mod hedge;
mod rate;
mod retry;
mod stack;
mod timeout;

use std::time::Duration;

/// Longer than anybody waits: what is set to more is cut to it, because clocks and timers end.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

pub use self::breaker::{BreakerOptions, BreakerState, CircuitBreaker};
pub use self::bulkhead::{Bulkhead, BulkheadOptions};
#[cfg(feature = "cache")]
pub use self::cache::{CacheOptions, Cached};
pub use self::fallback::{Fallback, FallbackEmbedder};
pub use self::hedge::{Hedge, HedgeOptions};
pub use self::rate::{Rate, RateLimit, RateLimitOptions, TokenBucket};
pub use self::retry::{Retry, RetryOptions};
pub use self::stack::Stack;
pub use self::timeout::{Timeout, TimeoutOptions};
