//! `POST /mcp`: the Model Context Protocol over streamable HTTP, without sessions.

use std::pin::Pin;
use std::task::{Context, Poll};

use agentkit_core::mcp::{McpBody, McpRequest};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::Stream;

use super::admit::Run;
use super::body::{Parameters, Raw};
use super::problem::{Problem, ProblemKind};
use super::state::{Ask, Permit};
use super::wire::InCollection;
use crate::mcp::server;

/// Answers one message of an MCP client: the tools `search`, `fetch` and `ask`.
///
/// The tools act in the collection that the address names; no argument of a call changes it. What goes wrong within the
/// protocol is an answer of the protocol. A client that goes away ends its call.
#[utoipa::path(
    post,
    path = "/mcp",
    tag = "mcp",
    params(InCollection),
    request_body(content_type = "application/json", description = "A JSON-RPC message", content = Object),
    responses(
        (status = 200, description = "The answer, as JSON or as an event stream", content(
            (Object = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 202, description = "A notification was taken"),
        (status = "default", description = "A problem, or an error of the protocol",
            body = super::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn mcp(
    (permit, run): (Permit<Ask>, Run),
    Parameters(within): Parameters<InCollection>,
    (method, headers): (Method, HeaderMap),
    Raw(body): Raw,
) -> Result<Response, Problem> {
    let server = server(permit.sources(), &permit.scope(within.collection)?)?;
    let mut request = McpRequest::new(method.as_str(), body.to_vec());
    for (name, value) in &headers {
        request = request.header(name.as_str(), value.as_bytes());
    }
    let answer = server.respond(request, &run.ctx).await?;
    let mut response = Response::new(Body::from_stream(Pieces { body: answer.body, _run: run }));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| unreadable())?;
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(|_| unreadable())?;
        response.headers_mut().append(name, HeaderValue::try_from(value).map_err(|_| unreadable())?);
    }
    Ok(response)
}

fn unreadable() -> Problem {
    Problem::new(ProblemKind::Internal, "the answer of the MCP server is no answer of HTTP")
}

/// The answer's body, which holds the slot of its request until it is read or dropped.
struct Pieces {
    body: McpBody,
    _run: Run,
}

impl Stream for Pieces {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx).map(|piece| piece.map(|bytes| Ok(bytes.into())))
    }
}
