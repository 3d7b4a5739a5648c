//! What becomes of a call before its tool is run.

use std::sync::Arc;

use serde_json::Value;

use super::drive::Driver;
use super::hooks::ToolAction;
use super::toolbox::Offered;
use crate::agent::run::{Decision, Deferral, ReadyCall, RunInput, StopReason};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{ToolCall, ToolResult};
use crate::tool::{Handling, Tool};

/// A call that is going to be run.
pub(super) struct Planned {
    pub(super) tool: Arc<dyn Tool>,
    pub(super) call: ToolCall,
    pub(super) key: String,
}

enum Plan {
    Run(Arc<dyn Tool>, ToolCall),
    Settle { content: String, is_error: bool },
    Defer(ToolCall, Deferral),
    Stop(StopReason),
}

/// What the hooks make of a call.
enum Verdict {
    Run { call: ToolCall, approve: bool },
    Other(Plan),
}

impl Driver {
    /// Decides about `ready`: gives it back if its tool is to be run, and tells the run what else becomes of it.
    pub(super) async fn plan(&mut self, ready: ReadyCall) -> Result<Option<Planned>> {
        let (call_id, key) = (ready.call.id.clone(), ready.key.clone());
        let original = ready.call.arguments.clone();
        let changed = |call: ToolCall| Some(call.arguments).filter(|arguments| *arguments != original);
        match self.decide(ready).await {
            Plan::Run(tool, call) => return Ok(Some(Planned { tool, call, key })),
            Plan::Settle { content, is_error } => {
                self.feed(RunInput::ToolSettled(ToolResult { call_id, content, is_error })).await?;
            }
            Plan::Defer(call, waits_for) => {
                self.feed(RunInput::ToolDeferred { call_id, waits_for, arguments: changed(call) }).await?;
            }
            Plan::Stop(reason) => self.stop(reason).await?,
        }
        Ok(None)
    }

    async fn decide(&self, ready: ReadyCall) -> Plan {
        let Some(offered) = self.tools.get(&ready.call.name) else { return self.unknown(&ready.call.name) };
        let tool = Arc::clone(&offered.tool);
        if ready.decision == Decision::Restarted {
            return Plan::Run(tool, ready.call);
        }
        if let Some(content) = offered.faults(&ready.call.arguments) {
            return Plan::Settle { content, is_error: true };
        }
        if ready.decision == Decision::Approved {
            return Plan::Run(tool, ready.call);
        }
        let (call, approve) = match self.asked_hooks(offered, ready.call).await {
            Ok(Verdict::Run { call, approve }) => (call, approve),
            Ok(Verdict::Other(plan)) => return plan,
            Err(error) => {
                return Plan::Stop(self.reason(&error, |kind, message| StopReason::Hook { kind, message }));
            }
        };
        match tool.policy().handling {
            Handling::External => Plan::Defer(call, Deferral::Result),
            Handling::Approve => Plan::Defer(call, Deferral::Approval),
            Handling::Run if approve => Plan::Defer(call, Deferral::Approval),
            Handling::Run => Plan::Run(tool, call),
        }
    }

    async fn asked_hooks(&self, offered: &Offered, mut call: ToolCall) -> Result<Verdict> {
        let mut approve = false;
        for hook in &self.parts.hooks.before_tool {
            match self.ctx.run(hook(call.clone(), self.ctx.clone())).await? {
                ToolAction::Run => {}
                ToolAction::Rewrite(arguments) => call.arguments = checked(offered, arguments)?,
                ToolAction::Skip(content) => {
                    return Ok(Verdict::Other(Plan::Settle { content, is_error: false }));
                }
                ToolAction::Stop(message) => {
                    return Ok(Verdict::Other(Plan::Stop(StopReason::Refused { message })));
                }
                ToolAction::Approve if !self.journal.is_kept() => {
                    let message = "a hook asks for approval, which needs a checkpointer";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                ToolAction::Approve => approve = true,
            }
        }
        Ok(Verdict::Run { call, approve })
    }

    fn unknown(&self, name: &str) -> Plan {
        let known = self.tools.names().join(", ");
        let content = format!("not run: there is no tool {name:?}; the tools are: {known}");
        Plan::Settle { content, is_error: true }
    }
}

fn checked(offered: &Offered, arguments: Value) -> Result<Value> {
    match offered.faults(&arguments) {
        None => Ok(arguments),
        Some(faults) => Err(Error::invalid_input(format!("a hook rewrote a call, but {faults}"))),
    }
}
