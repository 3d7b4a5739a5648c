//! A draft and its judge, in rounds: the evaluator-optimizer loop.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Out, Whole, to_part, within};
use crate::agent::{Agent, AgentInput, AgentReply, AgentStream, MAX_MESSAGE_BYTES, Outcome};
use crate::context::RunContext;
use crate::error::Result;

/// Drafts unless told otherwise.
const ROUNDS: u32 = 3;

/// What a judge says about a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is good.
    Accept,
    /// It has to be better in this way.
    Revise(String),
}

type Judged = Pin<Box<dyn Future<Output = Result<Verdict>> + Send>>;
type Judge = Arc<dyn Fn(String, AgentReply, RunContext) -> Judged + Send + Sync>;

/// Lets an agent draft an answer until a judge accepts it, or the rounds are used up; then the last draft counts.
///
/// The judge is given the message and the draft. It may be anything: a rule, a test run, a model asked with
/// [`StructuredOutput`](crate::StructuredOutput), or another agent. Drafts that are not accepted are told nobody.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
/// use agentkit_core::{Agent, AgentInput, Refine, RunContext, TenantScope, ToolAgent, Verdict};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let model = ScriptedModel::new([ScriptedTurn::text("far too long"), ScriptedTurn::text("short")]);
/// let writer = ToolAgent::builder(Arc::new(model)).build().unwrap();
/// let brief = Refine::new(Arc::new(writer), |_message, draft, _ctx| async move {
///     Ok(if draft.answer.len() < 8 { Verdict::Accept } else { Verdict::Revise("be brief".into()) })
/// });
/// let input = AgentInput::new(TenantScope::local(), "what is tea?");
/// let reply = brief.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
/// assert_eq!(reply.answer, "short");
/// # });
/// ```
#[derive(Clone)]
pub struct Refine {
    author: Arc<dyn Agent>,
    judge: Judge,
    rounds: u32,
}

impl Refine {
    /// Lets `author` draft and `judge` decide.
    #[must_use]
    pub fn new<F, Fut>(author: Arc<dyn Agent>, judge: F) -> Self
    where
        F: Fn(String, AgentReply, RunContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Verdict>> + Send + 'static,
    {
        let judge: Judge = Arc::new(move |message, draft, ctx| Box::pin(judge(message, draft, ctx)));
        Self { author, judge, rounds: ROUNDS }
    }

    /// Most drafts, at least 1; 3 by default.
    #[must_use]
    pub fn rounds(mut self, most: u32) -> Self {
        self.rounds = most.max(1);
        self
    }

    async fn drive(self, input: AgentInput, ctx: RunContext, out: Out) -> Result<()> {
        let mut whole = Whole::begin(&input, &ctx, out).await?;
        let end = self.drafts(&input, &mut whole).await;
        whole.end(end).await
    }

    async fn drafts(&self, input: &AgentInput, whole: &mut Whole) -> Result<Outcome> {
        let mut message = input.message.clone();
        for round in 1.. {
            let part = self.author.run(to_part(input, &message), &whole.part_ctx()).await?;
            let draft = whole.gather(part).await?;
            if round >= self.rounds {
                return whole.tell(draft).await;
            }
            let ctx = whole.part_ctx();
            match ctx.run((self.judge)(input.message.clone(), draft.clone(), ctx.clone())).await? {
                Verdict::Accept => return whole.tell(draft).await,
                Verdict::Revise(why) => message = revision(&input.message, &draft.answer, &why),
            }
        }
        Ok(Outcome::Refused)
    }
}

/// The draft is cut off where the message would become too long.
fn revision(message: &str, draft: &str, why: &str) -> String {
    let draft = within(draft, MAX_MESSAGE_BYTES.saturating_sub(message.len() + why.len() + 128));
    format!("{message}\n\nYour last draft:\n\n{draft}\n\nIt was not accepted: {why}\nWrite a better one.")
}

#[async_trait]
impl Agent for Refine {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        let (whole, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| whole.drive(input, ctx, out)))
    }
}

impl fmt::Debug for Refine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refine").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}
