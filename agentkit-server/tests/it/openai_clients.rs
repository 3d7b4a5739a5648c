//! The official clients of OpenAI against the service, where `AGENTKIT_OPENAI_PYTHON` names a Python that has the package
//! `openai`, and `AGENTKIT_OPENAI_NODE` a folder where npm has installed `openai`; and the compliance cases of Open Responses, where
//! `AGENTKIT_OPENRESPONSES` names a copy of its repository in which npm has installed `tsx` and `zod`.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::process::Output;
use std::time::Duration;

use agentkit_server::http::serve;
use agentkit_server::identity::Role;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::identity::Guarded;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protocols");
/// The longest that the checks of a client take, its start included.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where something to test against is; tests that have none say that they are skipped.
fn place(name: &str) -> Option<String> {
    let place = std::env::var_os(name).map(|path| path.to_string_lossy().into_owned());
    if place.is_none() {
        println!("skipped: {name} does not say where the client is");
    }
    place
}

/// Lets a client run against a service that asks for keys; it is told where that is, and a key.
async fn output(client: impl FnOnce(&str, &str) -> Command) -> Output {
    let guarded = Guarded::new();
    let key = guarded.key("acme", Role::User).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = tokio::spawn(serve(listener, guarded.service.state.clone(), std::future::pending()));
    let mut client = client(&base, &key.expose());
    client.env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, client.output()).await.unwrap().unwrap();
    served.abort();
    output
}

/// Runs a client's script, which has to end well.
async fn passes(program: &str, script: &str, last: &[&str]) {
    let script = format!("{SCRIPTS}/{script}");
    let output = output(|base, key| {
        let mut client = Command::new(program);
        client.args([script.as_str(), base, key]).args(last);
        client
    })
    .await;
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    println!("{told}");
}

#[tokio::test]
async fn the_python_clients_of_openai_are_served() {
    let Some(python) = place("AGENTKIT_OPENAI_PYTHON") else { return };
    passes(&python, "openai_client.py", &[]).await;
}

#[tokio::test]
async fn the_javascript_client_of_openai_is_served() {
    let Some(folder) = place("AGENTKIT_OPENAI_NODE") else { return };
    passes("node", "openai_client.mjs", &[&folder]).await;
}

/// Cases of Open Responses that the service does not pass, by what their names begin with, and why.
const NOT_SPOKEN: [(&str, &str); 3] = [
    ("image-input", "models are given text only"),
    ("compact-", "responses are not compacted"),
    ("websocket-", "responses are not sent over WebSockets; /chat/ws is there for conversations"),
];

#[tokio::test]
async fn the_cases_of_open_responses_are_passed_but_those_that_are_named() {
    let Some(folder) = place("AGENTKIT_OPENRESPONSES") else { return };
    let output = output(|base, key| {
        let mut client = Command::new("node");
        client.args(["node_modules/tsx/dist/cli.mjs", "bin/compliance-test.ts", "--json"]);
        client.args(["--base-url", base, "--api-key", key, "--model", "default"]).current_dir(folder);
        client
    })
    .await;
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut passed = 0;
    for case in told["results"].as_array().unwrap() {
        let name = case["id"].as_str().unwrap();
        if case["status"] == "passed" {
            passed += 1;
            continue;
        }
        let why = NOT_SPOKEN.iter().find(|(begins, _)| name.starts_with(begins));
        let (_, why) = why.unwrap_or_else(|| panic!("{case:#}"));
        println!("not passed: {name}, because {why}");
    }
    assert!(passed >= 7, "{passed} cases: {told:#}");
}
