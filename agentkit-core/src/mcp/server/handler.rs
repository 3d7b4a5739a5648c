//! What the server answers: who it is, which tools it has, and what they return.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool as Described,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;

use super::McpServer;
use crate::agent::Offered;
use crate::context::{RunContext, TraceContext};
use crate::error::{Error, ErrorKind, Result};
use crate::tool::{Tool, ToolSpec, cut};

/// Serves one connection, or one request over HTTP.
pub(super) struct Handler {
    server: McpServer,
    ctx: RunContext,
}

impl Handler {
    /// Calls run under `ctx`.
    pub(super) fn new(server: McpServer, ctx: RunContext) -> Self {
        Self { server, ctx }
    }

    /// Calls the tool if its arguments fit.
    async fn called(&self, offered: &Offered, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let Ok(_slot) = self.server.0.slots.try_acquire() else {
            return Err(Error::new(ErrorKind::Overloaded, "too many calls at a time; try again in a moment"));
        };
        if let Some(faults) = offered.faults(&arguments) {
            return Err(Error::invalid_input(faults));
        }
        let tool = &offered.tool;
        let limit = tool.policy().timeout.unwrap_or(self.server.0.call_timeout);
        let work = AssertUnwindSafe(tool.call(arguments, ctx)).catch_unwind();
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Error::internal("the tool panicked")),
            Err(_) => Err(Error::invalid_input(format!(
                "tool {:?} did not return within {} ms; it may or may not have taken effect",
                tool.spec().name,
                limit.as_millis()
            ))),
        }
    }

    fn answer(&self, tool: &dyn Tool, result: Result<Value>) -> Result<CallToolResult, ErrorData> {
        let name = &tool.spec().name;
        match result {
            Ok(value) => Ok(self.shown(value)),
            Err(error) if error.is_stopped() => {
                Err(ErrorData::internal_error(format!("tool {name:?} was stopped"), None))
            }
            Err(error) if is_told(&error, tool) => {
                let text = cut(error.message(), self.server.0.result_bytes);
                Ok(CallToolResult::error(vec![ContentBlock::text(text)]))
            }
            Err(error) => {
                // The cause may name what is nobody's business.
                tracing::warn!(tool = name, error = error.chain(), "a tool failed");
                Err(ErrorData::internal_error(format!("tool {name:?} failed: {}", error.message()), None))
            }
        }
    }

    /// An object is sent as such and, as the protocol asks, as text too; anything else as text.
    fn shown(&self, value: Value) -> CallToolResult {
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let is_whole = text.len() <= self.server.0.result_bytes;
        let content = vec![ContentBlock::text(cut(&text, self.server.0.result_bytes))];
        let mut result = CallToolResult::success(content);
        result.structured_content = (is_whole && value.is_object()).then_some(value);
        result
    }
}

/// Whether the caller is told as the result of the call.
fn is_told(error: &Error, tool: &dyn Tool) -> bool {
    let kinds = [ErrorKind::InvalidInput, ErrorKind::NotFound, ErrorKind::Overloaded];
    tool.policy().tell_failures || kinds.contains(&error.kind())
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let offer = &self.server.0;
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = Implementation::new(offer.name.as_str(), offer.version.as_str());
        config.instructions.clone_from(&offer.instructions);
        config
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.server.0.tools.iter().map(|tool| described(tool.spec())).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    fn get_tool(&self, name: &str) -> Option<Described> {
        self.server.0.tools.get(name).map(|offered| described(offered.tool.spec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(offered) = self.server.0.tools.get(&request.name) else {
            let names = self.server.0.tools.names().join(", ");
            return Err(ErrorData::invalid_params(
                format!("there is no such tool; there are: {names}"),
                None,
            ));
        };
        let mut ctx = self.ctx.child();
        if let Some(trace) = context.meta.get_traceparent().and_then(TraceContext::parse) {
            ctx = ctx.with_trace(trace);
        }
        let _work = ctx.cancel_on_drop();
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let call = ctx.run(self.called(offered, arguments, &ctx));
        let result = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the client cancelled the call")),
            result = call => result,
        };
        self.answer(offered.tool.as_ref(), result).map(CallToolResponse::from)
    }
}

fn described(spec: &ToolSpec) -> Described {
    let schema = spec.parameters.as_object().cloned().unwrap_or_default();
    Described::new(spec.name.clone(), spec.description.clone(), Arc::new(schema))
}
