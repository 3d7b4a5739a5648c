//! The wire format, without a network: requests to JSON, bytes to events.

mod request;
mod response;

pub use self::request::messages_body;
pub use self::response::{Messages, MessagesDecoder};
