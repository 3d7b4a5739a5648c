//! An agent as a tool of another.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::cannot_wait;
use crate::agent::{Agent, AgentInput, AgentReply, Outcome};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::retrieve::Filter;
use crate::scope::TenantScope;
use crate::tool::{Tool, ToolPolicy, ToolSpec};

/// Lets a model ask an agent, for one scope that the model cannot change.
///
/// The model is told the answer and its citations, and every failure. What the agent uses counts against the budget of the
/// context, and is not in the usage of the run that calls it.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use agentkit_core::testing::{ScriptedModel, ScriptedTurn};
/// use agentkit_core::{AgentTool, TenantScope, ToolAgent};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let scope = TenantScope::local();
/// let expert = ToolAgent::builder(Arc::new(ScriptedModel::saying("80 degrees"))).build().unwrap();
/// let tool = AgentTool::new("tea_expert", "Knows all about tea.", Arc::new(expert), scope.clone());
/// let model = ScriptedModel::new([
///     ScriptedTurn::tool_call("1", "tea_expert", serde_json::json!({"message": "How hot?"})),
///     ScriptedTurn::text("Make it 80 degrees."),
/// ]);
/// let host = ToolAgent::builder(Arc::new(model)).tool(Arc::new(tool)).build().unwrap();
/// assert_eq!(host.ask(&scope, "Make tea.").await.unwrap().answer, "Make it 80 degrees.");
/// # });
/// ```
pub struct AgentTool {
    spec: ToolSpec,
    policy: ToolPolicy,
    agent: Arc<dyn Agent>,
    scope: TenantScope,
    filter: Option<Filter>,
}

impl AgentTool {
    /// `agent` as a tool that acts for `scope`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        agent: Arc<dyn Agent>,
        scope: TenantScope,
    ) -> Self {
        let message = json!({"type": "string", "minLength": 1, "description": "The question or task, complete in itself."});
        let parameters = json!({
            "type": "object",
            "properties": {"message": message},
            "required": ["message"],
            "additionalProperties": false,
        });
        let spec = ToolSpec { name: name.into(), description: description.into(), parameters };
        Self { spec, policy: ToolPolicy::new().telling_failures(), agent, scope, filter: None }
    }

    /// Restricts the documents that the agent may use.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// States how the tool is to be treated.
    #[must_use]
    pub fn policy(mut self, policy: ToolPolicy) -> Self {
        self.policy = policy;
        self
    }
}

#[async_trait]
impl Tool for AgentTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let message = arguments.get("message").and_then(Value::as_str).ok_or_else(|| {
            Error::invalid_input(format!("tool {:?} takes an object with a text \"message\"", self.spec.name))
        })?;
        let mut input = AgentInput::new(self.scope.clone(), message);
        input.filter.clone_from(&self.filter);
        let reply = ctx.run(async { self.agent.run(input, ctx).await?.collect().await }).await?;
        if reply.outcome == Outcome::Waiting { Err(cannot_wait()) } else { Ok(told(reply)) }
    }
}

/// The answer, with what it rests on if it rests on anything.
fn told(reply: AgentReply) -> Value {
    if reply.citations.is_empty() {
        return Value::String(reply.answer);
    }
    let citations = reply.citations.iter().map(|citation| {
        json!({"number": citation.number, "document_id": citation.document_id, "quote": citation.quote})
    });
    json!({"answer": reply.answer, "citations": citations.collect::<Vec<_>>()})
}

impl fmt::Debug for AgentTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentTool").field("spec", &self.spec).finish_non_exhaustive()
    }
}
