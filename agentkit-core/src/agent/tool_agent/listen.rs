//! Calling the model: the request as the hooks leave it, and the answer as it comes.

use std::time::Duration;

use super::Parts;
use super::drive::Driver;
use super::hooks::Observation;
use crate::agent::event::AgentEventKind;
use crate::agent::run::{RunInput, StopReason};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChatEvent, ChatRequest, ChatResponse, FinishReason};
use crate::stream::Emitter;

/// Longest answer in bytes, and the most tools it may ask for.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
const MAX_CALLS: usize = 256;
/// Stands between what the model says before and after it uses tools.
const BREAK: &str = "\n\n";

/// Whether the model came to its end, or why it did not.
type Heard = std::result::Result<(), StopReason>;

impl Driver {
    pub(super) async fn call_model(&mut self, request: ChatRequest) -> Result<()> {
        // Tools that are agents spend of the same budget.
        if let Err(error) = self.ctx.check().and_then(|()| self.ctx.spend_tokens(0)) {
            return self.stop(StopReason::context(&error)).await;
        }
        let request = match self.patched(request).await {
            Ok(request) => request,
            Err(error) => {
                let reason = self.reason(&error, |kind, message| StopReason::Hook { kind, message });
                return self.stop(reason).await;
            }
        };
        let mut said = ChatResponse::new(FinishReason::Stop);
        let holds = !self.parts.guards.answer.is_empty();
        let pause = self.has_spoken;
        let hearer = Hearer { parts: &self.parts, ctx: &self.ctx, out: &self.out, pause, holds };
        let heard = self.within(hearer.listen(request, &mut said)).await;
        let mut end =
            heard.map_err(|error| self.reason(&error, |kind, message| StopReason::Model { kind, message }));
        self.parts.hooks.observe(&Observation::ModelAnswered { response: &said });
        if holds {
            end = self.check(&mut said, end).await;
            tell(&self.out, pause, &said.text).await?;
        }
        self.has_spoken |= !said.text.trim().is_empty();
        self.take(said, end).await
    }

    /// Leaves of the model's text, which nobody has seen yet, what the checks let pass: nothing after a failure.
    async fn check(&self, said: &mut ChatResponse, end: Heard) -> Heard {
        let text = std::mem::take(&mut said.text);
        end?;
        match self.parts.guards.answer.pass(text, &self.ctx).await {
            Ok(Ok(text)) => said.text = text,
            Ok(Err(message)) => return Err(StopReason::Refused { message }),
            Err(error) => {
                return Err(self.reason(&error, |kind, message| StopReason::Hook { kind, message }));
            }
        }
        Ok(())
    }

    async fn patched(&self, mut request: ChatRequest) -> Result<ChatRequest> {
        for hook in &self.parts.hooks.before_model {
            let patch = self.ctx.run(hook(request.clone(), self.ctx.clone())).await?;
            request = patch.apply(request)?;
        }
        Ok(self.parts.guards.shown(request))
    }

    /// Tells the run what the model said, whether it came to its end or not.
    async fn take(&mut self, said: ChatResponse, end: Heard) -> Result<()> {
        let spent = self.ctx.spend_tokens(said.usage.total());
        let input = match end {
            Ok(()) => RunInput::ModelAnswered(said),
            Err(reason) => RunInput::ModelInterrupted { text: said.text, usage: said.usage, reason },
        };
        self.feed(input).await?;
        match spent {
            Ok(()) => Ok(()),
            Err(error) => self.stop(StopReason::context(&error)).await,
        }
    }
}

/// What a model's answer is listened to with.
struct Hearer<'r> {
    parts: &'r Parts,
    ctx: &'r RunContext,
    out: &'r Emitter<AgentEventKind>,
    /// Whether the text has to be set apart from what was said before.
    pause: bool,
    /// Whether the text has to be checked before it is told.
    holds: bool,
}

impl Hearer<'_> {
    /// Passes on what the model says and gathers it in `said`, which holds what there was also after a failure.
    async fn listen(mut self, request: ChatRequest, said: &mut ChatResponse) -> Result<()> {
        let idle = self.parts.idle_timeout;
        let mut stream = in_time(idle, self.parts.model.stream(request, self.ctx)).await??;
        while let Some(event) = in_time(idle, stream.next()).await? {
            let event = event?;
            if let ChatEvent::Delta { text } = &event {
                self.pass_on(text).await?;
            }
            if said.take(event) {
                return Ok(());
            }
            check_size(said)?;
        }
        Err(Error::internal("the model's stream ended without a finish reason"))
    }

    async fn pass_on(&mut self, text: &str) -> Result<()> {
        if self.holds || text.is_empty() {
            return Ok(());
        }
        let pause = std::mem::take(&mut self.pause);
        tell(self.out, pause, text).await
    }
}

/// Tells a text, after a pause if there has to be one.
async fn tell(out: &Emitter<AgentEventKind>, pause: bool, text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    if pause {
        out.emit(AgentEventKind::Delta { text: BREAK.into() }).await?;
    }
    out.emit(AgentEventKind::Delta { text: text.to_owned() }).await
}

fn check_size(said: &ChatResponse) -> Result<()> {
    if said.text.len() <= MAX_ANSWER_BYTES && said.tool_calls.len() <= MAX_CALLS {
        return Ok(());
    }
    let message = format!("the answer has more than {MAX_ANSWER_BYTES} bytes or {MAX_CALLS} tool calls");
    Err(Error::new(ErrorKind::ResourceExhausted, message))
}

async fn in_time<T>(idle: Duration, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(idle, work).await.map_err(|_| {
        let message = format!("the model said nothing for {} ms", idle.as_millis());
        Error::new(ErrorKind::Unavailable, message)
    })
}
