//! The driver: does what the run asks for, tells it what happened, and passes on what that brought about.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Parts;
use super::hooks::Observation;
use super::journal::Journal;
use super::toolbox::Toolbox;
use crate::agent::event::{AgentEventKind, Outcome};
use crate::agent::run::{AgentRun, DeferredCall, RunChange, RunEnd, RunInput, RunStep, StopReason};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Memory, SessionKey};
use crate::message::{Message, Role, ToolResult};
use crate::stream::Emitter;

/// Messages among which a turn is looked for that may have been remembered before a crash.
const LOOKED_BACK: usize = 40;

/// A run and all it is driven with.
///
/// Its methods end with an error only if nobody reads the stream any more. Whatever else goes wrong is told to
/// the run, which then is over.
pub(super) struct Driver {
    pub(super) parts: Arc<Parts>,
    pub(super) tools: Toolbox,
    pub(super) run: AgentRun,
    pub(super) journal: Journal,
    /// The context the run was started with.
    caller: RunContext,
    /// The same within the run's own limit on time.
    pub(super) ctx: RunContext,
    pub(super) out: Emitter<AgentEventKind>,
    /// When the run was last told the time.
    since: Instant,
    /// Whether the model has said something that the next text has to be set apart from.
    pub(super) has_spoken: bool,
}

impl Driver {
    pub(super) fn new(
        parts: Arc<Parts>,
        tools: Toolbox,
        run: AgentRun,
        journal: Journal,
        (caller, out): (RunContext, Emitter<AgentEventKind>),
    ) -> Self {
        let left = run.limits().time.map(|limit| limit.saturating_sub(run.totals().elapsed));
        let ctx = left.map_or_else(|| caller.child(), |left| caller.child().with_timeout(left));
        let since = Instant::now();
        Self { parts, tools, run, journal, caller, ctx, out, since, has_spoken: false }
    }

    /// Goes on with a run that was taken up, after telling what was settled meanwhile.
    pub(super) async fn resume(mut self, told: Vec<ToolResult>) -> Result<()> {
        self.pass_on(RunChange { asked: Vec::new(), settled: told }).await?;
        match self.run.end().cloned() {
            Some(end) => self.tell_again(end).await,
            None => self.drive().await,
        }
    }

    /// Drives the run to its end, or to where it waits for somebody outside.
    pub(super) async fn drive(mut self) -> Result<()> {
        self.write_down().await?;
        loop {
            self.tick().await?;
            match self.run.step() {
                RunStep::CallModel(request) => self.call_model(request).await?,
                RunStep::RunTools(ready) => self.run_tools(ready).await?,
                RunStep::AwaitResolutions(calls) => return self.wait(calls).await,
                RunStep::Over(end) => return self.end(end).await,
                RunStep::AwaitTools => {
                    let message = "the run waits for tools that nobody runs".to_owned();
                    self.stop(StopReason::Checkpoint { kind: ErrorKind::Internal, message }).await?;
                }
            }
        }
    }

    /// Tells the run what happened, and the reader what that brought about.
    pub(super) async fn feed(&mut self, input: RunInput) -> Result<()> {
        let change = self.run.apply(input)?;
        self.pass_on(change).await
    }

    async fn pass_on(&mut self, change: RunChange) -> Result<()> {
        for call in change.asked {
            self.out.emit(AgentEventKind::ToolCalled(call)).await?;
        }
        for result in change.settled {
            self.parts.hooks.observe(&Observation::ToolReturned { result: &result });
            self.out.emit(AgentEventKind::ToolReturned(result)).await?;
        }
        Ok(())
    }

    /// Stops the run, unless it is over.
    pub(super) async fn stop(&mut self, reason: StopReason) -> Result<()> {
        if self.run.end().is_some() {
            return Ok(());
        }
        self.feed(RunInput::Stop(reason)).await
    }

    /// Tells the run how much time has passed.
    pub(super) async fn tick(&mut self) -> Result<()> {
        let by = self.passed();
        self.since += by;
        self.feed(RunInput::Elapsed { by }).await
    }

    fn passed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Does `work`, unless the run is stopped or the tokens it may use are spent, by itself or beside it.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let within_budget = async {
            tokio::select! {
                biased;
                done = work => done,
                spent = self.ctx.overspent() => Err(spent),
            }
        };
        self.ctx.run(within_budget).await
    }

    /// Why the run has to stop after `error`: because its time is over, its context stopped or its budget is spent,
    /// and only otherwise for what failed.
    pub(super) fn reason(
        &self,
        error: &Error,
        otherwise: impl FnOnce(ErrorKind, String) -> StopReason,
    ) -> StopReason {
        match self.ctx.check() {
            Err(stop) => self.run.late(self.passed()).unwrap_or_else(|| StopReason::context(&stop)),
            Ok(()) if self.ctx.spend_tokens(0).is_err() => StopReason::context(error),
            Ok(()) => otherwise(error.kind(), error.message().to_owned()),
        }
    }

    /// Writes the run down; if that fails, the run is stopped.
    pub(super) async fn write_down(&mut self) -> Result<()> {
        if self.run.end().is_some() {
            return Ok(());
        }
        match self.journal.save(&self.run, &self.ctx).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let reason = self.reason(&error, |kind, message| StopReason::Checkpoint { kind, message });
                self.stop(reason).await
            }
        }
    }

    /// Leaves the run to somebody outside.
    async fn wait(mut self, calls: Vec<DeferredCall>) -> Result<()> {
        self.write_down().await?;
        if let Some(end) = self.run.end().cloned() {
            return self.end(end).await;
        }
        let run_id = self.run.id().clone();
        self.out.emit(AgentEventKind::Deferred { run_id, calls }).await?;
        self.out.emit(AgentEventKind::Usage(self.run.totals().usage)).await?;
        self.out.emit(AgentEventKind::Done { outcome: Outcome::Waiting }).await
    }

    /// Makes the end durable, remembers the turn, and tells the end.
    async fn end(mut self, end: RunEnd) -> Result<()> {
        let closed = self.close(&end).await;
        self.parts.hooks.observe(&Observation::Ended { end: &end, totals: self.run.totals() });
        self.tell(end, closed).await
    }

    async fn close(&mut self, end: &RunEnd) -> Result<()> {
        let RunEnd::Stopped(reason) = end else {
            self.journal.save(&self.run, &self.caller).await?;
            return self.remember().await;
        };
        // A run that can go on when the obstacle is gone stays as it was written down last.
        if !reason.is_passing()
            && let Err(error) = self.journal.save(&self.run, &self.caller).await
        {
            tracing::warn!(error = error.chain(), "the end of a stopped run was not written down");
        }
        Ok(())
    }

    /// The events at the end of a run: what it used, and then how it ended.
    async fn tell(&self, end: RunEnd, closed: Result<()>) -> Result<()> {
        self.out.emit(AgentEventKind::Usage(self.run.totals().usage)).await?;
        let outcome = match end {
            RunEnd::Answered => Outcome::Answered,
            RunEnd::Refused => Outcome::Refused,
            RunEnd::Truncated => Outcome::Truncated,
            RunEnd::Stopped(reason) => return Err(reason.to_error()),
        };
        closed?;
        self.out.emit(AgentEventKind::Done { outcome }).await
    }

    /// Tells the answer and the end of a run that was over when it was taken up.
    async fn tell_again(self, end: RunEnd) -> Result<()> {
        let answer = self.answer().map(Message::joined_text).unwrap_or_default();
        if !answer.is_empty() {
            self.out.emit(AgentEventKind::Delta { text: answer }).await?;
        }
        let closed = if matches!(end, RunEnd::Stopped(_)) { Ok(()) } else { self.remember_once().await };
        self.tell(end, closed).await
    }

    fn answer(&self) -> Option<&Message> {
        self.run.added().last().filter(|message| message.role == Role::Assistant)
    }

    /// Where the turn has to be remembered, and the turn, if it has to.
    fn turn(&self) -> Option<(Arc<dyn Memory>, SessionKey, Vec<Message>)> {
        let (memory, session) = (self.parts.memory.clone()?, self.run.session()?.clone());
        let answer = Message::assistant(self.answer()?.joined_text());
        let question = self.run.asked()?.clone();
        let key = SessionKey::new(self.journal.key().scope().clone(), session);
        Some((memory, key, vec![question, answer]))
    }

    async fn remember(&self) -> Result<()> {
        let Some((memory, key, turn)) = self.turn() else { return Ok(()) };
        self.caller.run(memory.append(&key, turn, &self.caller)).await
    }

    /// Remembers the turn of a run that may have crashed before or after it was remembered.
    async fn remember_once(&self) -> Result<()> {
        let Some((memory, key, turn)) = self.turn() else { return Ok(()) };
        let latest = self.caller.run(memory.recall(&key, LOOKED_BACK, &self.caller)).await?;
        if latest.windows(turn.len()).any(|messages| messages == turn) {
            return Ok(());
        }
        self.caller.run(memory.append(&key, turn, &self.caller)).await
    }
}
