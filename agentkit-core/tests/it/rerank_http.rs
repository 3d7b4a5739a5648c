//! Rerankers behind HTTP: what is sent, what is made of answers, and what failures become.

use std::sync::Arc;
use std::time::Duration;

use agentkit_core::rerank::http::{HttpReranker, HttpRerankerOptions};
use agentkit_core::resilience::{RetryOptions, Stack};
use agentkit_core::testing::{OverlapReranker, conformance};
use agentkit_core::{Error, ErrorKind, Reranker, Result, RunContext};
use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn rerank(options: HttpRerankerOptions, passages: &[&str]) -> Result<Vec<f32>> {
    HttpReranker::new(options)?.rerank("tea", texts(passages), &RunContext::new()).await
}

async fn server(route: &str, sent: Value, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let mock = Mock::given(method("POST")).and(path(route)).and(body_partial_json(sent));
    mock.respond_with(answer).expect(1..).mount(&server).await;
    server
}

#[tokio::test]
async fn tei_is_sent_texts_and_answers_best_first() {
    let sent = json!({"query": "tea", "texts": ["oil", "green tea"], "truncate": true});
    let answer = json!([{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]);
    let server = server("/rerank", sent, ResponseTemplate::new(200).set_body_json(answer)).await;
    let scores = rerank(HttpRerankerOptions::tei(server.uri(), "bge"), &["oil", "green tea"]).await;
    assert_eq!(scores.unwrap(), [0.1, 0.9]);
}

#[tokio::test]
async fn cohere_is_sent_the_model_and_the_key() {
    let sent = json!({"model": "rerank-v3.5", "query": "tea", "documents": ["oil", " "], "top_n": 2});
    let answer =
        json!({"results": [{"index": 0, "relevance_score": 0.2}, {"index": 1, "relevance_score": 0.1}]});
    let server = MockServer::start().await;
    let mock = Mock::given(path("/v2/rerank"))
        .and(body_partial_json(sent))
        .and(header("authorization", "Bearer s3cret"));
    mock.respond_with(ResponseTemplate::new(200).set_body_json(answer)).mount(&server).await;
    let options =
        HttpRerankerOptions::cohere(format!("{}/v2", server.uri()), "rerank-v3.5").api_key("s3cret");
    assert_eq!(rerank(options, &["oil", ""]).await.unwrap(), [0.2, 0.1]);
}

/// Scores each text by the rules of the double.
struct Overlap;

impl Respond for Overlap {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let passages: Vec<String> = serde_json::from_value(body["texts"].clone()).unwrap();
        let query = body["query"].as_str().unwrap().to_owned();
        let ctx = RunContext::new();
        let reranker = OverlapReranker::new();
        let scores = reranker.rerank(&query, passages, &ctx);
        let scores = futures_util::FutureExt::now_or_never(scores).unwrap().unwrap();
        let answer =
            scores.iter().enumerate().rev().map(|(index, score)| json!({"index": index, "score": score}));
        ResponseTemplate::new(200).set_body_json(answer.collect::<Vec<_>>())
    }
}

#[tokio::test]
async fn many_passages_become_several_requests_and_the_contract_is_kept() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(Overlap).mount(&server).await;
    let options =
        |server: &MockServer| HttpRerankerOptions::tei(server.uri(), "overlap").batch(2).max_tokens(64);
    conformance::reranker(&HttpReranker::new(options(&server)).unwrap()).await;
    // Requests that the suite has stopped may still be under way to the first server.
    let counting = MockServer::start().await;
    Mock::given(method("POST")).respond_with(Overlap).expect(3).mount(&counting).await;
    let options = options(&counting);
    assert_eq!(rerank(options, &["tea", "oil", "tea", "a", "tea"]).await.unwrap(), [1.0, 0.0, 1.0, 0.0, 1.0]);
}

#[tokio::test]
async fn failures_are_errors_of_their_kind() {
    for (status, kind) in
        [(401, ErrorKind::Unauthorized), (429, ErrorKind::RateLimited), (503, ErrorKind::Unavailable)]
    {
        let server = server("/rerank", json!({}), ResponseTemplate::new(status)).await;
        let error = rerank(HttpRerankerOptions::tei(server.uri(), "x"), &["a"]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
    }
    let odd = server("/rerank", json!({}), ResponseTemplate::new(200).set_body_string("[]")).await;
    assert!(rerank(HttpRerankerOptions::tei(odd.uri(), "x"), &["a"]).await.is_err());
    for options in [
        HttpRerankerOptions::tei("ftp://h", "x"),
        HttpRerankerOptions::tei("http://h", ""),
        HttpRerankerOptions::tei("http://h", "x").batch(0),
    ] {
        assert!(HttpReranker::new(options).unwrap_err().is_invalid_input());
    }
}

#[tokio::test]
async fn no_passages_send_no_request() {
    let options = HttpRerankerOptions::tei("http://127.0.0.1:1", "x");
    assert!(rerank(options, &[]).await.unwrap().is_empty());
}

/// Fails as often as it is told to, and then scores.
struct Flaky(std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl Reranker for Flaky {
    fn name(&self) -> &'static str {
        "flaky"
    }

    async fn rerank(&self, _: &str, passages: Vec<String>, _: &RunContext) -> Result<Vec<f32>> {
        let left = self.0.load(std::sync::atomic::Ordering::SeqCst);
        if left > 0 {
            self.0.store(left - 1, std::sync::atomic::Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "not now"));
        }
        Ok(vec![1.0; passages.len()])
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_repeats_what_may_pass_and_keeps_the_contract() {
    let stack = |failures: usize| -> Arc<dyn Reranker> {
        Stack::reranker(Flaky(failures.into()))
            .timeout(agentkit_core::resilience::TimeoutOptions::default())
            .bulkhead(agentkit_core::resilience::BulkheadOptions::new(4))
            .breaker(agentkit_core::resilience::BreakerOptions::default())
            .retry(
                RetryOptions::default()
                    .attempts(3)
                    .backoff(Duration::from_millis(10), Duration::from_secs(1)),
            )
            .build()
    };
    let ctx = RunContext::new();
    assert_eq!(stack(2).rerank("q", texts(&["a", "b"]), &ctx).await.unwrap(), [1.0, 1.0]);
    assert_eq!(stack(3).rerank("q", texts(&["a"]), &ctx).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(stack(0).name(), "flaky");
}
