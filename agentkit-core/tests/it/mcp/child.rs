//! Our client against our server in a child process: this test binary, started again.
#![cfg(unix)]

use std::path::Path;
use std::time::Duration;

use agentkit_core::mcp::{McpClient, McpEndpoint, McpServer};
use agentkit_core::{ErrorKind, FunctionTool, RunContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use super::{SOON, Waiting, once, tool};

/// Set for the child only.
const IS_CHILD: &str = "IS_MCP_CHILD";

#[derive(Deserialize, JsonSchema)]
struct Variable {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// In the child this is the server. In the suite it checks that the endpoint is shown without secrets.
#[tokio::test]
async fn the_child_serves() {
    if std::env::var_os(IS_CHILD).is_none() {
        let shown = format!("{:?}", McpEndpoint::command("x", "y").environment("KEY", "secret value"));
        assert!(!shown.contains("secret value") && shown.contains("KEY"), "{shown}");
        return;
    }
    let variable = FunctionTool::new("variable", "Tells a variable.", |asked: Variable, _ctx| async move {
        Ok(std::env::var_os(asked.name).map(|value| value.to_string_lossy().into_owned()))
    });
    let pid =
        FunctionTool::new("pid", "Tells the process.", |_: Nothing, _ctx| async { Ok(std::process::id()) });
    let server = McpServer::builder("child", "0.1").tool(Arc::new(variable)).tool(Arc::new(pid));
    server.build().unwrap().serve_stdio(&RunContext::new()).await.unwrap();
}

fn this_binary() -> McpEndpoint {
    let path = std::env::current_exe().unwrap();
    McpEndpoint::command("child", path.to_str().unwrap())
        .arguments(["--exact", "mcp::child::the_child_serves", "--nocapture"])
        .environment(IS_CHILD, "1")
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    // A zombie has ended; who started it has not asked yet.
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

async fn ends(pid: &str) {
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the process is still there");
}

#[tokio::test]
async fn a_child_serves_with_little_of_our_environment_and_ends_with_its_client() {
    let ctx = RunContext::new();
    let client = McpClient::connect(this_binary(), &ctx).await.unwrap();
    let variable = tool(&client, "variable").await;
    let value =
        async |name: &str| variable.call(json!({"name": name}), &ctx).await.unwrap()["content"].clone();
    assert_eq!(value(IS_CHILD).await, "1");
    assert_ne!(value("PATH").await, "null");
    let passed_on = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER"];
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let kept: Vec<String> = ours.filter(|name| !passed_on.contains(&name.as_str())).collect();
    for name in &kept {
        assert_eq!(value(name).await, "null", "{name} is given to the child");
    }
    assert!(!kept.is_empty());

    let pid = tool(&client, "pid").await.call(json!({}), &ctx).await.unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(is_alive(&pid));
    drop(client);
    assert!(is_alive(&pid), "a tool still holds the connection");
    drop(variable);
    ends(&pid).await;
}

#[tokio::test]
async fn closing_waits_until_the_child_is_gone() {
    let ctx = RunContext::new();
    let client = McpClient::connect(this_binary(), &ctx).await.unwrap();
    let pid = tool(&client, "pid").await.call(json!({}), &ctx).await.unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    client.close().await;
    assert!(!is_alive(&pid));
}

/// A program that neither answers nor ends when its input does, with a child of its own.
fn deaf(pids: &Path) -> McpEndpoint {
    let script = "trap '' TERM; sleep 1000 & echo $$ $! > \"$1\"; wait";
    McpEndpoint::command("deaf", "sh").arguments(["-c", script, "deaf", pids.to_str().unwrap()])
}

#[tokio::test]
async fn a_child_that_says_nothing_is_given_up_and_killed_with_its_own_children() {
    let pids = std::env::temp_dir().join(format!("agentkit-mcp-{}", std::process::id()));
    let endpoint = deaf(&pids).connect_timeout(Duration::from_millis(500));
    let error = McpClient::connect(endpoint, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("did not answer within 500 ms"), "{error}");
    let written = std::fs::read_to_string(&pids).unwrap();
    std::fs::remove_file(&pids).unwrap();
    for pid in written.split_whitespace() {
        ends(pid).await;
    }
}

#[tokio::test]
async fn a_program_that_is_missing_or_ends_at_once_is_an_error() {
    let connect =
        |endpoint| async move { McpClient::connect(endpoint, &RunContext::new()).await.unwrap_err() };
    let error = connect(McpEndpoint::command("none", "/nowhere/at/all")).await;
    assert!(error.is_not_found(), "{error}");
    let error = connect(McpEndpoint::command("brief", "true")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error =
        connect(McpEndpoint::command("noisy", "sh").arguments(["-c", "echo no json; echo '{\"x\": 1}'"]))
            .await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn connecting_stops_with_its_context() {
    let ctx = RunContext::new();
    let waiting = Waiting::new();
    let connecting = tokio::spawn({
        let ctx = ctx.clone();
        let begun = waiting.begun.clone();
        async move {
            begun.add_permits(1);
            McpClient::connect(McpEndpoint::command("deaf", "sleep").arguments(["1000"]), &ctx).await
        }
    });
    once(&waiting.begun).await;
    ctx.cancel();
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}
