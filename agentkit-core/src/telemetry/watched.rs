//! A stream that is polled within a span, and looked at as it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tracing::Span;

use super::failed;
use crate::error::Result;

/// Notes on a span what passes, and ends it when the stream is dropped.
pub(super) struct Watched<S, N> {
    stream: S,
    span: Span,
    note: N,
}

impl<S, N> Watched<S, N> {
    /// Shows each item of `stream` to `note`; failures are noted by themselves.
    pub(super) fn new(stream: S, span: Span, note: N) -> Self {
        Self { stream, span, note }
    }
}

impl<S, T, N> Stream for Watched<S, N>
where
    S: Stream<Item = Result<T>> + Unpin,
    N: FnMut(&Span, &T) + Unpin,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { stream, span, note } = &mut *self;
        let _entered = span.enter();
        let item = ready!(Pin::new(stream).poll_next(cx));
        match &item {
            Some(Ok(item)) => note(span, item),
            Some(Err(error)) => failed(span, error),
            None => {}
        }
        Poll::Ready(item)
    }
}
