//! Keeps calls and model tokens to a rate, by token buckets.

mod bucket;
mod tokens;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::bucket::Bucket;
pub use self::bucket::Rate;
pub use self::tokens::TokenBucket;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, ModelInfo};

/// Calls that may wait unless another number is asked for.
const QUEUE: usize = 100;

/// Which rates to keep to, and who may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitOptions {
    /// Rate of calls.
    pub requests: Option<Rate>,
    /// Rate of model tokens, input and output together.
    pub tokens: Option<Rate>,
    /// Calls that may wait at the same time.
    pub queue: usize,
    /// Longest wait, as expected when the call comes; `None` leaves it to the run's deadline.
    pub longest_wait: Option<Duration>,
}

impl Default for RateLimitOptions {
    /// No rates yet; 100 calls may wait.
    fn default() -> Self {
        Self { requests: None, tokens: None, queue: QUEUE, longest_wait: None }
    }
}

impl RateLimitOptions {
    /// Keeps calls to `rate`.
    #[must_use]
    pub fn requests(mut self, rate: Rate) -> Self {
        self.requests = Some(rate);
        self
    }

    /// Keeps model tokens to `rate`.
    #[must_use]
    pub fn tokens(mut self, rate: Rate) -> Self {
        self.tokens = Some(rate);
        self
    }

    /// Lets this many calls wait.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// Lets no call wait that would have to wait longer than this.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = Some(wait);
        self
    }
}

/// Holds calls back until the rates allow them, in the order in which they came, and turns away what cannot wait.
///
/// A text to embed takes its tokens before the call. What an answer costs is known when it ends, so it is taken
/// from the bucket then, even if it is more than there is: later calls wait until the debt is paid. A call that is
/// cancelled while it waits has taken nothing.
pub struct RateLimit<T: ?Sized> {
    options: RateLimitOptions,
    buckets: Arc<Buckets>,
    /// Held by the call that waits for the buckets; the others wait for it in turn.
    turn: tokio::sync::Mutex<()>,
    places: Semaphore,
    inner: Arc<T>,
}

impl<T: ?Sized> RateLimit<T> {
    /// Keeps the calls of `inner` to rates.
    #[must_use]
    pub fn new(inner: Arc<T>, mut options: RateLimitOptions) -> Self {
        options.queue = options.queue.min(Semaphore::MAX_PERMITS);
        let now = Instant::now();
        let bucket = |rate: Option<Rate>| rate.map(|rate| Mutex::new(Bucket::new(rate, now)));
        let buckets = Buckets { requests: bucket(options.requests), tokens: bucket(options.tokens) };
        let places = Semaphore::new(options.queue);
        Self { options, buckets: Arc::new(buckets), turn: tokio::sync::Mutex::default(), places, inner }
    }

    /// Waits until the rates allow a call that takes `tokens`, and takes them.
    async fn enter(&self, tokens: u64, ctx: &RunContext) -> Result<()> {
        ctx.check()?;
        if self.turn.try_lock().is_ok_and(|_turn| self.buckets.take(tokens).is_none()) {
            return Ok(());
        }
        let _place = self.place(tokens)?;
        let wait = async {
            let _turn = self.turn.lock().await;
            while let Some(wait) = self.buckets.take(tokens) {
                tokio::time::sleep(wait).await;
            }
            Ok(())
        };
        ctx.run(wait).await
    }

    fn place(&self, tokens: u64) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let ahead = self.options.queue.saturating_sub(self.places.available_permits());
        let wait = self.buckets.wait_in_line(ahead, tokens);
        if self.options.longest_wait.is_some_and(|longest| wait > longest) {
            let message = format!("the rate allows the call in {wait:?}, later than it may wait");
            return Err(Error::new(ErrorKind::Overloaded, message).with_retry_after(wait));
        }
        self.places.try_acquire().map_err(|_| {
            let message = format!("{ahead} calls wait for the rate already, which is all there may be");
            Error::new(ErrorKind::Overloaded, message).with_retry_after(wait)
        })
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for RateLimit<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        self.enter(0, ctx).await?;
        let answer = self.inner.stream(request, ctx).await?;
        if self.buckets.tokens.is_none() {
            return Ok(answer);
        }
        let buckets = Arc::clone(&self.buckets);
        Ok(ChatStream::new(answer.inspect(move |event| {
            if let Ok(ChatEvent::Usage(usage)) = event {
                buckets.charge(usage.total());
            }
        })))
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for RateLimit<E> {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        let counted = if self.buckets.tokens.is_some() { texts.as_slice() } else { &[] };
        let tokens: usize = counted.iter().map(|text| self.inner.count_tokens(text)).sum();
        self.enter(tokens as u64, ctx).await?;
        self.inner.embed(side, texts, ctx).await
    }
}

impl<T: ?Sized> fmt::Debug for RateLimit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What calls and tokens are taken from. Only the holder of the turn takes calls, so both can be looked at in turn.
struct Buckets {
    requests: Option<Mutex<Bucket>>,
    tokens: Option<Mutex<Bucket>>,
}

impl Buckets {
    /// Takes a call and its tokens, or says how long to wait for them.
    fn take(&self, tokens: u64) -> Option<Duration> {
        let now = Instant::now();
        let wait = self.wait(1, tokens, now);
        if !wait.is_zero() {
            return Some(wait);
        }
        with(self.requests.as_ref(), |bucket| bucket.take(1, now));
        with(self.tokens.as_ref(), |bucket| bucket.take(tokens, now));
        None
    }

    fn charge(&self, tokens: u64) {
        with(self.tokens.as_ref(), |bucket| bucket.take(tokens, Instant::now()));
    }

    /// A call needs a token of the model at least, so it waits until debts are paid.
    fn wait(&self, calls: u64, tokens: u64, now: Instant) -> Duration {
        let requests = with(self.requests.as_ref(), |bucket| bucket.wait(calls, now));
        let tokens = with(self.tokens.as_ref(), |bucket| bucket.wait(tokens.max(1), now));
        requests.max(tokens).unwrap_or_default()
    }

    fn wait_in_line(&self, ahead: usize, tokens: u64) -> Duration {
        let now = Instant::now();
        let line = with(self.requests.as_ref(), |bucket| bucket.wait_in_line(ahead + 1, now));
        self.wait(1, tokens, now).max(line.unwrap_or_default())
    }
}

fn with<O>(bucket: Option<&Mutex<Bucket>>, work: impl FnOnce(&mut Bucket) -> O) -> Option<O> {
    bucket.map(|bucket| work(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner)))
}
