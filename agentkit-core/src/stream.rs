//! A stream made from one sequential piece of code, without a task of its own.
//!
//! The producer is a future that sends items into a bounded channel; the stream polls the producer and the
//! channel together. Nothing is spawned, so dropping the stream drops the producer and everything it holds,
//! and a slow consumer holds the producer back.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};

/// Items the producer may run ahead of the consumer.
const AHEAD: usize = 16;

type Producer = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The sending half given to a producer.
#[derive(Debug, Clone)]
pub struct Emitter<T> {
    sender: mpsc::Sender<Result<T>>,
}

impl<T> Emitter<T> {
    /// Hands `item` to the consumer, waiting while the consumer is behind.
    ///
    /// # Cancel safety
    /// If the future is dropped, the item may not have been delivered.
    ///
    /// # Errors
    /// Cancelled, when the consumer is gone.
    pub async fn emit(&self, item: T) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "nobody reads the stream any more");
        self.sender.send(Ok(item)).await.map_err(gone)
    }
}

/// A stream driven by a producer; an error of the producer becomes the last item.
pub(crate) struct Generated<T> {
    producer: Option<Producer>,
    items: mpsc::Receiver<Result<T>>,
    failure: Option<Error>,
}

impl<T: Send + 'static> Generated<T> {
    pub(crate) fn new<F>(produce: impl FnOnce(Emitter<T>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, items) = mpsc::channel(AHEAD);
        let producer: Producer = Box::pin(produce(Emitter { sender }));
        Self { producer: Some(producer), items, failure: None }
    }
}

impl<T> Stream for Generated<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(producer) = &mut this.producer
            && let Poll::Ready(end) = producer.as_mut().poll(cx)
        {
            this.failure = end.err();
            this.producer = None;
            // A clone of the emitter may outlive its producer; the stream ends all the same, behind what it holds.
            // A pending channel does not tell: it is also pending when the task has used up its share of time.
            this.items.close();
        }
        match this.items.poll_recv(cx) {
            // The emitter is gone before its producer, which may still fail.
            Poll::Ready(None) if this.producer.is_some() => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(this.failure.take().map(Err)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_the_error_last() {
        let mut stream = Generated::new(|out| async move {
            for n in 0..100 {
                out.emit(n).await?;
            }
            Err(Error::internal("the end"))
        });
        for expected in 0..100 {
            assert_eq!(stream.next().await.unwrap().unwrap(), expected);
        }
        assert_eq!(stream.next().await.unwrap().unwrap_err().message(), "the end");
        assert!(stream.next().await.is_none());
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn no_item_is_lost_in_a_task_that_never_waits() {
        for _ in 0..100 {
            let mut stream = Generated::new(|out| async move {
                for n in 0..10 {
                    out.emit(n).await?;
                }
                Ok(())
            });
            for expected in 0..10 {
                assert_eq!(stream.next().await.unwrap().unwrap(), expected);
            }
            assert!(stream.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn an_emitter_that_outlives_its_producer_does_not_hold_the_stream_open() {
        let (hand_out, kept) = tokio::sync::oneshot::channel();
        let mut stream = Generated::new(|out| async move {
            out.emit(1).await?;
            hand_out.send(out.clone()).map_err(|_| Error::internal("the test waits for it"))
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert!(stream.next().await.is_none());
        assert!(kept.await.unwrap().emit(2).await.unwrap_err().is_stopped());
    }

    #[tokio::test]
    async fn an_error_behind_the_end_of_the_emitter_is_not_lost() {
        let mut stream = Generated::new(|out| async move {
            out.emit(1).await?;
            drop(out);
            tokio::task::yield_now().await;
            Err(Error::internal("the end"))
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert_eq!(stream.next().await.unwrap().unwrap_err().message(), "the end");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_stream_drops_the_producer() {
        let held = std::sync::Arc::new(());
        let inside = held.clone();
        let mut stream = Generated::new(|out| async move {
            out.emit(1).await?;
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert_eq!(std::sync::Arc::strong_count(&held), 2);
        drop(stream);
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    }
}
