//! Resumable runs: they outlive their client, tell every event once to whoever comes back, and are bounded.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_server::http::Limits;
use agentkit_server::identity::Role;
use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Request};
use axum::response::Response;
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::identity::{Guarded, shown};
use crate::support::{Answer, Service, read, request};

fn ask(message: &str) -> Request<Body> {
    let body = serde_json::json!({"message": message, "stream": true, "resumable": true}).to_string();
    request(Method::POST, "/chat", "application/json", body)
}

fn follow(run: &str, more: &str) -> Request<Body> {
    request(Method::GET, &format!("/chat/{run}/events{more}"), "", Body::empty())
}

fn stop(run: &str) -> Request<Body> {
    request(Method::POST, &format!("/chat/{run}/stop"), "", Body::empty())
}

/// The run that an answer begins.
fn run_of(response: &Response) -> String {
    assert_eq!(response.status(), 200);
    let run = response.headers()["agentkit-run"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["location"], format!("/chat/{run}/events"));
    run
}

/// Reads until this many events came.
async fn some(body: &mut BodyDataStream, events: usize) {
    let mut text = String::new();
    while text.matches("\n\n").count() < events {
        text += std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap();
    }
}

fn numbers(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.header("content-type"), "text/event-stream", "{}", answer.body);
    answer.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn within(change: impl FnOnce(&mut Limits)) -> Service {
    let mut limits = Limits::default();
    change(&mut limits);
    Service::within(limits)
}

#[tokio::test]
async fn a_run_goes_on_without_its_client_and_tells_the_rest_to_who_comes_back() {
    let service = Service::new();
    let begun = service.start(ask("hang")).await;
    let run = run_of(&begun);
    let mut body = begun.into_body().into_data_stream();
    some(&mut body, 2).await;
    drop(body);
    tokio::task::yield_now().await;
    assert_eq!(service.doubles.agent.running.load(Ordering::SeqCst), 1, "it stopped with its client");

    let mut back = service.start(follow(&run, "?starting_after=1")).await.into_body().into_data_stream();
    let first = back.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 2\nevent: delta\n"), "{first:?}");
    assert_eq!(service.send(stop(&run)).await.status, 204);
    let mut rest = String::new();
    while let Some(bytes) = back.next().await {
        rest += std::str::from_utf8(&bytes.unwrap()).unwrap();
    }
    let last: Value = serde_json::from_str(rest.trim().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(
        (&last["type"], &last["kind"], &last["seq"]),
        (&"error".into(), &"cancelled".into(), &4.into())
    );
    assert_eq!(service.doubles.agent.running.load(Ordering::SeqCst), 0);
    assert_eq!(service.send(stop(&run)).await.status, 204, "stopping twice does no harm");
    assert_eq!(numbers(&service.send(follow(&run, "")).await), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn what_is_told_later_is_what_was_told_at_once() {
    let service = Service::new();
    let begun = service.start(ask("how hot?")).await;
    let run = run_of(&begun);
    let whole = read(begun).await;
    assert_eq!(numbers(&whole), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(service.send(follow(&run, "")).await.body, whole.body);
    for (header, parameter, expected) in [
        (None, "?starting_after=4", vec![5, 6]),
        (Some("2"), "", vec![3, 4, 5, 6]),
        (Some("5"), "?starting_after=0", vec![6]),
        (Some("6"), "", vec![]),
        (None, "?starting_after=18446744073709551615", vec![]),
    ] {
        let mut asked = follow(&run, parameter);
        if let Some(header) = header {
            asked.headers_mut().insert("last-event-id", header.parse().unwrap());
        }
        assert_eq!(numbers(&service.send(asked).await), expected, "{header:?} {parameter}");
    }
    let mut wrong = follow(&run, "");
    wrong.headers_mut().insert("last-event-id", "x".parse().unwrap());
    service.send(wrong).await.problem(400, "invalid-input");
    service.send(follow(&run, "?starting_after=-1")).await.problem(400, "invalid-input");
    service.send(follow(&run, "?after=1")).await.problem(400, "invalid-input");
    let whole = service.post("/chat", r#"{"message":"x","resumable":true}"#).await;
    assert!(whole.problem(400, "invalid-input").contains("set stream to true"));
}

#[tokio::test]
async fn only_who_began_a_run_can_see_it() {
    let guarded = Guarded::new();
    let ann = guarded.key("acme", Role::User).await;
    let begun = guarded.service.start(shown(&ann.expose(), ask("hang"))).await;
    let run = run_of(&begun);
    for (tenant, role) in [("acme", Role::Admin), ("zoo", Role::User)] {
        let other = guarded.key(tenant, role).await;
        for (theirs, missing) in [(follow(&run, ""), follow("none", "")), (stop(&run), stop("none"))] {
            let told = guarded.send(&other, theirs).await.problem(404, "not-found").replace(&run, "none");
            assert_eq!(told, guarded.send(&other, missing).await.problem(404, "not-found"));
        }
    }
    assert_eq!(guarded.service.doubles.agent.running.load(Ordering::SeqCst), 1);
    let me = request(Method::DELETE, "/me", "", Body::empty());
    assert_eq!(guarded.send(&ann, me).await.status, 202);
    guarded.send(&ann, follow(&run, "")).await.problem(404, "not-found");
    let last = read(begun).await.events().pop().unwrap();
    assert_eq!(last["kind"], "cancelled", "who is forgotten has no run any more");
}

#[tokio::test]
async fn a_tenant_has_so_many_runs_and_no_more() {
    let service = within(|limits| limits.kept_runs = 2);
    let (one, two) = (service.start(ask("hang")).await, service.start(ask("hang")).await);
    let refused = service.send(ask("x")).await;
    assert!(refused.problem(429, "rate-limited").contains("2 resumable runs"));
    let (one, two) = (run_of(&one), run_of(&two));
    assert_eq!(service.send(stop(&one)).await.status, 204);
    read(service.start(follow(&one, "")).await).await;
    for _ in 0..3 {
        service.send(ask("refuse")).await.problem(503, "unavailable");
    }
    let third = run_of(&service.start(ask("x")).await);
    service.send(follow(&one, "")).await.problem(404, "not-found");
    assert_eq!(service.send(follow(&third, "")).await.status, 200);
    assert_eq!(service.send(stop(&two)).await.status, 204);
}

#[tokio::test]
async fn a_run_of_too_many_bytes_ends_with_an_error() {
    let service = within(|limits| limits.kept_run_bytes = 600);
    let told = service.send(ask("how hot?")).await;
    let last = told.events().pop().unwrap();
    assert_eq!(
        (&last["type"], &last["kind"]),
        (&"error".into(), &"resource_exhausted".into()),
        "{}",
        told.body
    );
    assert_eq!(last["seq"], told.events().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_at_its_deadline_and_is_forgotten_some_time_after() {
    let service = within(|limits| {
        limits.request_timeout = Duration::from_mins(1);
        limits.kept_run_time = Duration::from_mins(5);
    });
    let begun = service.start(ask("deaf")).await;
    let run = run_of(&begun);
    drop(begun);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let told = service.send(follow(&run, "")).await;
    assert_eq!(told.events().pop().unwrap()["kind"], "deadline_exceeded");
    tokio::time::sleep(Duration::from_secs(301)).await;
    service.send(follow(&run, "")).await.problem(404, "not-found");
    assert_eq!(service.doubles.agent.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_conversation_that_is_deleted_takes_its_runs_with_it() {
    let service = Service::new();
    let ask = |session: &str| {
        let body =
            serde_json::json!({"message": "hang", "stream": true, "resumable": true, "session_id": session});
        request(Method::POST, "/chat", "application/json", body.to_string())
    };
    let (gone, kept) = (service.start(ask("a")).await, service.start(ask("b")).await);
    let (gone, kept) = (run_of(&gone), run_of(&kept));
    let delete = request(Method::DELETE, "/sessions/a", "", Body::empty());
    service.send(delete).await.problem(404, "not-found");
    service.send(follow(&gone, "")).await.problem(404, "not-found");
    while service.doubles.agent.running.load(Ordering::SeqCst) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.send(stop(&kept)).await.status, 204, "another conversation's run goes on");
}
