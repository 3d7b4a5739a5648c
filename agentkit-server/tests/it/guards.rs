//! What stands before the handlers: foreign hosts, too many requests, requests that take too long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_server::http::Limits;
use agentkit_server::identity::Role;
use axum::body::Body;
use axum::http::{Method, Request};
use futures_util::StreamExt as _;

use crate::identity::{Guarded, shown};
use crate::support::{Service, read, request};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn ask(message: &str, streamed: bool) -> Request<Body> {
    let body = serde_json::json!({"message": message, "stream": streamed}).to_string();
    request(Method::POST, "/chat", "application/json", body)
}

#[tokio::test]
async fn a_foreign_host_or_origin_reaches_no_route() {
    let service = Service::new();
    for path in ["/", "/chat", "/documents", "/health/live", "/nowhere"] {
        for (host, origin) in
            [(Some("evil.example"), None), (Some("localhost"), Some("http://evil.example")), (None, None)]
        {
            let mut asked = Request::builder().method(Method::GET).uri(path);
            for (name, value) in [("host", host), ("origin", origin)] {
                if let Some(value) = value {
                    asked = asked.header(name, value);
                }
            }
            service.send(asked.body(Body::empty()).unwrap()).await.problem(403, "forbidden-host");
        }
    }
    let mut own = ask("x", false);
    own.headers_mut().insert("origin", "http://127.0.0.1:8080".parse().unwrap());
    assert_eq!(service.send(own).await.status, 200);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_shed_at_once_and_health_still_answers() {
    let service = Service::within(limits(|limits| limits.max_concurrent_requests = 1));
    let stream = service.start(ask("hang", true)).await;
    let mut body = stream.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();

    let shed = service.send(ask("x", false)).await;
    shed.problem(503, "overloaded");
    assert_eq!(shed.header("retry-after"), "1");
    service.get("/documents").await.problem(503, "overloaded");
    assert_eq!(service.get("/health/ready").await.status, 200);
    assert_eq!(service.get("/").await.status, 200);

    drop(body);
    assert_eq!(service.send(ask("x", false)).await.status, 200, "the slot is free again");
    assert_eq!(service.doubles.agent.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn one_user_cannot_take_all_the_room_from_the_others() {
    let limits = limits(|limits| limits.max_concurrent_requests = 4);
    let guarded = Guarded::within(limits);
    let [ann, bob] = [guarded.key("acme", Role::User).await, guarded.key("zoo", Role::User).await];
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(guarded.service.start(shown(&ann.expose(), ask("hang", true))).await);
    }
    let refused = guarded.send(&ann, ask("x", false)).await;
    assert!(refused.problem(429, "rate-limited").contains("3 of your requests"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(guarded.send(&bob, ask("x", false)).await.status, 200);
    held.pop();
    assert_eq!(guarded.send(&ann, ask("x", false)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline_even_if_the_agent_is_deaf() {
    let service = Service::within(limits(|limits| limits.request_timeout = Duration::from_secs(3)));
    for message in ["hang", "deaf"] {
        service.send(ask(message, false)).await.problem(504, "deadline-exceeded");
        let events = service.send(ask(message, true)).await.events();
        let last = events.last().unwrap();
        assert_eq!(
            (last["type"].as_str(), last["kind"].as_str()),
            (Some("error"), Some("deadline_exceeded"))
        );
        assert_eq!(last["seq"], events.len() - 1, "the numbers have no gap");
    }
    assert_eq!(service.doubles.agent.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_cut_off_at_the_deadline() {
    let service = Service::within(limits(|limits| limits.request_timeout = Duration::from_secs(3)));
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let asked = request(Method::POST, "/chat", "application/json", endless);
    service.send(asked).await.problem(504, "deadline-exceeded");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_open_by_comments() {
    let service = Service::within(limits(|limits| limits.request_timeout = Duration::from_secs(35)));
    let answer = read(service.start(ask("hang", true)).await).await;
    assert_eq!(answer.body.lines().filter(|line| *line == ":").count(), 3, "{}", answer.body);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let service = Service::within(limits(|limits| limits.rates.user_requests_per_minute = Some(2)));
    for left in ["1", "0"] {
        let answer = service.send(ask("x", false)).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-remaining")), (200, left));
        assert_eq!(answer.header("ratelimit-limit"), "2");
    }
    let refused = service.send(ask("x", false)).await;
    assert!(refused.problem(429, "rate-limited").contains("2 requests a minute"));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-remaining")), ("30", "0"));
    assert_eq!(refused.header("ratelimit-reset"), "30");
    assert_eq!(service.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_do_nothing_with_it() {
    let service = Service::new();
    for path in ["/documents", "/nowhere", "/openapi.json", "/"] {
        let answer = service.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
    let preflight = service.send(request(Method::OPTIONS, "/chat", "", Body::empty())).await;
    assert_eq!(preflight.status, 405);
}
