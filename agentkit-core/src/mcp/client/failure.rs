//! What a failure of the protocol means for a run: something the model can mend, or the end.

use std::time::Duration;

use rmcp::ServiceError;
use rmcp::model::ErrorCode;
use rmcp::service::ClientInitializeError;

use crate::error::{Error, ErrorKind};
use crate::tool::cut;

/// Bytes of a server's own words in an error.
const MESSAGE_BYTES: usize = 2 * 1024;

/// The connection did not come about.
pub(super) fn of_greeting(server: &str, error: ClientInitializeError) -> Error {
    let kind = match &error {
        _ if error.is_authorization_required() => ErrorKind::Unauthorized,
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => ErrorKind::Mismatch,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("connect to MCP server {server:?}")).with_source(error)
}

/// The server did not answer in time.
pub(super) fn silent(server: &str, waited: Duration) -> Error {
    let ms = waited.as_millis();
    Error::new(ErrorKind::Unavailable, format!("MCP server {server:?} did not answer within {ms} ms"))
}

/// The server did not list its tools.
pub(super) fn of_listing(server: &str, error: ServiceError) -> Error {
    Error::new(ErrorKind::Unavailable, format!("list the tools of MCP server {server:?}")).with_source(error)
}

/// A call did not give a result. A refusal of the arguments is for the model to mend, anything else is not.
pub(super) fn of_call(server: &str, tool: &str, error: ServiceError) -> Error {
    let what = format!("tool {tool:?} of MCP server {server:?}");
    match error {
        ServiceError::McpError(refused) => {
            let kind = match refused.code {
                ErrorCode::INVALID_PARAMS => ErrorKind::InvalidInput,
                ErrorCode::METHOD_NOT_FOUND | ErrorCode::RESOURCE_NOT_FOUND => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("{what} was refused: {}", cut(&refused.message, MESSAGE_BYTES)))
        }
        other => Error::new(ErrorKind::Unavailable, format!("call {what}")).with_source(other),
    }
}
