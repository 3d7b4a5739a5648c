//! Agents that hand the conversation to one another.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::hand_off_tool::{HandOffTool, NAME, handing_to, text};
use super::router::Route;
use super::{Out, Whole, within};
use crate::agent::{Agent, AgentEventKind, AgentInput, AgentStream, MAX_MESSAGE_BYTES, Outcome};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::tool::Tool;

/// Times a message is handed on unless told otherwise.
const HAND_OFFS: u32 = 4;

/// Lets agents hand the conversation to a colleague, who then answers in their place.
///
/// The first agent begins. One that is given [`HandOff::tool`] may call it; its run ends there, is not remembered, and the
/// colleague is given the same message, session and filter, with a note of what the one before has found out. All events are
/// passed on, those of whoever handed on included.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
/// use agentkit_core::{Agent, AgentInput, HandOff, Route, RunContext, TenantScope, ToolAgent};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let to_billing = serde_json::json!({"to": "billing", "note": "asks about invoice 7"});
/// let front = ScriptedModel::new([ScriptedTurn::tool_call("1", "hand_off", to_billing)]);
/// let front = ToolAgent::builder(Arc::new(front)).tool(HandOff::tool([("billing", "invoices")])).build().unwrap();
/// let billing = ToolAgent::builder(Arc::new(ScriptedModel::saying("It is paid."))).build().unwrap();
/// let team = HandOff::new(vec![
///     Route::new("front", "everything else", Arc::new(front)),
///     Route::new("billing", "invoices", Arc::new(billing)),
/// ]);
/// let input = AgentInput::new(TenantScope::local(), "Is invoice 7 paid?");
/// let reply = team.run(input, &RunContext::new()).await.unwrap().collect().await.unwrap();
/// assert_eq!(reply.answer, "It is paid.");
/// # });
/// ```
#[derive(Clone)]
pub struct HandOff {
    agents: Vec<Route>,
    most: u32,
}

/// What became of an agent's run.
enum End {
    Ended(Outcome),
    HandedOn { to: String, note: String },
}

impl HandOff {
    /// These agents, of whom the first begins.
    #[must_use]
    pub fn new(agents: Vec<Route>) -> Self {
        Self { agents, most: HAND_OFFS }
    }

    /// How often a message may be handed on; 4 times by default.
    #[must_use]
    pub fn most(mut self, times: u32) -> Self {
        self.most = times;
        self
    }

    /// The tool by which an agent hands the conversation to one of these colleagues, each a name and what it is for.
    #[must_use]
    pub fn tool<'c>(colleagues: impl IntoIterator<Item = (&'c str, &'c str)>) -> Arc<dyn Tool> {
        Arc::new(HandOffTool::new(colleagues))
    }

    async fn drive(self, input: AgentInput, ctx: RunContext, out: Out) -> Result<()> {
        let mut whole = Whole::begin(&input, &ctx, out).await?;
        let end = self.turns(&input, &mut whole).await;
        whole.end(end).await
    }

    async fn turns(&self, input: &AgentInput, whole: &mut Whole) -> Result<Outcome> {
        let (mut part, mut current) = (input.clone(), self.agents.first());
        for _ in 0..=self.most {
            let Some(route) = current else { return Ok(Outcome::Refused) };
            let stream = route.agent.run(part, &whole.part_ctx()).await?;
            let (to, note) = match self.turn(stream, whole).await? {
                End::Ended(outcome) => return Ok(outcome),
                End::HandedOn { to, note } => (to, note),
            };
            tracing::debug!(from = route.name, to, "a conversation was handed on");
            current = self.agents.iter().find(|route| route.name == to);
            part = AgentInput {
                run: None,
                message: with_note(&input.message, &route.name, &note),
                ..input.clone()
            };
        }
        let message = format!("the message was handed on more than {} times", self.most);
        Err(Error::new(ErrorKind::ResourceExhausted, message))
    }

    /// Passes on what an agent says, until it has answered or handed on.
    async fn turn(&self, mut part: AgentStream, whole: &mut Whole) -> Result<End> {
        let mut asked: Vec<(String, String)> = Vec::new();
        while let Some(event) = part.next().await {
            match event.kind {
                AgentEventKind::Started { .. } => {}
                AgentEventKind::Usage(usage) => whole.add(usage),
                AgentEventKind::Done { outcome } => return Ok(End::Ended(outcome)),
                AgentEventKind::Error { kind, message } => {
                    let handed = asked
                        .into_iter()
                        .find(|(to, _)| self.knows(to) && message.ends_with(&handing_to(to)));
                    let failed = || Error::new(kind, message);
                    return handed.map(|(to, note)| End::HandedOn { to, note }).ok_or_else(failed);
                }
                event => {
                    if let AgentEventKind::ToolCalled(call) = &event
                        && call.name == NAME
                    {
                        asked.push((text(&call.arguments, "to"), text(&call.arguments, "note")));
                    }
                    whole.out.emit(event).await?;
                }
            }
        }
        Err(super::unended())
    }

    fn knows(&self, name: &str) -> bool {
        self.agents.iter().any(|route| route.name == name)
    }
}

fn with_note(message: &str, from: &str, note: &str) -> String {
    if note.trim().is_empty() {
        return message.to_owned();
    }
    let note = within(note, MAX_MESSAGE_BYTES.saturating_sub(message.len() + from.len() + 32));
    within(&format!("{message}\n\n[Note of {from}: {note}]"), MAX_MESSAGE_BYTES)
}

#[async_trait]
impl Agent for HandOff {
    async fn run(&self, input: AgentInput, ctx: &RunContext) -> Result<AgentStream> {
        input.validate()?;
        input.without_tools()?;
        if self.agents.is_empty() {
            return Err(Error::invalid_input("a hand-off among no agents answers nothing"));
        }
        let (whole, ctx) = (self.clone(), ctx.clone());
        Ok(AgentStream::generate(move |out| whole.drive(input, ctx, out)))
    }
}

impl fmt::Debug for HandOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOff").field("agents", &self.agents).field("most", &self.most).finish()
    }
}
