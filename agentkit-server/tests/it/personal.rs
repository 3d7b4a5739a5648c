//! Conversations, feedback and uploads belong to a person, who can take them along and have them erased.

use std::time::Duration;

use agentkit_core::{RunContext, StateQuery, StateSpace, StateStore as _, TenantId, TenantScope};
use agentkit_server::Clock;
use agentkit_server::http::Limits;
use agentkit_server::identity::{ApiKey, Authenticator, Keys, Role};
use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::doubles::Doubles;
use crate::identity::Guarded;
use crate::support::{Answer, Service, request};

const TURN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

impl Guarded {
    async fn json(&self, key: &ApiKey, method: Method, path: &str, body: Value) -> Answer {
        self.send(key, request(method, path, "application/json", body.to_string())).await
    }

    async fn bare(&self, key: &ApiKey, method: Method, path: &str) -> Answer {
        self.send(key, request(method, path, "", Body::empty())).await
    }

    /// Asks in the trace `TURN`.
    async fn ask(&self, key: &ApiKey, session: &str) -> Answer {
        let body = json!({"message": "x", "session_id": session}).to_string();
        let mut asked = request(Method::POST, "/chat", "application/json", body);
        asked.headers_mut().insert("traceparent", format!("00-{TURN}-00f067aa0ba902b7-01").parse().unwrap());
        self.send(key, asked).await
    }
}

#[tokio::test]
async fn conversations_are_listed_read_renamed_and_deleted_by_their_owner_alone() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::User).await, guarded.key("acme", Role::Admin).await);
    for session in ["a", "b/c ü", "d"] {
        let told = guarded.ask(&ann, session).await;
        assert_eq!(told.json()["session_id"], session, "{}", told.body);
    }
    let streamed = json!({"message": "x", "session_id": "a", "stream": true});
    let events = guarded.json(&ann, Method::POST, "/chat", streamed).await.events();
    assert_eq!(events[0]["session_id"], "a");

    let title = json!({"title": "Tea"});
    assert_eq!(
        guarded.json(&ann, Method::PATCH, "/sessions/b%2Fc%20%C3%BC", title.clone()).await.status,
        204
    );
    let page = guarded.get(&ann, "/sessions?limit=2").await.json();
    assert_eq!(
        page,
        json!({"sessions": [{"id": "a", "messages": 4}, {"id": "b/c ü", "title": "Tea", "messages": 2}], "next": "b/c ü"})
    );
    let last = guarded.get(&ann, "/sessions?after=b%2Fc%20%C3%BC").await.json();
    assert_eq!(last, json!({"sessions": [{"id": "d", "messages": 2}]}));
    let read = guarded.get(&ann, "/sessions/a?limit=1").await.json();
    assert_eq!(read["messages"].as_array().unwrap().len(), 1);
    let export = guarded.get(&ann, "/sessions/a/export").await;
    assert_eq!(export.json()["messages"].as_array().unwrap().len(), 4);
    assert!(export.header("content-disposition").starts_with("attachment"));

    assert_eq!(guarded.get(&bob, "/sessions").await.json(), json!({"sessions": []}), "not even an admin");
    for (method, path) in [(Method::GET, "/sessions/a"), (Method::DELETE, "/sessions/a")] {
        guarded.bare(&bob, method, path).await.problem(404, "not-found");
    }
    guarded.json(&bob, Method::PATCH, "/sessions/a", title).await.problem(404, "not-found");
    assert_eq!(guarded.bare(&ann, Method::DELETE, "/sessions/a").await.status, 204);
    guarded.get(&ann, "/sessions/a").await.problem(404, "not-found");
    for wrong in
        [json!({"title": " "}), json!({"title": "x".repeat(513)}), json!({"title": "a\u{0}"}), json!({})]
    {
        guarded.json(&ann, Method::PATCH, "/sessions/d", wrong).await.problem(400, "invalid-input");
    }
    guarded.ask(&ann, &"x".repeat(257)).await.problem(400, "invalid-input");
}

#[tokio::test]
async fn feedback_is_kept_for_each_answer_and_read_by_admins() {
    let guarded = Guarded::new();
    let (ann, admin) = (guarded.key("acme", Role::User).await, guarded.key("acme", Role::Admin).await);
    let up = json!({"turn": TURN, "rating": "up"});
    guarded.json(&ann, Method::POST, "/feedback", up.clone()).await.problem(404, "not-found");
    assert_eq!(guarded.ask(&ann, "a").await.status, 200);
    guarded.json(&admin, Method::POST, "/feedback", up).await.problem(404, "not-found");
    for rating in ["up", "down"] {
        let given = json!({"turn": TURN, "rating": rating, "comment": "hm", "session_id": "a"});
        assert_eq!(guarded.json(&ann, Method::POST, "/feedback", given).await.json()["rating"], rating);
    }
    let listed = guarded.get(&admin, "/feedback").await.json();
    let [one] = &listed["feedback"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&one["rating"], &one["turn"]), (&"down".into(), &TURN.into()));
    assert!(one["actor"].as_str().unwrap().starts_with("p-"), "{one}");
    for wrong in [
        json!({"turn": "x", "rating": "up"}),
        json!({"turn": TURN, "rating": "sideways"}),
        json!({"turn": TURN, "rating": "up", "reason": "x".repeat(257)}),
        json!({"turn": TURN, "rating": "up", "comment": "a\u{0}"}),
        json!({"turn": TURN}),
    ] {
        guarded.json(&ann, Method::POST, "/feedback", wrong).await.problem(400, "invalid-input");
    }
}

#[tokio::test]
async fn everything_that_is_kept_of_somebody_is_exported() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::Editor).await, guarded.key("acme", Role::Editor).await);
    for (key, name) in [(&ann, "ann"), (&bob, "bob")] {
        guarded.put(key, &format!("of-{name}"), name).await;
        guarded.ask(key, name).await;
        let given = json!({"turn": TURN, "rating": "up", "comment": name});
        guarded.json(key, Method::POST, "/feedback", given).await;
    }
    guarded.put(&bob, "of-ann", "now of bob").await;
    guarded.service.state.audit_log().flush().await;
    let export = guarded.get(&ann, "/me/export").await;
    let lines: Vec<Value> = export.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    let audits = types.iter().filter(|name| **name == "audit").count();
    assert!(audits >= 3, "{}", export.body);
    let others: Vec<&str> = types.into_iter().filter(|name| *name != "audit").collect();
    assert_eq!(others, ["person", "session", "feedback", "end"], "{}", export.body);
    assert_eq!(lines[1]["messages"].as_array().unwrap().len(), 2);
    assert!(!export.body.contains("bob"), "{}", export.body);
    let bobs = guarded.get(&bob, "/me/export").await.body;
    assert!(bobs.contains("of-ann") && bobs.contains("now of bob"), "who wrote it last uploaded it: {bobs}");
}

#[tokio::test]
async fn an_upload_that_fails_makes_nobody_the_uploader() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::Editor).await, guarded.key("acme", Role::Editor).await);
    assert_eq!(guarded.put(&bob, "tea", "green").await.status, 200);
    let failure = &guarded.service.doubles.documents.failure;
    *failure.lock().unwrap() = Some(agentkit_core::ErrorKind::Unavailable);
    for id in ["tea", "lamp"] {
        guarded.put(&ann, id, "red").await.problem(503, "unavailable");
    }
    *failure.lock().unwrap() = None;
    let uploads =
        async |key| guarded.get(key, "/me/export").await.body.matches(r#""type":"document""#).count();
    assert_eq!((uploads(&ann).await, uploads(&bob).await), (0, 1));
    assert_eq!(guarded.put(&ann, "tea", "red").await.status, 200);
    assert_eq!((uploads(&ann).await, uploads(&bob).await), (1, 0), "who stores it last is its uploader");
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_forgotten_leaves_nothing_but_records_of_nobody() {
    let guarded = Guarded::new();
    let ann = guarded.key_for("acme", Role::Editor, |spec| spec.subject = Some("ann".into())).await;
    let bob = guarded.key("acme", Role::Editor).await;
    for (key, name) in [(&ann, "ann"), (&bob, "bob")] {
        guarded.put(key, &format!("of-{name}"), name).await;
        guarded.put(key, &format!("of-{name}?collection=other"), name).await;
        guarded.ask(key, "talk").await;
        guarded.json(key, Method::POST, "/feedback", json!({"turn": TURN, "rating": "up"})).await;
        let response = json!({"model": "default", "input": name});
        assert_eq!(guarded.json(key, Method::POST, "/v1/responses", response).await.status, 200);
        let mut keyed =
            request(Method::POST, "/chat", "application/json", json!({"message": name}).to_string());
        keyed.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        assert_eq!(guarded.send(key, keyed).await.status, 200);
    }
    let gone = guarded.bare(&ann, Method::DELETE, "/me").await;
    assert_eq!(gone.status, 202, "{}", gone.body);
    let job = gone.header("location").to_owned();
    assert_eq!(guarded.get(&ann, &job).await.json()["status"], "running");
    assert_eq!(guarded.get(&ann, "/sessions").await.json(), json!({"sessions": []}), "forgotten at once");

    tokio::time::sleep(Duration::from_secs(150)).await;
    let done = guarded.get(&ann, &job).await.json();
    assert_eq!(done["status"], "done", "{done}");
    for path in ["/documents/of-ann", "/documents/of-ann?collection=other"] {
        guarded.get(&bob, path).await.problem(404, "not-found");
    }
    assert_eq!(guarded.get(&bob, "/documents/of-bob?collection=other").await.status, 200);
    assert_eq!(guarded.get(&bob, "/sessions").await.json()["sessions"][0]["id"], "talk");

    let (ctx, scope) = (RunContext::new(), TenantScope::for_tenant(TenantId::new("acme").unwrap()));
    let kept = async |kind: &'static str| {
        let space = StateSpace::of_tenant(kind, &scope);
        guarded.service.doubles.state.list(&space, &StateQuery::new(99), &ctx).await.unwrap().len()
    };
    assert_eq!((kept("feedback").await, kept("uploads").await, kept("uploaders").await), (1, 2, 2));
    assert_eq!((kept("responses").await, kept("idempotent-answers").await), (1, 1), "those of bob");
    let trail = guarded.service.state.audit_log().list(&scope, 0, 1000, &ctx).await.unwrap();
    let actors: std::collections::BTreeSet<_> =
        trail.iter().map(|record| record.event.actor.clone()).collect();
    assert_eq!(actors.len(), 3, "ann before, ann after, bob: {actors:?}");
    guarded.service.state.audit_log().verify(&ctx).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_was_cut_off_goes_on_at_the_next_start() {
    let doubles = Doubles::default();
    let keys = Keys::new(doubles.state.clone(), Clock::system());
    let start = || {
        let authenticator = Authenticator::required(keys.clone());
        Guarded {
            service: Service::over(doubles.clone(), authenticator, Limits::default()),
            keys: keys.clone(),
        }
    };
    let first = start();
    let ann = first.key("acme", Role::Editor).await;
    first.put(&ann, "of-ann", "x").await;
    *doubles.documents.failure.lock().unwrap() = Some(agentkit_core::ErrorKind::Unavailable);
    let gone = first.bare(&ann, Method::DELETE, "/me").await;
    assert_eq!(gone.status, 202);
    let job = gone.header("location").to_owned();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert_eq!(first.get(&ann, &job).await.json()["status"], "running", "the store of documents failed");
    first.service.state.stop();

    *doubles.documents.failure.lock().unwrap() = None;
    let second = start();
    second.service.state.resume().await.unwrap();
    assert_eq!(second.get(&ann, &job).await.json()["status"], "done");
    second.get(&ann, "/documents/of-ann").await.problem(404, "not-found");
    second.service.state.resume().await.unwrap();
}
