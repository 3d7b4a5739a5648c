//! Makes chunks of a chat completion out of the events of a run.

use agentkit_core::AgentEventKind;
use axum::response::sse::Event;
use serde_json::{Value, json};

use super::chat::Head;
use super::error::{document, failed, finish_reason, waits};
use super::tools::outgoing;
use super::wire::{CallPiece, Chunk, Delta, Piece, TokenUsage};

/// One server-sent event of an answer.
#[derive(Debug)]
pub(super) enum Frame {
    /// More of the answer.
    Chunk(Box<Chunk>),
    /// Why there is no more of it.
    Error(Value),
    /// The end of an answer that is whole.
    Done,
}

impl Frame {
    pub(super) fn into_event(self) -> Result<Event, axum::Error> {
        match self {
            Self::Chunk(chunk) => Event::default().json_data(chunk),
            Self::Error(error) => Event::default().json_data(error),
            Self::Done => Ok(Event::default().data("[DONE]")),
        }
    }
}

/// Where an answer stands.
#[derive(Debug)]
pub(super) struct Chunks {
    head: Head,
    /// Whether the tokens used were asked for.
    tells_usage: bool,
    /// Whether the tools that are called are the client's.
    hands_on: bool,
    usage: TokenUsage,
    /// Tools of the client that were called.
    called: usize,
}

impl Chunks {
    pub(super) fn new(head: Head, tells_usage: bool, hands_on: bool) -> Self {
        Self { head, tells_usage, hands_on, usage: TokenUsage::default(), called: 0 }
    }

    /// What the client is sent for an event.
    pub(super) fn frames(&mut self, event: AgentEventKind) -> Vec<Frame> {
        match event {
            AgentEventKind::Started { .. } => {
                let begun =
                    Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() };
                vec![self.piece(begun, None)]
            }
            AgentEventKind::Delta { text } => {
                vec![self.piece(Delta { content: Some(text), ..Delta::default() }, None)]
            }
            AgentEventKind::Citation(citation) => {
                vec![self.piece(Delta { citations: vec![citation], ..Delta::default() }, None)]
            }
            AgentEventKind::ToolCalled(call) if self.hands_on => {
                let called = CallPiece { index: self.called, call: outgoing(&call) };
                self.called += 1;
                vec![self.piece(Delta { tool_calls: vec![called], ..Delta::default() }, None)]
            }
            AgentEventKind::Usage(usage) => {
                self.usage = usage.into();
                Vec::new()
            }
            AgentEventKind::Done { outcome } => match finish_reason(outcome, self.called > 0) {
                Some(reason) => self.end(reason),
                None => vec![Frame::Error(document(&waits()))],
            },
            AgentEventKind::Error { kind, message } => {
                vec![Frame::Error(document(&failed(kind, &message)))]
            }
            _ => Vec::new(),
        }
    }

    fn end(&self, reason: &'static str) -> Vec<Frame> {
        let mut frames = vec![self.piece(Delta::default(), Some(reason))];
        if self.tells_usage {
            frames.push(self.chunk(Vec::new(), Some(json!(self.usage))));
        }
        frames.push(Frame::Done);
        frames
    }

    fn piece(&self, delta: Delta, finish_reason: Option<&'static str>) -> Frame {
        let piece = Piece { index: 0, delta, logprobs: (), finish_reason };
        self.chunk(vec![piece], self.tells_usage.then_some(Value::Null))
    }

    fn chunk(&self, choices: Vec<Piece>, usage: Option<Value>) -> Frame {
        let Head { id, created, model } = &self.head;
        let (id, model) = (id.clone(), model.clone());
        let object = "chat.completion.chunk";
        Frame::Chunk(Box::new(Chunk { id, object, created: *created, model, choices, usage }))
    }
}
