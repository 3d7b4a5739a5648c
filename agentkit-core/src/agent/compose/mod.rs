//! Agents made of agents: in a row, side by side, one of many, one after another, a draft and its judge, and as a tool.
//!
//! Each is an [`Agent`](super::Agent) itself, so they nest. None has more to it than its file shows: it runs other
//! agents, passes on their events without their beginnings and ends, and adds up what they used.

mod hand_off;
mod hand_off_tool;
mod parallel;
mod refine;
mod router;
mod sequence;
mod tool;

pub use self::hand_off::HandOff;
pub use self::parallel::Parallel;
pub use self::refine::{Refine, Verdict};
pub use self::router::{Route, Router};
pub use self::sequence::Sequence;
pub use self::tool::AgentTool;
use super::event::{AgentEventKind, Outcome};
use super::{AgentInput, AgentReply, AgentStream, MAX_MESSAGE_BYTES};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Usage;
use crate::stream::Emitter;
use crate::tool::cut;

/// What stands for the answer of a part that gave none.
const NO_ANSWER: &str = "(no answer)";
/// Room for what is said of the rest of a text that is cut off.
const REST: usize = 64;

type Out = Emitter<AgentEventKind>;

/// The run of an agent that is made of others.
struct Whole {
    ctx: RunContext,
    out: Out,
    usage: Usage,
    parts: usize,
}

impl Whole {
    async fn begin(input: &AgentInput, ctx: &RunContext, out: Out) -> Result<Self> {
        let trace_id = ctx.trace().trace_id();
        out.emit(AgentEventKind::Started { trace_id, session_id: input.session.clone() }).await?;
        Ok(Self { ctx: ctx.clone(), out, usage: Usage::default(), parts: 0 })
    }

    /// What the next part runs under. In a tool call that has a key, each part has one of its own, the same whenever the
    /// call is repeated, so that what parts do is neither done twice nor taken for the same.
    fn part_ctx(&mut self) -> RunContext {
        self.parts += 1;
        match self.ctx.idempotency_key() {
            Some(key) => self.ctx.child().with_idempotency_key(format!("{key}/part-{}", self.parts)),
            None => self.ctx.clone(),
        }
    }

    fn add(&mut self, usage: Usage) {
        add(&mut self.usage, usage);
    }

    /// Passes on what a part says, as it says it; gives how it ended.
    async fn pass_on(&mut self, mut part: AgentStream) -> Result<Outcome> {
        while let Some(event) = part.next().await {
            match event.kind {
                AgentEventKind::Started { .. } => {}
                AgentEventKind::Usage(usage) => self.add(usage),
                AgentEventKind::Done { outcome } => return Ok(outcome),
                AgentEventKind::Error { kind, message } => return Err(Error::new(kind, message)),
                event => self.out.emit(event).await?,
            }
        }
        Err(unended())
    }

    /// Waits for what a part says, and tells nobody.
    async fn gather(&mut self, part: AgentStream) -> Result<AgentReply> {
        gather(part, |usage| add(&mut self.usage, usage)).await
    }

    /// Tells a reply that was gathered.
    async fn tell(&self, reply: AgentReply) -> Result<Outcome> {
        if !reply.sources.is_empty() {
            let (query, sources) = (reply.query, reply.sources);
            self.out.emit(AgentEventKind::Retrieved { query, sources }).await?;
        }
        self.out.emit(AgentEventKind::Delta { text: reply.answer }).await?;
        for citation in reply.citations {
            self.out.emit(AgentEventKind::Citation(citation)).await?;
        }
        Ok(reply.outcome)
    }

    /// Tells what was used, and then how it ended.
    async fn end(self, end: Result<Outcome>) -> Result<()> {
        self.out.emit(AgentEventKind::Usage(self.usage)).await?;
        let outcome = end?;
        self.out.emit(AgentEventKind::Done { outcome }).await
    }
}

fn add(total: &mut Usage, usage: Usage) {
    total.input_tokens = total.input_tokens.saturating_add(usage.input_tokens);
    total.output_tokens = total.output_tokens.saturating_add(usage.output_tokens);
}

/// Waits for what a part says, and notes what it used even if it fails.
async fn gather(mut part: AgentStream, mut used: impl FnMut(Usage)) -> Result<AgentReply> {
    let mut reply = AgentReply::default();
    while let Some(event) = part.next().await {
        if let AgentEventKind::Usage(usage) = &event.kind {
            used(*usage);
        }
        match reply.take(event.kind) {
            None => {}
            Some(Ok(Outcome::Waiting)) => return Err(cannot_wait()),
            Some(end) => return end.map(|outcome| AgentReply { outcome, ..reply }),
        }
    }
    Err(unended())
}

fn unended() -> Error {
    Error::internal("a part of an agent ended without saying how")
}

/// A message to a part: for the same scope and with the same filter, outside the conversation. What is longer than a
/// message may be is cut off.
fn to_part(input: &AgentInput, message: &str) -> AgentInput {
    let mut part = AgentInput::new(input.scope.clone(), within(message, MAX_MESSAGE_BYTES));
    part.filter.clone_from(&input.filter);
    part
}

/// At most `most` bytes of what a part said, as a part of a message to another.
fn within(said: &str, most: usize) -> String {
    match said.trim() {
        "" => NO_ANSWER.to_owned(),
        _ if said.len() <= most => said.to_owned(),
        _ => cut(said, most.saturating_sub(REST)),
    }
}

/// What was done before a part waits would be lost.
fn cannot_wait() -> Error {
    let message = "a part of this agent waits for somebody outside; only the last part, or a route, can";
    Error::new(ErrorKind::Unsupported, message)
}
