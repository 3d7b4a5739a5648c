//! Traces as a collector gets them: one from the edge to the model, by the names of the conventions, and no text in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::cli::{Folder, Server};

const REGISTRY: &str = include_str!("semconv/gen-ai.txt");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const QUESTION: &str = "How hot should green tea be?";
const DOCUMENT: &str = "Green tea is best at 80 degrees.";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    messages: Arc<Mutex<Vec<Bytes>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Collector {
    async fn start(&self) -> String {
        let router = Router::new().route("/v1/traces", axum::routing::post(receive)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn spans(&self) -> Vec<Span> {
        let messages = self.messages.lock().unwrap();
        let decoded = messages.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
        let resources: Vec<_> = decoded.flat_map(|message| message.resource_spans).collect();
        for resource in &resources {
            let of = &resource.resource.as_ref().unwrap().attributes;
            assert_eq!(text(of, "service.name"), "tea-service", "{of:?}");
        }
        resources.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
    }
}

async fn receive(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    collector.messages.lock().unwrap().push(body);
    collector.headers.lock().unwrap().push(headers);
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

async fn ask(server: &Server, flags: &str) -> serde_json::Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let chat = client.post(format!("{}/chat", server.url)).bearer_auth(&server.key);
    let chat = chat.header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"));
    chat.json(&serde_json::json!({"message": QUESTION})).send().await.unwrap().json().await.unwrap()
}

async fn put(server: &Server) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = client.put(format!("{}/documents/tea", server.url)).bearer_auth(&server.key);
    let put = put.header("content-type", "text/plain").body(DOCUMENT).send().await.unwrap();
    assert_eq!(put.status(), 200);
}

fn variables(url: &str) -> [(&'static str, &str); 3] {
    [
        ("AGENTKIT_OTLP__ENDPOINT", url),
        ("AGENTKIT_OTLP__SERVICE", "tea-service"),
        ("AGENTKIT_OTLP__HEADERS", "x-team=tea,authorization=Basic%20secret"),
    ]
}

/// Every attribute is one of the conventions and of its type, or of our own.
fn check_names(span: &Span) {
    let registry: BTreeMap<&str, Vec<&str>> = REGISTRY
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap(), words.collect())
        })
        .collect();
    for KeyValue { key, value, .. } in &span.attributes {
        if key.starts_with("agentkit.") {
            continue;
        }
        let kind =
            registry.get(key.as_str()).unwrap_or_else(|| panic!("{key} of {} is no convention", span.name));
        let value = value.clone().unwrap().value.unwrap();
        let fits = match (kind[0], &value) {
            ("string", Value::StringValue(_))
            | ("int", Value::IntValue(_))
            | ("double", Value::DoubleValue(_))
            | ("boolean", Value::BoolValue(_)) => true,
            // Providers and errors may be others than those that are suggested; operations are not.
            ("enum", Value::StringValue(text)) => {
                key != "gen_ai.operation.name" || kind.contains(&text.as_str())
            }
            _ => false,
        };
        assert!(fits, "{key} of {} is {value:?} and not {kind:?}", span.name);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn one_trace_leads_from_the_edge_to_the_model_and_holds_no_text() {
    let (folder, collector) = (Folder::new(), Collector::default());
    let url = collector.start().await;
    let server = Server::with(&folder, &variables(&url));
    put(&server).await;
    let reply = ask(&server, "01").await;
    assert_eq!((&reply["outcome"], &reply["trace_id"]), (&"answered".into(), &TRACE.into()), "{reply}");
    let unsampled = ask(&server, "00").await;
    assert_eq!(unsampled["trace_id"], TRACE);
    assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0));

    let spans = collector.spans();
    let of_trace: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let find = |name: &str| {
        let mut found = of_trace.iter().filter(|span| span.name.starts_with(name));
        let span = found.next().unwrap_or_else(|| panic!("no {name} among {of_trace:#?}"));
        assert!(found.next().is_none(), "{name} twice: what the caller does not sample is not sent");
        *span
    };
    let (edge, run, search) = (find("POST /chat"), find("invoke_agent agentkit"), find("retrieval default"));
    let (embedding, model) = (find("embeddings "), find("chat "));
    assert_eq!(hex(&edge.parent_span_id), CALLER);
    assert_eq!(edge.kind, 2, "the edge is a server");
    for (span, parent) in [
        (run, edge),
        (search, run),
        (embedding, search),
        (find("dense"), search),
        (find("lexical"), search),
        (model, run),
    ] {
        assert_eq!(span.parent_span_id, parent.span_id, "{} within {}", span.name, parent.name);
        assert!(span.start_time_unix_nano >= parent.start_time_unix_nano);
        assert!(
            span.end_time_unix_nano <= parent.end_time_unix_nano,
            "{} outlasts {}",
            span.name,
            parent.name
        );
    }
    for (span, operation) in
        [(run, "invoke_agent"), (search, "retrieval"), (embedding, "embeddings"), (model, "chat")]
    {
        assert_eq!(text(&span.attributes, "gen_ai.operation.name"), operation);
    }
    assert_eq!(text(&edge.attributes, "http.route"), "/chat");
    let tokens =
        model.attributes.iter().find(|attribute| attribute.key == "gen_ai.usage.input_tokens").unwrap();
    let told = tokens.value.clone().unwrap().value.unwrap();
    assert_eq!(told, Value::IntValue(reply["usage"]["input_tokens"].as_i64().unwrap()));

    spans.iter().for_each(check_names);
    let all = format!("{spans:?}");
    for word in ["green tea", "Green tea", "80 degrees", "How hot"] {
        assert!(!all.contains(word), "{word:?} left with a span");
    }
    let headers = collector.headers.lock().unwrap();
    assert_eq!(headers[0]["x-team"], "tea");
    assert_eq!(headers[0]["authorization"], "Basic secret");
    assert_eq!(headers[0]["content-type"], "application/x-protobuf");
}

#[cfg(unix)]
#[tokio::test]
async fn a_collector_that_is_away_or_never_answers_holds_up_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    for url in [gone_url, silent_url] {
        let folder = Folder::new();
        let server = Server::with(&folder, &variables(&url));
        put(&server).await;
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(ask(&server, "01").await["outcome"], "answered");
            assert!(begun.elapsed() < Duration::from_secs(4), "a question waited for {url}");
        }
        assert_eq!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap(), Some(0), "{url}");
    }
}
