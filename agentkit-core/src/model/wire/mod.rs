//! What the wire formats of all providers share, without a network.
//!
//! The bytes of an answer are cut into [`Frame`]s, server-sent events or lines; a [`Protocol`] reads what each
//! frame means and notes it in an [`Answer`]; an [`AnswerDecoder`] puts the two together. A provider's codec is
//! a protocol and the request in its form, so a format of your own takes one of each.

mod answer;
mod calls;
mod decoder;
mod errors;
mod frame;
mod lines;
mod passages;
mod request;
mod sse;

pub use self::answer::Answer;
pub use self::calls::{MAX_CALLS, PartialCall, too_many_calls};
pub use self::decoder::{AnswerDecoder, Protocol};
pub use self::errors::{error_in_body, error_in_frame, error_of_response, unreadable};
pub use self::frame::{Frame, Frames};
pub use self::lines::LineDecoder;
pub use self::passages::render_passages;
pub use self::request::{
    Body, Turn, arguments_object, arguments_text, check_request, marked_content, parallel_tool_calls,
    tool_choice, turns,
};
pub use self::sse::SseDecoder;
pub use super::tokens::{estimate_tokens, truncate};
