//! `SIGHUP` on a running server, and its log as JSON.

#![cfg(unix)]

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::cli::{Folder, Server};

/// Most questions that are asked until a change is seen.
const PATIENCE: usize = 500;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A chat model behind HTTP that remembers what it was shown.
#[derive(Clone, Default)]
struct Model(Arc<Mutex<Vec<HeaderMap>>>);

impl Model {
    async fn start(&self) -> String {
        let router = Router::new().fallback(axum::routing::post(answer)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn last(&self, name: &str) -> String {
        let seen = self.0.lock().unwrap();
        seen.last().map_or_else(String::new, |headers| headers[name].to_str().unwrap().to_owned())
    }
}

async fn answer(State(model): State<Model>, headers: HeaderMap) -> impl IntoResponse {
    model.0.lock().unwrap().push(headers);
    let delta = json!({"content": "At 80 degrees [1]."});
    let said = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5}});
    ([(header::CONTENT_TYPE, "text/event-stream")], format!("data: {said}\n\ndata: [DONE]\n\n"))
}

fn write(folder: &Folder, url: &str, key: &str, changed: &str) {
    fs::write(folder.path().join("key"), format!("{key}\n")).unwrap();
    let config = format!(
        "{changed}\n[chat]\nbase_url = '{url}'\nmodel = 'm'\napi_key_file = 'key'\n[log]\nformat = 'json'\nlevel = '{}'\n",
        if changed.is_empty() { "error" } else { "debug" }
    );
    fs::write(folder.path().join("a.toml"), config).unwrap();
}

async fn ask(server: &Server) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let chat = client.post(format!("{}/chat", server.url)).bearer_auth(&server.key);
    let chat = chat.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    chat.json(&json!({"message": "How hot is tea?"})).send().await.unwrap().json().await.unwrap()
}

/// Asks until `seen` holds.
async fn until(server: &Server, seen: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        ask(server).await;
        if seen() {
            return;
        }
    }
    panic!("nothing changed in {PATIENCE} questions");
}

fn log(folder: &Folder) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test]
async fn a_hang_up_takes_over_log_level_and_key_and_names_what_needs_a_start() {
    let (folder, model) = (Folder::new(), Model::default());
    let url = model.start().await;
    write(&folder, &url, "key-one", "");
    let server = Server::with(&folder, &[("AGENTKIT_CONFIG", "a.toml")]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = client.put(format!("{}/documents/tea", server.url)).bearer_auth(&server.key);
    put.header("content-type", "text/plain").body("Tea is best at 80 degrees.").send().await.unwrap();
    let reply = ask(&server).await;
    assert_eq!(
        (&reply["answer"], &reply["trace_id"]),
        (&"At 80 degrees [1].".into(), &TRACE.into()),
        "{reply}"
    );
    assert_eq!(model.last("authorization"), "Bearer key-one");
    assert!(model.last("traceparent").starts_with(&format!("00-{TRACE}-")), "the model continues the trace");
    assert_eq!(log(&folder).len(), 0, "nothing of this is an error");

    write(&folder, &url, "key-two", "max_connections = 77");
    hang_up(&server);
    until(&server, || model.last("authorization") == "Bearer key-two").await;
    until(&server, || {
        log(&folder).iter().any(|line| line["settings"] == "max_connections" && line["level"] == "WARN")
    })
    .await;
    let lines = log(&folder);
    let answered = lines.iter().find(|line| line["message"] == "answered").unwrap();
    assert_eq!(
        (&answered["trace_id"], &answered["http.route"]),
        (&TRACE.into(), &"/chat".into()),
        "{answered}"
    );
    assert!(!answered.to_string().contains("otel."), "{answered}");
    let all = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!all.contains("key-one") && !all.contains("key-two"), "a secret is in the log");

    fs::write(folder.path().join("a.toml"), "listne = 1\n").unwrap();
    hang_up(&server);
    until(&server, || {
        let told = |line: &Value| line["error"].as_str().is_some_and(|error| error.contains("listne"));
        log(&folder).iter().any(told)
    })
    .await;
    assert_eq!(model.last("authorization"), "Bearer key-two", "what was good goes on");
    assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0));
}

fn hang_up(server: &Server) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}
