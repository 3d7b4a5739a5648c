//! A chat model that says what a test wrote for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::message::ToolCall;
use crate::model::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, FinishReason, ModelInfo, Usage,
};

/// Plays scripted turns in order and remembers what it was asked.
///
/// # Examples
/// ```
/// use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
/// use agentkit_core::{ChatRequest, Message, RunContext, complete};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let model = ScriptedModel::new([ScriptedTurn::text("hello there")]);
/// let request = ChatRequest::new(vec![Message::user("hi")]);
/// let answer = complete(&model, request, &RunContext::new()).await.unwrap();
/// assert_eq!(answer.text, "hello there");
/// assert_eq!(model.requests().len(), 1);
/// # });
/// ```
#[derive(Debug)]
pub struct ScriptedModel {
    info: ModelInfo,
    script: Mutex<Script>,
    streams: Arc<Streams>,
}

#[derive(Debug, Default)]
struct Script {
    turns: VecDeque<ScriptedTurn>,
    otherwise: Option<String>,
    requests: Vec<ChatRequest>,
}

#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    dropped_early: AtomicUsize,
}

impl ScriptedModel {
    /// A model that plays `turns` in order and then fails.
    #[must_use]
    pub fn new(turns: impl IntoIterator<Item = ScriptedTurn>) -> Self {
        let abilities = Capabilities::default().with_tools().with_citations();
        Self {
            info: ModelInfo::new("agentkit", "scripted", 8192).capabilities(abilities),
            script: Mutex::new(Script { turns: turns.into_iter().collect(), ..Script::default() }),
            streams: Arc::default(),
        }
    }

    /// A model that answers everything with `text`.
    #[must_use]
    pub fn saying(text: impl Into<String>) -> Self {
        let model = Self::new([]);
        model.script().otherwise = Some(text.into());
        model
    }

    /// Describes itself otherwise.
    #[must_use]
    pub fn described(mut self, info: ModelInfo) -> Self {
        self.info = info;
        self
    }

    /// What it was asked so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.script().requests.clone()
    }

    /// Streams that were handed out and not yet dropped or played to their end.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.open.load(Ordering::SeqCst)
    }

    /// Streams that were dropped or stopped before their turn was over.
    #[must_use]
    pub fn streams_dropped_early(&self) -> usize {
        self.streams.dropped_early.load(Ordering::SeqCst)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_turn(&self, request: ChatRequest) -> Result<ScriptedTurn> {
        let mut script = self.script();
        script.requests.push(request);
        let asked = script.requests.len();
        let otherwise = script.otherwise.clone().map(ScriptedTurn::text);
        script.turns.pop_front().or(otherwise).ok_or_else(|| {
            Error::internal(format!("request {asked} came to a scripted model without a turn left"))
        })
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ChatRequest, ctx: &RunContext) -> Result<ChatStream> {
        ctx.check()?;
        if request.messages.is_empty() {
            return Err(Error::invalid_input("the request has no messages; send at least one"));
        }
        if !request.tools.is_empty() && !self.info.capabilities.tools {
            return Err(Error::new(ErrorKind::Unsupported, "this scripted model has no tools"));
        }
        let turn = self.next_turn(request)?;
        if let Some(refusal) = turn.refusal {
            return Err(refusal);
        }
        let (ctx, open) = (ctx.clone(), OpenStream::new(&self.streams));
        Ok(ChatStream::generate(move |out| async move {
            for step in turn.steps {
                ctx.check()?;
                match step {
                    Step::Say(event) => ctx.run(out.emit(event)).await?,
                    Step::Fail(error) => {
                        open.played();
                        return Err(error);
                    }
                    Step::Wait(time) => ctx.sleep(time).await?,
                    Step::Hang => return Err(ctx.stopped().await),
                }
            }
            open.played();
            Ok(())
        }))
    }
}

/// Counts a stream as open until it is dropped.
struct OpenStream {
    streams: Arc<Streams>,
    played: bool,
}

impl OpenStream {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::SeqCst);
        Self { streams: Arc::clone(streams), played: false }
    }

    fn played(mut self) {
        self.played = true;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::SeqCst);
        if !self.played {
            self.streams.dropped_early.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What a [`ScriptedModel`] does when it is asked.
#[derive(Debug, Default)]
pub struct ScriptedTurn {
    refusal: Option<Error>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Say(ChatEvent),
    Fail(Error),
    Wait(Duration),
    Hang,
}

impl ScriptedTurn {
    /// Says these events and nothing else: the script must bring its own `Finished`.
    #[must_use]
    pub fn events(events: impl IntoIterator<Item = ChatEvent>) -> Self {
        Self { refusal: None, steps: events.into_iter().map(Step::Say).collect() }
    }

    /// Says `text` word by word, states a usage of one token a word, and finishes.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        let words = text.as_ref().split_inclusive(' ').map(str::to_owned).collect::<Vec<_>>();
        let output_tokens = words.len() as u64;
        let deltas = words.into_iter().map(|text| ChatEvent::Delta { text });
        Self::events(deltas.chain(ending(output_tokens, FinishReason::Stop)))
    }

    /// Asks for a tool and finishes.
    #[must_use]
    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Self {
        let call = ToolCall { id: id.into(), name: name.into(), arguments };
        Self::events([ChatEvent::ToolCall(call)].into_iter().chain(ending(1, FinishReason::ToolCalls)))
    }

    /// Refuses the request: `stream` itself fails.
    #[must_use]
    pub fn refuse(error: Error) -> Self {
        Self { refusal: Some(error), steps: Vec::new() }
    }

    /// Then says this.
    #[must_use]
    pub fn then(mut self, event: ChatEvent) -> Self {
        self.steps.push(Step::Say(event));
        self
    }

    /// Then fails.
    #[must_use]
    pub fn then_fail(mut self, error: Error) -> Self {
        self.steps.push(Step::Fail(error));
        self
    }

    /// Then waits for this long by tokio's clock, which a test can pause.
    #[must_use]
    pub fn then_wait(mut self, time: Duration) -> Self {
        self.steps.push(Step::Wait(time));
        self
    }

    /// Then says nothing until the run is stopped or the stream dropped.
    #[must_use]
    pub fn then_hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }
}

fn ending(output_tokens: u64, reason: FinishReason) -> [ChatEvent; 2] {
    [ChatEvent::Usage(Usage { input_tokens: 1, output_tokens }), ChatEvent::Finished { reason }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn hello() -> ChatRequest {
        ChatRequest::new(vec![Message::user("hello")])
    }

    #[tokio::test]
    async fn a_hanging_turn_ends_when_the_run_is_cancelled() {
        let model = ScriptedModel::new([ScriptedTurn::events([]).then_hang()]);
        let ctx = RunContext::new();
        let mut stream = model.stream(hello(), &ctx).await.unwrap();
        assert_eq!(model.open_streams(), 1);
        let (end, ()) = tokio::join!(stream.next(), async { ctx.cancel() });
        assert!(end.unwrap().unwrap_err().is_stopped());
        assert_eq!((model.open_streams(), model.streams_dropped_early()), (0, 1));
    }

    #[tokio::test]
    async fn a_dropped_stream_is_noticed_and_a_finished_one_is_not_counted() {
        let model = ScriptedModel::new([ScriptedTurn::text("one two"), ScriptedTurn::text("three")]);
        let ctx = RunContext::new();
        let stream = model.stream(hello(), &ctx).await.unwrap();
        drop(stream);
        assert_eq!(model.streams_dropped_early(), 1);
        let answer = model.stream(hello(), &ctx).await.unwrap().collect().await.unwrap();
        assert_eq!(answer.text, "three");
        assert_eq!((model.open_streams(), model.streams_dropped_early()), (0, 1));
        assert_eq!(model.stream(hello(), &ctx).await.unwrap_err().kind(), ErrorKind::Internal);
    }
}
