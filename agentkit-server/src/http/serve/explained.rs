//! A connection on which also the refusal of what is no request has a problem document.
//!
//! The library that speaks HTTP answers a malformed head by itself, before any route is known: with a status and no body,
//! always in the same form, as the last words on the connection. No answer of a route has that form, because each has the
//! headers that protect browsers. Such a refusal is recognised as it is written, and written with its document instead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The refusals up to their dates.
const REFUSALS: [(StatusCode, &[u8]); 3] = [
    (
        StatusCode::BAD_REQUEST,
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
    ),
    (
        StatusCode::URI_TOO_LONG,
        b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
    ),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
    ),
];
/// A date, and the end of the head.
const REST: usize = "Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n".len();

/// Writes what a refusal is to say: its status and date are given, a whole answer is returned.
pub(super) type Explain = Box<dyn Fn(StatusCode, &str) -> Bytes + Send>;

/// Explains refusals as they are written.
pub(super) struct Explained<S> {
    stream: S,
    explain: Explain,
    /// What is left to be written in a refusal's place.
    instead: Option<Bytes>,
}

impl<S> Explained<S> {
    pub(super) fn new(stream: S, explain: Explain) -> Self {
        Self { stream, explain, instead: None }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Writes the document of a refusal.
    fn poll_explain(&mut self, cx: &mut Context<'_>, refusal: &Refusal<'_>) -> Poll<io::Result<usize>> {
        let explain = &self.explain;
        let left = self.instead.get_or_insert_with(|| explain(refusal.status, refusal.date));
        while !left.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(left.split_to(written));
        }
        self.instead = None;
        Poll::Ready(Ok(refusal.length))
    }
}

/// A refusal at the end of what is to be written.
struct Refusal<'a> {
    status: StatusCode,
    date: &'a str,
    length: usize,
}

impl<'a> Refusal<'a> {
    fn at_the_end_of(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.strip_suffix(b"\r\n\r\n")?;
        let (before, date) = head.split_at_checked(bytes.len().checked_sub(REST)?)?;
        let (status, start) = REFUSALS.into_iter().find(|(_, start)| before.ends_with(start))?;
        Some(Self { status, date: std::str::from_utf8(date).ok()?, length: start.len() + REST })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let Some(refusal) = Refusal::at_the_end_of(from) else {
            return Pin::new(&mut self.stream).poll_write(cx, from);
        };
        match from.split_at_checked(from.len() - refusal.length) {
            // What stands before it goes first; then it comes again, alone.
            Some((before, _)) if !before.is_empty() => Pin::new(&mut self.stream).poll_write(cx, before),
            _ => self.poll_explain(cx, &refusal),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match from.split_last() {
            Some((last, [])) => self.poll_write(cx, last),
            Some((last, before)) if Refusal::at_the_end_of(last).is_some() => {
                Pin::new(&mut self.stream).poll_write_vectored(cx, before)
            }
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const DATE: &str = "Thu, 26 Nov 2026 20:21:40 GMT";

    /// What arrives of it, through a pipe that takes a few bytes at a time.
    async fn arrives(written: &str) -> String {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let explain: Explain = Box::new(|status, date| format!("<{} {date}>", status.as_u16()).into());
        let mut explained = Explained::new(ours, explain);
        let written = written.to_owned();
        let writing = tokio::spawn(async move { explained.write_all(written.as_bytes()).await });
        let mut all = String::new();
        theirs.read_to_string(&mut all).await.unwrap();
        writing.await.unwrap().unwrap();
        all
    }

    #[tokio::test]
    async fn a_refusal_is_explained_wherever_it_stands_and_nothing_else_is_changed() {
        for (status, head) in REFUSALS {
            let refusal = format!("{}{DATE}\r\n\r\n", std::str::from_utf8(head).unwrap());
            let explained = format!("<{} {DATE}>", status.as_u16());
            assert_eq!(arrives(&refusal).await, explained);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            assert_eq!(arrives(&format!("{answer}{refusal}")).await, format!("{answer}{explained}"));
            let own = refusal.replace("content-length", "x-frame-options: DENY\r\ncontent-length");
            assert_eq!(arrives(&own).await, own);
        }
        for other in ["", "\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
            assert_eq!(arrives(other).await, other);
        }
    }
}
