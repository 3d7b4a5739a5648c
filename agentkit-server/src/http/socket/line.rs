//! The socket itself: frames in and out, within limits of size and time.

use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};

use super::frames::FromService;

/// Longest reason of a closing frame in bytes, by RFC 6455.
const MAX_REASON_BYTES: usize = 123;

/// What came over the line.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame of text.
    Text(String),
    /// Something that keeps the line alive and means nothing else.
    Sign,
    /// A frame that is not of text.
    Bytes,
    /// A frame that is too long.
    TooLong,
    /// Nothing will come any more.
    Over,
}

/// An open WebSocket.
pub(super) struct Line {
    socket: WebSocket,
    /// How long a frame may take to be sent.
    patience: Duration,
}

impl Line {
    pub(super) fn new(socket: WebSocket, patience: Duration) -> Self {
        Self { socket, patience }
    }

    /// The next frame. Cancel safe.
    pub(super) async fn hear(&mut self) -> Heard {
        match self.socket.recv().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text.as_str().to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Sign,
            Some(Ok(Message::Binary(_))) => Heard::Bytes,
            Some(Ok(Message::Close(_))) | None => Heard::Over,
            // What kind of error it is, is not to be had in another way.
            Some(Err(error)) if error.to_string().contains("too long") => Heard::TooLong,
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket ended early");
                Heard::Over
            }
        }
    }

    pub(super) async fn tell(&mut self, frame: &FromService) -> Result<()> {
        let json = serde_json::to_string(frame)
            .map_err(|error| Error::internal("write a frame").with_source(error))?;
        self.send(Message::Text(json.into())).await
    }

    /// Sends an event as it is.
    pub(super) async fn pass_on(&mut self, json: &str) -> Result<()> {
        self.send(Message::Text(json.into())).await
    }

    /// Keeps the line open through proxies.
    pub(super) async fn sign(&mut self) -> Result<()> {
        self.send(Message::Ping(Vec::new().into())).await
    }

    /// Ends the line, saying why as far as the client still reads.
    pub(super) async fn close(mut self, end: End) {
        let (code, reason) = match end {
            End::Left => return,
            End::Draining => (close_code::AWAY, "the service is shutting down".to_owned()),
            End::Idle => (close_code::NORMAL, "nothing was asked for a long time".to_owned()),
            End::Refused(reason) => (close_code::POLICY, reason),
            End::TooLong(most) => (close_code::SIZE, format!("a frame may have {most} bytes at most")),
        };
        let end = (0..=MAX_REASON_BYTES.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
        let reason = reason.get(..end.unwrap_or_default()).unwrap_or_default().to_owned();
        // A client that does not read it is gone.
        let _ = self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        let gone = |why: &str| Error::new(ErrorKind::Unavailable, format!("send a frame: {why}"));
        match tokio::time::timeout(self.patience, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| gone("the client is gone").with_source(error)),
            Err(_) => Err(gone("the client does not read")),
        }
    }
}

/// Why a line ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone, or does not read.
    Left,
    /// The service is to stop.
    Draining,
    /// Nothing was asked.
    Idle,
    /// The client is not let in, or makes no sense.
    Refused(String),
    /// The client sent more at once than is read.
    TooLong(usize),
}
