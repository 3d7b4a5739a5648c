//! Agents side by side: all work on the same message, and one makes an answer of theirs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Out, Whole, to_part, within};
use crate::agent::{Agent, AgentInput, AgentStream, MAX_MESSAGE_BYTES, Outcome};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::model::Usage;

/// Agents that run at a time unless told otherwise.
const AT_A_TIME: usize = 8;

/// Gives a message to all its agents at once, and their answers to one that combines them.
///
/// The combining agent is given the message and each answer under the name of its agent, in the order of the
/// agents; only its events are passed on. If one of the agents fails, the others are stopped and the run fails.
#[derive(Clone)]
pub struct Parallel {
    agents: Vec<(String, Arc<dyn Agent>)>,
    combine: Arc<dyn Agent>,
    at_a_time: usize,
}

impl Parallel {
    /// These agents by name, and the one that combines their answers.
    #[must_use]
    pub fn new(agents: Vec<(String, Arc<dyn Agent>)>, combine: Arc<dyn Agent>) -> Self {
        Self { agents, combine, at_a_time: AT_A_TIME }
    }

    /// How many agents run at a time, at least 1; 8 by default.
    #[must_use]
    pub fn at_a_time(mut self, count: usize) -> Self {
        self.at_a_time = count.max(1);
        self
    }

    async fn drive(self, input: AgentInput, ctx: RunContext, out: Out) -> Result<()> {
        let mut whole = Whole::begin(&input, &ctx, out).await?;
        let end = self.all(&input, &mut whole).await;
        whole.end(end).await
    }

    async fn all(&self, input: &AgentInput, whole: &mut Whole) -> Result<Outcome> {
        let used = Arc::new(Mutex::new(Usage::default()));
        let answers = self.answers(input, whole, &used).await;
        // What parts used that failed or were stopped counts as well.
        whole.add(*used.lock().unwrap_or_else(PoisonError::into_inner));
        let message = self.joined(&input.message, &answers?);
        let part = self.combine.run(to_part(input, &message), &whole.part_ctx()).await?;
        whole.pass_on(part).await
    }

    /// What each agent says, in their order; once one fails, the others are stopped.
    async fn answers(&self, input: &AgentInput, whole: &mut Whole, used: &Used) -> Result<Vec<String>> {
        let runs = self.agents.iter().map(|(_, agent)| {
            let ctx = whole.part_ctx().child();
            one(Arc::clone(agent), to_part(input, &input.message), Arc::clone(used), ctx)
        });
        let runs: Vec<_> = runs.collect();
        stream::iter(runs).buffered(self.at_a_time).try_collect().await
    }

    /// The message with every answer, each of which has an equal share of what a message may hold.
    fn joined(&self, message: &str, answers: &[String]) -> String {
        let names: usize = self.agents.iter().map(|(name, _)| name.len() + 8).sum();
        let room = MAX_MESSAGE_BYTES.saturating_sub(message.len() + names);
        let share = room / answers.len().max(1);
        let parts = self.agents.iter().zip(answers);
        let parts = parts.map(|((name, _), answer)| format!("\n\n## {name}\n\n{}", within(answer, share)));
        format!("{message}{}", parts.collect::<String>())
    }
}

/// What all parts used until now.
type Used = Arc<Mutex<Usage>>;

/// Runs an agent to its answer, and stops it if nobody waits for it any more.
async fn one(agent: Arc<dyn Agent>, input: AgentInput, used: Used, ctx: RunContext) -> Result<String> {
    let _guard = ctx.cancel_on_drop();
    let part = agent.run(input, &ctx).await?;
    let count = |usage| super::add(&mut used.lock().unwrap_or_else(PoisonError::into_inner), usage);
    super::gather(part, count).await.map(|reply| reply.answer)
}

#[async_trait]
impl Agent for Parallel {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        if self.agents.is_empty() {
            return Err(Error::invalid_input("no agents are given whose answers could be combined"));
        }
        let (whole, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| whole.drive(input, ctx, out)))
    }
}

impl fmt::Debug for Parallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.agents.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Parallel").field("agents", &names).finish_non_exhaustive()
    }
}
