//! Whatever is wrong with a request is told as a problem document that says what to do, and nothing else suffers.

use agentkit_core::ErrorKind;
use agentkit_server::http::ProblemKind;
use axum::body::Body;
use axum::http::{Method, Request};

use crate::support::{Service, request};

/// Method, path, content type, body; then status, kind, and a part of the detail.
type Case = (Method, &'static str, &'static str, Vec<u8>, u16, &'static str, &'static str);

const JSON: &str = "application/json";

fn post(
    path: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    kind: &'static str,
    part: &'static str,
) -> Case {
    (Method::POST, path, JSON, body.into(), status, kind, part)
}

fn invalid(path: &'static str, body: impl Into<Vec<u8>>, part: &'static str) -> Case {
    post(path, body, 400, "invalid-input", part)
}

async fn check(cases: Vec<Case>) {
    let service = Service::new();
    for (method, path, content_type, body, status, kind, part) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = service.send(request(method, path, content_type, body)).await;
        let detail = answer.problem(status, kind);
        assert!(detail.contains(part), "{path} {shown}: {detail:?} lacks {part:?}");
    }
    assert_eq!(service.post("/chat", r#"{"message":"still there?"}"#).await.status, 200);
}

#[tokio::test]
async fn messages_that_are_no_messages_are_refused() {
    let ten_megabytes = format!(r#"{{"message":"{}"}}"#, "x".repeat(10 << 20));
    let too_long = format!(r#"{{"message":"{}"}}"#, "x".repeat(65 << 10));
    check(vec![
        invalid("/chat", "", "must be an object"),
        invalid("/chat", r#"{"message":"#, "EOF"),
        invalid("/chat", r#"{"message":"x"} {}"#, "trailing"),
        invalid("/chat", r#"["x"]"#, "JSON"),
        invalid("/chat", r#"{"message":1}"#, "string"),
        invalid("/chat", r"{}", "missing field `message`"),
        invalid("/chat", r#"{"message":"x","messages":[]}"#, "unknown field `messages`"),
        invalid("/chat", r#"{"message":"x","message":"y"}"#, "duplicate field"),
        invalid("/chat", r#"{"message":""}"#, "empty"),
        invalid("/chat", r#"{"message":" \n "}"#, "empty"),
        invalid("/chat", r#"{"message":"a\u0000b"}"#, "NUL at byte 1"),
        invalid("/chat", b"{\"message\":\"\xff\"}".to_vec(), "not UTF-8: byte 12"),
        invalid("/chat", r#"{"message":"\ud800"}"#, "JSON"),
        invalid("/chat", r#"{"message":"x","session_id":""}"#, "session id must not be empty"),
        invalid("/chat", r#"{"message":"x","session_id":"a\nb"}"#, "control characters"),
        invalid("/chat", r#"{"message":"x","collection":"../up"}"#, "collection name"),
        invalid("/chat", r#"{"message":"x","filter":{"equals":{}}}"#, "unknown variant"),
        invalid("/chat", r#"{"message":"x","filter":{"range":{"field":"f"}}}"#, "range"),
        invalid("/chat", too_long, "at most 65536"),
        invalid("/chat", "[".repeat(100_000), "JSON"),
        post("/chat", ten_megabytes, 413, "too-large", "longer"),
    ])
    .await;
}

#[tokio::test]
async fn searches_out_of_bounds_are_refused() {
    check(vec![
        invalid("/search", r#"{"query":""}"#, "empty"),
        invalid("/search", r#"{"query":"x","top_k":0}"#, "between 1 and 1000, got 0"),
        invalid("/search", r#"{"query":"x","top_k":1001}"#, "between 1 and 1000"),
        invalid("/search", r#"{"query":"x","top_k":-1}"#, "-1"),
        invalid("/search", r#"{"query":"x","top_k":1e99}"#, "JSON"),
        invalid("/search", r#"{"query":"x","plan":{"dense":{"candidates":0}}}"#, "candidates"),
        invalid("/search", r#"{"query":"x","plan":{"magic":{}}}"#, "unknown variant"),
        invalid("/search", r#"{"query":"x\u0000"}"#, "NUL"),
        invalid("/search", r#"{"text":"x"}"#, "unknown field `text`"),
    ])
    .await;
}

#[tokio::test]
async fn documents_that_cannot_be_kept_are_refused() {
    let put = |path, content_type, body: &[u8], status, kind, part| {
        (Method::PUT, path, content_type, body.to_vec(), status, kind, part)
    };
    let huge = format!(r#"{{"text":"{}"}}"#, "x".repeat((16 << 20) + 1));
    let beyond = vec![b'x'; (32 << 20) + 1];
    let fields = (0..65).map(|n| format!(r#""f{n}":1"#)).collect::<Vec<_>>().join(",");
    let many_fields = format!(r#"{{"text":"x","metadata":{{{fields}}}}}"#);
    check(vec![
        put("/documents/a", JSON, br#"{"text":""}"#, 400, "invalid-input", "no text"),
        put("/documents/a", JSON, br#"{"text":" "}"#, 400, "invalid-input", "no text"),
        put("/documents/a", JSON, br#"{"text":"a\u0000"}"#, 400, "invalid-input", "NUL"),
        put("/documents/a", JSON, br#"{"text":"a","title":"\u0000"}"#, 400, "invalid-input", "NUL"),
        put(
            "/documents/a",
            JSON,
            br#"{"text":"a","kind":"scroll"}"#,
            400,
            "invalid-input",
            "unknown variant",
        ),
        put("/documents/a", JSON, br#"{"text":"a","id":"b"}"#, 400, "invalid-input", "unknown field"),
        put("/documents/a", JSON, many_fields.as_bytes(), 400, "invalid-input", "65 fields"),
        put("/documents/a", JSON, huge.as_bytes(), 413, "too-large", "16777217 bytes"),
        put("/documents/a", JSON, &beyond, 413, "too-large", "longer"),
        put("/documents/a", "text/plain", b"a\xffb", 400, "invalid-input", "UTF-8"),
        put("/documents/a", "text/plain", b"a\0b", 400, "invalid-input", ""),
        put("/documents/a", "text/plain", b"\xff\xfea\0", 415, "unsupported-media-type", "UTF-16"),
        put("/documents/a", "image/png", b"x", 415, "unsupported-media-type", "send JSON"),
        put("/documents/a", "", b"x", 415, "unsupported-media-type", "send JSON"),
        put("/documents/%ff", JSON, br#"{"text":"a"}"#, 400, "invalid-input", "document id"),
        put("/documents/a%00b", JSON, br#"{"text":"a"}"#, 400, "invalid-input", "control characters"),
        put("/documents/a?colection=x", JSON, br#"{"text":"a"}"#, 400, "invalid-input", "unknown field"),
        put("/documents/a?collection=..", JSON, br#"{"text":"a"}"#, 400, "invalid-input", "collection name"),
    ])
    .await;
}

#[tokio::test]
async fn marks_and_headings_that_are_none_are_refused() {
    let put = |body: &str, part| {
        (Method::PUT, "/documents/a", JSON, body.as_bytes().to_vec(), 400, "invalid-input", part)
    };
    check(vec![
        put(r#"{"text":"ä","headings":[{"offset":1,"level":1,"title":"x"}]}"#, "headings"),
        put(r#"{"text":"ä","marks":[{"offset":1,"page":1}]}"#, "marks"),
        put(r#"{"text":"a","marks":[{"offset":0,"page":1,"line":1}]}"#, "unknown field `line`"),
        put(
            r#"{"text":"a","headings":[{"offset":0,"level":1,"title":"x","line":1}]}"#,
            "unknown field `line`",
        ),
    ])
    .await;
}

#[tokio::test]
async fn lists_out_of_bounds_are_refused() {
    let get = |path, part| (Method::GET, path, "", Vec::new(), 400, "invalid-input", part);
    check(vec![
        get("/documents?limit=0", "between 1 and 1000"),
        get("/documents?limit=1001", "between 1 and 1000"),
        get("/documents?limit=x", "invalid digit"),
        get("/documents?after=", "must not be empty"),
        get("/documents?page=2", "unknown field"),
    ])
    .await;
}

#[tokio::test]
async fn runs_that_are_no_runs_are_refused() {
    let get = |path, status, kind, part| (Method::GET, path, "", Vec::new(), status, kind, part);
    check(vec![
        invalid("/chat", r#"{"message":"x","stream":true,"resumable":1}"#, "boolean"),
        invalid("/chat", r#"{"message":"x","stream":false,"resumable":true}"#, "set stream to true"),
        get("/chat/none/events", 404, "not-found", "no run"),
        get("/chat/%ff/events", 400, "invalid-input", ""),
        get("/chat/none/events?starting_after=x", 400, "invalid-input", "invalid digit"),
        get("/chat/none/events?after=1", 400, "invalid-input", "unknown field"),
        get("/chat/none/stop", 405, "method-not-allowed", "GET"),
        (Method::POST, "/chat/none/stop", "", b"{".to_vec(), 404, "not-found", "no run"),
        get("/chat/ws", 400, "invalid-input", "WebSockets only"),
    ])
    .await;
}

#[tokio::test]
async fn wrong_routes_methods_and_types_are_told_apart() {
    let service = Service::new();
    service.get("/nowhere").await.problem(404, "not-found");
    service.get("/documents/").await.problem(404, "not-found");
    service.get("/documents/unknown").await.problem(404, "not-found");
    let wrong = service.get("/chat").await;
    assert!(wrong.problem(405, "method-not-allowed").contains("GET"));
    assert_eq!(wrong.header("allow"), "POST");
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonl"] {
        let asked = request(Method::POST, "/chat", content_type, r#"{"message":"x"}"#);
        service.send(asked).await.problem(415, "unsupported-media-type");
    }
    let body = Body::from("x");
    let no_length =
        Request::builder().method("PATCH").uri("/documents/x").header("host", "localhost").body(body);
    service.send(no_length.unwrap()).await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_service_goes_on() {
    let service = Service::new();
    let detail = service.post("/chat", r#"{"message":"panic"}"#).await.problem(500, "internal");
    assert!(!detail.contains("told to panic"), "the message of a panic is for the log: {detail}");
    assert_eq!(service.post("/chat", r#"{"message":"x"}"#).await.status, 200);
}

#[tokio::test]
async fn each_kind_of_error_has_its_status() {
    let service = Service::new();
    for (kind, status, name) in [
        (ErrorKind::InvalidInput, 400, "invalid-input"),
        (ErrorKind::Conflict, 409, "conflict"),
        (ErrorKind::Unauthorized, 502, "upstream-unauthorized"),
        (ErrorKind::RateLimited, 503, "unavailable"),
        (ErrorKind::Unavailable, 503, "unavailable"),
        (ErrorKind::DeadlineExceeded, 504, "deadline-exceeded"),
        (ErrorKind::BudgetExhausted, 422, "budget-exhausted"),
        (ErrorKind::Corrupt, 500, "corrupt"),
        (ErrorKind::Mismatch, 500, "mismatch"),
        (ErrorKind::ResourceExhausted, 507, "resource-exhausted"),
        (ErrorKind::Unsupported, 501, "unsupported"),
        (ErrorKind::Internal, 500, "internal"),
    ] {
        *service.doubles.documents.failure.lock().unwrap() = Some(kind);
        let answer = service.get("/documents").await;
        answer.problem(status, name);
        assert_eq!(answer.header("retry-after").is_empty(), status != 503, "{name}");
    }
}

#[test]
fn the_table_names_every_kind_once() {
    let mut names: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ProblemKind::ALL.len());
    assert!(ProblemKind::ALL.iter().all(|kind| kind.status().as_u16() >= 400 && !kind.title().is_empty()));
}
