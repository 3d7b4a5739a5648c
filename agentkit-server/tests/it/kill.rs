//! `kill -9` while many clients write: what was acknowledged is there, and the audit trail is whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

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
    deleted: Vec<String>,
    /// Keys that were made, and those of them that were revoked again.
    keys: Vec<String>,
    revoked: Vec<String>,
    /// The trace ids and the actions of requests whose audit records are durable.
    records: Vec<(String, &'static str)>,
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
                done.records.push((trace.clone(), "PUT /documents/{id}"));
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
                let mut done = self.done.lock().unwrap();
                done.turns.push(trace.clone());
                done.records.push((trace, "POST /feedback"));
            }
            if n % 2 == 1 && !self.delete(&format!("{name}-{}", n - 1)).await {
                return;
            }
        }
    }

    /// Deletes a document; says whether the server was still there.
    async fn delete(&self, id: &str) -> bool {
        let trace = format!("{:032x}", fastrand::u128(1..));
        // Nothing is known of one whose deletion was not answered.
        self.done.lock().unwrap().documents.retain(|(kept, _)| kept != id);
        let asked = self.ask(Method::DELETE, &format!("/documents/{id}"), &trace).send().await;
        let Ok(answer) = asked else { return false };
        if answer.status().is_success() {
            let mut done = self.done.lock().unwrap();
            done.deleted.push(id.to_owned());
            done.records.push((trace, "DELETE /documents/{id}"));
        }
        true
    }

    /// The status that a credential gets.
    async fn status(&self, key: &str) -> u16 {
        let asked = self.http.get(format!("{}/me", self.url)).bearer_auth(key);
        asked.send().await.unwrap().status().as_u16()
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

async fn check(client: &Client) -> Acknowledged {
    let acknowledged = std::mem::take(&mut *client.done.lock().unwrap());
    for (id, text) in &acknowledged.documents {
        assert_eq!(client.read(&format!("/documents/{id}")).await["source_text"], **text);
    }
    for id in &acknowledged.deleted {
        let asked = client.ask(Method::GET, &format!("/documents/{id}"), &"1".repeat(32)).send().await;
        assert_eq!(asked.unwrap().status(), 404, "{id} is deleted");
    }
    for id in &acknowledged.sessions {
        let messages = client.read(&format!("/sessions/{id}")).await["messages"].as_array().unwrap().len();
        assert_eq!(messages, 2, "the turn of {id}");
    }
    for key in &acknowledged.keys {
        let expected = if acknowledged.revoked.contains(key) { 401 } else { 200 };
        assert_eq!(client.status(key).await, expected, "a key that was made, or revoked");
    }
    let feedback = client.all("/feedback", "feedback").await;
    for turn in &acknowledged.turns {
        assert!(feedback.iter().any(|kept| kept["turn"] == **turn), "feedback on {turn} is lost");
    }
    let records = client.all("/audit", "records").await;
    for (trace, action) in &acknowledged.records {
        let stored = |record: &&Value| record["trace_id"] == **trace && record["action"] == *action;
        let outcome = records.iter().find(stored).map_or(0, |record| record["outcome"].as_u64().unwrap());
        assert!((200..300).contains(&outcome), "{action} {trace}: {outcome}");
    }
    let Acknowledged { documents, sessions, turns, keys, .. } = &acknowledged;
    let written = [documents.len(), sessions.len(), turns.len(), keys.len()];
    assert!(written.iter().all(|count| *count > 0), "nothing was written: {written:?}");
    acknowledged
}

/// Makes keys, and revokes every other one, until it is told that the server is gone.
fn make_keys(folder: &Folder, done: &Mutex<Acknowledged>, over: &AtomicBool) {
    for n in 0.. {
        let [made] = &folder.json(&["keys", "create", "--role", "user", "--user", "kim"])[..] else {
            panic!("one key")
        };
        let key = made["key"].as_str().unwrap().to_owned();
        done.lock().unwrap().keys.push(key.clone());
        if n % 2 == 1 {
            folder.json(&["keys", "revoke", made["id"].as_str().unwrap()]);
            done.lock().unwrap().revoked.push(key);
        }
        if over.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Kills a server while everybody writes to it, checks the files that it left, and starts another on them.
fn kill_and_start(runtime: &Runtime, folder: &Folder, mut server: Server, client: &Client) -> Server {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let keys = scope.spawn(|| make_keys(folder, &client.done, &over));
        runtime.block_on(async {
            let round = fastrand::u32(..);
            let writing: Vec<_> =
                (0..CLIENTS).map(|n| tokio::spawn(client.clone().write(format!("r{round}-{n}")))).collect();
            // Until something is acknowledged, and then a little on, to be killed in the middle of anything.
            let enough = |done: &Acknowledged| done.turns.len() >= CLIENTS && !done.revoked.is_empty();
            while !enough(&client.done.lock().unwrap()) {
                assert!(!keys.is_finished(), "a key could not be made");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..1000))).await;
            server.kill();
            over.store(true, Ordering::SeqCst);
            for client in writing {
                client.await.unwrap();
            }
        });
    });
    let verified = folder.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    Server::start(folder)
}

#[test]
#[cfg(unix)]
fn what_was_acknowledged_survives_kill_9_and_the_audit_trail_is_whole() {
    let rounds = std::env::var_os("AGENTKIT_CRASH_ROUNDS").and_then(|rounds| rounds.to_str()?.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = Folder::new();
    let mut server = Server::start(&folder);
    let key = server.key.clone();
    let mut survived = [0; 7];
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        let done: Arc<Mutex<Acknowledged>> = Arc::default();
        let client = Client::new(&server, &key, &done);
        server = kill_and_start(&runtime, &folder, server, &client);
        let kept = runtime.block_on(check(&Client::new(&server, &key, &done)));
        let Acknowledged { documents, sessions, turns, deleted, keys, revoked, records } = &kept;
        let counts = [
            documents.len(),
            deleted.len(),
            sessions.len(),
            turns.len(),
            records.len(),
            keys.len(),
            revoked.len(),
        ];
        survived.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
    }
    let [documents, deleted, sessions, turns, records, keys, revoked] = survived;
    println!(
        "survived: {documents} documents, {deleted} deletions, {sessions} turns, {turns} feedback, {records} audit records, \
         {keys} keys, {revoked} of them revoked"
    );
}
