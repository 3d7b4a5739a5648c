//! The server over streamable HTTP, request by request, and endpoints that are none.

use agentkit_core::mcp::{McpClient, McpEndpoint, McpRequest};
use agentkit_core::{ErrorKind, RunContext};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Waiting, once, server};

fn post(message: &Value) -> McpRequest {
    McpRequest::new("POST", message.to_string())
        .header("host", "localhost:8080")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
}

async fn answered(request: McpRequest) -> (u16, String) {
    let answer = server(&Waiting::new()).respond(request, &RunContext::new()).await.unwrap();
    let pieces: Vec<Vec<u8>> = answer.body.collect().await;
    (answer.status, String::from_utf8(pieces.concat()).unwrap())
}

fn call(name: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
}

#[tokio::test]
async fn each_request_stands_for_itself() {
    let (status, body) = answered(post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))).await;
    let listed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, listed["result"]["tools"].as_array().unwrap().len()), (200, 9));
    let (status, body) = answered(post(&call("echo", &json!({"text": "hello"})))).await;
    let result: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &result["id"], &result["result"]["isError"]), (200, &json!(7), &json!(false)));
    assert!(result["result"]["content"][0]["text"].as_str().unwrap().contains("hello"), "{result}");
    let greeting = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let greeting = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting});
    let (_, body) = answered(post(&greeting)).await;
    let greeted: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(greeted["result"]["serverInfo"]["name"], "tests");
    assert_eq!(greeted["result"]["protocolVersion"], "2025-06-18");
}

#[tokio::test]
async fn bad_requests_are_answers() {
    let message = call("echo", &json!({"text": "hello"}));
    let foreign = McpRequest::new("POST", message.to_string()).header("host", "evil.example");
    assert_eq!(answered(foreign).await.0, 403);
    assert_eq!(answered(McpRequest::new("GET", "").header("host", "localhost")).await.0, 405);
    let (status, _) = answered(McpRequest::new("POST", "{").header("host", "localhost")).await;
    assert!((400..500).contains(&status), "{status}");
    let unknown = server(&Waiting::new()).respond(McpRequest::new("P O", ""), &RunContext::new()).await;
    assert!(unknown.unwrap_err().is_invalid_input());
    let (_, body) = answered(post(&call("nowhere", &json!({})))).await;
    let refused: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[tokio::test]
async fn whoever_drops_the_answer_ends_the_call() {
    let waiting = Waiting::new();
    let server = server(&waiting);
    let call = tokio::spawn(async move {
        let answer = server.respond(post(&call("wait", &json!({}))), &RunContext::new()).await.unwrap();
        answer.body.collect::<Vec<_>>().await
    });
    once(&waiting.begun).await;
    call.abort();
    once(&waiting.dropped).await;
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for url in ["", "localhost:1", "file:///etc/passwd", "ftp://localhost/mcp"] {
        let error = McpClient::connect(McpEndpoint::http("x", url), &RunContext::new()).await.unwrap_err();
        assert!(error.is_invalid_input(), "{url:?}: {error}");
    }
    let nobody = McpEndpoint::http("x", "http://127.0.0.1:1/mcp");
    let error = McpClient::connect(nobody, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_token_is_presented_and_refused_by_its_name() {
    let upstream = MockServer::start().await;
    let refuse = ResponseTemplate::new(401).insert_header("www-authenticate", "Bearer");
    Mock::given(method("POST"))
        .and(header("authorization", "Bearer sesame"))
        .respond_with(refuse)
        .mount(&upstream)
        .await;
    let endpoint = McpEndpoint::http("shop", format!("{}/mcp", upstream.uri())).bearer("sesame");
    let error = McpClient::connect(endpoint, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", error.chain());
    assert!(!error.chain().contains("sesame"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (upstream, elsewhere) = (MockServer::start().await, MockServer::start().await);
    let redirect = ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str());
    Mock::given(method("POST")).respond_with(redirect).mount(&upstream).await;
    let endpoint = McpEndpoint::http("shop", upstream.uri()).bearer("sesame");
    McpClient::connect(endpoint, &RunContext::new()).await.unwrap_err();
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}
