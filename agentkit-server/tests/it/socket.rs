//! Conversations over a WebSocket, on a real socket with a client that is not ours.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agentkit_server::http::{Limits, serve};
use agentkit_server::identity::Role;
use axum::http::Method;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::identity::{Guarded, shown};
use crate::support::{Service, request};

/// The longest that anything here may take.
const SOON: Duration = Duration::from_secs(20);

/// A service on a socket.
struct Served {
    service: Service,
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<agentkit_core::Result<()>>,
}

impl Served {
    async fn of(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, service.state.clone(), shutdown));
        Self { service, address, stop, task }
    }

    async fn within(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::of(Service::within(limits)).await
    }

    async fn connect(&self, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let mut asked = format!("ws://{}/chat/ws", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            asked.headers_mut().insert(*name, value.parse().unwrap());
        }
        connect_async(asked).await.map(|(stream, _)| Client(stream))
    }

    async fn client(&self) -> Client {
        let mut client = self.connect(&[]).await.unwrap();
        assert_eq!(client.hear().await, json!({"type": "ready"}));
        client
    }

    fn running(&self) -> usize {
        self.service.doubles.agent.running.load(Ordering::SeqCst)
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await.unwrap();
            match message.unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(self.message().await.to_text().unwrap()).unwrap()
    }

    /// Events to the end of an answer.
    async fn events(&mut self) -> Vec<Value> {
        let mut events = vec![self.hear().await];
        while !["done", "error"].contains(&events.last().unwrap()["type"].as_str().unwrap()) {
            events.push(self.hear().await);
        }
        events
    }

    /// Says this and is refused.
    async fn refused(&mut self, frame: Value) -> (String, String) {
        self.say(frame).await;
        problem(&self.hear().await)
    }

    async fn closed(&mut self) -> (CloseCode, String) {
        match self.message().await {
            Message::Close(Some(frame)) => (frame.code, frame.reason.to_string()),
            other => panic!("{other:?} is no end"),
        }
    }
}

/// The kind and the detail of a problem.
fn problem(frame: &Value) -> (String, String) {
    assert_eq!(frame["type"], "problem", "{frame}");
    let problem = &frame["problem"];
    assert_eq!(
        (problem["instance"].as_str(), problem["trace_id"].as_str().unwrap().len()),
        (Some("/chat/ws"), 32)
    );
    let kind = problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    (kind, problem["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn several_messages_are_answered_with_the_events_of_chat() {
    let served = Served::within(|_| {}).await;
    let mut client = served.client().await;
    for session in ["s1", "s2"] {
        client.say(json!({"type": "message", "message": "how hot?", "session_id": session})).await;
        assert_eq!(client.hear().await, json!({"type": "accepted"}));
        let mut events = client.events().await;
        let body = json!({"message": "how hot?", "session_id": session, "stream": true}).to_string();
        let mut expected = served.service.post("/chat", &body).await.events();
        for first in [&mut events[0], &mut expected[0]] {
            assert_eq!(first["trace_id"].take().as_str().unwrap().len(), 32);
        }
        assert_eq!(events, expected);
    }
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn an_answer_is_cancelled_by_a_frame_and_by_the_end_of_the_line() {
    let served = Served::within(|_| {}).await;
    let mut client = served.client().await;
    client.say(json!({"type": "message", "message": "hang"})).await;
    assert_eq!(client.hear().await["type"], "accepted");
    for _ in 0..4 {
        client.hear().await;
    }
    let (kind, detail) = client.refused(json!({"type": "message", "message": "x"})).await;
    assert!(kind == "conflict" && detail.contains("under way"), "{kind} {detail}");
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
    client.say(json!({"type": "cancel"})).await;
    let last = client.events().await.pop().unwrap();
    assert_eq!((&last["kind"], &last["seq"]), (&"cancelled".into(), &4.into()));
    assert_eq!(client.refused(json!({"type": "cancel"})).await.0, "conflict");

    client.say(json!({"type": "message", "message": "hang"})).await;
    for _ in 0..3 {
        client.hear().await;
    }
    drop(client);
    let gone = async {
        while served.running() > 0 {
            served.service.doubles.agent.change().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn a_resumable_run_is_taken_up_over_another_line() {
    let served = Served::within(|_| {}).await;
    let mut client = served.client().await;
    client.say(json!({"type": "message", "message": "hang", "resumable": true})).await;
    let accepted = client.hear().await;
    let run = accepted["run_id"].as_str().unwrap().to_owned();
    for seq in 0..3 {
        assert_eq!(client.hear().await["seq"], seq);
    }
    drop(client);
    let mut other = served.client().await;
    other.say(json!({"type": "resume", "run_id": run, "starting_after": 2})).await;
    assert_eq!(other.hear().await, accepted);
    assert_eq!(other.hear().await["seq"], 3);
    assert_eq!(served.running(), 1);
    other.say(json!({"type": "cancel"})).await;
    assert_eq!(other.hear().await["kind"], "cancelled");
    assert_eq!(other.refused(json!({"type": "resume", "run_id": "none"})).await.0, "not-found");
    other.say(json!({"type": "resume", "run_id": run})).await;
    assert_eq!(other.hear().await, accepted);
    assert_eq!(other.events().await.len(), 5);
}

#[tokio::test]
async fn a_credential_is_shown_by_header_or_by_the_first_frame_and_checked_for_each_message() {
    let guarded = Guarded::new();
    let key = guarded.key("acme", Role::User).await;
    let (token, keys) = (key.expose(), guarded.keys.clone());
    let bearer = format!("Bearer {token}");
    let auditor = format!("Bearer {}", guarded.key("acme", Role::Auditor).await.expose());
    let admin = guarded.key("acme", Role::Admin).await.expose();
    let served = Served::of(guarded.service).await;
    for (credential, status) in [("Bearer agk_wrong", 401), (auditor.as_str(), 403)] {
        match served.connect(&[("authorization", credential)]).await.err().unwrap() {
            Error::Http(answer) => assert_eq!(answer.status(), status),
            other => panic!("{other}"),
        }
    }
    let mut by_header = served.connect(&[("authorization", &bearer)]).await.unwrap();
    assert_eq!(by_header.hear().await["type"], "ready");

    let mut client = served.connect(&[]).await.unwrap();
    client.say(json!({"type": "auth", "token": token})).await;
    assert_eq!(client.hear().await["type"], "ready");
    assert_eq!(client.refused(json!({"type": "auth", "token": token})).await.0, "invalid-input");
    client.say(json!({"type": "message", "message": "x"})).await;
    assert_eq!(client.hear().await["type"], "accepted");
    client.events().await;
    let recorded = async {
        let trail =
            || shown(&admin, request(Method::GET, "/audit?limit=1000", "", axum::body::Body::empty()));
        while !served.service.send(trail()).await.body.contains("MESSAGE /chat/ws") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, recorded).await.unwrap();

    for first in
        [json!({"type": "auth", "token": "agk_wrong"}), json!({"type": "message", "message": "x"}), json!(1)]
    {
        let mut stranger = served.connect(&[]).await.unwrap();
        stranger.say(first).await;
        problem(&stranger.hear().await);
        assert_eq!(stranger.closed().await.0, CloseCode::Policy);
    }

    let id = key.id().to_owned();
    keys.revoke(&id, &agentkit_core::RunContext::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(client.refused(json!({"type": "message", "message": "x"})).await.0, "unauthorized");
    assert_eq!(client.closed().await.0, CloseCode::Policy);
}

#[tokio::test]
async fn frames_that_make_no_sense_are_refused_and_in_the_end_the_line_as_well() {
    let served = Served::within(|_| {}).await;
    let mut client = served.client().await;
    for (frame, kind, part) in [
        (json!({}), "invalid-input", "type"),
        (json!({"type": "sing"}), "invalid-input", "unknown variant"),
        (json!({"type": "ping", "loud": true}), "invalid-input", "unknown field"),
        (json!({"type": "message"}), "invalid-input", "missing field"),
        (json!({"type": "message", "message": ""}), "invalid-input", "empty"),
        (json!({"type": "message", "message": "x", "stream": true}), "invalid-input", "leave stream out"),
        (json!({"type": "message", "message": "x", "collection": ".."}), "invalid-input", "collection name"),
        (json!({"type": "message", "message": "x".repeat(65 << 10)}), "invalid-input", "at most 65536"),
        (json!({"type": "message", "message": "refuse"}), "unavailable", "away"),
        (json!({"type": "message", "message": "panic"}), "internal", "defect"),
        (json!({"type": "resume", "run_id": "x", "starting_after": -1}), "invalid-input", "invalid value"),
    ] {
        let shown = frame.to_string();
        let (told, detail) = client.refused(frame).await;
        assert!(told == kind && detail.contains(part), "{shown:.80}: {told} {detail}");
    }
    client.say(json!({"type": "message", "message": "fail"})).await;
    assert_eq!(client.hear().await["type"], "accepted");
    assert_eq!(client.events().await.pop().unwrap()["kind"], "unavailable");
    for _ in 0..8 {
        client.0.send(Message::text("{")).await.unwrap();
        problem(&client.hear().await);
    }
    assert_eq!(client.closed().await, (CloseCode::Policy, "too many frames make no sense".into()));

    let mut binary = served.client().await;
    binary.0.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(binary.closed().await.0, CloseCode::Policy);
    let mut long = served.client().await;
    let _ = long.0.send(Message::text("x".repeat(300 << 10))).await;
    assert_eq!(long.closed().await.0, CloseCode::Size);
}

#[tokio::test]
async fn lines_are_bounded_in_number_and_rates_hold_on_them() {
    let served = Served::within(|limits| {
        limits.max_sockets = 1;
        limits.rates.user_requests_per_minute = Some(2);
    })
    .await;
    let mut client = served.client().await;
    match served.connect(&[]).await.err().unwrap() {
        Error::Http(answer) => assert_eq!(answer.status(), 503),
        other => panic!("{other}"),
    }
    for _ in 0..2 {
        client.say(json!({"type": "message", "message": "x"})).await;
        client.hear().await;
        client.events().await;
    }
    assert_eq!(client.refused(json!({"type": "message", "message": "x"})).await.0, "rate-limited");
    client.0.close(None).await.unwrap();
    while client.0.next().await.is_some() {}
    tokio::time::timeout(SOON, async {
        while served.connect(&[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_line_ends_when_nothing_is_asked_and_when_the_service_stops() {
    let served = Served::within(|limits| limits.socket_idle = Duration::from_millis(200)).await;
    let mut idle = served.client().await;
    assert_eq!(idle.closed().await.0, CloseCode::Normal);

    let mut served = Served::within(|limits| limits.shutdown_grace = Duration::from_millis(100)).await;
    let (mut silent, mut busy) = (served.client().await, served.client().await);
    busy.say(json!({"type": "message", "message": "hang"})).await;
    for _ in 0..3 {
        busy.hear().await;
    }
    let (stop, _) = oneshot::channel();
    std::mem::replace(&mut served.stop, stop).send(()).unwrap();
    assert_eq!(silent.closed().await.0, CloseCode::Away);
    assert_eq!(busy.events().await.pop().unwrap()["kind"], "cancelled");
    assert_eq!(busy.closed().await.0, CloseCode::Away);
    tokio::time::timeout(SOON, served.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn foreign_pages_and_plain_requests_get_no_line() {
    let served = Served::within(|_| {}).await;
    match served.connect(&[("origin", "http://evil.example")]).await.err().unwrap() {
        Error::Http(answer) => assert_eq!(answer.status(), 403),
        other => panic!("{other}"),
    }
    assert!(served.connect(&[("origin", "http://localhost:8080")]).await.is_ok());
    let detail = served.service.get("/chat/ws").await.problem(400, "invalid-input");
    assert!(detail.contains("WebSockets only"), "{detail}");
    let posted = request(Method::POST, "/chat/ws", "", axum::body::Body::empty());
    served.service.send(posted).await.problem(405, "method-not-allowed");
}
