//! The official clients of OpenAI against the service, where `AGENTKIT_OPENAI_PYTHON` names a Python that has the package
//! `openai`, and `AGENTKIT_OPENAI_NODE` a folder where npm has installed `openai`.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::time::Duration;

use agentkit_server::http::serve;
use agentkit_server::identity::Role;
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

/// Runs a client's script against a service that asks for keys.
async fn passes(program: &str, script: &str, last: &[&str]) {
    let guarded = Guarded::new();
    let key = guarded.key("acme", Role::User).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = tokio::spawn(serve(listener, guarded.service.state.clone(), std::future::pending()));
    let script = format!("{SCRIPTS}/{script}");
    let mut client = Command::new(program);
    client
        .args([script.as_str(), &base, &key.expose()])
        .args(last)
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, client.output()).await.unwrap().unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    println!("{told}");
    served.abort();
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
