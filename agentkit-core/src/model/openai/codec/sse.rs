//! Server-sent events from bytes that come in pieces of any size.
//!
//! Follows "Server-sent events" of the WHATWG HTML standard with two differences: an event that the stream's
//! end cuts off before its blank line is kept, since some servers leave the line out, and an event is bounded.
//! The events are the same however the bytes are cut.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind, Result};

/// Longest event in bytes, its field names included.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// U+FEFF in UTF-8, which a stream may begin with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty if there is none.
    pub name: String,
    /// The `data` fields, joined by newlines; bytes that are not UTF-8 are replaced.
    pub data: String,
}

/// Decodes events as bytes arrive.
///
/// # Examples
/// ```
/// use agentkit_core::model::openai::codec::SseDecoder;
///
/// let mut decoder = SseDecoder::new();
/// decoder.push(b"data: on");
/// assert!(decoder.next_event().is_none());
/// decoder.push(b"e\r\n\r\n");
/// assert_eq!(decoder.next_event().unwrap().unwrap().data, "one");
/// ```
#[derive(Debug, Default)]
pub struct SseDecoder {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    after_carriage_return: bool,
    past_first_line: bool,
    events: VecDeque<SseEvent>,
    failure: Option<Error>,
    over: bool,
}

impl SseDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; take the events out before giving it more, so that it holds little.
    pub fn push(&mut self, bytes: &[u8]) {
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

    /// Says that no bytes follow.
    pub fn finish(&mut self) {
        if self.over {
            return;
        }
        if !self.line.is_empty() {
            self.end_line();
        }
        self.dispatch();
        self.over = true;
    }

    /// The next event, `None` if more bytes are needed.
    ///
    /// # Errors
    /// Resource exhausted, if an event is too long; nothing follows it.
    pub fn next_event(&mut self) -> Option<Result<SseEvent>> {
        self.events.pop_front().map(Ok).or_else(|| self.failure.take().map(Err))
    }

    fn extend_line(&mut self, byte: u8) {
        let held = self.line.len() + self.name.len() + self.data.as_ref().map_or(0, Vec::len);
        if held < MAX_EVENT_BYTES {
            return self.line.push(byte);
        }
        self.over = true;
        let message = format!("an event of the stream is longer than {MAX_EVENT_BYTES} bytes");
        self.failure = Some(Error::new(ErrorKind::ResourceExhausted, message));
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
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.events.push_back(SseEvent { name: text(name), data: text(data) });
    }
}
