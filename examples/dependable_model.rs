//! Asks an unreliable model the same number of questions without and with wrappers, and prints what each way gives.
//!
//! Without arguments the model is made up: one answer in ten is refused, one in twenty never begins. With the address of
//! an OpenAI-compatible server and a model's name, that model is asked; a number of questions and how many of them are
//! asked in a second may follow. Each is asked at its time, however the others fare.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_core::resilience::{
    BreakerOptions, BulkheadOptions, HedgeOptions, RetryOptions, Stack, TimeoutOptions,
};
use agentkit_core::testing::ScriptedModel;
use agentkit_core::{
    ChatModel, ChatRequest, ChatStream, Error, ErrorKind, Message, ModelInfo, Result, RunContext, complete,
};
use async_trait::async_trait;
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let model: Arc<dyn ChatModel> = match arguments.as_slice() {
        [url, name, ..] => Arc::new(OpenAiModel::new(OpenAiOptions::new(url, name))?),
        _ => Arc::new(Unreliable::new()),
    };
    let number = |at: usize, otherwise| arguments.get(at).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (questions, per_second) = (number(2, 200), number(3, 40));
    println!("plain      {}", measure(Arc::clone(&model), questions, per_second).await);
    println!("dependable {}", measure(dependable(model), questions, per_second).await);
    Ok(())
}

/// The order is explained in the documentation of `agentkit_core::resilience`.
fn dependable(model: Arc<dyn ChatModel>) -> Arc<dyn ChatModel> {
    Stack::shared_model(model)
        .timeout(TimeoutOptions::default().first(Duration::from_secs(3)).idle(Duration::from_secs(2)))
        .bulkhead(BulkheadOptions::new(64).queue(256))
        .breaker(BreakerOptions::default().failures(15, 20).open_for(Duration::from_millis(500)))
        .hedge(HedgeOptions::new(Duration::from_secs(1)))
        .retry(
            RetryOptions::default().attempts(6).backoff(Duration::from_millis(100), Duration::from_secs(2)),
        )
        .build()
}

/// Asks every question at its time, and says how it went.
async fn measure(model: Arc<dyn ChatModel>, questions: u32, per_second: u32) -> String {
    let (begin, pace) = (Instant::now(), Duration::from_secs(1) / per_second.max(1));
    let tasks: Vec<_> = (0..questions)
        .map(|number| {
            let model = Arc::clone(&model);
            tokio::spawn(async move {
                tokio::time::sleep_until(begin + pace * number).await;
                let asked = Instant::now();
                (ask(&*model, number).await.is_ok(), asked.elapsed())
            })
        })
        .collect();
    let (mut answered, mut times) = (0, Vec::with_capacity(tasks.len()));
    for task in tasks {
        if let Ok((ok, time)) = task.await {
            answered += u32::from(ok);
            times.push(time);
        }
    }
    times.sort_unstable();
    let ms = |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_millis);
    let failed = questions - answered;
    format!("{failed:3} of {questions} failed, p50 {} ms, p95 {} ms, p99 {} ms", ms(50), ms(95), ms(99))
}

async fn ask(model: &dyn ChatModel, number: u32) -> Result<String> {
    let mut request = ChatRequest::new(vec![Message::user(format!("Say a word that begins like {number}."))]);
    request.max_tokens = Some(4);
    Ok(complete(model, request, &RunContext::new().with_timeout(DEADLINE)).await?.text)
}

/// Refuses every tenth answer and never begins every twentieth.
struct Unreliable {
    inner: ScriptedModel,
    asked: AtomicU64,
}

impl Unreliable {
    fn new() -> Self {
        Self { inner: ScriptedModel::saying("certainly"), asked: AtomicU64::new(0) }
    }
}

#[async_trait]
impl ChatModel for Unreliable {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        ctx.sleep(Duration::from_millis(5)).await?;
        match asked % 20 {
            3 | 13 => Err(Error::new(ErrorKind::Unavailable, "busy")),
            7 => Err(ctx.stopped().await),
            _ => self.inner.stream(request, ctx).await,
        }
    }
}
