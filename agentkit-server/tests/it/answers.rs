//! Good requests: JSON and stream tell the same, sessions and traces are passed on, searches reach the retriever.

use agentkit_core::{AgentEvent, AgentEventKind, AgentReply, Filter, SearchPlan};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

use crate::support::{Service, request};

#[tokio::test]
async fn the_stream_and_the_json_answer_are_the_same() {
    let service = Service::new();
    let json = service.post("/chat", r#"{"message":"how hot?","session_id":"s1"}"#).await;
    assert_eq!(json.status, 200, "{}", json.body);
    let whole: AgentReply = serde_json::from_str(&json.body).unwrap();
    assert_eq!(whole.answer, "At 80\ndegrees [1]");
    assert_eq!(whole.session_id.as_ref().unwrap().as_str(), "s1");
    let citation = &whole.citations[0];
    assert_eq!(citation.span.slice(&whole.sources[0].passage.text), Some(citation.quote.as_str()));

    let stream = service.post("/chat", r#"{"message":"how hot?","session_id":"s1","stream":true}"#).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let mut gathered = AgentReply::default();
    for (seq, event) in stream.events().into_iter().enumerate() {
        let event: AgentEvent = serde_json::from_value(event).unwrap();
        assert_eq!(event.seq, seq as u64);
        match event.kind {
            AgentEventKind::Delta { text } => gathered.answer += &text,
            AgentEventKind::Citation(citation) => gathered.citations.push(citation),
            AgentEventKind::Retrieved { query, sources } => {
                (gathered.query, gathered.sources) = (query, sources);
            }
            AgentEventKind::Usage(usage) => gathered.usage = usage,
            AgentEventKind::Done { outcome } => gathered.outcome = outcome,
            AgentEventKind::Started { session_id, .. } => gathered.session_id = session_id,
            other => panic!("unexpected {other:?}"),
        }
    }
    gathered.trace_id.clone_from(&whole.trace_id);
    assert_eq!(gathered, whole);
}

#[tokio::test]
async fn every_event_carries_its_number_and_type_on_lines_of_their_own() {
    let service = Service::new();
    let stream = service.post("/chat", r#"{"message":"how hot?","stream":true}"#).await;
    let blocks: Vec<&str> = stream.body.split("\n\n").filter(|block| !block.is_empty()).collect();
    assert_eq!(blocks.len(), 7);
    for (seq, block) in blocks.iter().enumerate() {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let data: Value = serde_json::from_str(field("data:")).unwrap();
        assert_eq!(field("id:"), seq.to_string());
        assert_eq!(field("event:"), data["type"].as_str().unwrap());
        assert_eq!(data["seq"], seq);
    }
    assert!(blocks[0].contains("event: started") && blocks[6].contains("event: done"), "{}", stream.body);
}

#[tokio::test]
async fn the_accept_header_asks_for_a_stream_unless_the_body_decides() {
    let service = Service::new();
    for (accept, body, streamed) in [
        ("text/event-stream", r#"{"message":"x"}"#, true),
        ("application/json, Text/Event-Stream;q=0.9", r#"{"message":"x"}"#, true),
        ("text/event-stream", r#"{"message":"x","stream":false}"#, false),
        ("*/*", r#"{"message":"x"}"#, false),
    ] {
        let mut asked = request(Method::POST, "/chat", "application/json; charset=utf-8", body);
        asked.headers_mut().insert("accept", accept.parse().unwrap());
        let answer = service.send(asked).await;
        assert_eq!(answer.header("content-type") == "text/event-stream", streamed, "{accept} {body}");
    }
}

#[tokio::test]
async fn the_callers_trace_goes_on() {
    let service = Service::new();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut asked = request(Method::POST, "/chat", "application/json", r#"{"message":"x"}"#);
    asked.headers_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    assert_eq!(service.send(asked).await.json()["trace_id"], trace);
    let mut wrong = request(Method::GET, "/nowhere", "", Body::empty());
    wrong.headers_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    assert_eq!(service.send(wrong).await.json()["trace_id"], trace);
}

#[tokio::test]
async fn an_error_after_the_start_is_the_last_event_or_a_problem() {
    let service = Service::new();
    let stream = service.post("/chat", r#"{"message":"fail","stream":true}"#).await;
    assert_eq!(stream.status, 200);
    let last = stream.events().pop().unwrap();
    assert_eq!((last["type"].as_str(), last["kind"].as_str()), (Some("error"), Some("unavailable")));
    assert_eq!(last["message"], "the model went away");

    let detail = service.post("/chat", r#"{"message":"fail"}"#).await.problem(503, "unavailable");
    assert_eq!(detail, "the model went away");
    service.post("/chat", r#"{"message":"refuse","stream":true}"#).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_search_reaches_the_retriever_as_it_was_asked() {
    let service = Service::new();
    let body = r#"{"query":"tea","top_k":3,"filter":{"eq":{"field":"lang","value":"en"}},
        "plan":{"lexical":{}},"collection":"manuals"}"#;
    let found = service.post("/search", body).await.json();
    assert_eq!(found["hits"][0]["chunk_id"], "tea#0");
    assert_eq!(found["generation"], 7);
    service.post("/search", r#"{"query":"tea"}"#).await;
    let asked = service.doubles.retriever.asked.lock().unwrap();
    assert_eq!(asked[0].scope.collection().as_str(), "manuals");
    assert_eq!((asked[0].top_k, &asked[0].plan), (3, &SearchPlan::lexical()));
    assert_eq!(asked[0].filter, Some(Filter::eq("lang", "en")));
    assert_eq!((asked[1].top_k, asked[1].scope.collection().as_str()), (10, "default"));
}

#[tokio::test]
async fn punctuation_and_query_syntax_are_plain_text() {
    let service = Service::new();
    for message in ["the", "?!", "field:(", "a AND (b OR", "\\", "💡", "' OR 1=1 --"] {
        let body = serde_json::json!({"message": message, "query": null}).to_string();
        let body = body.replace(r#","query":null"#, "");
        assert_eq!(service.post("/chat", &body).await.status, 200, "{message}");
        let body = serde_json::json!({ "query": message }).to_string();
        assert_eq!(service.post("/search", &body).await.status, 200, "{message}");
    }
}

#[tokio::test]
async fn the_page_is_served_behind_a_policy_that_lets_nothing_else_run() {
    let service = Service::new();
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/page")).unwrap();
    let files = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in files {
        let (path, kind) = match name.rsplit_once('.') {
            Some((_, "js")) => (format!("/page/{name}"), "text/javascript"),
            Some((_, "css")) => (format!("/page/{name}"), "text/css"),
            _ => ("/".into(), "text/html"),
        };
        let answer = service.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with(kind));
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.body.contains("innerHTML") && !answer.body.contains("https://"), "{path}");
    }
    let page =
        Request::builder().method(Method::HEAD).uri("/").header("host", "[::1]:8080").body(Body::empty());
    assert_eq!(service.send(page.unwrap()).await.status, 200);
}
