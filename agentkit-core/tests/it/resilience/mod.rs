//! The wrappers around models and embedders, on a paused clock.

mod breaker;
mod bulkhead;
mod cache;
mod conformance;
mod fallback;
mod hedge;
mod rate;
mod retry;
mod stack;
mod timeout;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkit_core::testing::{HashingEmbedder, ScriptedModel, ScriptedTurn};
use agentkit_core::{
    ChatEvent, ChatModel, ChatRequest, EmbedSide, Embedder, EmbedderIdentity, Embedding, Error, ErrorKind,
    Message, Result, RunContext, complete,
};
use async_trait::async_trait;
use tokio::time::Instant;

fn hello() -> ChatRequest {
    ChatRequest::new(vec![Message::user("hello")])
}

fn scripted(turns: impl IntoIterator<Item = ScriptedTurn>) -> Arc<ScriptedModel> {
    Arc::new(ScriptedModel::new(turns))
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "scripted")
}

fn failing(kind: ErrorKind) -> ScriptedTurn {
    ScriptedTurn::refuse(failure(kind))
}

fn unavailable() -> ScriptedTurn {
    failing(ErrorKind::Unavailable)
}

fn hanging() -> ScriptedTurn {
    ScriptedTurn::events([]).then_hang()
}

fn delta(text: &str) -> ChatEvent {
    ChatEvent::Delta { text: text.into() }
}

/// The text of an answer, or the kind of the error that ended it.
async fn answer(model: &dyn ChatModel) -> Result<String, ErrorKind> {
    answer_under(model, &RunContext::new()).await
}

async fn answer_under(model: &dyn ChatModel, ctx: &RunContext) -> Result<String, ErrorKind> {
    complete(model, hello(), ctx).await.map(|answer| answer.text).map_err(|error| error.kind())
}

/// What `work` gives and how long it takes by the paused clock.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fails so many times before it embeds, after a pause each.
struct FlakyEmbedder {
    inner: HashingEmbedder,
    failures: AtomicUsize,
    pause: Duration,
    calls: AtomicUsize,
}

impl FlakyEmbedder {
    fn new(failures: usize, pause: Duration) -> Arc<Self> {
        let inner = HashingEmbedder::new();
        Arc::new(Self { inner, failures: failures.into(), pause, calls: 0.into() })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Embedder for FlakyEmbedder {
    fn identity(&self) -> &EmbedderIdentity {
        self.inner.identity()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn familiarity(&self, _text: &str) -> f32 {
        0.25
    }

    async fn embed(&self, side: EmbedSide, texts: Vec<String>, ctx: &RunContext) -> Result<Vec<Embedding>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ctx.sleep(self.pause).await?;
        let left = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(failure(ErrorKind::Unavailable));
        }
        self.inner.embed(side, texts, ctx).await
    }
}

async fn embed(embedder: &dyn Embedder) -> Result<usize, ErrorKind> {
    let texts = vec!["green tea".to_owned(), "black tea".to_owned()];
    let vectors = embedder.embed(EmbedSide::Query, texts, &RunContext::new()).await;
    vectors.map(|vectors| vectors.len()).map_err(|error| error.kind())
}

/// Cancels the run after a while.
async fn cancel_after(ctx: &RunContext, time: Duration) {
    tokio::time::sleep(time).await;
    ctx.cancel();
}
