//! The OpenAI client against servers on loopback: conformance, errors, cancellation.

use std::time::Duration;

use agentkit_core::model::openai::{
    OpenAiEmbedder, OpenAiEmbedderOptions, OpenAiModel, OpenAiOptions, TokenLimit,
};
use agentkit_core::testing::{HashingEmbedder, conformance};
use agentkit_core::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, EmbedSide, Embedder, ErrorKind, FinishReason, Message,
    RunContext, complete,
};
use futures_util::FutureExt;
use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::server::Server;

const ANSWER: &str = concat!(
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":",
    "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello \"}}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"there.\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
    "data: [DONE]\n\n",
);

fn events(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "text/event-stream; charset=utf-8")
}

async fn serving(response: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(response).mount(&server).await;
    server
}

fn options(server: &MockServer) -> OpenAiOptions {
    OpenAiOptions::new(format!("{}/v1", server.uri()), "test-model").api_key("sk-secret")
}

fn hello() -> ChatRequest {
    ChatRequest::new(vec![Message::user("hello")])
}

#[tokio::test]
async fn the_chat_model_conforms() {
    let server = serving(events(ANSWER)).await;
    conformance::chat_model(&OpenAiModel::new(options(&server)).unwrap()).await;
    let without_tools = options(&server).capabilities(Capabilities::default());
    conformance::chat_model(&OpenAiModel::new(without_tools).unwrap()).await;
}

#[tokio::test]
async fn a_request_carries_the_key_the_trace_and_the_settings() {
    let server = MockServer::start().await;
    let ctx = RunContext::new();
    let body = json!({
        "model": "test-model", "stream": true, "max_completion_tokens": 7, "seed": 1,
        "messages": [{"role": "user", "content": "hello"}],
    });
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-secret"))
        .and(header("traceparent", ctx.trace().traceparent()))
        .and(header("content-type", "application/json"))
        .and(body_partial_json(body))
        .respond_with(events(ANSWER))
        .expect(1)
        .mount(&server)
        .await;
    let model = OpenAiModel::new(options(&server).token_limit(TokenLimit::MaxCompletionTokens)).unwrap();
    let mut request = hello();
    (request.max_tokens, request.seed) = (Some(7), Some(1));
    let answer = complete(&model, request, &ctx).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish_reason), ("Hello there.", FinishReason::Stop));
    assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (9, 3));
}

#[tokio::test]
async fn refusals_become_errors_with_the_servers_words_but_not_the_key() {
    for (status, kind) in [
        (400, ErrorKind::InvalidInput),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Unauthorized),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
    ] {
        let body = json!({"error": {"message": "no luck with sk-secret"}});
        let refusal = ResponseTemplate::new(status).set_body_json(body).insert_header("retry-after", "7");
        let server = serving(refusal).await;
        let model = OpenAiModel::new(options(&server)).unwrap();
        let error = model.stream(hello(), &RunContext::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert!(error.message().contains("no luck with [redacted]"), "{error:?}");
        let wait = error.is_retryable().then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), wait, "{status}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{status} was tried again");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = serving(ResponseTemplate::new(307).insert_header("location", "http://127.0.0.1:9/")).await;
    let model = OpenAiModel::new(options(&server)).unwrap();
    let error = model.stream(hello(), &RunContext::new()).await.unwrap_err();
    assert!(error.is_invalid_input() && error.message().contains("redirect"), "{error:?}");
}

#[tokio::test]
async fn a_success_that_is_no_stream_is_an_error() {
    for (body, kind) in [
        (json!({"choices": [{"message": {"content": "hello"}}]}), ErrorKind::Unsupported),
        (json!({"error": {"message": "busy", "code": 503}}), ErrorKind::Unavailable),
    ] {
        let server = serving(ResponseTemplate::new(200).set_body_json(body)).await;
        let model = OpenAiModel::new(options(&server)).unwrap();
        let error = model.stream(hello(), &RunContext::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let address = {
        let server = Server::start().await;
        server.base_url()
    };
    let model = OpenAiModel::new(OpenAiOptions::new(address.clone(), "m")).unwrap();
    let error = model.stream(hello(), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.chain().contains(&address), "the address may hold secrets: {}", error.chain());
}

#[tokio::test]
async fn a_silent_server_is_unavailable_after_the_idle_timeout() {
    let server = Server::start().await;
    let options = OpenAiOptions::new(server.base_url(), "m").idle_timeout(Duration::from_millis(50));
    let model = OpenAiModel::new(options).unwrap();
    let (connection, ctx) = (server.request(), RunContext::new());
    let (_connection, answer) = tokio::join!(connection, model.stream(hello(), &ctx));
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("in time"), "{error:?}");
}

#[tokio::test]
async fn cancelling_before_the_answer_begins_closes_the_connection() {
    let server = Server::start().await;
    let model = OpenAiModel::new(OpenAiOptions::new(server.base_url(), "m")).unwrap();
    let ctx = RunContext::new();
    let waiting = async {
        let mut connection = server.request().await;
        ctx.cancel();
        connection.closed().await;
    };
    let (answer, ()) = tokio::join!(model.stream(hello(), &ctx), waiting);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn dropping_or_cancelling_the_stream_closes_the_connection() {
    for drops in [true, false] {
        let server = Server::start().await;
        let model = OpenAiModel::new(OpenAiOptions::new(server.base_url(), "m")).unwrap();
        let ctx = RunContext::new();
        let begin = async {
            let mut connection = server.request().await;
            connection.begin().await;
            connection.send(b"data: {\"choices\":[{\"delta\":{\"content\":\"on").await;
            connection.send(b"e\"}}]}\n\n").await;
            connection
        };
        let (stream, mut connection) = tokio::join!(model.stream(hello(), &ctx), begin);
        let mut stream = stream.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), ChatEvent::Delta { text: "one".into() });
        if drops {
            drop(stream);
        } else {
            ctx.cancel();
            assert!(stream.next().await.unwrap().unwrap_err().is_stopped());
            assert!(stream.next().await.is_none());
        }
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_an_error_and_no_short_answer() {
    let server = Server::start().await;
    let model = OpenAiModel::new(OpenAiOptions::new(server.base_url(), "m")).unwrap();
    let ctx = RunContext::new();
    let begin = async {
        let mut connection = server.request().await;
        connection.begin().await;
        connection.send(b"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n").await;
    };
    let (stream, ()) = tokio::join!(model.stream(hello(), &ctx), begin);
    let error = stream.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Answers with the vectors of a [`HashingEmbedder`], doubled and in reverse order.
struct Embeddings;

impl Respond for Embeddings {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap();
        let texts: Vec<String> = serde_json::from_value(body["input"].clone()).unwrap();
        if texts.iter().any(String::is_empty) {
            return ResponseTemplate::new(400).set_body_json(json!({"error": {"message": "empty input"}}));
        }
        let (embedder, ctx) = (HashingEmbedder::new(), RunContext::new());
        let vectors = embedder.embed(EmbedSide::Query, texts, &ctx).now_or_never().unwrap().unwrap();
        let item = |(index, vector): (usize, &agentkit_core::Embedding)| {
            let vector: Vec<f32> = vector.as_slice().iter().map(|c| c * 2.0).collect();
            json!({"object": "embedding", "index": index, "embedding": vector})
        };
        let data: Vec<Value> = vectors.iter().enumerate().rev().map(item).collect();
        ResponseTemplate::new(200).set_body_json(json!({"object": "list", "data": data, "model": "m"}))
    }
}

fn embedder_options(server: &MockServer) -> OpenAiEmbedderOptions {
    OpenAiEmbedderOptions::new(format!("{}/v1", server.uri()), "m", 64)
}

#[tokio::test]
async fn the_embedder_conforms() {
    let server = serving(Embeddings).await;
    conformance::embedder(&OpenAiEmbedder::new(embedder_options(&server)).unwrap()).await;
    let small = embedder_options(&server).batch(2, 50).max_tokens(20);
    conformance::embedder(&OpenAiEmbedder::new(small).unwrap()).await;
}

#[tokio::test]
async fn requests_are_bounded_by_texts_and_tokens_and_carry_the_prompt() {
    let server = serving(Embeddings).await;
    let options = embedder_options(&server).batch(3, 8).prompts("q: ", "d: ").max_tokens(6);
    let embedder = OpenAiEmbedder::new(options).unwrap();
    let texts = ["a", "b", "c", "d", "word word word word word word"].map(String::from).to_vec();
    embedder.embed(EmbedSide::Document, texts, &RunContext::new()).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let sent: Vec<Value> =
        requests.iter().map(|request| request.body_json::<Value>().unwrap()["input"].clone()).collect();
    assert_eq!(sent, [json!(["d: a", "d: b"]), json!(["d: c", "d: d"]), json!(["d: word word word word"])]);
}

#[tokio::test]
async fn answers_that_do_not_fit_the_texts_are_errors() {
    for (data, kind) in [
        (json!([{"index": 0, "embedding": vec![1.0; 3]}]), ErrorKind::Mismatch),
        (json!([]), ErrorKind::Unavailable),
        (json!([{"index": 1, "embedding": vec![1.0; 64]}]), ErrorKind::Unavailable),
        (json!([{"embedding": vec![0.0; 64]}]), ErrorKind::Unavailable),
        (json!([{"embedding": vec![1e39; 64]}]), ErrorKind::Unavailable),
        (json!("text"), ErrorKind::Unavailable),
    ] {
        let server = serving(ResponseTemplate::new(200).set_body_json(json!({"data": data.clone()}))).await;
        let embedder = OpenAiEmbedder::new(embedder_options(&server)).unwrap();
        let result = embedder.embed(EmbedSide::Query, vec!["x".into()], &RunContext::new()).await;
        assert_eq!(result.unwrap_err().kind(), kind, "{data}");
    }
}

#[test]
fn impossible_settings_are_refused_when_the_client_is_made() {
    assert!(OpenAiModel::new(OpenAiOptions::new("http://h", "")).unwrap_err().is_invalid_input());
    assert!(OpenAiModel::new(OpenAiOptions::new("nonsense", "m")).unwrap_err().is_invalid_input());
    let key = OpenAiOptions::new("http://h", "m").api_key("line\nbreak");
    assert!(OpenAiModel::new(key).unwrap_err().is_invalid_input());
    let flat = OpenAiEmbedderOptions::new("http://h", "m", 0);
    assert!(OpenAiEmbedder::new(flat).unwrap_err().is_invalid_input());
}
