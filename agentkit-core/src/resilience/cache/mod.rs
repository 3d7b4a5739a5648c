//! Answers a question that was asked before with the answer it got, and asks a question only once at a time.

mod flight;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::time::Instant;

use self::flight::{Flight, weight};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::{ChatEvent, ChatModel, ChatRequest, ChatStream, ModelInfo};
use crate::stream::Emitter;
use crate::telemetry;

/// Bytes of requests and answers that are kept unless another number is asked for.
const CAPACITY: u64 = 64 * 1024 * 1024;

/// How much to remember, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOptions {
    /// Bytes of requests and answers that are kept, by estimate.
    pub capacity: u64,
    /// How old an answer may be; `None` sets no limit.
    pub time_to_live: Option<Duration>,
}

impl Default for CacheOptions {
    /// 64 MiB, and no limit of age.
    fn default() -> Self {
        Self { capacity: CAPACITY, time_to_live: None }
    }
}

impl CacheOptions {
    /// Keeps this many bytes.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Forgets answers that are older than this.
    #[must_use]
    pub fn time_to_live(mut self, age: Duration) -> Self {
        self.time_to_live = Some(age);
        self
    }
}

/// Remembers whole answers by the exact request, and lets equal requests share one call while it runs.
///
/// A request is equal if all of it is: messages, passages, tools and settings. An answer is kept if it finished and
/// was not withheld by a content filter; errors are handed to those who wait for them and then forgotten. Callers
/// that share a call all stream it as it is made. The call is stopped when the last of them is gone, not by the
/// deadline or cancellation of one. Its cost is told to one of them; answers from the cache cost nothing.
///
/// A model that is asked to vary its answers says the same again. An entry is shared between all callers: nobody
/// can read an answer without having the whole request, but one who measures time could tell that it was asked
/// before. Give each tenant a cache of its own where that matters.
pub struct Cached<M: ?Sized> {
    options: CacheOptions,
    answers: Cache<Key, Answer>,
    flights: Arc<Mutex<Flights>>,
    inner: Arc<M>,
}

/// A request as JSON: the whole of it, so that two requests never share an answer by chance.
type Key = Arc<[u8]>;

#[derive(Clone)]
struct Answer {
    events: Arc<[ChatEvent]>,
    made: Instant,
}

impl<M: ChatModel + ?Sized + 'static> Cached<M> {
    /// Remembers answers of `inner`.
    #[must_use]
    pub fn new(inner: Arc<M>, options: CacheOptions) -> Self {
        let answers = Cache::builder().weigher(size).max_capacity(options.capacity).build();
        Self { options, answers, flights: Arc::default(), inner }
    }

    fn remembered(&self, key: &Key) -> Option<Answer> {
        let fresh =
            |answer: &Answer| self.options.time_to_live.is_none_or(|longest| answer.made.elapsed() < longest);
        self.answers.get(key).filter(fresh)
    }

    /// The call that makes the answer: one under way, or a new one.
    fn join(&self, key: &Key, request: ChatRequest, ctx: &RunContext) -> Arc<Flight> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.running.get(key).and_then(|(_, flight)| flight.upgrade()) {
            return flight;
        }
        flights.started += 1;
        let number = flights.started;
        let ticket = Ticket { number, key: Arc::clone(key), flights: Arc::clone(&self.flights) };
        let (answers, capacity) = (self.answers.clone(), self.options.capacity);
        let landing = Box::new(move |events| {
            let answer = Answer { events, made: Instant::now() };
            // The cache makes room only after a while, so it is not given what does not fit at all.
            if u64::from(size(&ticket.key, &answer)) <= capacity {
                answers.insert(Arc::clone(&ticket.key), answer);
            }
            drop(ticket);
        });
        let flight = Arc::new(Flight::new(ask(Arc::clone(&self.inner), request, ctx), landing));
        flights.running.insert(Arc::clone(key), (number, Arc::downgrade(&flight)));
        flight
    }
}

#[async_trait]
impl<M: ChatModel + ?Sized + 'static> ChatModel for Cached<M> {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        ctx.check()?;
        let key = key(&request)?;
        let ctx = ctx.clone();
        let remembered = self.remembered(&key);
        telemetry::looked_up("answers", remembered.is_some());
        if let Some(answer) = remembered {
            return Ok(ChatStream::generate(|out| async move { ctx.run(replay(answer, out)).await }));
        }
        let flight = self.join(&key, request, &ctx);
        // Waits for the first event without taking it, so that a request that is refused is refused here.
        ctx.run(flight.begun()).await?;
        Ok(ChatStream::generate(|out| async move { ctx.run(follow(flight, out)).await }))
    }
}

impl<M: ?Sized> fmt::Debug for Cached<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("options", &self.options).finish_non_exhaustive()
    }
}

fn key(request: &ChatRequest) -> Result<Key> {
    let json = serde_json::to_vec(request);
    json.map(Key::from).map_err(|error| Error::internal("serialise a request").with_source(error))
}

fn size(key: &Key, answer: &Answer) -> u32 {
    let bytes = key.len() + answer.events.iter().map(weight).sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Asks under a context of its own: the one who asked first may leave while others stay.
fn ask<M: ChatModel + ?Sized + 'static>(model: Arc<M>, request: ChatRequest, ctx: &RunContext) -> ChatStream {
    let ctx = RunContext::new().with_trace(*ctx.trace());
    ChatStream::generate(|out| async move {
        let mut answer = model.stream(request, &ctx).await?;
        while let Some(event) = answer.next().await {
            out.emit(event?).await?;
        }
        Ok(())
    })
}

async fn replay(answer: Answer, out: Emitter<ChatEvent>) -> Result<()> {
    for event in answer.events.iter() {
        out.emit(event.clone()).await?;
    }
    Ok(())
}

/// Hands on the events of a call as they are made.
async fn follow(flight: Arc<Flight>, out: Emitter<ChatEvent>) -> Result<()> {
    let mut at = 0;
    while let Some(event) = flight.event(at).await? {
        out.emit(event).await?;
        at += 1;
    }
    Ok(())
}

/// Calls under way, numbered, by their requests.
#[derive(Default)]
struct Flights {
    started: u64,
    running: HashMap<Key, (u64, Weak<Flight>)>,
}

/// Strikes a call off when it is over or nobody reads it any more.
struct Ticket {
    number: u64,
    key: Key,
    flights: Arc<Mutex<Flights>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights);
        // Between a call's last reader and this moment, another call may have begun with the same request.
        if flights.running.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            flights.running.remove(&self.key);
        }
    }
}

fn lock(flights: &Mutex<Flights>) -> MutexGuard<'_, Flights> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}
