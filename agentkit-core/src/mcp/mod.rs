//! The Model Context Protocol: tools of other programs for agents, and tools of this program for others.
//!
//! [`McpClient`] connects to an MCP server, started as a child process or reached over streamable HTTP, and makes
//! its tools [`Tool`](crate::Tool)s. [`McpServer`] offers any [`Tool`](crate::Tool)s over standard input and output,
//! over HTTP, or to a client in the same process.
//!
//! What a server says is data of somebody else. Its tools' descriptions and results are bounded, results say where they
//! are from, and none of them is ever an instruction of the application. A server of this crate acts for the
//! scope that its tools were made with; no argument of a call can change it.
//!
//! Versions 2024-11-05 to 2026-07-28 of the protocol are spoken (<https://modelcontextprotocol.io/specification>).

mod client;
mod server;

pub use self::client::{McpClient, McpEndpoint, McpTools};
pub use self::server::{McpBody, McpRequest, McpResponse, McpServer, McpServerBuilder};

/// How this crate names itself to others.
const NAME: &str = "agentkit";
const VERSION: &str = env!("CARGO_PKG_VERSION");
