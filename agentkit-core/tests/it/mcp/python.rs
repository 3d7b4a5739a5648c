//! Our client against the official Python SDK, where `AGENTKIT_MCP_PYTHON` names a Python that has its package `mcp`.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use agentkit_core::mcp::{McpClient, McpEndpoint};
use agentkit_core::{ErrorKind, RunContext};
use serde_json::json;

use super::{SOON, tool};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/server.py");

/// The Python to test against; tests that have none say that they are skipped.
fn python() -> Option<String> {
    let python = std::env::var_os("AGENTKIT_MCP_PYTHON").map(|path| path.to_string_lossy().into_owned());
    if python.is_none() {
        println!("skipped: AGENTKIT_MCP_PYTHON names no Python with the package mcp");
    }
    python
}

#[tokio::test]
async fn tools_of_the_python_sdk_are_used_over_stdio() {
    let Some(python) = python() else { return };
    let endpoint = McpEndpoint::command("python", python).arguments([SCRIPT, "stdio"]);
    used(McpClient::connect(endpoint, &RunContext::new()).await.unwrap()).await;
}

#[tokio::test]
async fn tools_of_the_python_sdk_are_used_over_streamable_http() {
    let Some(python) = python() else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = tokio::process::Command::new(python)
        .args([SCRIPT, "http", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let connecting = async {
        loop {
            let endpoint = McpEndpoint::http("python", format!("http://127.0.0.1:{port}/mcp"));
            match McpClient::connect(endpoint, &RunContext::new()).await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    };
    let client = tokio::time::timeout(SOON, connecting).await.expect("the server did not come up");
    used(client).await;
    server.kill().await.unwrap();
}

async fn used(client: McpClient) {
    let ctx = RunContext::new();
    let found = client.tools(&ctx).await.unwrap();
    assert!(found.left_out.is_empty(), "{found:?}");
    let add = tool(&client, "add").await;
    assert_eq!(add.spec().description, "Adds two numbers.");
    assert_eq!(add.spec().parameters["properties"]["a"]["type"], "integer");
    let sum = add.call(json!({"a": 2, "b": 40}), &ctx).await.unwrap();
    assert_eq!(sum["content"], json!({"result": 42}), "{sum}");

    let error = add.call(json!({"a": "two"}), &ctx).await.unwrap_err();
    assert!(error.is_invalid_input(), "{error}");
    let error = tool(&client, "fail").await.call(json!({}), &ctx).await.unwrap_err();
    assert!(error.is_invalid_input() && error.message().contains("no luck today"), "{error}");
    let large = tool(&client, "large").await.call(json!({}), &ctx).await.unwrap();
    assert!(large["content"].to_string().contains("more bytes are not shown"));

    // A call that is given up is cancelled in the server, which counts them.
    let soon = RunContext::new().with_timeout(Duration::from_millis(300));
    let error = tool(&client, "wait").await.call(json!({}), &soon).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let counted = tool(&client, "cancelled").await;
    let cancelled = async {
        while counted.call(json!({}), &ctx).await.unwrap()["content"] != json!({"result": 1}) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, cancelled).await.expect("the server was not told");
    client.close().await;
}
