//! The server: any tools, offered over standard input and output, over HTTP, or to a client in this process.

mod handler;
mod http;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::ServerInitializeError;
use rmcp::{ServiceExt as _, transport};
use tokio::sync::Semaphore;

use self::handler::Handler;
pub use self::http::{McpBody, McpRequest, McpResponse};
use super::McpClient;
use crate::agent::Toolbox;
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::tool::{Handling, Tool};

/// How long a call may take unless told otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls at a time unless told otherwise.
const CALLS: usize = 16;
/// Bytes of a result that are sent unless told otherwise.
const RESULT_BYTES: usize = 256 * 1024;
/// Bytes between the two ends within a process.
const PIPE_BYTES: usize = 64 * 1024;

/// Offers tools to MCP clients; cheap to clone.
///
/// A tool acts for the scope it was made with: make one server for each caller whose identity was established. Arguments
/// are checked against the tool's schema before it is called. What a caller can mend (wrong arguments, nothing
/// found, a late tool, too many calls) is the result of the call, marked as an error; any other failure is an error
/// of the protocol that names no cause. A call ends when the client cancels it or goes away.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use agentkit_core::mcp::McpServer;
/// use agentkit_core::testing::EchoTool;
/// use agentkit_core::RunContext;
///
/// # async fn serve() -> agentkit_core::Result<()> {
/// let server = McpServer::builder("echoes", "1.0").tool(Arc::new(EchoTool::erased())).build()?;
/// server.serve_stdio(&RunContext::new()).await
/// # }
/// ```
#[derive(Clone)]
pub struct McpServer(Arc<Offer>);

struct Offer {
    name: String,
    version: String,
    instructions: Option<String>,
    tools: Toolbox,
    call_timeout: Duration,
    result_bytes: usize,
    slots: Arc<Semaphore>,
    any_host: bool,
}

impl McpServer {
    /// A server of this name and version.
    pub fn builder(name: impl Into<String>, version: impl Into<String>) -> McpServerBuilder {
        McpServerBuilder {
            name: name.into(),
            version: version.into(),
            instructions: None,
            tools: Vec::new(),
            call_timeout: CALL_TIMEOUT,
            result_bytes: RESULT_BYTES,
            calls: CALLS,
            any_host: false,
        }
    }

    /// Serves one client over standard input and output, until it closes its end. Nothing else may be
    /// written to standard output meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future stops all calls.
    ///
    /// # Errors
    /// Unavailable if the client does not speak the protocol, or stopped.
    pub async fn serve_stdio(&self, ctx: &RunContext) -> Result<()> {
        let ctx = ctx.child();
        let _calls = ctx.cancel_on_drop();
        let serving = async {
            let handler = Handler::new(self.clone(), ctx.clone());
            let running = match handler.serve(transport::stdio_pipes()).await {
                Ok(running) => running,
                Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
                Err(error) => return Err(unavailable("greet the MCP client").with_source(error)),
            };
            running
                .waiting()
                .await
                .map_err(|error| unavailable("serve the MCP client").with_source(error))?;
            Ok(())
        };
        ctx.run(serving).await
    }

    /// A client of this server within the process.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection.
    ///
    /// # Errors
    /// Unavailable, or stopped.
    pub async fn client(&self, ctx: &RunContext) -> Result<McpClient> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        // Not the context of the connecting: the server lives until the client closes its end.
        let handler = Handler::new(self.clone(), RunContext::new());
        tokio::spawn(async move {
            match handler.serve(ours).await {
                Ok(running) => drop(running.waiting().await),
                Err(error) => tracing::debug!(%error, "the client in this process went away"),
            }
        });
        McpClient::in_process(self.0.name.clone(), theirs, ctx).await
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.0.name)
            .field("tools", &self.0.tools.names())
            .finish_non_exhaustive()
    }
}

/// Makes an [`McpServer`].
#[must_use]
pub struct McpServerBuilder {
    name: String,
    version: String,
    instructions: Option<String>,
    tools: Vec<Arc<dyn Tool>>,
    call_timeout: Duration,
    result_bytes: usize,
    calls: usize,
    any_host: bool,
}

impl McpServerBuilder {
    /// Offers `tool`.
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Tells clients how the server is to be used.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// How long a call may take, unless its tool says so itself; one minute by default.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Calls at a time, at least 1; 16 by default. More are refused at once.
    pub fn calls(mut self, most: usize) -> Self {
        self.calls = most.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Bytes of a result that are sent; 256 KiB by default.
    pub fn result_bytes(mut self, bytes: usize) -> Self {
        self.result_bytes = bytes;
        self
    }

    /// Answers HTTP requests whatever their `Host` header names. Without it only names of this machine are taken, which keeps
    /// foreign web pages out; say so only where something else does.
    pub fn any_host(mut self) -> Self {
        self.any_host = true;
        self
    }

    /// Makes the server.
    ///
    /// # Errors
    /// Invalid input if a tool's specification is unsound or two have the same name; unsupported for a tool that is
    /// run elsewhere or needs approval, which the protocol cannot ask for.
    pub fn build(self) -> Result<McpServer> {
        if let Some(tool) = self.tools.iter().find(|tool| tool.policy().handling != Handling::Run) {
            let name = &tool.spec().name;
            let message = format!("tool {name:?} waits for somebody, which an MCP server cannot offer");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(McpServer(Arc::new(Offer {
            name: self.name,
            version: self.version,
            instructions: self.instructions,
            tools: Toolbox::new(self.tools)?,
            call_timeout: self.call_timeout,
            result_bytes: self.result_bytes,
            slots: Arc::new(Semaphore::new(self.calls)),
            any_host: self.any_host,
        })))
    }
}

impl fmt::Debug for McpServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServerBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

fn unavailable(attempt: &str) -> Error {
    Error::new(ErrorKind::Unavailable, attempt)
}
