//! A tiny HTTP server whose answer can stop in the middle, to see when its client leaves.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that takes one request after the other on loopback.
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap() }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.listener.local_addr().unwrap())
    }

    /// Takes a request and returns its connection, with the body read.
    pub(crate) async fn request(&self) -> Connection {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            if let Some(end) = text.find("\r\n\r\n") {
                let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
                let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
                if bytes.len() >= end + 4 + length {
                    return Connection { stream };
                }
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the client left early");
        }
    }
}

/// A request that waits for its answer.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Begins a chunked answer of events.
    pub(crate) async fn begin(&mut self) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Sends a piece of the body.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len());
        self.stream.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).await.unwrap();
    }

    /// Waits until the client closes its side.
    pub(crate) async fn closed(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.stream.read(&mut bytes).await, Ok(read) if read > 0) {}
    }
}
