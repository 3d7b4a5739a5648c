//! Agents side by side: all work on the same message, and one makes an answer of theirs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;

use super::{Out, Whole, to_part};
use crate::agent::{Agent, AgentInput, AgentReply, AgentStream, Outcome};
use crate::context::RunContext;
use crate::error::{Error, Result};

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
        let (parts_ctx, mut message) = (whole.ctx.child(), input.message.clone());
        let _guard = parts_ctx.cancel_on_drop();
        let run = |(name, agent): &(String, Arc<dyn Agent>)| {
            one(name.clone(), Arc::clone(agent), to_part(input, input.message.clone()), parts_ctx.clone())
        };
        let runs: Vec<_> = self.agents.iter().map(run).collect();
        let mut runs = stream::iter(runs).buffered(self.at_a_time);
        let mut failure = None;
        while let Some((name, reply)) = runs.next().await {
            match reply {
                Ok(reply) => {
                    whole.add(reply.usage);
                    message = format!("{message}\n\n## {name}\n\n{}", reply.answer);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(runs);
        if let Some(error) = failure {
            return Err(error);
        }
        let part = self.combine.run(to_part(input, message), &whole.ctx).await?;
        whole.pass_on(part).await
    }
}

async fn one(
    name: String,
    agent: Arc<dyn Agent>,
    input: AgentInput,
    ctx: RunContext,
) -> (String, Result<AgentReply>) {
    let reply = async {
        let reply = agent.run(input, &ctx).await?.collect().await?;
        if reply.outcome == Outcome::Waiting { Err(super::cannot_wait()) } else { Ok(reply) }
    };
    let reply = reply.await;
    (name, reply)
}

#[async_trait]
impl Agent for Parallel {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
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
