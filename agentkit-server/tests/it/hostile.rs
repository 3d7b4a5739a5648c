//! Bytes that no honest client sends, to every route: what is answered is a problem document, nothing is a defect, nothing
//! waits for ever, and the service goes on.

use std::fmt::Write as _;
use std::time::Duration;

use agentkit_server::http::Limits;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Listening;

/// The longest that any of this may take to be answered.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any route takes.
const TOO_LARGE: usize = (32 << 20) + 1;

/// What came back.
struct Told {
    status: u16,
    content_type: String,
    body: String,
}

/// A method and a path, as the description names them.
type Route = (String, String);

/// Sends bytes as they are, and reads an answer; `None` if the connection was closed without one.
async fn send(url: &str, bytes: Vec<u8>, then_close: bool) -> Option<Told> {
    let stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let only_head = bytes.starts_with(b"HEAD ");
    let sent = tokio::spawn(async move {
        // Whoever refuses need not listen to the end.
        let _ = writing.write_all(&bytes).await;
        if then_close {
            let _ = writing.shutdown().await;
        }
        writing
    });
    let read = async {
        let (mut all, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            if let Some(told) = whole(&all, only_head) {
                return Some(told);
            }
            match reading.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => all.extend_from_slice(&piece[..count]),
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, read).await.unwrap();
    sent.abort();
    told
}

/// An answer, once it is all there; of a stream the head is enough, and to HEAD it is all there is.
fn whole(bytes: &[u8], only_head: bool) -> Option<Told> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().to_owned()
    };
    let length = header("content-length").parse().unwrap_or(0_usize);
    let is_whole = only_head || body.len() >= length;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    is_whole.then(|| Told { status, content_type: header("content-type"), body: body.to_owned() })
}

/// Checks that a refusal explains itself and is no defect.
fn check(what: &str, told: &Told) {
    let Told { status, content_type, body } = told;
    assert!(*status < 500, "{what}: {status} {body}");
    if *status < 400 || body.is_empty() && what.contains("HEAD") {
        return;
    }
    let document: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {status} {body:?}"));
    match content_type.as_str() {
        "application/problem+json" => assert_eq!(document["status"], *status, "{what}: {body}"),
        "application/json" => assert!(document["error"]["message"].is_string(), "{what}: {body}"),
        other => panic!("{what}: {status} as {other:?}: {body}"),
    }
}

fn request((method, path): &Route, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
    [head.as_bytes(), body].concat()
}

/// A body with its length.
fn whole_body(route: &Route, content_type: &str, body: &[u8]) -> Vec<u8> {
    request(route, &format!("content-type: {content_type}\r\ncontent-length: {}\r\n", body.len()), body)
}

async fn routes(listening: &Listening) -> Vec<Route> {
    let description = listening.service.get("/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            routes.push((method.to_uppercase(), path.replace("{id}", "x")));
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    routes
}

/// Sends each to every route, and checks that a normal question is still answered afterwards.
async fn every_route(cases: impl Fn(&Route) -> Vec<(&'static str, Vec<u8>)>) {
    let listening = Listening::within(Limits::default()).await;
    for route in routes(&listening).await {
        for (name, bytes) in cases(&route) {
            let what = format!("{} {}: {name}", route.0, route.1);
            let told = send(&listening.url, bytes, name.contains("cut off")).await;
            check(&what, &told.unwrap_or_else(|| panic!("{what}: no answer")));
        }
    }
    assert_eq!(listening.ask("still there?", false).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_bodies() {
    let json = "application/json";
    every_route(|route| {
        let deep = ["[".repeat(100_000), r#"{"a":"#.repeat(50_000)];
        let numbers = [format!(r#"{{"message":1{}}}"#, "0".repeat(100_000)), r#"{"top_k":1e999}"#.into()];
        vec![
            ("nothing", whole_body(route, json, b"")),
            ("a wrong type", whole_body(route, "application/x-nonsense", b"{}")),
            ("a type of bytes", request(route, "content-type: \u{ff}\r\ncontent-length: 2\r\n", b"{}")),
            (
                "two types",
                request(route, "content-type: application/json\r\ncontent-type: text/xml\r\n", b""),
            ),
            ("broken JSON", whole_body(route, json, br#"{"message":"#)),
            ("no UTF-8", whole_body(route, json, b"{\"message\":\"\xff\xfe\"}")),
            ("deep lists", whole_body(route, json, deep[0].as_bytes())),
            ("deep objects", whole_body(route, json, deep[1].as_bytes())),
            ("a long number", whole_body(route, json, numbers[0].as_bytes())),
            ("a large number", whole_body(route, json, numbers[1].as_bytes())),
            ("zeros", whole_body(route, json, &[0; 64])),
            ("a mark", whole_body(route, json, b"\xef\xbb\xbf{}")),
            (
                "a body cut off",
                request(route, "content-type: application/json\r\ncontent-length: 99\r\n", b"{\"m"),
            ),
            (
                "a chunk cut off",
                request(
                    route,
                    "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
                    b"40\r\n{\"m",
                ),
            ),
            (
                "a chunk of no size",
                request(
                    route,
                    "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
                    b"zz\r\n{}\r\n",
                ),
            ),
            (
                "a chunk without end",
                request(
                    route,
                    "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
                    b"fffffffffffffffff\r\n{}",
                ),
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_every_limit() {
    let body = [br#"{"message":""#, "x".repeat(TOO_LARGE).as_bytes(), b"\"}"].concat();
    every_route(|route| {
        let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        let head = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
        vec![
            ("a large body", whole_body(route, "application/json", &body)),
            ("large chunks", request(route, head, &chunked)),
            (
                "a body said to be large, cut off",
                request(route, "content-type: application/json\r\ncontent-length: 999999999999\r\n", b"{"),
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_headers_of_every_kind() {
    every_route(|route| {
        let (method, path) = route;
        let bare = |path: String| request(&(method.clone(), path), "content-length: 0\r\n", b"");
        let with = |headers: &str| request(route, &format!("{headers}content-length: 0\r\n"), b"");
        let other = |method: &str| request(&(method.into(), path.clone()), "content-length: 0\r\n", b"");
        let mut bytes =
            with("x-a: ?\r\nlast-event-id: ?\r\nidempotency-key: ?\r\ntraceparent: ?\r\naccept: ?\r\n");
        bytes.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
        vec![
            ("DELETE's neighbour", other("PATCH")),
            ("TRACE", other("TRACE")),
            ("CONNECT", other("CONNECT")),
            ("OPTIONS", other("OPTIONS")),
            ("HEAD", other("HEAD")),
            ("a method nobody knows", other("FROB")),
            ("a method in small letters", other(&method.to_lowercase())),
            ("a long query", bare(format!("{path}?x={}", "a".repeat(20_000)))),
            ("a broken escape", bare(format!("{path}%zz"))),
            ("an escape of no UTF-8", bare(format!("{path}%ff%fe"))),
            ("an escaped NUL", bare(format!("{path}%00"))),
            ("a way upwards", bare(format!("{path}/../../etc/passwd"))),
            ("parameters of no UTF-8", bare(format!("{path}?limit=%ff&after=%zz&collection=%00"))),
            ("parameters twice", bare(format!("{path}?limit=1&limit=2&after=1&after=2"))),
            ("parameters of nothing", bare(format!("{path}?&&===&%&a[]=1"))),
            ("a limit beyond numbers", bare(format!("{path}?limit=99999999999999999999&after=-1"))),
            ("another host's address", bare(format!("http://evil.example{path}"))),
            ("an asterisk", bare("*".into())),
            ("headers of bytes", bytes),
            ("a long key", with(&format!("idempotency-key: {}\r\n", "k".repeat(5_000)))),
            ("a strange expectation", with("expect: 300-nonsense\r\n")),
            ("two credentials", with("authorization: Bearer a\r\nauthorization: Bearer b\r\n")),
            ("an upgrade to nothing", with("connection: upgrade\r\nupgrade: h2c\r\n")),
            ("two hosts", with("host: other\r\n")),
            (
                "the version before",
                format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").into_bytes(),
            ),
        ]
    })
    .await;
}

/// Bytes that are no request at all, and the status that they get; 0 if the connection is just closed.
fn no_requests() -> Vec<(&'static str, Vec<u8>, u16)> {
    let head = |line: &str, headers: &str| format!("{line}\r\nhost: localhost\r\n{headers}\r\n").into_bytes();
    let many = (0..65).fold(String::new(), |mut all, n| {
        write!(all, "x-{n}: a\r\n").unwrap();
        all
    });
    let get = "GET /documents HTTP/1.1";
    vec![
        ("a method of signs", head("G@T( / HTTP/1.1", ""), 400),
        ("no version", head("GET /documents", ""), 400),
        ("a version to come", head("GET /documents HTTP/3.7", ""), 400),
        ("a space too many", head("GET /docu ments HTTP/1.1", ""), 400),
        ("a NUL in the address", head("GET /docu\0ments HTTP/1.1", ""), 400),
        ("a byte of no text", b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), 400),
        ("a header of two words", head(get, "x y: a\r\n"), 400),
        ("a header without colon", head(get, "nonsense\r\n"), 400),
        ("a header with a NUL", head(get, "x-a: a\0b\r\n"), 400),
        ("a folded header", head(get, "x-a: a\r\n b\r\n"), 400),
        ("two lengths", head(get, "content-length: 2\r\ncontent-length: 3\r\n"), 400),
        ("a length below nothing", head(get, "content-length: -1\r\n"), 400),
        ("a length beyond numbers", head(get, "content-length: 99999999999999999999999\r\n"), 400),
        ("an unknown coding", head(get, "transfer-encoding: gzip\r\n"), 400),
        (
            "a greeting of TLS",
            [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[b'a'; 200][..]].concat(),
            400,
        ),
        ("a long header", head(get, &format!("x-a: {}\r\n", "a".repeat(60_000))), 431),
        ("many headers", head(get, &many), 431),
        ("a long address", head(&format!("GET /{} HTTP/1.1", "a".repeat(100_000)), ""), 431),
        ("HTTP/2 that is none", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then nonsense".to_vec(), 0),
        ("half a head, cut off", b"GET /documents HTTP/1.1\r\nhost: lo".to_vec(), 0),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_told_so_in_a_problem_document() {
    let listening = Listening::within(Limits::default()).await;
    for (name, bytes, status) in no_requests() {
        let told = send(&listening.url, bytes, name.contains("cut off")).await;
        assert_eq!(told.as_ref().map_or(0, |told| told.status), status, "{name}");
        let Some(told) = told else { continue };
        check(name, &told);
        assert_eq!(told.content_type, "application/problem+json");
        let document: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(document["trace_id"].as_str().unwrap().len(), 32);
    }
    let (get, wrong) = ("GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n", "G@T\r\n\r\n");
    let both = read_all(&listening.url, &format!("{get}{wrong}")).await;
    assert!(
        both.starts_with("HTTP/1.1 200 OK\r\n") && both.contains("HTTP/1.1 400 Bad Request\r\n"),
        "{both}"
    );
    assert!(both.contains("urn:agentkit:problem:invalid-input"), "{both}");
    let metrics = listening.service.get("/metrics").await.body;
    assert!(metrics.contains("agentkit_problems_total{problem=\"head-too-large\"} 3"), "{metrics}");
    assert_eq!(listening.ask("still there?", false).await.status(), 200);
}

/// Everything that is answered until the connection is closed.
async fn read_all(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    all
}
