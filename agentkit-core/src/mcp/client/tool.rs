//! A tool of an MCP server as a tool of an agent.

use async_trait::async_trait;
use rmcp::model::{CallToolRequestParams, CallToolResponse, RequestMetaObject, Tool as Described};
use serde_json::Value;

use super::endpoint::DESCRIPTION_BYTES;
use super::expansion::expands_within;
use super::naming::Names;
use super::{McpClient, failure, result};
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::tool::{Tool, ToolPolicy, ToolSpec, cut};

/// Longest schema of a tool's arguments, as JSON.
const SCHEMA_BYTES: usize = 64 * 1024;
/// Most parts of a schema, references followed.
const SCHEMA_PARTS: usize = 20_000;

/// Where a server finds the key under which the call may be repeated.
const IDEMPOTENCY_KEY: &str = "agentkit/idempotency-key";

/// Calls one tool of a server.
pub(super) struct McpTool {
    spec: ToolSpec,
    client: McpClient,
    /// What the server calls it.
    theirs: String,
    /// What its results are said to be from.
    origin: String,
}

impl McpTool {
    /// The tool as the server describes it, if a model can be offered it.
    pub(super) fn new(client: McpClient, tool: Described, names: &mut Names<'_>) -> Result<Self> {
        let theirs = tool.name.into_owned();
        let parameters = Value::Object(tool.input_schema.as_ref().clone());
        if parameters.to_string().len() > SCHEMA_BYTES {
            return Err(Error::invalid_input(format!("its schema has more than {SCHEMA_BYTES} bytes")));
        }
        let said = tool.description.as_deref().or(tool.title.as_deref()).map(str::trim);
        let description = match said {
            Some(text) if !text.is_empty() => cut(text, DESCRIPTION_BYTES),
            _ => format!("Tool {theirs:?} of MCP server {:?}.", client.name()),
        };
        let origin = format!("tool {theirs:?} of MCP server {:?}", client.name());
        if !expands_within(&parameters, SCHEMA_PARTS) {
            let message = format!(
                "its schema has more than {SCHEMA_PARTS} parts, or refers to something that is not in it"
            );
            return Err(Error::invalid_input(message));
        }
        Schema::new(&origin, &parameters)?;
        let spec = ToolSpec { name: names.of(&theirs)?, description, parameters };
        spec.validate()?;
        Ok(Self { spec, client, theirs, origin })
    }
}

#[async_trait]
impl Tool for McpTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn policy(&self) -> &ToolPolicy {
        &self.client.0.limits.policy
    }

    async fn call(&self, arguments: Value, ctx: &RunContext) -> Result<Value> {
        let Value::Object(arguments) = arguments else {
            return Err(Error::invalid_input(format!("{} takes an object", self.origin)));
        };
        let mut request = CallToolRequestParams::new(self.theirs.clone()).with_arguments(arguments);
        let mut meta = RequestMetaObject::new();
        meta.set_traceparent(ctx.trace().traceparent());
        if let Some(key) = ctx.idempotency_key() {
            meta.insert(IDEMPOTENCY_KEY.to_owned(), Value::String(key.to_owned()));
        }
        request.meta = Some(meta);
        let connection = &self.client.0;
        // Dropped while it waits, the call tells the server that it is cancelled.
        let answer = ctx.run(async {
            let answer = connection.peer.call_tool_once(request).await;
            answer.map_err(|error| failure::of_call(&connection.name, &self.theirs, error))
        });
        match answer.await? {
            CallToolResponse::Complete(done) => {
                result::told(&self.origin, done, connection.limits.result_bytes)
            }
            _ => Err(Error::invalid_input(format!(
                "{} asks for more input, or works in the background; neither is supported",
                self.origin
            ))),
        }
    }
}
