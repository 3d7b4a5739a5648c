//! What a model says while it speaks, and how it is gathered into one response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::Usage;
use crate::error::{Error, Result};
use crate::message::ToolCall;
use crate::retrieve::Span;
use crate::stream::{Emitter, Generated};

/// One event of a model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatEvent {
    /// More text.
    Delta {
        /// The text to append.
        text: String,
    },
    /// The model cites a passage it was given; refers to the text said so far.
    Citation(PassageCitation),
    /// The model asks for a tool; the arguments are complete.
    ToolCall(ToolCall),
    /// What the call cost.
    Usage(Usage),
    /// The answer is over.
    Finished {
        /// Why it ended.
        reason: FinishReason,
    },
}

/// A model's reference to a passage of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageCitation {
    /// Which passage, counted from 1 in the order given; the `[n]` of the answer's text.
    pub number: usize,
    /// Byte range of the quoted text within the passage's text, on character boundaries.
    pub span: Span,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The token limit was reached.
    Length,
    /// The model waits for tool results.
    ToolCalls,
    /// The provider withheld content.
    ContentFilter,
    /// The passages do not support an answer; the text says so.
    Refused,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// The text.
    pub text: String,
    /// The citations, in order.
    pub citations: Vec<PassageCitation>,
    /// The tools asked for, in order.
    pub tool_calls: Vec<ToolCall>,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

impl ChatResponse {
    /// An answer that says nothing, and ended for `reason`.
    #[must_use]
    pub fn new(reason: FinishReason) -> Self {
        Self {
            text: String::new(),
            citations: Vec::new(),
            tool_calls: Vec::new(),
            usage: Usage::default(),
            finish_reason: reason,
        }
    }

    /// Adds an event; says whether it was the last.
    pub(crate) fn take(&mut self, event: ChatEvent) -> bool {
        match event {
            ChatEvent::Delta { text } => self.text.push_str(&text),
            ChatEvent::Citation(citation) => self.citations.push(citation),
            ChatEvent::ToolCall(call) => self.tool_calls.push(call),
            ChatEvent::Usage(usage) => self.usage = usage,
            ChatEvent::Finished { reason } => {
                self.finish_reason = reason;
                return true;
            }
        }
        false
    }
}

/// A model's answer as it is made; dropping it ends the request.
pub struct ChatStream {
    events: Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>,
}

impl ChatStream {
    /// Makes a stream of one that there is already, for wrappers that look at its events or change them.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::{ChatEvent, ChatStream, FinishReason};
    /// use futures_util::{StreamExt, stream};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let end = ChatStream::new(stream::iter([Ok(ChatEvent::Finished { reason: FinishReason::Length })]));
    /// let loud = end.inspect(|event| println!("{event:?}"));
    /// assert_eq!(ChatStream::new(loud).collect().await.unwrap().finish_reason, FinishReason::Length);
    /// # });
    /// ```
    pub fn new(events: impl Stream<Item = Result<ChatEvent>> + Send + 'static) -> Self {
        Self { events: Box::pin(events) }
    }

    /// Makes a stream from sequential code that emits events; an error it returns ends the stream.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::{ChatEvent, ChatStream, FinishReason};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let stream = ChatStream::generate(|out| async move {
    ///     out.emit(ChatEvent::Delta { text: "hello".into() }).await?;
    ///     out.emit(ChatEvent::Finished { reason: FinishReason::Stop }).await
    /// });
    /// assert_eq!(stream.collect().await.unwrap().text, "hello");
    /// # });
    /// ```
    pub fn generate<F>(produce: impl FnOnce(Emitter<ChatEvent>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(Generated::new(produce))
    }

    /// The next event, or `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Result<ChatEvent>> {
        self.events.next().await
    }

    /// Waits for the whole answer.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request.
    ///
    /// # Errors
    /// The stream's error, or internal if it ended without saying why.
    pub async fn collect(mut self) -> Result<ChatResponse> {
        let mut response = ChatResponse::new(FinishReason::Stop);
        let mut finished = false;
        while let Some(event) = self.next().await {
            finished |= response.take(event?);
        }
        if finished {
            return Ok(response);
        }
        Err(Error::internal("the model's stream ended without a finish reason"))
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream").finish_non_exhaustive()
    }
}
