//! Server-sent events from bytes that come in pieces of any size.
//!
//! Follows "Server-sent events" of the WHATWG HTML standard with two differences: an event that the stream's
//! end cuts off before its blank line is kept, since some servers leave the line out, and an event is bounded.
//! The events are the same however the bytes are cut.

use std::collections::VecDeque;

use super::frame::{Frame, Frames, MAX_FRAME_BYTES, text, too_long};
use crate::error::{Error, Result};

/// U+FEFF in UTF-8, which a stream may begin with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Decodes events as bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::model::wire::{Frames, SseDecoder};
///
/// let mut decoder = SseDecoder::default();
/// decoder.push(b"data: on");
/// assert!(decoder.next_frame().is_none());
/// decoder.push(b"e\r\n\r\n");
/// assert_eq!(decoder.next_frame().unwrap().unwrap().data, "one");
/// ```
#[derive(Debug, Default)]
pub struct SseDecoder {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    after_carriage_return: bool,
    past_first_line: bool,
    events: VecDeque<Frame>,
    failure: Option<Error>,
    over: bool,
}

impl Frames for SseDecoder {
    const MEDIA_TYPE: &'static str = "text/event-stream";

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.over {
                return;
            }
            let second_half = self.after_carriage_return && byte == b'\n';
            self.after_carriage_return = byte == b'\r';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => self.end_line(),
                _ => self.extend_line(byte),
            }
        }
    }

    fn finish(&mut self) {
        if self.over {
            return;
        }
        if !self.line.is_empty() {
            self.end_line();
        }
        self.dispatch();
        self.over = true;
    }

    fn next_frame(&mut self) -> Option<Result<Frame>> {
        self.events.pop_front().map(Ok).or_else(|| self.failure.take().map(Err))
    }
}

impl SseDecoder {
    fn extend_line(&mut self, byte: u8) {
        let held = self.line.len() + self.name.len() + self.data.as_ref().map_or(0, Vec::len);
        if held < MAX_FRAME_BYTES {
            return self.line.push(byte);
        }
        (self.over, self.failure) = (true, Some(too_long()));
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.past_first_line, true) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.is_empty() {
            self.dispatch();
        } else {
            self.take_field(&line);
        }
        line.clear();
        self.line = line;
    }

    /// A comment is a line whose field name is empty.
    fn take_field(&mut self, line: &[u8]) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let Some(data) = self.data.take() else { return };
        self.events.push_back(Frame { name: text(&name), data: text(&data) });
    }
}
