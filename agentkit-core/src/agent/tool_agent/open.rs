//! How a run begins, or is taken up again.

use std::sync::Arc;

use super::Parts;
use super::drive::Driver;
use super::journal::Journal;
use super::toolbox::Toolbox;
use crate::agent::AgentInput;
use crate::agent::event::AgentEventKind;
use crate::agent::run::{AgentRun, Resolution, RunInput, RunSettings};
use crate::checkpoint::{Checkpoint, RunKey};
use crate::context::{RunContext, TraceContext};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;
use crate::memory::SessionKey;
use crate::message::{Message, Role, ToolResult};
use crate::stream::Emitter;
use crate::tool::Handling;

/// Answers `input`, event by event.
pub(super) async fn begin(
    parts: Arc<Parts>,
    mut input: AgentInput,
    ctx: RunContext,
    out: Emitter<AgentEventKind>,
) -> Result<()> {
    if let Some((key, taken_up)) = begun_before(&parts, &input, &ctx).await? {
        return resume(parts, key, taken_up, ctx, out).await;
    }
    let trace_id = ctx.trace().trace_id();
    out.emit(AgentEventKind::Started { trace_id, session_id: input.session.clone() }).await?;
    input.message = parts.guards.message.admit("the message", input.message, &ctx).await?;
    input.validate()?;
    let tools = parts.tools_of(&input)?;
    let run = AgentRun::new(settings(&parts, &input, &tools, &ctx).await?)?;
    let key = RunKey::new(input.scope, run.id().clone());
    let journal = Journal::new(parts.checkpoints.clone(), key, 0);
    Driver::new(parts, tools, run, journal, (ctx, out)).drive().await
}

/// The run that the same tool call has begun before: who repeats a call under its key wants it carried on.
async fn begun_before(
    parts: &Parts,
    input: &AgentInput,
    ctx: &RunContext,
) -> Result<Option<(RunKey, TakenUp)>> {
    let (Some(store), Some(_), None) = (&parts.checkpoints, ctx.idempotency_key(), &input.run) else {
        return Ok(None);
    };
    let key = RunKey::new(input.scope.clone(), run_id(input, ctx)?);
    let stored = ctx.run(store.load(&key, ctx)).await?;
    stored.map(|stored| Ok((key, TakenUp::new(&stored, Vec::new())?))).transpose()
}

async fn settings(
    parts: &Parts,
    input: &AgentInput,
    tools: &Toolbox,
    ctx: &RunContext,
) -> Result<RunSettings> {
    let mut request = parts.request.clone();
    request.tools = tools.specs();
    request.messages.extend(recalled(parts, input, ctx).await?);
    request.messages.push(Message::user(input.message.clone()));
    let mut settings = RunSettings::new(run_id(input, ctx)?, request).limits(parts.limits);
    settings.session.clone_from(&input.session);
    settings.filter.clone_from(&input.filter);
    settings.price = parts.price;
    Ok(settings)
}

/// What was said before, or the session's latest messages, beginning with the user.
async fn recalled(parts: &Parts, input: &AgentInput, ctx: &RunContext) -> Result<Vec<Message>> {
    let mut said = said(&input.history);
    let (Some(memory), Some(session), false) = (&parts.memory, &input.session, input.tells_turns()) else {
        return Ok(said);
    };
    let key = SessionKey::new(input.scope.clone(), session.clone());
    let mut messages = ctx.run(memory.recall(&key, parts.recalled, ctx)).await?;
    // Some models want the user to speak first.
    let first = messages.iter().position(|message| message.role == Role::User).unwrap_or(messages.len());
    said.extend(messages.split_off(first));
    Ok(said)
}

/// What the application says first, and then the conversation, beginning with the user.
fn said(history: &[Message]) -> Vec<Message> {
    let (mut said, turns): (Vec<_>, Vec<_>) =
        history.iter().cloned().partition(|message| message.role == Role::System);
    said.extend(turns.into_iter().skip_while(|message| message.role != Role::User));
    said
}

/// The name given; or the key of the call that this run is part of, so that a repeated call has repeated keys; or
/// one that was never used.
fn run_id(input: &AgentInput, ctx: &RunContext) -> Result<RunId> {
    match (&input.run, ctx.idempotency_key()) {
        (Some(run), _) => Ok(run.clone()),
        (None, Some(key)) => RunId::new(key),
        (None, None) => RunId::new(TraceContext::fresh().trace_id()),
    }
}

/// A run as it was written down, with what has come from outside since.
pub(super) struct TakenUp {
    run: AgentRun,
    revision: u64,
    told: Vec<ToolResult>,
}

impl TakenUp {
    pub(super) fn new(stored: &Checkpoint, resolutions: Vec<(String, Resolution)>) -> Result<Self> {
        let mut run = AgentRun::from_json(&stored.state)?;
        let mut told = run.apply(RunInput::Resumed)?.settled;
        for (call_id, resolution) in resolutions {
            told.extend(run.apply(RunInput::Resolved { call_id, resolution })?.settled);
        }
        Ok(Self { run, revision: stored.revision, told })
    }
}

/// Goes on with a run, event by event.
pub(super) async fn resume(
    parts: Arc<Parts>,
    key: RunKey,
    taken_up: TakenUp,
    ctx: RunContext,
    out: Emitter<AgentEventKind>,
) -> Result<()> {
    let TakenUp { run, revision, told } = taken_up;
    if run.id() != key.run() {
        let message = format!("the checkpoint of run {} holds run {}", key.run(), run.id());
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    let (trace_id, session_id) = (ctx.trace().trace_id(), run.session().cloned());
    out.emit(AgentEventKind::Started { trace_id, session_id }).await?;
    let tools = parts.tools_of(&input_of(&run, &key))?;
    let journal = Journal::new(parts.checkpoints.clone(), key, revision);
    Driver::new(parts, tools, run, journal, (ctx, out)).resume(told).await
}

/// The input that a run was begun with, as far as tools are made by it.
fn input_of(run: &AgentRun, key: &RunKey) -> AgentInput {
    let message = run.asked().map(Message::joined_text).unwrap_or_default();
    let mut input = AgentInput::new(key.scope().clone(), message).run(run.id().clone());
    input.session = run.session().cloned();
    input.filter = run.filter().cloned();
    input
}

impl Parts {
    fn tools_of(&self, input: &AgentInput) -> Result<Toolbox> {
        let Some(source) = &self.tool_source else { return Ok(self.tools.clone()) };
        let tools = self.tools.with(source.tools(input)?)?;
        self.check(&tools)?;
        Ok(tools)
    }

    /// Whether the model can be offered these tools, and whoever waits for them can go on.
    pub(super) fn check(&self, tools: &Toolbox) -> Result<()> {
        let info = self.model.info();
        if tools.iter().next().is_some() && !info.capabilities.tools {
            let message = format!("the model {:?} is configured without tools", info.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let waiting = tools.iter().find(|tool| tool.policy().handling != Handling::Run);
        match waiting.filter(|_| self.checkpoints.is_none()) {
            None => Ok(()),
            Some(tool) => Err(Error::invalid_input(format!(
                "tool {:?} waits for somebody outside, which needs a checkpointer",
                tool.spec().name
            ))),
        }
    }
}
