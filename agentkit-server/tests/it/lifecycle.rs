//! Over a real socket: a client that leaves cancels its run, and a service that stops lets the others finish.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_server::http::Limits;

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

#[tokio::test]
async fn readiness_names_what_fails_and_turns_away_while_draining() {
    let service = Service::new();
    let ready = service.get("/health/ready").await.json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["dependencies"][0]["name"], "index");
    assert_eq!(ready["dependencies"][1]["name"], "sessions");

    *service.doubles.documents.failure.lock().unwrap() = Some(agentkit_core::ErrorKind::Corrupt);
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
