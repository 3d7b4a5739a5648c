//! `kill -9` while many clients write: what was acknowledged is there, and the audit trail is whole.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::cli::{Folder, Server, text};

/// Rounds, unless the variable of the crash tests says otherwise.
const ROUNDS: usize = 2;
/// Clients that write at once.
const CLIENTS: usize = 8;

/// What the server said it had done.
#[derive(Default)]
struct Acknowledged {
    documents: Vec<(String, String)>,
    sessions: Vec<String>,
    turns: Vec<String>,
    /// The trace ids of requests whose audit records are durable.
    traces: Vec<String>,
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
    done: Arc<Mutex<Acknowledged>>,
}

impl Client {
    fn new(server: &Server, key: &str, done: &Arc<Mutex<Acknowledged>>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, url: server.url.clone(), key: key.to_owned(), done: done.clone() }
    }

    fn ask(&self, method: Method, path: &str, trace: &str) -> RequestBuilder {
        let asked = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        asked.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
    }

    /// Writes until the server is gone.
    async fn write(self, name: String) {
        for n in 0.. {
            let (id, trace) = (format!("{name}-{n}"), format!("{:032x}", fastrand::u128(1..)));
            let put = self.ask(Method::PUT, &format!("/documents/{id}"), &trace);
            let document = format!("The lamp {id} is green.");
            let Ok(stored) = put.header("content-type", "text/plain").body(document.clone()).send().await
            else {
                return;
            };
            if stored.status().is_success() {
                let mut done = self.done.lock().unwrap();
                done.documents.push((id.clone(), document));
                done.traces.push(trace.clone());
            }
            let chat = json!({"message": "What is the lamp?", "session_id": id});
            let chat = self.ask(Method::POST, "/chat", &trace).json(&chat).send().await;
            let Ok(reply) = chat else { return };
            if reply.status().is_success() && reply.bytes().await.is_ok() {
                self.done.lock().unwrap().sessions.push(id);
            }
            let given = json!({"turn": trace, "rating": "up"});
            let Ok(kept) = self.ask(Method::POST, "/feedback", &trace).json(&given).send().await else {
                return;
            };
            if kept.status().is_success() {
                self.done.lock().unwrap().turns.push(trace);
            }
        }
    }

    async fn read(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, &"1".repeat(32)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// All elements that the pages of `path` hold in `member`.
    async fn all(&self, path: &str, member: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let mut page = self.read(&format!("{path}?limit=1000{after}")).await;
            all.append(page[member].as_array_mut().unwrap());
            match &page["next"] {
                Value::Null => return all,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
        }
    }
}

async fn check(client: &Client) {
    let acknowledged = std::mem::take(&mut *client.done.lock().unwrap());
    for (id, text) in &acknowledged.documents {
        assert_eq!(client.read(&format!("/documents/{id}")).await["source_text"], **text);
    }
    for id in &acknowledged.sessions {
        let messages = client.read(&format!("/sessions/{id}")).await["messages"].as_array().unwrap().len();
        assert_eq!(messages, 2, "the turn of {id}");
    }
    let feedback = client.all("/feedback", "feedback").await;
    for turn in &acknowledged.turns {
        assert!(feedback.iter().any(|kept| kept["turn"] == **turn), "feedback on {turn} is lost");
    }
    let records = client.all("/audit", "records").await;
    for trace in &acknowledged.traces {
        let stored =
            |record: &&Value| record["trace_id"] == **trace && record["action"] == "PUT /documents/{id}";
        assert_eq!(
            records.iter().find(stored).map(|record| &record["outcome"]),
            Some(&json!(200)),
            "{trace}"
        );
    }
    let Acknowledged { documents, sessions, turns, .. } = acknowledged;
    assert!(!documents.is_empty() && !sessions.is_empty() && !turns.is_empty(), "nothing was written");
}

#[test]
#[cfg(unix)]
fn what_was_acknowledged_survives_kill_9_and_the_audit_trail_is_whole() {
    let rounds = std::env::var_os("AGENTKIT_CRASH_ROUNDS").and_then(|rounds| rounds.to_str()?.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = Folder::new();
    let mut server = Server::start(&folder);
    let key = server.key.clone();
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let done: Arc<Mutex<Acknowledged>> = Arc::default();
        let client = Client::new(&server, &key, &done);
        server = runtime.block_on(async {
            let writing: Vec<_> =
                (0..CLIENTS).map(|n| tokio::spawn(client.clone().write(format!("r{round}-{n}")))).collect();
            // Until something is acknowledged, and then a little on, to be killed in the middle of anything.
            while client.done.lock().unwrap().turns.len() < CLIENTS {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..200))).await;
            server.kill();
            for client in writing {
                client.await.unwrap();
            }
            let verified = folder.run(&["audit", "verify"]);
            assert!(verified.status.success(), "{}", text(&verified.stderr));
            Server::start(&folder)
        });
        runtime.block_on(check(&Client::new(&server, &key, &done)));
    }
}
