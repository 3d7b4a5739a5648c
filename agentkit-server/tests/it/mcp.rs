//! The service for MCP clients: at `/mcp`, by the command `mcp`, and with the official Python SDK where one is installed.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::process::Command;
use std::time::Duration;

use agentkit_core::mcp::{McpClient, McpEndpoint};
use agentkit_core::{ErrorKind, RunContext, Tool};
use agentkit_server::http::Limits;
use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::cli::{Folder, Server, text};
use crate::support::{Listening, Service, request};

async fn connected(url: &str) -> McpClient {
    McpClient::connect(McpEndpoint::http("docs", url), &RunContext::new()).await.unwrap()
}

async fn tool(client: &McpClient, name: &str) -> Arc<dyn Tool> {
    let tools = client.tools(&RunContext::new()).await.unwrap().tools;
    tools.into_iter().find(|tool| tool.spec().name == name).unwrap_or_else(|| panic!("no tool {name}"))
}

async fn called(client: &McpClient, name: &str, arguments: Value) -> Value {
    tool(client, name).await.call(arguments, &RunContext::new()).await.unwrap()["content"].clone()
}

#[tokio::test]
async fn search_fetch_and_ask_are_offered_over_http() {
    let listening = Listening::within(Limits::default()).await;
    let stored = listening
        .service
        .send(request(Method::PUT, "/documents/tea", "text/plain", "é".repeat(20_000)))
        .await;
    assert_eq!(stored.status, 200, "{}", stored.body);
    let client = connected(&format!("{}/mcp", listening.url)).await;
    assert!(client.instructions().unwrap().contains("`search`"));
    let found = client.tools(&RunContext::new()).await.unwrap();
    let names: Vec<&str> = found.tools.iter().map(|tool| tool.spec().name.as_str()).collect();
    assert_eq!(names, ["search", "fetch", "ask"]);

    let found = called(&client, "search", json!({"query": "how hot?", "top_k": 3})).await;
    assert_eq!(found["results"][0]["id"], "tea");
    assert_eq!(found["results"][0]["text"], "Größte Vorsicht: 80 degrees.");
    let answer = called(&client, "ask", json!({"message": "how hot?"})).await;
    assert_eq!(answer["answer"], "At 80\ndegrees [1]");
    assert_eq!(answer["citations"][0]["quote"], "80 degrees.");

    let first = called(&client, "fetch", json!({"id": "tea"})).await;
    let (text, next) = (first["text"].as_str().unwrap(), first["next_offset"].as_u64().unwrap());
    assert_eq!((text.len() as u64, next), (32_768, 32_768));
    let rest = called(&client, "fetch", json!({"id": "tea", "offset": next})).await;
    assert_eq!(text.len() + rest["text"].as_str().unwrap().len(), 40_000);
    assert!(rest.get("next_offset").is_none());
    for arguments in
        [json!({"id": "nowhere"}), json!({"id": "tea", "offset": 3}), json!({"id": "tea", "offset": 40_001})]
    {
        let error =
            tool(&client, "fetch").await.call(arguments.clone(), &RunContext::new()).await.unwrap_err();
        assert!(error.is_invalid_input(), "{arguments}: {error}");
    }
}

#[tokio::test]
async fn the_scope_is_the_server_s_whatever_the_arguments_say() {
    let listening = Listening::within(Limits::default()).await;
    let client = connected(&format!("{}/mcp?collection=manuals", listening.url)).await;
    for (name, arguments) in [
        ("search", json!({"query": "x", "collection": "other"})),
        ("search", json!({"query": "x", "tenant": "other"})),
        ("fetch", json!({"id": "tea", "collection": "other"})),
        ("ask", json!({"message": "x", "collection": "other"})),
    ] {
        let error = tool(&client, name).await.call(arguments.clone(), &RunContext::new()).await.unwrap_err();
        assert!(error.is_invalid_input(), "{name} {arguments}: {error}");
    }
    called(&client, "search", json!({"query": "tenant:other"})).await;
    let asked = listening.service.doubles.retriever.asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].scope.tenant().as_str(), "local");
    assert_eq!(asked[0].scope.collection().as_str(), "manuals");
}

#[tokio::test]
async fn giving_up_a_call_stops_the_agent_and_frees_its_slot() {
    let mut limits = Limits::default();
    limits.max_concurrent_requests = 2;
    let listening = Listening::within(limits).await;
    let client = connected(&format!("{}/mcp", listening.url)).await;
    let ask = tool(&client, "ask").await;
    for _ in 0..4 {
        let ctx = RunContext::new();
        let call = tokio::spawn({
            let (ask, ctx) = (Arc::clone(&ask), ctx.clone());
            async move { ask.call(json!({"message": "hang"}), &ctx).await }
        });
        let agent = &listening.service.doubles.agent;
        agent.change().await;
        ctx.cancel();
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        tokio::time::timeout(Duration::from_secs(20), agent.change()).await.expect("the agent goes on");
    }
    // What the agent says went wrong is told.
    let error = ask.call(json!({"message": "refuse"}), &RunContext::new()).await.unwrap_err();
    assert!(error.is_invalid_input() && error.message().contains("the model is away"), "{error}");
}

#[tokio::test]
async fn what_is_no_request_of_the_protocol_is_refused() {
    let service = Service::new();
    let answer = service.send(request(Method::GET, "/mcp", "", Body::empty())).await;
    answer.problem(405, "method-not-allowed");
    let foreign =
        axum::http::Request::post("/mcp").header("host", "evil.example").body(Body::empty()).unwrap();
    service.send(foreign).await.problem(403, "forbidden-host");
    let large = "x".repeat(2 << 20);
    service.send(request(Method::POST, "/mcp", "application/json", large)).await.problem(413, "too-large");
    let answer = service.send(request(Method::POST, "/mcp", "text/plain", "hello")).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
}

/// The command `mcp` in a folder with an index.
fn command(folder: &Folder, more: &[&str]) -> McpEndpoint {
    let arguments = [&["mcp", "--embedder", "hashing"], more].concat();
    McpEndpoint::command("docs", env!("CARGO_BIN_EXE_agentkit-server"))
        .arguments(arguments)
        .folder(folder.path())
}

fn indexed() -> Folder {
    let folder = Folder::new();
    folder.run(&["ingest", "notes"]);
    folder
}

async fn used(client: McpClient) {
    let found = called(&client, "search", json!({"query": "how hot is green tea?", "top_k": 1})).await;
    let id = found["results"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.ends_with("tea.md"), "{found}");
    let document = called(&client, "fetch", json!({"id": id})).await;
    assert!(document["text"].as_str().unwrap().contains("Green tea is best at 80 degrees."), "{document}");
    let answer = called(&client, "ask", json!({"message": "How hot is green tea best?"})).await;
    assert!(answer.to_string().contains("80 degrees"), "{answer}");
    client.close().await;
}

#[tokio::test]
async fn the_command_serves_the_index_over_stdio() {
    let folder = indexed();
    used(McpClient::connect(command(&folder, &[]), &RunContext::new()).await.unwrap()).await;
    let error = McpClient::connect(command(&Folder::new(), &[]), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_command_goes_through_a_running_server() {
    let folder = indexed();
    let server = Server::start(&folder);
    used(McpClient::connect(command(&folder, &[]), &RunContext::new()).await.unwrap()).await;
    let empty = Folder::new();
    let named = command(&empty, &["--server", &server.url, "--api-key", &server.key]);
    used(McpClient::connect(named, &RunContext::new()).await.unwrap()).await;
    let keyless = command(&empty, &["--server", &server.url]);
    let client = McpClient::connect(keyless, &RunContext::new()).await.unwrap();
    let error = tool(&client, "search").await.call(json!({"query": "tea"}), &RunContext::new()).await;
    let error = error.unwrap_err();
    assert!(error.message().contains("AGENTKIT_API_KEY"), "{error}");
    let keys = folder.json(&["keys", "list"]);
    let lent: Vec<_> = keys.iter().filter(|key| key["user"] == "command-line").collect();
    assert!(!lent.is_empty() && lent.iter().all(|key| key["status"] == "revoked"), "{keys:?}");
}

/// The Python to test against; tests that have none say that they are skipped.
fn python() -> Option<String> {
    let python = std::env::var_os("AGENTKIT_MCP_PYTHON").map(|path| path.to_string_lossy().into_owned());
    if python.is_none() {
        println!("skipped: AGENTKIT_MCP_PYTHON names no Python with the package mcp");
    }
    python
}

/// Lets the official client use the server in both ways of greeting it knows.
fn used_by_python(python: &str, folder: &Folder, arguments: &[&str]) {
    for mode in ["auto", "legacy"] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/client.py");
        let output = Command::new(python)
            .arg(script)
            .arg(mode)
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let printed = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && printed.contains("all is well"), "{mode}: {printed}");
    }
}

#[test]
fn the_python_sdk_uses_the_command() {
    let Some(python) = python() else { return };
    let binary = env!("CARGO_BIN_EXE_agentkit-server");
    used_by_python(&python, &indexed(), &["stdio", binary, "mcp", "--embedder", "hashing"]);
}

#[test]
fn the_python_sdk_uses_the_server() {
    let Some(python) = python() else { return };
    let folder = indexed();
    let server = Server::start(&folder);
    used_by_python(&python, &folder, &["http", &format!("{}/mcp", server.url), &server.key]);
}
