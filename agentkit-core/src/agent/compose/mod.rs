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
use super::{AgentInput, AgentReply, AgentStream};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Usage;
use crate::stream::Emitter;

type Out = Emitter<AgentEventKind>;

/// The run of an agent that is made of others.
struct Whole {
    ctx: RunContext,
    out: Out,
    usage: Usage,
}

impl Whole {
    async fn begin(input: &AgentInput, ctx: &RunContext, out: Out) -> Result<Self> {
        let trace_id = ctx.trace().trace_id();
        out.emit(AgentEventKind::Started { trace_id, session_id: input.session.clone() }).await?;
        Ok(Self { ctx: ctx.clone(), out, usage: Usage::default() })
    }

    fn add(&mut self, usage: Usage) {
        let total = &mut self.usage;
        total.input_tokens = total.input_tokens.saturating_add(usage.input_tokens);
        total.output_tokens = total.output_tokens.saturating_add(usage.output_tokens);
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
        Err(Error::internal("a part of an agent ended without saying how"))
    }

    /// Waits for what a part says, and tells nobody.
    async fn gather(&mut self, mut part: AgentStream) -> Result<AgentReply> {
        let mut reply = AgentReply::default();
        while let Some(event) = part.next().await {
            if let AgentEventKind::Usage(usage) = &event.kind {
                self.add(*usage);
            }
            match reply.take(event.kind) {
                None => {}
                Some(Ok(Outcome::Waiting)) => return Err(cannot_wait()),
                Some(end) => return end.map(|outcome| AgentReply { outcome, ..reply }),
            }
        }
        Err(Error::internal("a part of an agent ended without saying how"))
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

/// A message to a part: for the same scope and with the same filter, outside the conversation.
fn to_part(input: &AgentInput, message: String) -> AgentInput {
    let mut part = AgentInput::new(input.scope.clone(), message);
    part.filter.clone_from(&input.filter);
    part
}

/// What was done before a part waits would be lost.
fn cannot_wait() -> Error {
    let message = "a part of this agent waits for somebody outside; only the last part, or a route, can";
    Error::new(ErrorKind::Unsupported, message)
}
