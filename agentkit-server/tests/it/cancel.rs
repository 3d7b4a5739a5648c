//! Real sockets on both sides: whatever ends a request closes the model's socket behind it at once, measured there.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::model::openai::{OpenAiModel, OpenAiOptions};
use agentkit_rag::answer::RagAgent;
use agentkit_server::http::{AppState, Limits, serve};
use agentkit_server::identity::Authenticator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::doubles::Doubles;

/// The goal is a tenth of it; a busy machine is given more.
const BOUND: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    Disconnect,
    Shutdown,
    Timeout,
}

/// Takes a request to the model; answers with one word, or with nothing yet.
async fn asked(upstream: &TcpListener, speaks: bool) -> TcpStream {
    let (mut socket, _) = upstream.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(10).any(|window| window == b"\"messages\"") {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "the service left early");
    }
    if speaks {
        let word = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}{:x}\r\n{word}\r\n", word.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    socket
}

async fn closed(socket: &mut TcpStream) {
    let mut bytes = [0; 1024];
    while matches!(socket.read(&mut bytes).await, Ok(read) if read > 0) {}
}

/// How long the model's socket stays open after the request behind it was ended.
async fn ended(cause: Cause, speaks: bool) -> Duration {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", upstream.local_addr().unwrap());
    let model = OpenAiModel::new(OpenAiOptions::new(url, "m")).unwrap();
    let doubles = Doubles::default();
    let mut services = doubles.services();
    services.agent = Arc::new(RagAgent::new(doubles.retriever.clone(), Arc::new(model)));
    let mut limits = Limits::default();
    limits.shutdown_grace = Duration::ZERO;
    if cause == Cause::Timeout {
        limits.request_timeout = REQUEST_TIMEOUT;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chat = format!("http://{}/chat", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let state = AppState::new(services, Authenticator::insecure_dev(), limits);
    let served = tokio::spawn(serve(listener, state, async {
        let _ = stopped.await;
    }));
    let begun = Instant::now();
    let client = tokio::spawn(async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = serde_json::json!({"message": "how hot is tea?", "stream": true});
        let mut answer = client.post(chat).json(&body).send().await.unwrap();
        while let Ok(Some(_)) = answer.chunk().await {}
    });
    let mut socket = asked(&upstream, speaks).await;
    let at = match cause {
        Cause::Disconnect => {
            client.abort();
            Instant::now()
        }
        Cause::Shutdown => {
            stop.send(()).unwrap();
            Instant::now()
        }
        Cause::Timeout => begun + REQUEST_TIMEOUT,
    };
    let what = format!("{cause:?}, speaks: {speaks}");
    timeout(REQUEST_TIMEOUT + BOUND, closed(&mut socket))
        .await
        .unwrap_or_else(|_| panic!("{what}: it stays open"));
    let took = at.elapsed();
    served.abort();
    took
}

#[tokio::test]
async fn what_ends_a_request_closes_the_socket_of_its_model() {
    for cause in [Cause::Disconnect, Cause::Shutdown, Cause::Timeout] {
        for speaks in [false, true] {
            let took = ended(cause, speaks).await;
            println!("{cause:?}, {}: {took:?}", if speaks { "amid the answer" } else { "before it begins" });
            assert!(took < BOUND, "{cause:?}, speaks: {speaks}: the socket stayed open for {took:?}");
        }
    }
}
