//! A piece of an answer that can be understood on its own.

use crate::error::{Error, ErrorKind, Result};

/// Longest frame in bytes, the names of its fields included.
pub(super) const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// One server-sent event, or one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The event's name; empty if it has none.
    pub name: String,
    /// What it says; bytes that are not UTF-8 are replaced.
    pub data: String,
}

/// Cuts bytes that come in pieces of any size into frames, the same ones however the bytes are cut.
pub trait Frames: Default {
    /// The media type of a body that is made of such frames.
    const MEDIA_TYPE: &'static str;

    /// Takes the next bytes; take the frames out before giving it more, so that it holds little.
    fn push(&mut self, bytes: &[u8]);

    /// Says that no bytes follow.
    fn finish(&mut self);

    /// The next frame, `None` if more bytes are needed.
    ///
    /// # Errors
    /// Resource exhausted, if a frame is too long; nothing follows it.
    fn next_frame(&mut self) -> Option<Result<Frame>>;
}

pub(super) fn too_long() -> Error {
    let message = format!("a frame of the stream is longer than {MAX_FRAME_BYTES} bytes");
    Error::new(ErrorKind::ResourceExhausted, message)
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
