//! The wire format, without a network: requests to JSON, bytes to events.

mod embeddings;
mod request;
mod response;

pub use self::embeddings::{embeddings_body, parse_embeddings};
pub use self::request::chat_body;
pub use self::response::{ChatCompletions, ChatDecoder};
