//! Who computes when: bounded queues in front of the cores, with concurrent small calls joined into one pass.
//!
//! Every call becomes jobs of at most [`BATCH_TOKENS`] tokens. A job waits in a lane; for each job one runner waits
//! for a permit of the lane, takes as many waiting jobs as fit one pass, computes them on a blocking thread, and
//! goes on while there are more: handing over to another thread would leave the core idle. While all permits are taken, jobs gather, so under load passes grow and the weights are read once for
//! several queries; with no load a query runs at once and alone. Short jobs have a lane of their own: a query never
//! waits behind an ingest, the operating system shares the cores between the two.
//!
//! A pass ends between two layers as soon as nobody waits for any of its jobs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentkit_core::{Error, ErrorKind, Result, RunContext, telemetry};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::encoder::{Encoder, Scratch};

/// Tokens of a pass: enough that reading the weights is hidden behind arithmetic, few enough that the states stay in
/// the caches and that stopping is prompt.
pub(super) const BATCH_TOKENS: usize = 512;
/// Tokens up to which a job counts as a query.
const SHORT_TOKENS: usize = 128;
/// Jobs that may wait in a lane; beyond it callers are told to come back.
const MAX_WAITING: usize = 4096;

/// Several texts.
pub(super) type Texts = Vec<Text>;

/// The token ids of a text, and what is to be read off its states.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) ids: Vec<u32>,
    /// Where a second text begins in a pair; the length, if there is none.
    pub(super) second: usize,
    pub(super) reading: Reading,
}

/// What a text's states are made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// One vector, pooled and normalised as the model says.
    Vector,
    /// The first token's state as it is.
    First,
    /// The states of all tokens, each of norm 1, one behind the other.
    Tokens,
    /// The states of all tokens as they are.
    States,
}

impl Text {
    /// A text on its own.
    pub(super) fn single(ids: Vec<u32>, reading: Reading) -> Self {
        Self { second: ids.len(), ids, reading }
    }
}

/// Cuts texts into jobs of at most [`BATCH_TOKENS`] tokens where that is possible; the order stays.
pub(super) fn batches(texts: impl IntoIterator<Item = Result<Text>>) -> Result<Vec<Texts>> {
    let mut batches: Vec<Texts> = Vec::new();
    let mut room = 0;
    for text in texts {
        let text = text?;
        match batches.last_mut() {
            Some(batch) if text.ids.len() <= room => {
                room -= text.ids.len();
                batch.push(text);
            }
            _ => {
                room = BATCH_TOKENS.saturating_sub(text.ids.len());
                batches.push(vec![text]);
            }
        }
    }
    Ok(batches)
}

/// A model and the queues in front of it.
#[derive(Debug)]
pub(super) struct Engine {
    encoder: Encoder,
    short: Lane,
    bulk: Lane,
    scratch: Mutex<Vec<Scratch>>,
}

#[derive(Debug)]
struct Lane {
    name: &'static str,
    waiting: Mutex<VecDeque<Job>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Job {
    texts: Texts,
    ctx: RunContext,
    since: Instant,
    reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
}

impl Job {
    fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.ids.len()).sum()
    }

    fn is_stopped(&self) -> bool {
        self.reply.is_closed() || self.ctx.check().is_err()
    }
}

impl Engine {
    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// An engine that uses at most `threads` threads for each of queries and bulk work.
    pub(super) fn new(encoder: Encoder, threads: usize) -> Self {
        let lane = |name| Lane {
            name,
            waiting: Mutex::default(),
            permits: Arc::new(Semaphore::new(threads.max(1))),
        };
        Self { encoder, short: lane("short"), bulk: lane("bulk"), scratch: Mutex::default() }
    }

    /// Computes the vectors of `texts`, which should have at most [`BATCH_TOKENS`] tokens together.
    pub(super) async fn run(self: &Arc<Self>, texts: Texts, ctx: &RunContext) -> Result<Vec<Vec<f32>>> {
        let (reply, answer) = oneshot::channel();
        let job = Job { texts, ctx: ctx.clone(), since: Instant::now(), reply };
        let short = job.tokens() <= SHORT_TOKENS;
        self.lane(short).push(job)?;
        self.start(short);
        ctx.run(async {
            answer
                .await
                .unwrap_or_else(|lost| Err(Error::internal("a forward pass panicked").with_source(lost)))
        })
        .await
    }

    /// Computes all of `batches` and gives the vectors in order, `threads` at a time.
    pub(super) async fn run_all(
        self: &Arc<Self>,
        batches: Vec<Texts>,
        threads: usize,
        ctx: &RunContext,
    ) -> Result<Vec<Vec<f32>>> {
        let passes = batches.into_iter().map(|batch| self.run(batch, ctx));
        // Two jobs a thread, so that no thread waits for the next to be handed in.
        let vectors: Vec<Vec<Vec<f32>>> = stream::iter(passes).buffered(2 * threads).try_collect().await?;
        Ok(vectors.into_iter().flatten().collect())
    }

    /// Sees to it that somebody takes the jobs of a lane: now if a permit is free, or when one gets free.
    fn start(self: &Arc<Self>, short: bool) {
        let engine = Arc::clone(self);
        let permits = Arc::clone(&self.lane(short).permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            tokio::task::spawn_blocking(move || engine.passes(short, permit));
            return;
        }
        tokio::spawn(async move {
            // The semaphore is never closed.
            if let Ok(permit) = permits.acquire_owned().await
                && !engine.lane(short).is_empty()
            {
                tokio::task::spawn_blocking(move || engine.passes(short, permit));
            }
        });
    }

    fn lane(&self, short: bool) -> &Lane {
        if short { &self.short } else { &self.bulk }
    }

    /// Computes the jobs that wait, pass by pass; there may be none left.
    fn passes(&self, short: bool, _permit: OwnedSemaphorePermit) {
        let mut scratch = lock(&self.scratch).pop().unwrap_or_default();
        loop {
            let jobs = self.lane(short).take();
            if jobs.is_empty() {
                break;
            }
            match self.compute(&jobs, &mut scratch) {
                Ok(vectors) => answer(jobs, vectors),
                Err(error) => refuse(jobs, &error),
            }
        }
        lock(&self.scratch).push(scratch);
    }

    fn compute(&self, jobs: &[Job], scratch: &mut Scratch) -> Result<Vec<Vec<f32>>> {
        let texts: Vec<&Text> = jobs.iter().flat_map(|job| &job.texts).collect();
        let check = || {
            if jobs.iter().all(Job::is_stopped) {
                return Err(Error::new(ErrorKind::Cancelled, "nobody waits for the embeddings any more"));
            }
            Ok(())
        };
        self.encoder.forward(&texts, scratch, &check)
    }
}

impl Lane {
    fn push(&self, job: Job) -> Result<()> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} embedding jobs are waiting already; try again later");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        waiting.push_back(job);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    /// The oldest jobs up to a full pass, without those that have been stopped.
    fn take(&self) -> Vec<Job> {
        let mut waiting = lock(&self.waiting);
        let (mut jobs, mut tokens) = (Vec::new(), 0);
        while let Some(next) = waiting.front() {
            if next.is_stopped() {
                waiting.pop_front();
                continue;
            }
            tokens += next.tokens();
            if tokens > BATCH_TOKENS && !jobs.is_empty() {
                break;
            }
            jobs.extend(waiting.pop_front());
        }
        let left = waiting.len();
        drop(waiting);
        for job in &jobs {
            telemetry::dequeued(self.name, job.since.elapsed(), left);
        }
        jobs
    }
}

fn answer(jobs: Vec<Job>, vectors: Vec<Vec<f32>>) {
    let mut vectors = vectors.into_iter();
    for job in jobs {
        let own = vectors.by_ref().take(job.texts.len()).collect();
        // A caller that has gone away needs no answer.
        let _ = job.reply.send(Ok(own));
    }
}

fn refuse(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        let own = job.ctx.check().err().unwrap_or_else(|| Error::new(error.kind(), error.chain()));
        let _ = job.reply.send(Err(own));
    }
}

/// The data is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane of queries in which as many jobs wait as may, and nobody computes them.
#[cfg(test)]
pub(super) struct Full {
    engine: Arc<Engine>,
    _permits: OwnedSemaphorePermit,
}

#[cfg(test)]
impl Engine {
    /// Waits for the `threads` of the lane.
    pub(super) async fn fill(self: &Arc<Self>, threads: usize) -> Full {
        let threads = u32::try_from(threads.max(1)).unwrap();
        let taken = Arc::clone(&self.short.permits).acquire_many_owned(threads).await.unwrap();
        for _ in 0..MAX_WAITING {
            let (reply, _) = oneshot::channel();
            let job = Job { texts: Vec::new(), ctx: RunContext::new(), since: Instant::now(), reply };
            self.short.push(job).unwrap();
        }
        Full { engine: Arc::clone(self), _permits: taken }
    }
}

#[cfg(test)]
impl Drop for Full {
    fn drop(&mut self) {
        lock(&self.engine.short.waiting).clear();
    }
}
