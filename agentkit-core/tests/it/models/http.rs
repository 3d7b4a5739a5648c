//! The clients against servers on loopback: conformance, requests, errors, cancellation.

use std::time::Duration;

use agentkit_core::model::anthropic::{AnthropicModel, AnthropicOptions};
use agentkit_core::model::ollama::{OllamaModel, OllamaOptions};
use agentkit_core::model::openai::{OpenAiOptions, OpenAiResponsesModel};
use agentkit_core::testing::conformance;
use agentkit_core::{
    Capabilities, ChatEvent, ChatModel, ChatRequest, ErrorKind, FinishReason, Message, RunContext, complete,
};
use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::server::Server;

/// A provider: its route, its headers, how it says "Hello there.", and its media type.
struct Provider {
    route: &'static str,
    headers: &'static [(&'static str, &'static str)],
    settings: fn() -> Value,
    answer: &'static str,
    media_type: &'static str,
    first: &'static str,
    client: fn(String, Capabilities) -> Box<dyn ChatModel>,
}

fn anthropic(url: String, capabilities: Capabilities) -> Box<dyn ChatModel> {
    let options = AnthropicOptions::new("test-model", "sk-secret").base_url(url).capabilities(capabilities);
    Box::new(AnthropicModel::new(options).unwrap())
}

fn ollama(url: String, capabilities: Capabilities) -> Box<dyn ChatModel> {
    let options =
        OllamaOptions::new("test-model").base_url(url).api_key("sk-secret").capabilities(capabilities);
    Box::new(OllamaModel::new(options).unwrap())
}

fn responses(url: String, capabilities: Capabilities) -> Box<dyn ChatModel> {
    let options = OpenAiOptions::new(url, "test-model").api_key("sk-secret").capabilities(capabilities);
    Box::new(OpenAiResponsesModel::new(options).unwrap())
}

const PROVIDERS: [Provider; 3] = [
    Provider {
        route: "/v1/messages",
        headers: &[
            ("x-api-key", "sk-secret"),
            ("anthropic-version", "2023-06-01"),
            ("accept", "text/event-stream"),
        ],
        settings: || json!({"model": "test-model", "stream": true, "max_tokens": 7}),
        answer: concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello \"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"there.\"}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        media_type: "text/event-stream; charset=utf-8",
        first: "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"one\"}}\n\n",
        client: anthropic,
    },
    Provider {
        route: "/v1/api/chat",
        headers: &[("authorization", "Bearer sk-secret"), ("accept", "application/x-ndjson")],
        settings: || json!({"model": "test-model", "stream": true, "options": {"num_predict": 7, "num_ctx": 8192}}),
        answer: concat!(
            "{\"message\":{\"role\":\"assistant\",\"content\":\"Hello \"},\"done\":false}\n",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"there.\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":3}\n",
        ),
        media_type: "application/x-ndjson",
        first: "{\"message\":{\"content\":\"one\"},\"done\":false}\n",
        client: ollama,
    },
    Provider {
        route: "/v1/responses",
        headers: &[("authorization", "Bearer sk-secret"), ("accept", "text/event-stream")],
        settings: || json!({"model": "test-model", "stream": true, "store": false, "max_output_tokens": 7}),
        answer: concat!(
            "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello \"}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"there.\"}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":3}}}\n\n",
        ),
        media_type: "text/event-stream",
        first: "data: {\"type\":\"response.output_text.delta\",\"delta\":\"one\"}\n\n",
        client: responses,
    },
];

impl Provider {
    fn model(&self, url: String) -> Box<dyn ChatModel> {
        (self.client)(url, Capabilities::default().with_tools())
    }

    fn success(&self) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_raw(self.answer, self.media_type)
    }
}

fn hello() -> ChatRequest {
    ChatRequest::new(vec![Message::user("hello")])
}

fn base(server: &MockServer) -> String {
    format!("{}/v1", server.uri())
}

async fn serving(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(response).mount(&server).await;
    server
}

#[tokio::test]
async fn the_models_conform_with_and_without_tools() {
    for provider in &PROVIDERS {
        let server = serving(provider.success()).await;
        conformance::chat_model(&*provider.model(base(&server))).await;
        conformance::chat_model(&*(provider.client)(base(&server), Capabilities::default())).await;
    }
}

#[tokio::test]
async fn a_request_carries_the_key_the_trace_and_the_settings() {
    for provider in &PROVIDERS {
        let server = MockServer::start().await;
        let ctx = RunContext::new();
        let mut mock = Mock::given(method("POST"))
            .and(path(provider.route))
            .and(header("traceparent", ctx.trace().traceparent()))
            .and(body_partial_json((provider.settings)()));
        for (name, value) in provider.headers {
            mock = mock.and(header(*name, *value));
        }
        mock.respond_with(provider.success()).expect(1).mount(&server).await;
        let mut request = hello();
        request.max_tokens = Some(7);
        let answer = complete(&*provider.model(base(&server)), request, &ctx).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.finish_reason), ("Hello there.", FinishReason::Stop));
        assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (9, 3));
    }
}

#[tokio::test]
async fn refusals_become_errors_with_the_servers_words_but_not_the_key() {
    let typed =
        |name: &str| json!({"type": "error", "error": {"type": name, "message": "no luck with sk-secret"}});
    let cases = [
        (400, typed("invalid_request_error"), ErrorKind::InvalidInput),
        (401, typed("authentication_error"), ErrorKind::Unauthorized),
        (403, typed("permission_error"), ErrorKind::Unauthorized),
        (404, json!({"error": "model \"x\" not found, no luck with sk-secret"}), ErrorKind::NotFound),
        (413, typed("request_too_large"), ErrorKind::InvalidInput),
        (429, typed("rate_limit_error"), ErrorKind::RateLimited),
        (500, typed("api_error"), ErrorKind::Unavailable),
        (529, typed("overloaded_error"), ErrorKind::Unavailable),
    ];
    for provider in &PROVIDERS {
        for (status, body, kind) in &cases {
            let refusal =
                ResponseTemplate::new(*status).set_body_json(body).insert_header("retry-after", "7");
            let server = serving(refusal).await;
            let error = provider.model(base(&server)).stream(hello(), &RunContext::new()).await.unwrap_err();
            assert_eq!(error.kind(), *kind, "{status} of {}", provider.route);
            assert!(error.message().contains("no luck with [redacted]"), "{error:?}");
            assert_eq!(error.retry_after(), error.is_retryable().then_some(Duration::from_secs(7)));
            assert_eq!(server.received_requests().await.unwrap().len(), 1, "{status} was tried again");
        }
    }
}

#[tokio::test]
async fn a_context_that_is_too_long_is_the_callers_input() {
    let body = json!({"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}});
    for provider in &PROVIDERS {
        let server = serving(ResponseTemplate::new(400).set_body_json(&body)).await;
        let error = provider.model(base(&server)).stream(hello(), &RunContext::new()).await.unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("too long"), "{error:?}");
    }
}

#[tokio::test]
async fn a_success_that_is_no_stream_is_an_error() {
    for provider in &PROVIDERS {
        for (body, kind) in [
            (json!({"content": "hello"}), ErrorKind::Unsupported),
            (json!({"error": {"message": "busy", "code": 503}}), ErrorKind::Unavailable),
        ] {
            let server = serving(ResponseTemplate::new(200).set_body_json(body)).await;
            let error = provider.model(base(&server)).stream(hello(), &RunContext::new()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}

#[tokio::test]
async fn dropping_or_cancelling_the_stream_closes_the_connection() {
    for provider in &PROVIDERS {
        for drops in [true, false] {
            let server = Server::start().await;
            let (model, ctx) = (provider.model(server.base_url()), RunContext::new());
            let begin = async {
                let mut connection = server.request().await;
                connection.begin().await;
                let (head, tail) = provider.first.as_bytes().split_at(20);
                connection.send(head).await;
                connection.send(tail).await;
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
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_an_error_and_no_short_answer() {
    for provider in &PROVIDERS {
        let server = Server::start().await;
        let (model, ctx) = (provider.model(server.base_url()), RunContext::new());
        let begin = async {
            let mut connection = server.request().await;
            connection.begin().await;
            connection.send(provider.first.as_bytes()).await;
        };
        let (stream, ()) = tokio::join!(model.stream(hello(), &ctx), begin);
        assert_eq!(stream.unwrap().collect().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = [
        AnthropicModel::new(AnthropicOptions::new("", "k")).map(drop),
        AnthropicModel::new(AnthropicOptions::new("m", "line\nbreak")).map(drop),
        AnthropicModel::new(AnthropicOptions::new("m", "k").base_url("ftp://h")).map(drop),
        OllamaModel::new(OllamaOptions::new("")).map(drop),
        OllamaModel::new(OllamaOptions::new("m").base_url("localhost:11434")).map(drop),
        OpenAiResponsesModel::new(OpenAiOptions::new("http://h", "")).map(drop),
    ];
    for result in refused {
        assert!(result.unwrap_err().is_invalid_input());
    }
    let options = AnthropicOptions::new("m", "sk-secret");
    assert!(
        !format!("{options:?} {:?}", AnthropicModel::new(options.clone()).unwrap()).contains("sk-secret")
    );
}
