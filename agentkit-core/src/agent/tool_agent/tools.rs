//! Running tools: side by side within a bound, each within its time, none before its start is written down.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::drive::Driver;
use super::plan::Planned;
use crate::agent::run::{ReadyCall, RunInput, StopReason};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::message::ToolResult;
use crate::tool::cut;

type Running = FuturesUnordered<Pin<Box<dyn Future<Output = Returned> + Send>>>;

/// What became of a call.
struct Returned {
    call_id: String,
    result: std::result::Result<ToolResult, StopReason>,
}

impl Driver {
    /// Runs the tools of a step, until each has returned, waits for somebody outside, or the run is over.
    pub(super) async fn run_tools(&mut self, ready: Vec<ReadyCall>) -> Result<()> {
        let mut queue = VecDeque::new();
        for call in ready {
            if self.run.end().is_none() {
                queue.extend(self.plan(call).await?);
            }
        }
        let mut running = Running::new();
        while self.run.end().is_none() && !(queue.is_empty() && running.is_empty()) {
            let free = self.parts.parallel_tools.saturating_sub(running.len()).min(queue.len());
            if free > 0 {
                let next = queue.drain(..free).collect();
                self.start(next, &mut running).await?;
                continue;
            }
            self.await_one(&mut running).await?;
        }
        Ok(())
    }

    /// Writes the starts down, and then begins.
    async fn start(&mut self, planned: Vec<Planned>, running: &mut Running) -> Result<()> {
        for Planned { tool, call, .. } in &planned {
            let (call_id, repeat) = (call.id.clone(), tool.policy().repeat);
            let arguments = Some(call.arguments.clone());
            self.feed(RunInput::ToolStarted { call_id, arguments, repeat }).await?;
        }
        self.write_down().await?;
        if self.run.end().is_none() {
            for one in planned {
                let timeout = one.tool.policy().timeout.unwrap_or(self.parts.tool_timeout);
                let bounds = Bounds { timeout, result_bytes: self.parts.result_bytes };
                running.push(Box::pin(call(one, bounds, self.ctx.clone())));
            }
        }
        Ok(())
    }

    async fn await_one(&mut self, running: &mut Running) -> Result<()> {
        let next = self.within(async { Ok(running.next().await) }).await;
        match next {
            Ok(None) => return Ok(()),
            Ok(Some(Returned { result: Ok(result), .. })) => self.take_result(result).await?,
            Ok(Some(Returned { call_id, result: Err(reason) })) => {
                self.feed(RunInput::ToolFailed { call_id, reason }).await?;
            }
            Err(error) => {
                let reason = self.reason(&error, |_, _| StopReason::context(&error));
                return self.stop(reason).await;
            }
        }
        self.write_down().await?;
        self.tick().await
    }

    /// Tells the run of a result as the checks leave it.
    async fn take_result(&mut self, result: ToolResult) -> Result<()> {
        let call_id = result.call_id.clone();
        let reason = match self.parts.guards.result.pass(result, &self.ctx).await {
            Ok(Ok(result)) => return self.feed(RunInput::ToolSettled(result)).await,
            Ok(Err(message)) => StopReason::Refused { message },
            Err(error) => self.reason(&error, |kind, message| StopReason::Hook { kind, message }),
        };
        self.feed(RunInput::ToolFailed { call_id, reason }).await
    }
}

/// How long a call may take, and how much of its result is shown.
struct Bounds {
    timeout: Duration,
    result_bytes: usize,
}

/// Calls a tool; its context is cancelled when it is over, so that nothing it started goes on.
async fn call(planned: Planned, bounds: Bounds, ctx: RunContext) -> Returned {
    let Planned { tool, call, key } = planned;
    let ctx = ctx.child().with_idempotency_key(key);
    let _guard = ctx.cancel_on_drop();
    let name = &call.name;
    let work = AssertUnwindSafe(tool.call(call.arguments, &ctx)).catch_unwind();
    let result = match tokio::time::timeout(bounds.timeout, work).await {
        Err(_) => Err(too_late(name, bounds.timeout)),
        Ok(Err(panic)) => Err(panicked(panic.as_ref())),
        Ok(Ok(result)) => result,
    };
    let told = |content: String, is_error| ToolResult { call_id: call.id.clone(), content, is_error };
    let result = match result {
        Ok(value) => Ok(told(cut(&shown(value), bounds.result_bytes), false)),
        Err(error) if is_told(&error, tool.policy().tell_failures) => {
            Ok(told(cut(error.message(), bounds.result_bytes), true))
        }
        Err(error) => {
            let (kind, message) = (error.kind(), error.message().to_owned());
            Err(StopReason::Tool { tool: name.clone(), kind, message })
        }
    };
    Returned { call_id: call.id, result }
}

/// Whether the model is told of the failure; otherwise it stops the run.
fn is_told(error: &Error, tell_failures: bool) -> bool {
    tell_failures || matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound)
}

/// A late tool is something that the model can deal with: try another way, or say so.
fn too_late(name: &str, timeout: Duration) -> Error {
    let ms = timeout.as_millis();
    let message = format!("tool {name:?} did not return within {ms} ms; it may or may not have taken effect");
    Error::invalid_input(message)
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    Error::internal(format!("it panicked: {}", text.unwrap_or("without a message")))
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
