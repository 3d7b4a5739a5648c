//! Agents in a row: each works on what the one before it said.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Out, Whole, to_part};
use crate::agent::{Agent, AgentInput, AgentStream, Outcome};
use crate::context::RunContext;
use crate::error::{Error, Result};

type HandOver = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// Gives a message to the first of its agents, each answer to the next, and answers what the last one says.
///
/// Only the last agent's events are passed on. One that refuses ends the sequence with what it said.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::ScriptedModel;
/// use agentkit_core::{Agent, AgentInput, RunContext, Sequence, TenantScope, ToolAgent};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let saying = |text| ToolAgent::builder(Arc::new(ScriptedModel::saying(text))).build().unwrap();
/// let writer = Sequence::new(vec![Arc::new(saying("an outline")), Arc::new(saying("a text"))]);
/// let input = AgentInput::new(TenantScope::local(), "write about tea");
/// let reply = writer.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
/// assert_eq!(reply.answer, "a text");
/// # });
/// ```
#[derive(Clone)]
pub struct Sequence {
    agents: Vec<Arc<dyn Agent>>,
    hand_over: HandOver,
}

impl Sequence {
    /// These agents, in this order. Each is given the answer of the one before and nothing else.
    #[must_use]
    pub fn new(agents: Vec<Arc<dyn Agent>>) -> Self {
        Self { agents, hand_over: Arc::new(|_, answer| answer.to_owned()) }
    }

    /// Makes the message to the next agent of the message to the sequence and the answer of the agent before.
    #[must_use]
    pub fn hand_over(mut self, make: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        self.hand_over = Arc::new(make);
        self
    }

    async fn drive(self, input: AgentInput, ctx: RunContext, out: Out) -> Result<()> {
        let mut whole = Whole::begin(&input, &ctx, out).await?;
        let end = self.steps(&input, &mut whole).await;
        whole.end(end).await
    }

    async fn steps(&self, input: &AgentInput, whole: &mut Whole) -> Result<Outcome> {
        let Some((last, before)) = self.agents.split_last() else { return Ok(Outcome::Refused) };
        let mut message = input.message.clone();
        for agent in before {
            let part = agent.run(to_part(input, &message), &whole.part_ctx()).await?;
            let reply = whole.gather(part).await?;
            if reply.outcome == Outcome::Refused {
                return whole.tell(reply).await;
            }
            message = (self.hand_over)(&input.message, &reply.answer);
        }
        let part = last.run(to_part(input, &message), &whole.part_ctx()).await?;
        whole.pass_on(part).await
    }
}

#[async_trait]
impl Agent for Sequence {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        if self.agents.is_empty() {
            return Err(Error::invalid_input("a sequence of no agents answers nothing"));
        }
        let (whole, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| whole.drive(input, ctx, out)))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence").field("agents", &self.agents.len()).finish_non_exhaustive()
    }
}
