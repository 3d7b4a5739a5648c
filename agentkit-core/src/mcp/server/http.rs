//! The server over streamable HTTP, for any web framework: a request in, an answer out.
//!
//! No session is kept: each request stands for itself, so that nothing has to be bounded, expired or found again, and
//! a client that goes away ends its call.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::{BodyDataStream, Full, combinators::BoxBody};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use super::McpServer;
use super::handler::Handler;
use crate::context::RunContext;
use crate::error::{Error, Result};

/// A request to an MCP server's one route, as a web framework received it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct McpRequest {
    /// The method, for example `POST`.
    pub method: String,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; whoever reads it bounds it.
    pub body: Vec<u8>,
}

impl McpRequest {
    /// A request without headers.
    #[must_use]
    pub fn new(method: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: method.into(), headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The answer to an [`McpRequest`].
#[derive(Debug)]
#[non_exhaustive]
pub struct McpResponse {
    /// The status, for example 200.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, in pieces as they come. Dropping it ends the call.
    pub body: McpBody,
}

/// A stream of the pieces of an answer's body.
pub struct McpBody {
    pieces: BodyDataStream<BoxBody<Bytes, Infallible>>,
    /// Ends the call with the body.
    _call: crate::context::CancelOnDrop,
}

impl Stream for McpBody {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        Pin::new(&mut self.pieces).poll_next(cx).map(|piece| piece.map(|Ok(bytes)| bytes.to_vec()))
    }
}

impl fmt::Debug for McpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpBody").finish_non_exhaustive()
    }
}

impl McpServer {
    /// Answers one request of a client that speaks streamable HTTP; calls run under `ctx`.
    ///
    /// # Cancel safety
    /// Dropping the future, or the answer's body, ends the call.
    ///
    /// # Errors
    /// Invalid input for what is no HTTP request, or stopped. What a client did wrong is an answer.
    pub async fn respond(&self, request: McpRequest, ctx: &RunContext) -> Result<McpResponse> {
        let ctx = ctx.child();
        let call = ctx.cancel_on_drop();
        let mut config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(usize::MAX);
        if self.0.any_host {
            config = config.disable_allowed_hosts();
        }
        let (server, calls) = (self.clone(), ctx.clone());
        let make = move || Ok(Handler::new(server.clone(), calls.clone()));
        let service = StreamableHttpService::new(make, Arc::new(NeverSessionManager::default()), config);
        let request = translated(request)?;
        let answer = ctx.run(async { Ok(service.handle(request).await) }).await?;
        let (parts, body) = answer.into_parts();
        let headers =
            parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let body = McpBody { pieces: BodyDataStream::new(body), _call: call };
        Ok(McpResponse { status: parts.status.as_u16(), headers: headers.collect(), body })
    }
}

fn translated(request: McpRequest) -> Result<http::Request<Full<Bytes>>> {
    let mut builder = http::Request::builder().method(request.method.as_str()).uri("/");
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_slice());
    }
    let built = builder.body(Full::new(Bytes::from(request.body)));
    built.map_err(|error| Error::invalid_input("read the request to the MCP server").with_source(error))
}
