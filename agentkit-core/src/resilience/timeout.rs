//! Ends answers that take too long: to begin, between two events, or altogether.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::{Instant, Sleep, sleep_until};

use super::NEVER;
use super::begin::is_last;
use crate::context::RunContext;
use crate::embed::{EmbedSide, Embedder, EmbedderIdentity, Embedding};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::rerank::Reranker;

/// How long a call may take; what is not stated is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutOptions {
    /// Longest time from the call to its first event.
    pub first: Option<Duration>,
    /// Longest time the model may be silent after its first event, while the caller waits for it.
    pub idle: Option<Duration>,
    /// Longest time from the call to its end.
    pub total: Option<Duration>,
}

impl TimeoutOptions {
    /// Limits the time to the first event.
    #[must_use]
    pub fn first(mut self, limit: Duration) -> Self {
        self.first = Some(limit);
        self
    }

    /// Limits the silence between two events.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Limits the whole call.
    #[must_use]
    pub fn total(mut self, limit: Duration) -> Self {
        self.total = Some(limit);
        self
    }
}

/// Ends calls that take too long with an unavailable error, and drops what is behind them.
///
/// The error is retryable, unlike that of a run whose own deadline has passed. An embedder's call has no events:
/// it is bounded by the shorter of `first` and `total`.
pub struct Timeout<T: ?Sized> {
    options: TimeoutOptions,
    inner: Arc<T>,
}

impl<T: ?Sized> Timeout<T> {
    /// Limits the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, options: TimeoutOptions) -> Self {
        Self { options, inner }
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized> ChatModel for Timeout<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let mut clock = Clock::new(self.options.clone());
        let answer = clock.limit(self.inner.stream(request, ctx)).await?;
        Ok(ChatStream::new(Limited { answer: Some(answer), clock }))
    }
}

#[async_trait]
impl<E: Embedder + ?Sized> Embedder for Timeout<E> {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        Clock::new(self.options.clone()).limit(self.inner.embed(side, texts, ctx)).await
    }
}

#[async_trait]
impl<R: Reranker + ?Sized> Reranker for Timeout<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn rerank(&self, query: &str, passages: Vec<String>, ctx: &RunContext) -> Result<Vec<f32>> {
        Clock::new(self.options.clone()).limit(self.inner.rerank(query, passages, ctx)).await
    }
}

impl<T: ?Sized> fmt::Debug for Timeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The two timers of a call.
struct Clock {
    options: TimeoutOptions,
    total: Pin<Box<Sleep>>,
    /// For the next event; armed anew when the caller begins to wait for one.
    next: Pin<Box<Sleep>>,
    began: bool,
    waiting: bool,
}

impl Clock {
    fn new(options: TimeoutOptions) -> Self {
        let now = Instant::now();
        let timer = |limit: Option<Duration>| Box::pin(sleep_until(now + limit.unwrap_or(NEVER).min(NEVER)));
        Self { total: timer(options.total), next: timer(options.first), options, began: false, waiting: true }
    }

    async fn limit<O>(&mut self, work: impl Future<Output = Result<O>>) -> Result<O> {
        tokio::select! {
            biased;
            late = std::future::poll_fn(|cx| self.poll_late(cx)) => Err(late),
            done = work => done,
        }
    }

    /// An event has come: silence is measured from when the caller waits for the next one.
    fn heard(&mut self) {
        (self.began, self.waiting) = (true, false);
    }

    fn poll_total(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.total.as_mut().poll(cx).map(|()| late("did not finish", self.options.total))
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Poll::Ready(late) = self.poll_total(cx) {
            return Poll::Ready(late);
        }
        if !self.waiting {
            self.waiting = true;
            let limit = self.options.idle.unwrap_or(NEVER).min(NEVER);
            self.next.as_mut().reset(Instant::now() + limit);
        }
        ready!(self.next.as_mut().poll(cx));
        Poll::Ready(if self.began {
            late("fell silent and said nothing more", self.options.idle)
        } else {
            late("said nothing", self.options.first)
        })
    }
}

fn late(what: &str, limit: Option<Duration>) -> Error {
    let message = format!("the model {what} within {:?}", limit.unwrap_or(NEVER));
    Error::new(ErrorKind::Unavailable, message)
}

/// An answer whose time is limited; what is behind it is dropped when it ends.
struct Limited {
    answer: Option<ChatStream>,
    clock: Clock,
}

impl Stream for Limited {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { answer, clock } = &mut *self;
        let Some(events) = answer else { return Poll::Ready(None) };
        // The total limit holds for an answer that is always ready as well; where there is an event is no silence.
        let item = if let Poll::Ready(late) = clock.poll_total(cx) {
            Some(Err(late))
        } else if let Poll::Ready(item) = events.poll_next_unpin(cx) {
            item
        } else {
            Some(Err(ready!(clock.poll_late(cx))))
        };
        clock.heard();
        if item.as_ref().is_none_or(is_last) {
            *answer = None;
        }
        Poll::Ready(item)
    }
}
