//! One connection, over HTTP/1.1, or over HTTP/2 if its client begins with that (prior knowledge, without TLS).
//!
//! Which of them it is, is seen from the first bytes without taking them. Whatever a client does with its time, it ends: the
//! first bytes and the head of a request have a deadline, a client that does not read is given up, and a connection over
//! HTTP/2 on which nothing is asked for as long is closed in order.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkit_core::Error;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::explained::Explained;
use super::patient::Patient;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::state::{AppState, Limits};
use crate::http::trace;

/// Most headers of a request over HTTP/1.1.
const MAX_HEADERS: usize = 64;
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most requests of one connection over HTTP/2 at once.
const MAX_STREAMS: u32 = 128;
/// How every connection over HTTP/2 begins (RFC 9113, section 3.4); no request over HTTP/1.1 does.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The wait between two looks at a client that sends its first bytes one by one.
const BREATH: Duration = Duration::from_millis(20);

/// Serves a connection to its end.
pub(super) async fn connection(stream: TcpStream, router: Router, limits: Limits, state: AppState) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may wait for company");
    }
    let begins = tokio::select! {
        begins = tokio::time::timeout(limits.header_timeout, is_http2(&stream)) => begins,
        () = state.draining() => return,
    };
    let outcome = match begins {
        Ok(Ok(false)) => first(stream, router, limits, &state).await,
        Ok(Ok(true)) => second(stream, router, limits, &state).await,
        Ok(Err(_)) | Err(_) => return,
    };
    if let Err(error) = outcome {
        tracing::debug!(
            error = Error::internal("serve a connection").with_source(error).chain(),
            "it ended early"
        );
    }
}

/// Whether the client begins with HTTP/2.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        let begun = seen.get(..count).unwrap_or_default();
        if begun == PREFACE {
            return Ok(true);
        }
        // A client that is gone is found out by who reads.
        if count == 0 || !PREFACE.starts_with(begun) {
            return Ok(false);
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn first(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    state: &AppState,
) -> Result<(), hyper::Error> {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    let refusing = state.clone();
    let explain = Box::new(move |status, date: &str| refused(&refusing, status, date));
    let stream = TokioIo::new(Explained::new(Patient::new(stream, limits.write_timeout), explain));
    let served = builder.serve_connection(stream, TowerToHyperService::new(router)).with_upgrades();
    let mut served = std::pin::pin!(served);
    tokio::select! {
        outcome = served.as_mut() => outcome,
        () = state.draining() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

/// The answer to what is no request, as a whole.
fn refused(state: &AppState, status: StatusCode, date: &str) -> Bytes {
    let problem = if status == StatusCode::BAD_REQUEST {
        Problem::new(
            ProblemKind::InvalidInput,
            "this is no request of HTTP/1.1: its first line or a header is malformed",
        )
    } else {
        let detail = format!(
            "the first line and the headers may have {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers at most"
        );
        Problem::new(ProblemKind::HeadTooLarge, detail)
    };
    state.metrics().problem(problem.kind().name());
    trace::without_request(&problem, date)
}

async fn second(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    state: &AppState,
) -> Result<(), hyper::Error> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    let stream = TokioIo::new(Patient::new(stream, limits.write_timeout));
    let asked = Arc::new(AtomicU64::new(0));
    let counting = counted(router, asked.clone());
    let mut served = std::pin::pin!(builder.serve_connection(stream, TowerToHyperService::new(counting)));
    tokio::select! {
        outcome = served.as_mut() => return outcome,
        () = state.draining() => {}
        () = idle(&asked, limits.header_timeout) => {}
    }
    // What was asked is answered to its end.
    Pin::as_mut(&mut served).graceful_shutdown();
    served.await
}

/// The same service, counting what it is asked.
fn counted(
    router: Router,
    asked: Arc<AtomicU64>,
) -> impl tower::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send {
    router.map_request(move |request: Request<Incoming>| {
        asked.fetch_add(1, Ordering::Relaxed);
        request.map(axum::body::Body::new)
    })
}

/// Completes when nothing was asked for some time.
async fn idle(asked: &AtomicU64, time: Duration) {
    let mut before = asked.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(time).await;
        let now = asked.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}
