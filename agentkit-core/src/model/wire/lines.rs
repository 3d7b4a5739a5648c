//! JSON objects on lines of their own, from bytes that come in pieces of any size.

use std::collections::VecDeque;

use super::frame::{Frame, Frames, MAX_FRAME_BYTES, text, too_long};
use crate::error::{Error, Result};

/// Decodes lines as bytes arrive; blank ones are left out, and the last one may lack its end.
///
/// # Examples
/// ```
/// use agentkit_core::model::wire::{Frames, LineDecoder};
///
/// let mut decoder = LineDecoder::default();
/// decoder.push(b"{\"a\":");
/// assert!(decoder.next_frame().is_none());
/// decoder.push(b"1}\r\n");
/// assert_eq!(decoder.next_frame().unwrap().unwrap().data, "{\"a\":1}");
/// ```
#[derive(Debug, Default)]
pub struct LineDecoder {
    line: Vec<u8>,
    lines: VecDeque<Frame>,
    failure: Option<Error>,
    over: bool,
}

impl Frames for LineDecoder {
    const MEDIA_TYPE: &'static str = "application/x-ndjson";

    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.over {
                return;
            }
            self.extend(piece);
        }
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.end_line();
        }
    }

    fn next_frame(&mut self) -> Option<Result<Frame>> {
        self.lines.pop_front().map(Ok).or_else(|| self.failure.take().map(Err))
    }
}

impl LineDecoder {
    fn extend(&mut self, piece: &[u8]) {
        let rest = piece.strip_suffix(b"\n");
        self.line.extend_from_slice(rest.unwrap_or(piece));
        if self.line.len() > MAX_FRAME_BYTES {
            (self.over, self.failure) = (true, Some(too_long()));
        } else if rest.is_some() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = text(self.line.trim_ascii());
        self.line.clear();
        if !line.is_empty() {
            self.lines.push_back(Frame { name: String::new(), data: line });
        }
    }
}
