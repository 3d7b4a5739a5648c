//! Who generates when: a bounded queue in front of the model, and the conversations it has read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agentkit_core::{ChatEvent, Emitter, Error, ErrorKind, Result, RunContext};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::generate::{Generation, Job};
use super::llama::{Cache, Llama, Scratch};
use super::vocabulary::Vocabulary;
use super::{LocalOptions, LocalStats};

/// A model, the queue in front of it, and what it has read.
#[derive(Debug)]
pub(super) struct Engine {
    llama: Llama,
    vocabulary: Vocabulary,
    /// Requests that may be there at all.
    places: Arc<Semaphore>,
    /// Answers that may be made at the same time.
    permits: Arc<Semaphore>,
    most: usize,
    /// The conversations at rest, the one longest at rest first.
    kept: Mutex<Vec<Conversation>>,
    evaluated: AtomicU64,
    reused: AtomicU64,
}

/// What the model has read of a conversation, and room to go on with it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) cache: Cache,
    pub(super) scratch: Scratch,
}

impl Engine {
    pub(super) fn new(llama: Llama, vocabulary: Vocabulary, options: &LocalOptions) -> Self {
        let parallel = options.parallel.get();
        Self {
            llama,
            vocabulary,
            places: Arc::new(Semaphore::new(
                parallel.saturating_add(options.waiting).min(Semaphore::MAX_PERMITS),
            )),
            permits: Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS))),
            most: options.conversations.get().max(parallel),
            kept: Mutex::default(),
            evaluated: AtomicU64::new(0),
            reused: AtomicU64::new(0),
        }
    }

    pub(super) fn llama(&self) -> &Llama {
        &self.llama
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(super) fn stats(&self) -> LocalStats {
        LocalStats {
            evaluated_tokens: self.evaluated.load(Ordering::Relaxed),
            reused_tokens: self.reused.load(Ordering::Relaxed),
        }
    }

    /// Counts tokens of which `reused` did not have to go through the model.
    pub(super) fn count(&self, evaluated: usize, reused: usize) {
        self.evaluated.fetch_add(evaluated as u64, Ordering::Relaxed);
        self.reused.fetch_add(reused as u64, Ordering::Relaxed);
    }

    /// A place in the queue, held until the answer is over.
    ///
    /// # Errors
    /// Overloaded, if there is none.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = "as many requests wait for the local model as may; try again later";
            Error::new(ErrorKind::Overloaded, message)
        })
    }

    /// Makes the answer to `job` when it is its turn.
    pub(super) async fn answer(
        self: Arc<Self>,
        job: Job,
        place: OwnedSemaphorePermit,
        out: Emitter<ChatEvent>,
        ctx: &RunContext,
    ) -> Result<()> {
        let closed = |error| Error::internal("wait for the local model").with_source(error);
        let permits = Arc::clone(&self.permits);
        let permit = ctx.run(async { permits.acquire_owned().await.map_err(closed) }).await?;
        let runtime = Handle::current();
        ctx.run_blocking(move |ctx| {
            // Both are held by the thread, which may go on a moment longer than the future.
            let _held = (place, permit);
            let emit = |event| runtime.block_on(ctx.run(out.emit(event)));
            let mut conversation = self.take(&job.prompt);
            let end = Generation { engine: &self, job, ctx, emit: &emit }.run(&mut conversation);
            self.keep(conversation);
            end
        })
        .await
    }

    /// The conversation to go on from: the one that is continued if there is one, else the one longest at rest.
    fn take(&self, prompt: &[u32]) -> Conversation {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Two conversations begin alike, with the same instructions; one that is continued is mostly repeated.
        let continued = |kept: &Conversation| 2 * kept.cache.common(prompt) > kept.cache.tokens().len();
        let best = kept.iter().enumerate().filter(|(_, kept)| continued(kept));
        let best = best.max_by_key(|(_, kept)| kept.cache.common(prompt)).map(|(at, _)| at);
        match best.or_else(|| (kept.len() >= self.most).then_some(0)) {
            Some(at) if at < kept.len() => kept.remove(at),
            _ => Conversation { cache: self.llama.cache(), scratch: Scratch::default() },
        }
    }

    fn keep(&self, conversation: Conversation) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(conversation);
        if kept.len() > self.most {
            kept.remove(0);
        }
    }
}
