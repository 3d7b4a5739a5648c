//! One answer that several callers read while it is made.
//!
//! Nobody owns the making: whoever waits for the next event polls the model's stream, under a lock that is never
//! held across an await, and a wake-up of the stream wakes everybody who waits. So no reader depends on another
//! one going on, a reader that is dropped or slow holds up nobody, and when the last one is gone the stream is
//! dropped with the flight.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatEvent, ChatStream, FinishReason, Usage};

/// Longest answer that is kept, in bytes of its events.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// What an event takes beside its text.
const EVENT_BYTES: usize = size_of::<ChatEvent>();

pub(super) struct Flight {
    making: Mutex<Making>,
    waiting: Arc<Waiting>,
}

struct Making {
    answer: Option<ChatStream>,
    events: Vec<ChatEvent>,
    bytes: usize,
    charged: bool,
    failure: Option<Arc<Error>>,
    landing: Option<Landing>,
}

/// What is done with a whole answer, without its cost; dropped instead if there is none.
pub(super) type Landing = Box<dyn FnOnce(Arc<[ChatEvent]>) + Send>;

impl Flight {
    /// Shares `answer`; `landing` is called or dropped as soon as the answer is over.
    pub(super) fn new(answer: ChatStream, landing: Landing) -> Self {
        let making = Making {
            answer: Some(answer),
            events: Vec::new(),
            bytes: 0,
            charged: false,
            failure: None,
            landing: Some(landing),
        };
        Self { making: Mutex::new(making), waiting: Arc::default() }
    }

    /// Completes when the first event is there.
    pub(super) async fn begun(&self) -> Result<()> {
        poll_fn(|cx| self.poll_until(0, cx)).await
    }

    /// The event at place `at` as soon as it is there, `None` behind the last one.
    pub(super) async fn event(&self, at: usize) -> Result<Option<ChatEvent>> {
        poll_fn(|cx| self.poll_event(at, cx)).await
    }

    fn poll_event(&self, at: usize, cx: &mut Context<'_>) -> Poll<Result<Option<ChatEvent>>> {
        ready!(self.poll_until(at, cx))?;
        Poll::Ready(Ok(self.making().read(at)))
    }

    /// Ready as soon as the event at place `at` is there, or the answer is over before.
    fn poll_until(&self, at: usize, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut making = self.making();
        while making.events.len() <= at {
            if let Some(failure) = &making.failure {
                return Poll::Ready(Err(copy(failure)));
            }
            if making.answer.is_none() {
                break;
            }
            self.waiting.add(cx.waker());
            let everybody = Waker::from(Arc::clone(&self.waiting));
            ready!(making.poll_more(&mut Context::from_waker(&everybody)));
            self.waiting.wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Making {
    /// The event at `at`; only one reader is told what the answer cost.
    fn read(&mut self, at: usize) -> Option<ChatEvent> {
        let event = self.events.get(at)?;
        if matches!(event, ChatEvent::Usage(_)) && std::mem::replace(&mut self.charged, true) {
            return Some(free_of_charge(event));
        }
        Some(event.clone())
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(()) };
        match ready!(answer.poll_next_unpin(cx)) {
            Some(Ok(event)) => self.keep(event),
            Some(Err(error)) => self.fail(error),
            None => self.fail(Error::internal("the model's stream ended without a finish reason")),
        }
        Poll::Ready(())
    }

    fn keep(&mut self, event: ChatEvent) {
        self.bytes += weight(&event);
        if self.bytes > MAX_ANSWER_BYTES {
            let message =
                format!("the answer is longer than {MAX_ANSWER_BYTES} bytes, the most a cache holds");
            return self.fail(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let finish = if let ChatEvent::Finished { reason } = event { Some(reason) } else { None };
        self.events.push(event);
        if let Some(reason) = finish {
            self.land(reason);
        }
    }

    fn land(&mut self, reason: FinishReason) {
        self.answer = None;
        let landing = self.landing.take().filter(|_| reason != FinishReason::ContentFilter);
        if let Some(landing) = landing {
            landing(self.events.iter().map(free_of_charge).collect());
        }
    }

    fn fail(&mut self, error: Error) {
        (self.answer, self.landing) = (None, None);
        self.failure = Some(Arc::new(error));
    }
}

/// About how many bytes an event takes.
pub(super) fn weight(event: &ChatEvent) -> usize {
    EVENT_BYTES
        + match event {
            ChatEvent::Delta { text } => text.len(),
            ChatEvent::ToolCall(call) => call.id.len() + call.name.len() + call.arguments.to_string().len(),
            _ => 0,
        }
}

fn free_of_charge(event: &ChatEvent) -> ChatEvent {
    match event {
        ChatEvent::Usage(_) => ChatEvent::Usage(Usage::default()),
        event => event.clone(),
    }
}

/// The same error for one more reader.
fn copy(failure: &Arc<Error>) -> Error {
    let error = Error::new(failure.kind(), failure.message());
    let error = match failure.retry_after() {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    if cause(failure).is_some() { error.with_source(Cause(Arc::clone(failure))) } else { error }
}

fn cause(error: &Error) -> Option<&(dyn std::error::Error + 'static)> {
    std::error::Error::source(error)
}

/// The cause of an error that several readers share.
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cause(&self.0).map_or(Ok(()), |cause| fmt::Display::fmt(cause, f))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        cause(&self.0)?.source()
    }
}

/// Everybody who waits for the next event, at most once each.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}
