//! The client: a connection to one MCP server, and its tools as tools of an agent.

mod child;
mod endpoint;
mod expansion;
mod failure;
mod http;
mod naming;
mod result;
mod tool;

use std::fmt;
use std::sync::Arc;

use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion,
    Tool as Described,
};
use rmcp::service::{ClientInitializeError, Peer, RunningService};
use rmcp::transport::{IntoTransport, Transport};
use rmcp::{ClientLifecycleMode, RoleClient, serve_client_with_lifecycle};
use tokio::sync::Mutex;

pub use self::endpoint::McpEndpoint;
use self::endpoint::{Limits, Reach};
use self::naming::Names;
use self::tool::McpTool;
use super::{NAME, VERSION};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::tool::{Tool, cut};

/// Most tools of a server.
const MAX_TOOLS: usize = 512;
/// Most pages its list of tools may come in.
const MAX_PAGES: usize = 64;

/// A connection to an MCP server; cheap to clone.
///
/// It is kept until the last clone and the last of its tools are dropped. A server that was started as a child
/// process is then ended: its input is closed, and if it does not end by itself within seconds it is killed, with
/// every process it started in its process group.
///
/// # Examples
/// ```
/// use agentkit_core::mcp::{McpServer, McpTools};
/// use agentkit_core::testing::EchoTool;
/// use agentkit_core::{RunContext, Tool};
/// use std::sync::Arc;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let ctx = RunContext::new();
/// let server = McpServer::builder("echoes", "1.0").tool(Arc::new(EchoTool::erased())).build()?;
/// let client = server.client(&ctx).await?;
/// let McpTools { tools, .. } = client.tools(&ctx).await?;
/// let answer = tools[0].call(serde_json::json!({"text": "hello"}), &ctx).await?;
/// assert_eq!(answer["origin"], "tool \"echo\" of MCP server \"echoes\"");
/// # Ok::<(), agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct McpClient(Arc<Connection>);

struct Connection {
    name: String,
    limits: Limits,
    peer: Peer<RoleClient>,
    running: Mutex<Option<RunningService<RoleClient, ClientConfig>>>,
}

/// The tools of a server that an agent can be given.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct McpTools {
    /// The tools, in the server's order.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The names of those that no model could be offered, each with the reason.
    pub left_out: Vec<(String, String)>,
}

impl McpClient {
    /// Starts or reaches the server and agrees with it on a version of the protocol.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection, and the child process if one was started.
    ///
    /// # Errors
    /// Not found if there is no such program, unauthorized, mismatch if no version is spoken by both, unavailable,
    /// invalid input for an endpoint that is none, or stopped.
    pub async fn connect(endpoint: McpEndpoint, ctx: &RunContext) -> Result<Self> {
        ctx.check()?;
        let McpEndpoint { name, reach, limits } = endpoint;
        match reach {
            Reach::Command(command) => {
                let transport = child::start(&name, &command)?;
                Self::over(name, limits, transport, ctx).await
            }
            Reach::Http(address) => {
                let transport = http::transport(&address, &limits)?;
                Self::over(name, limits, transport, ctx).await
            }
        }
    }

    /// Connects to a server of this process.
    pub(super) async fn in_process<T, E, A>(name: String, transport: T, ctx: &RunContext) -> Result<Self>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        Self::over(name, Limits::default(), transport.into_transport(), ctx).await
    }

    async fn over<T>(name: String, limits: Limits, transport: T, ctx: &RunContext) -> Result<Self>
    where
        T: Transport<RoleClient> + 'static,
    {
        let mode = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: None,
        };
        let this = ClientConfig::new(ClientCapabilities::default(), Implementation::new(NAME, VERSION));
        let greeting = async {
            let running = serve_client_with_lifecycle(this, transport, mode).await;
            running.map_err(|error: ClientInitializeError| failure::of_greeting(&name, error))
        };
        let running = in_time(&name, &limits, Box::pin(greeting), ctx).await?;
        let peer = running.peer().clone();
        let running = Mutex::new(Some(running));
        Ok(Self(Arc::new(Connection { name, limits, peer, running })))
    }

    /// The tools that the server offers at this moment. Names are made such that every provider takes them;
    /// what no model could be offered, such as a tool without a sound schema, is left out and named.
    ///
    /// # Cancel safety
    /// Cancel safe: asking changes nothing.
    ///
    /// # Errors
    /// Unavailable, also if listing them takes longer than connecting may; resource exhausted if there are more than 512;
    /// or stopped.
    pub async fn tools(&self, ctx: &RunContext) -> Result<McpTools> {
        let described = in_time(self.name(), &self.0.limits, self.described(), ctx).await?;
        let mut names = Names::new(&self.0.limits.prefix);
        let mut found = McpTools::default();
        for tool in described {
            let name = tool.name.clone().into_owned();
            match McpTool::new(self.clone(), tool, &mut names) {
                Ok(tool) => found.tools.push(Arc::new(tool)),
                Err(error) => {
                    tracing::warn!(server = self.name(), tool = name, %error, "a tool was left out");
                    found.left_out.push((name, error.message().to_owned()));
                }
            }
        }
        Ok(found)
    }

    /// What the server is called here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the server says about how to use it: text of somebody else, not to be taken for an instruction.
    #[must_use]
    pub fn instructions(&self) -> Option<String> {
        let about = self.0.peer.peer_info()?;
        about.instructions.as_deref().map(|text| cut(text, endpoint::DESCRIPTION_BYTES))
    }

    /// Ends the connection and waits until a child process is gone; later calls are unavailable.
    ///
    /// # Cancel safety
    /// If dropped, the connection ends all the same, without anybody waiting for it.
    pub async fn close(&self) {
        let running = self.0.running.lock().await.take();
        if let Some(running) = running
            && let Err(error) = running.cancel().await
        {
            tracing::debug!(server = self.name(), %error, "the connection did not end in order");
        }
    }

    async fn described(&self) -> Result<Vec<Described>> {
        let (mut all, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.0.peer.list_tools(Some(page)).await;
            let page = page.map_err(|error| failure::of_listing(self.name(), error))?;
            all.extend(page.tools);
            if all.len() > MAX_TOOLS {
                break;
            }
            match page.next_cursor {
                None => return Ok(all),
                next => cursor = next,
            }
        }
        let message = format!(
            "MCP server {:?} offers more than {MAX_TOOLS} tools, or in more than {MAX_PAGES} pages",
            self.name()
        );
        Err(Error::new(ErrorKind::ResourceExhausted, message))
    }
}

/// Waits as long as connecting may take.
async fn in_time<T>(
    name: &str,
    limits: &Limits,
    work: impl Future<Output = Result<T>>,
    ctx: &RunContext,
) -> Result<T> {
    let limited = ctx.child().with_timeout(limits.connect_timeout);
    limited.run(work).await.map_err(|error| match ctx.check() {
        Ok(()) if error.is_stopped() => failure::silent(name, limits.connect_timeout),
        _ => error,
    })
}

impl fmt::Debug for McpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpClient").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for McpTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.spec().name.as_str()).collect();
        f.debug_struct("McpTools").field("tools", &names).field("left_out", &self.left_out).finish()
    }
}
