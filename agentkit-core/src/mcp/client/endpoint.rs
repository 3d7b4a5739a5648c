//! Where an MCP server is, and what is expected of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Secret;
use crate::tool::ToolPolicy;

/// How long starting or reaching a server may take unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call may take unless told otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a result that are kept unless told otherwise.
const RESULT_BYTES: usize = 64 * 1024;
/// Bytes of a description that are kept.
pub(super) const DESCRIPTION_BYTES: usize = 4 * 1024;

/// An MCP server to connect to: a program to start, or an address.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use agentkit_core::mcp::McpEndpoint;
/// use agentkit_core::{Handling, ToolPolicy};
///
/// let docs = McpEndpoint::command("docs", "agentkit-server").arguments(["mcp", "--data-dir", "notes"]).prefix("docs_");
/// let policy = ToolPolicy::new().handling(Handling::Approve).timeout(Duration::from_secs(10));
/// let shop = McpEndpoint::http("shop", "https://shop.example/mcp").bearer("secret").policy(policy);
/// assert!(!format!("{shop:?}").contains("\"secret\""));
/// ```
#[derive(Debug, Clone)]
pub struct McpEndpoint {
    pub(super) name: String,
    pub(super) reach: Reach,
    pub(super) limits: Limits,
}

#[derive(Debug, Clone)]
pub(super) enum Reach {
    Command(Command),
    Http(Address),
}

/// A program that speaks the protocol by its standard input and output.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, Secret)>,
    pub(super) folder: Option<PathBuf>,
}

/// An address that speaks the protocol over streamable HTTP.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) url: String,
    pub(super) bearer: Option<Secret>,
}

#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) result_bytes: usize,
    pub(super) policy: ToolPolicy,
    pub(super) prefix: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            result_bytes: RESULT_BYTES,
            policy: ToolPolicy::new().timeout(CALL_TIMEOUT),
            prefix: String::new(),
        }
    }
}

impl McpEndpoint {
    /// Starts `program`, found as the shell would, and speaks with it by its standard input and output.
    ///
    /// It is given no variable of this process' environment but those a program needs to run at all (`PATH`, `HOME` and
    /// the like), so that no key leaks to it. What it writes to standard error is logged at level `debug`.
    #[must_use]
    pub fn command(name: impl Into<String>, program: impl Into<String>) -> Self {
        let program = program.into();
        let command = Command { program, arguments: Vec::new(), environment: Vec::new(), folder: None };
        Self::new(name.into(), Reach::Command(command))
    }

    /// Speaks with the server at `url` over streamable HTTP. Redirects are not followed.
    #[must_use]
    pub fn http(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(name.into(), Reach::Http(Address { url: url.into(), bearer: None }))
    }

    fn new(name: String, reach: Reach) -> Self {
        Self { name, reach, limits: Limits::default() }
    }

    /// Adds arguments of the program; an address has none.
    #[must_use]
    pub fn arguments<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        if let Reach::Command(command) = &mut self.reach {
            command.arguments.extend(arguments.into_iter().map(Into::into));
        }
        self
    }

    /// Sets a variable of the program's environment; an address has none.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        if let Reach::Command(command) = &mut self.reach {
            command.environment.push((name.into(), value.into()));
        }
        self
    }

    /// The folder the program is started in; an address has none.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Reach::Command(command) = &mut self.reach {
            command.folder = Some(folder.into());
        }
        self
    }

    /// Presents a bearer token to the address; a program is given its keys by its environment.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<Secret>) -> Self {
        if let Reach::Http(address) = &mut self.reach {
            address.bearer = Some(token.into());
        }
        self
    }

    /// Puts `prefix` before the tools' names, so that those of several servers differ.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.limits.prefix = prefix.into();
        self
    }

    /// How the tools are to be treated; by default a call may take a minute and only what the model can mend is told to
    /// it. What the server says about its own tools is not believed.
    ///
    /// [`Repeat::Keyed`](crate::Repeat::Keyed) is for servers whose calls may be made twice with the same effect. The key is sent
    /// with each call as `agentkit/idempotency-key` in its `_meta`, which the protocol does not ask a server to look at.
    #[must_use]
    pub fn policy(mut self, policy: ToolPolicy) -> Self {
        self.limits.policy = policy;
        self
    }

    /// How long starting or reaching the server may take; 30 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// Bytes of a result that are kept; 64 KiB by default.
    #[must_use]
    pub fn result_bytes(mut self, bytes: usize) -> Self {
        self.limits.result_bytes = bytes;
        self
    }
}
