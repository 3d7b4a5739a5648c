//! Over a real socket: a client that leaves cancels its run, and a service that stops lets the others finish.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_server::http::Limits;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Listening, Service};

#[tokio::test]
async fn a_client_that_leaves_cancels_its_run() {
    for streamed in [true, false] {
        let listening = Listening::within(Limits::default()).await;
        let agent = listening.service.doubles.agent.clone();
        {
            let answer = listening.ask("hang", streamed);
            tokio::select! {
                response = answer => {
                    let mut response = response;
                    response.chunk().await.unwrap();
                    agent.change().await;
                }
                () = agent.change() => {}
            }
        }
        agent.change().await;
        assert_eq!(agent.running.load(Ordering::SeqCst), 0, "streamed: {streamed}");
    }
}

/// Lets what was seen of the dependencies go stale.
async fn later() {
    tokio::time::advance(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_start_is_over_once_everything_could_be_used_and_stays_so() {
    let service = Service::new();
    let fails = |kind| *service.doubles.documents.failure.lock().unwrap() = kind;
    fails(Some(agentkit_core::ErrorKind::Unavailable));
    assert_eq!(service.get("/health/startup").await.problem(503, "unavailable"), "not ready: index");
    fails(None);
    service.get("/health/startup").await.problem(503, "unavailable");
    later().await;
    assert_eq!(service.get("/health/startup").await.json()["status"], "started");
    fails(Some(agentkit_core::ErrorKind::Unavailable));
    later().await;
    service.get("/health/ready").await.problem(503, "unavailable");
    assert_eq!(service.get("/health/startup").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn readiness_names_what_fails_and_turns_away_while_draining() {
    let service = Service::new();
    let ready = service.get("/health/ready").await.json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["dependencies"][0]["name"], "index");
    assert_eq!(ready["dependencies"][1]["name"], "sessions");
    assert_eq!(ready["dependencies"][2]["name"], "state");
    assert_eq!(ready["dependencies"][3]["name"], "model");

    *service.doubles.documents.failure.lock().unwrap() = Some(agentkit_core::ErrorKind::Corrupt);
    assert_eq!(service.get("/health/ready").await.status, 200, "the stores are read once a second at most");
    later().await;
    let failing = service.get("/health/ready").await;
    assert_eq!(failing.problem(503, "unavailable"), "not ready: index");
    assert_eq!(failing.json()["dependencies"][0]["status"], "failed");
    assert_eq!(failing.json()["dependencies"][1]["status"], "ok");
    assert_eq!(service.get("/health/live").await.status, 200);

    *service.doubles.documents.failure.lock().unwrap() = None;
    service.state.drain();
    service.get("/health/ready").await.problem(503, "shutting-down");
    assert_eq!(service.get("/health/live").await.status, 200);
    assert_eq!(service.post("/chat", r#"{"message":"x"}"#).await.status, 200, "what still comes is answered");
}

#[tokio::test]
async fn a_stream_that_outlasts_the_grace_ends_with_an_error_event() {
    let mut limits = Limits::default();
    limits.shutdown_grace = Duration::from_millis(50);
    let mut listening = Listening::within(limits).await;
    let mut stream = listening.ask("hang", true).await;
    let mut text = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    listening.stop();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    let last = text.lines().rfind(|line| line.starts_with("data:")).unwrap();
    assert!(last.contains(r#""type":"error""#) && last.contains(r#""kind":"cancelled""#), "{text}");
    listening.served.await.unwrap().unwrap();
    assert!(reqwest::get(&listening.url).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_idle_service_stops_at_once() {
    let mut listening = Listening::within(Limits::default()).await;
    assert_eq!(listening.ask("x", false).await.status(), 200);
    listening.stop();
    tokio::time::timeout(Duration::from_secs(10), listening.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_closed_and_one_too_many_as_well() {
    let mut limits = Limits::default();
    limits.header_timeout = Duration::from_millis(200);
    limits.max_connections = 2;
    let listening = Listening::within(limits).await;
    let address = listening.url.strip_prefix("http://").unwrap().to_owned();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"POST /chat HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.unwrap();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut surplus = TcpStream::connect(&address).await.unwrap();
    let mut end = Vec::new();
    // A connection that is closed with unread bytes may be reset.
    let _ = surplus.read_to_end(&mut end).await;
    assert!(end.is_empty(), "{}", String::from_utf8_lossy(&end));
    for closed in [&mut slow, &mut silent] {
        let read = tokio::time::timeout(Duration::from_secs(10), closed.read_to_end(&mut end)).await;
        assert!(read.is_ok(), "a slow client is waited for");
    }
    assert_eq!(listening.ask("x", false).await.status(), 200, "there is room again");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_the_service_goes_on() {
    let listening = Listening::within(Limits::default()).await;
    let address = listening.url.strip_prefix("http://").unwrap().to_owned();
    for head in [format!("x-long: {}\r\n", "x".repeat(64 * 1024)), "x: y\r\n".repeat(65)] {
        let mut client = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\n{head}\r\n");
        let _ = client.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(listening.ask("x", false).await.status(), 200);
}

#[tokio::test]
async fn a_run_without_its_client_is_waited_for_and_stopped_when_the_grace_is_over() {
    let mut limits = Limits::default();
    limits.shutdown_grace = Duration::from_millis(300);
    let mut listening = Listening::within(limits).await;
    let agent = listening.service.doubles.agent.clone();
    let body = serde_json::json!({"message": "hang", "stream": true, "resumable": true}).to_string();
    let asked = crate::support::request(axum::http::Method::POST, "/chat", "application/json", body);
    drop(listening.service.start(asked).await);
    agent.change().await;
    listening.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(agent.running.load(Ordering::SeqCst), 1, "it has the grace");
    tokio::time::timeout(Duration::from_secs(5), listening.served).await.unwrap().unwrap().unwrap();
    assert_eq!(agent.running.load(Ordering::SeqCst), 0, "nothing goes on after the service");
}

/// A client that speaks HTTP/2 from the first byte on.
fn second() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}

#[tokio::test]
async fn clients_may_begin_with_http_2() {
    let mut listening = Listening::within(Limits::default()).await;
    let client = second();
    let asked = (0..20).map(|n| {
        let body = serde_json::json!({"message": format!("question {n}"), "stream": n % 2 == 0});
        client.post(format!("{}/chat", listening.url)).json(&body).send()
    });
    for answer in futures_util::future::join_all(asked).await {
        let answer = answer.unwrap();
        assert_eq!((answer.version(), answer.status()), (reqwest::Version::HTTP_2, 200.try_into().unwrap()));
        assert!(answer.text().await.unwrap().contains("degrees"));
    }
    let missing = client.get(format!("{}/nowhere", listening.url)).send().await.unwrap();
    assert_eq!(missing.headers()["content-type"], "application/problem+json");
    let large = client.get(format!("{}/health/live", listening.url)).header("x-long", "x".repeat(64 * 1024));
    assert!(
        large.send().await.is_err_and(|error| error.status().is_none())
            || client.get(&listening.url).send().await.is_ok()
    );
    assert_eq!(listening.ask("x", false).await.version(), reqwest::Version::HTTP_11);
    listening.stop();
    tokio::time::timeout(Duration::from_secs(10), listening.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn over_http_2_a_run_stops_with_its_client_and_the_slow_and_the_idle_are_closed() {
    let mut limits = Limits::default();
    limits.header_timeout = Duration::from_millis(300);
    let listening = Listening::within(limits).await;
    let agent = listening.service.doubles.agent.clone();
    let body = serde_json::json!({"message": "hang", "stream": true});
    let client = second();
    let mut stream = client.post(format!("{}/chat", listening.url)).json(&body).send().await.unwrap();
    stream.chunk().await.unwrap();
    agent.change().await;
    drop((stream, client));
    agent.change().await;
    assert_eq!(agent.running.load(Ordering::SeqCst), 0);

    let address = listening.url.strip_prefix("http://").unwrap().to_owned();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begins in [&b"P"[..], b"PR", b"PRI * HT", preface] {
        let mut slow = TcpStream::connect(&address).await.unwrap();
        slow.write_all(begins).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut Vec::new())).await;
        assert!(read.is_ok(), "{:?} is waited for", String::from_utf8_lossy(begins));
    }
    assert_eq!(listening.ask("x", false).await.status(), 200);
}
