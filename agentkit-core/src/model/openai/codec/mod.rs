//! The wire format, without a network: requests to JSON, bytes to events, failures to errors.

mod embeddings;
mod errors;
mod request;
mod response;
mod sse;

pub use self::embeddings::{embeddings_body, estimate_tokens, parse_embeddings, truncate};
pub use self::errors::{error_in_body, error_of_response};
pub use self::request::{chat_body, render_passages};
pub use self::response::ChatDecoder;
pub use self::sse::{SseDecoder, SseEvent};
