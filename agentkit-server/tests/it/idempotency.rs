//! Writes with an idempotency key are done once, and answered as often as they are sent.

use std::sync::atomic::Ordering;

use agentkit_server::http::Limits;
use agentkit_server::identity::{Authenticator, Role};
use axum::body::Body;
use axum::http::{Method, Request};

use crate::identity::{Guarded, shown};
use crate::support::{Service, read, request};

fn keyed(key: &str, method: Method, path: &str, body: &str) -> Request<Body> {
    let mut asked = request(method, path, "application/json", body.to_owned());
    asked.headers_mut().insert("idempotency-key", key.parse().unwrap());
    asked
}

fn chat(key: &str, message: &str) -> Request<Body> {
    keyed(key, Method::POST, "/chat", &serde_json::json!({"message": message, "session_id": "s"}).to_string())
}

fn put(key: &str, text: &str) -> Request<Body> {
    keyed(key, Method::PUT, "/documents/tea", &serde_json::json!({ "text": text }).to_string())
}

#[tokio::test]
async fn the_same_request_is_done_once_and_answered_alike() {
    let service = Service::new();
    let first = service.send(chat("k1", "how hot?")).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (200, ""));
    let again = service.send(chat("k1", "how hot?")).await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (200, "true"));
    assert_eq!((&again.body, again.header("content-type")), (&first.body, "application/json"));
    let turns = service.get("/sessions/s").await.json();
    assert_eq!(turns["messages"].as_array().unwrap().len(), 2, "the question was asked twice");
    assert_eq!(service.doubles.agent.asked.lock().unwrap().len(), 1);
    assert_eq!(service.send(chat("k2", "how hot?")).await.header("idempotent-replayed"), "");

    let feedback = serde_json::json!({"turn": first.json()["trace_id"], "rating": "up"}).to_string();
    let give = || keyed("k3", Method::POST, "/feedback", &feedback);
    let given = service.send(give()).await;
    assert_eq!(given.status, 200, "{}", given.body);
    assert_eq!(service.send(give()).await.body, given.body, "the time of the first stays");

    assert_eq!(service.send(put("k4", "green")).await.status, 200);
    let delete = request(Method::DELETE, "/documents/tea", "", Body::empty());
    assert_eq!(service.send(delete).await.status, 204);
    assert_eq!(service.send(put("k4", "green")).await.header("idempotent-replayed"), "true");
    service.get("/documents/tea").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_was_done_is_not_done_again_after_a_restart() {
    let first = Service::new();
    let asked = first.send(chat("k1", "how hot?")).await;
    let stored = first.send(put("k2", "green")).await;
    first.send(put("k3", "")).await.problem(400, "invalid-input");
    let again = Service::over(first.doubles.clone(), Authenticator::insecure_dev(), Limits::default());
    for (request, before) in [(chat("k1", "how hot?"), &asked), (put("k2", "green"), &stored)] {
        let replayed = again.send(request).await;
        assert_eq!((replayed.status, replayed.header("idempotent-replayed")), (before.status, "true"));
        assert_eq!((&replayed.body, replayed.header("content-type")), (&before.body, "application/json"));
    }
    again.send(put("k2", "black")).await.problem(422, "idempotency-key-reused");
    assert_eq!(again.doubles.agent.asked.lock().unwrap().len(), 1, "the question was asked once");
    assert_eq!(again.send(put("k3", "white")).await.status, 200, "what was refused did nothing");
}

#[tokio::test]
async fn a_key_stands_for_one_request_and_belongs_to_one_person() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::Editor).await, guarded.key("acme", Role::Editor).await);
    assert_eq!(guarded.send(&ann, put("k", "green")).await.status, 200);
    for other in [
        put("k", "black"),
        chat("k", "x"),
        keyed("k", Method::PUT, "/documents/coffee", r#"{"text":"green"}"#),
        keyed("k", Method::PUT, "/documents/tea?collection=news", r#"{"text":"green"}"#),
        keyed("k", Method::DELETE, "/documents/tea", ""),
    ] {
        guarded.send(&ann, other).await.problem(422, "idempotency-key-reused");
    }
    let theirs = guarded.send(&bob, put("k", "black")).await;
    assert_eq!((theirs.status.as_u16(), theirs.header("idempotent-replayed")), (200, ""));
    let me = request(Method::DELETE, "/me", "", Body::empty());
    assert_eq!(guarded.send(&ann, me).await.status, 202);
    assert_eq!(guarded.send(&ann, put("k", "white")).await.status, 200, "who is forgotten has no keys");
}

#[tokio::test]
async fn of_two_at_once_the_second_is_told_to_wait_and_a_first_that_is_left_is_forgotten() {
    let service = Service::new();
    let (router, doubles) = (service.router(), service.doubles.clone());
    let first = tokio::spawn(async move {
        tower::ServiceExt::oneshot(router, chat("k", "hang")).await.unwrap();
    });
    while doubles.agent.running.load(Ordering::SeqCst) == 0 {
        doubles.agent.change().await;
    }
    let second = service.send(chat("k", "hang")).await;
    second.problem(409, "conflict");
    assert_eq!(second.header("retry-after"), "1");
    service.send(chat("k", "other")).await.problem(422, "idempotency-key-reused");
    first.abort();
    let _ = first.await;
    assert_eq!(service.send(chat("k", "how hot?")).await.status, 200, "the key is free again");
}

#[tokio::test]
async fn what_was_refused_stays_refused_and_what_failed_is_tried_again() {
    let service = Service::new();
    for replayed in ["", "true"] {
        let refused = service.send(put("k1", "")).await;
        refused.problem(400, "invalid-input");
        assert_eq!(refused.header("idempotent-replayed"), replayed);
    }
    for _ in 0..2 {
        let failed = service.send(chat("k2", "fail")).await;
        failed.problem(503, "unavailable");
        assert_eq!(failed.header("idempotent-replayed"), "");
    }
    assert_eq!(service.doubles.agent.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn keys_that_are_no_keys_and_streams_are_refused() {
    let service = Service::new();
    let long = "x".repeat(256);
    for key in ["", long.as_str(), "\u{e4}"] {
        let mut asked = put("k", "green");
        asked
            .headers_mut()
            .insert("idempotency-key", axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap());
        service.send(asked).await.problem(400, "invalid-input");
    }
    let mut two = put("k", "green");
    two.headers_mut().append("idempotency-key", "other".parse().unwrap());
    service.send(two).await.problem(400, "invalid-input");
    let stream = keyed("k", Method::POST, "/chat", r#"{"message":"x","stream":true}"#);
    assert!(service.send(stream).await.problem(400, "invalid-input").contains("stream"));
    let huge = "x".repeat((32 << 20) + 1);
    service.send(keyed("k", Method::PUT, "/documents/tea", &huge)).await.problem(413, "too-large");
    let search = keyed("k", Method::POST, "/search", r#"{"query":"x"}"#);
    assert_eq!(service.send(search).await.header("idempotent-replayed"), "");
}

#[tokio::test]
async fn who_is_not_let_in_uses_up_no_key() {
    let guarded = Guarded::new();
    let ann = guarded.key("acme", Role::User).await;
    guarded.service.send(put("k", "green")).await.problem(401, "unauthorized");
    guarded.send(&ann, put("k", "green")).await.problem(403, "forbidden");
    let asked = guarded.service.start(shown(&ann.expose(), chat("k", "x"))).await;
    read(asked).await.problem(422, "idempotency-key-reused");
}
