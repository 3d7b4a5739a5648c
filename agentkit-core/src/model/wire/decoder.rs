//! From the bytes of an answer to its events.

use super::answer::Answer;
use super::frame::{Frame, Frames};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ChatEvent;

/// How the frames of a provider's answers are read.
pub trait Protocol: Default {
    /// What the body is made of.
    type Frames: Frames;

    /// Notes in `answer` what `frame` says. Frames and fields it does not know, it passes over.
    ///
    /// # Errors
    /// What the server reports, or unavailable if the frame cannot be read; the answer has then failed.
    fn take(&mut self, frame: &Frame, answer: &mut Answer) -> Result<()>;

    /// Notes what is still held back when the body is over.
    ///
    /// # Errors
    /// As [`Protocol::take`].
    fn close(&mut self, answer: &mut Answer) -> Result<()> {
        let _ = answer;
        Ok(())
    }
}

/// Decodes an answer as its bytes arrive; the events are the same however the bytes are cut.
#[derive(Debug, Default)]
pub struct AnswerDecoder<P: Protocol> {
    frames: P::Frames,
    protocol: P,
    answer: Answer,
}

impl<P: Protocol> AnswerDecoder<P> {
    /// A decoder at the start of an answer.
    #[must_use]
    pub fn new() -> Self {
        Self { frames: P::Frames::default(), protocol: P::default(), answer: Answer::default() }
    }

    /// Takes the next bytes of the body; take the events out before giving it more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over() {
            self.frames.push(bytes);
            self.decode();
        }
    }

    /// Says that the body is over.
    pub fn finish(&mut self) {
        self.frames.finish();
        self.decode();
        if self.is_over() {
            return;
        }
        if let Err(error) = self.protocol.close(&mut self.answer) {
            self.answer.fail(error);
        } else if self.answer.has_reason() {
            self.answer.finish();
        } else {
            let message = "the server closed the stream before its answer was finished";
            self.answer.fail(Error::new(ErrorKind::Unavailable, message));
        }
    }

    /// The next event, `None` if more bytes are needed or the answer is over.
    ///
    /// # Errors
    /// The error the server sent; unavailable, if the stream is broken or not in this format; resource
    /// exhausted, if it is larger than any sensible answer. Nothing follows an error.
    pub fn next_event(&mut self) -> Option<Result<ChatEvent>> {
        self.answer.next_event()
    }

    /// Whether all that belongs to the answer has been read; further bytes are not looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answer.is_over()
    }

    fn decode(&mut self) {
        while !self.is_over()
            && let Some(frame) = self.frames.next_frame()
        {
            if let Err(error) = frame.and_then(|frame| self.protocol.take(&frame, &mut self.answer)) {
                self.answer.fail(error);
            }
        }
    }
}
