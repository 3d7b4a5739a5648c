//! Jobs: many documents at once, each with its outcome, events that can be come back to, and an end at any time.

use std::time::Duration;

use agentkit_core::CollectionName;
use agentkit_server::http::Limits;
use agentkit_server::identity::{Authenticator, Role};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::identity::{Guarded, shown};
use crate::support::{Answer, Listening, Service, request};

fn begin(documents: &[(&str, &str)]) -> Request<Body> {
    let named = |(id, text): &(&str, &str)| json!({"id": id, "document": {"text": text}});
    let body = json!({"documents": documents.iter().map(named).collect::<Vec<_>>()});
    request(Method::POST, "/jobs", "application/json", body.to_string())
}

fn bare(method: Method, path: &str) -> Request<Body> {
    request(method, path, "", Body::empty())
}

/// A form of files: name, type, content.
fn form(files: &[(&str, &str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, kind, content) in files {
        let head = format!(
            "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    request(Method::POST, "/jobs", "multipart/form-data; boundary=edge", body)
}

/// The id of the job that an answer says has begun.
#[track_caller]
fn begun(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.body);
    let job = answer.json();
    let id = job["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/jobs/{id}"));
    assert_eq!((&job["kind"], &job["status"]), (&"ingest".into(), &"waiting".into()));
    id
}

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|entry| entry[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_document_of_a_job_has_its_outcome() {
    let service = Service::new();
    let documents = [("tea", "green"), ("empty", " "), ("docs/lamp.md", "red"), ("nul", "a\0b")];
    let id = begun(&service.send(begin(&documents)).await);
    let told = service.get(&format!("/jobs/{id}/events")).await;
    assert_eq!(told.header("content-type"), "text/event-stream");
    let events = told.events();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["started", "document", "document", "document", "document", "done"]);
    assert_eq!(
        events[1],
        json!({"seq": 1, "type": "document", "id": "tea", "status": "stored", "chunks": 1, "embedded": 1})
    );
    assert!(events[2]["detail"].as_str().unwrap().contains("no text"), "{}", events[2]);
    let progress = json!({"documents": 4, "ended": 4, "stored": 2, "unchanged": 0, "failed": 2});
    assert_eq!((&events[5]["status"], &events[5]["progress"]), (&"done".into(), &progress));

    let job = service.get(&format!("/jobs/{id}")).await.json();
    assert_eq!(
        (&job["status"], &job["progress"], &job["collection"]),
        (&"done".into(), &progress, &"default".into())
    );
    assert_eq!(column(&job["documents"], "status"), ["stored", "failed", "stored", "failed"]);
    assert!(job["finished"].as_str() >= job["created"].as_str());
    assert_eq!(service.get("/documents/docs/lamp.md").await.json()["source_text"], "red");
    service.get("/documents/empty").await.problem(404, "not-found");
    let metrics = service.get("/metrics").await.body;
    for (outcome, count) in [("stored", 2), ("failed", 2)] {
        let line = format!("agentkit_job_documents_total{{outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }

    service.state.audit_log().flush().await;
    let trail = service.get("/audit").await.json();
    let shown = |record: &Value| {
        format!(
            "{} {} {}",
            record["action"].as_str().unwrap(),
            record["target"].as_str().unwrap_or("-"),
            record["outcome"]
        )
    };
    let records: Vec<String> = trail["records"].as_array().unwrap().iter().map(shown).collect();
    for expected in [
        format!("POST /jobs {id} 202"),
        "JOB /documents/{id} tea 200".into(),
        "JOB /documents/{id} empty 400".into(),
    ] {
        assert!(records.contains(&expected), "{expected}: {records:?}");
    }
}

#[tokio::test]
async fn files_of_a_form_are_read_by_their_names() {
    let service = Service::new();
    let any = "application/octet-stream";
    let files: [(&str, &str, &[u8]); 5] = [
        ("notes/tea.md", any, b"# Tea\n\nGreen."),
        ("page", "text/html", b"<html><body><p>Steep the leaves for three minutes.</p></body></html>"),
        ("table.csv", "text/plain", b"name,price\ntea,3\n"),
        ("photo.png", "image/png", b"\x89PNG"),
        ("broken.txt", any, b"a\xffb"),
    ];
    let id = begun(&service.send(form(&files)).await);
    let done = service.get(&format!("/jobs/{id}/events")).await.events();
    assert_eq!(done.last().unwrap()["progress"]["stored"], 3, "{done:?}");
    let job = service.get(&format!("/jobs/{id}")).await.json();
    assert_eq!(
        column(&job["documents"], "id"),
        ["notes/tea.md", "page", "table.csv", "photo.png", "broken.txt"]
    );
    assert_eq!(column(&job["documents"], "status"), ["stored", "stored", "stored", "failed", "failed"]);
    let tea = service.get("/documents/notes/tea.md").await.json();
    assert_eq!((&tea["title"], &tea["kind"]), (&"Tea".into(), &"markdown".into()));
    assert_eq!(service.get("/documents/table.csv").await.json()["kind"], "table");
}

#[tokio::test]
async fn events_are_told_once_to_who_comes_back_also_after_a_restart() {
    let service = Service::new();
    let id = begun(&service.send(begin(&[("a", "x"), ("b", "y"), ("c", "z")])).await);
    let whole = service.get(&format!("/jobs/{id}/events")).await;
    let again = Service::over(service.doubles.clone(), Authenticator::insecure_dev(), Limits::default());
    for (header, parameter, expected) in [
        (None, "", vec![0, 1, 2, 3, 4]),
        (None, "?starting_after=2", vec![3, 4]),
        (Some("3"), "?starting_after=0", vec![4]),
        (Some("4"), "", vec![]),
        (None, "?starting_after=18446744073709551615", vec![]),
    ] {
        for service in [&service, &again] {
            let mut asked = bare(Method::GET, &format!("/jobs/{id}/events{parameter}"));
            if let Some(header) = header {
                asked.headers_mut().insert("last-event-id", header.parse().unwrap());
            }
            let told = service.send(asked).await;
            let seqs: Vec<u64> = told.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
            assert_eq!(seqs, expected, "{header:?} {parameter}");
        }
    }
    assert_eq!(again.get(&format!("/jobs/{id}/events")).await.body, whole.body);
}

#[tokio::test]
async fn a_job_can_be_stopped_and_what_is_stored_stays() {
    let service = Service::new();
    let id = begun(&service.send(begin(&[("a", "x"), ("b", "hang"), ("c", "hang")])).await);
    let cancel = || bare(Method::POST, &format!("/jobs/{id}/cancel"));
    let events = service.start(bare(Method::GET, &format!("/jobs/{id}/events"))).await;
    while service.get(&format!("/jobs/{id}")).await.json()["progress"]["ended"] != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.get("/jobs").await.json()["jobs"][0]["status"], "running");
    assert_eq!(service.send(cancel()).await.status, 204);
    let told = crate::support::read(events).await.events();
    let statuses: Vec<_> = told.iter().filter_map(|event| event["status"].as_str()).collect();
    assert_eq!(statuses, ["stored", "cancelled", "cancelled", "cancelled"]);
    assert_eq!(service.send(cancel()).await.status, 204, "stopping twice does no harm");
    assert_eq!(service.get("/documents/a").await.status, 200);
    service.get("/documents/b").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_job_whose_service_is_gone_was_interrupted() {
    let mut listening = Listening::within(Limits::default()).await;
    let service = &listening.service;
    let id = begun(&service.send(begin(&[("a", "x"), ("b", "hang")])).await);
    let path = format!("/jobs/{id}");
    while service.get(&path).await.json()["progress"]["ended"] != 1 {
        tokio::task::yield_now().await;
    }
    // Another process would find the record as a crash leaves it.
    let other = Service::over(service.doubles.clone(), Authenticator::insecure_dev(), Limits::default());
    let crashed = other.get(&path).await.json();
    assert_eq!((&crashed["status"], crashed.get("finished")), (&"interrupted".into(), None));
    assert_eq!(column(&crashed["documents"], "status"), ["stored", "interrupted"]);
    assert_eq!(other.get("/jobs").await.json()["jobs"][0]["status"], "interrupted");
    assert_eq!(other.get(&format!("{path}/events")).await.events().len(), 4);

    listening.stop();
    let served = tokio::time::timeout(Duration::from_secs(10), &mut listening.served).await;
    served.expect("a stop waits for no job").unwrap().unwrap();
    let stopped = other.get(&path).await.json();
    assert_eq!((&stopped["status"], stopped["finished"].is_string()), (&"interrupted".into(), true));
}

#[tokio::test]
async fn jobs_are_for_the_editors_of_their_tenant_and_collection() {
    let guarded = Guarded::new();
    let ann = guarded.key("acme", Role::Editor).await;
    let id = begun(&guarded.send(&ann, begin(&[("a", "x"), ("b", "hang")])).await);
    let bob = guarded.key("acme", Role::Admin).await;
    assert_eq!(guarded.get(&bob, &format!("/jobs/{id}")).await.json()["documents"][0]["id"], "a");
    let news = CollectionName::new("news").unwrap();
    let limited = guarded.key_for("acme", Role::Editor, |spec| spec.collections = Some([news].into())).await;
    let (zoe, user) = (guarded.key("zoo", Role::Editor).await, guarded.key("acme", Role::User).await);
    for other in [&limited, &zoe, &user] {
        let theirs = guarded.get(other, &format!("/jobs/{id}")).await.problem(404, "not-found");
        let missing =
            guarded.get(other, &format!("/jobs/{}", "0".repeat(32))).await.problem(404, "not-found");
        assert_eq!(theirs.replace(&id, "…"), missing.replace(&"0".repeat(32), "…"));
    }
    for other in [&limited, &zoe] {
        guarded.get(other, &format!("/jobs/{id}/events")).await.problem(404, "not-found");
        let cancel = bare(Method::POST, &format!("/jobs/{id}/cancel"));
        guarded.send(other, cancel).await.problem(404, "not-found");
        assert_eq!(guarded.get(other, "/jobs").await.json(), json!({"jobs": []}));
    }
    assert_eq!(guarded.get(&bob, &format!("/jobs/{id}")).await.json()["status"], "running");
    assert_eq!(guarded.send(&bob, bare(Method::POST, &format!("/jobs/{id}/cancel"))).await.status, 204);
}

#[tokio::test]
async fn a_tenant_has_so_many_jobs_and_the_oldest_are_forgotten() {
    let service = Service::new();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(begun(&service.send(begin(&[("a", "hang")])).await));
    }
    let refused = service.send(begin(&[("a", "x")])).await;
    assert!(refused.problem(429, "rate-limited").contains("8 jobs"));
    assert_eq!(refused.header("retry-after"), "5");
    for id in &ids {
        assert_eq!(service.send(bare(Method::POST, &format!("/jobs/{id}/cancel"))).await.status, 204);
        let end = service.get(&format!("/jobs/{id}/events")).await.events().pop().unwrap();
        assert_eq!(end["status"], "cancelled");
    }
    for _ in 0..100 {
        let id = begun(&service.send(begin(&[("a", "x")])).await);
        service.get(&format!("/jobs/{id}/events")).await;
    }
    service.get(&format!("/jobs/{}", ids[7])).await.problem(404, "not-found");
    let (mut seen, mut path) = (Vec::new(), "/jobs?limit=40".to_owned());
    loop {
        let page = service.get(&path).await.json();
        seen.extend(column(&page["jobs"], "id").into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/jobs?limit=40&after={next}");
    }
    assert_eq!(seen.len(), 100);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
}

#[tokio::test]
async fn jobs_that_are_no_jobs_are_refused() {
    let service = Service::new();
    let many: Vec<_> = (0..257).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "x")).collect();
    let json = |body: &str| request(Method::POST, "/jobs", "application/json", body.to_owned());
    let as_form =
        |body: &str| request(Method::POST, "/jobs", "multipart/form-data; boundary=edge", body.to_owned());
    let no_file = "--edge\r\ncontent-disposition: form-data; name=\"collection\"\r\n\r\nx\r\n--edge--\r\n";
    for (asked, part) in [
        (begin(&[]), "1 to 256"),
        (begin(&many), "got 257"),
        (begin(&[("a", "x"), ("a", "y")]), "\"a\" is sent twice"),
        (json(r#"{"documents":[{"id":"","document":{"text":"x"}}]}"#), "must not be empty"),
        (json(r#"{"documents":[{"id":"a","text":"x"}]}"#), "unknown field `text`"),
        (json(r#"{"documents":[{"id":"a","document":{"text":"x","size":1}}]}"#), "unknown field `size`"),
        (form(&[]), "1 to 256"),
        (form(&[("a", "text/plain", b"x"), ("a", "text/plain", b"y")]), "twice"),
        (form(&[("a\x01b", "text/plain", b"x")]), ""),
        (as_form(no_file), "part 0 of the form is no file"),
        (
            as_form("--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx"),
            "read the form",
        ),
        (as_form("nonsense"), ""),
        (request(Method::POST, "/jobs", "multipart/form-data", "x"), "boundary"),
        (request(Method::POST, "/jobs?into=x", "application/json", "{}"), "unknown field"),
    ] {
        let detail = service.send(asked).await.problem(400, "invalid-input");
        assert!(detail.contains(part), "{detail:?} lacks {part:?}");
    }
    let plain = request(Method::POST, "/jobs", "text/plain", "x");
    service.send(plain).await.problem(415, "unsupported-media-type");
    let long = "x".repeat((64 << 20) + 1);
    service.send(json(&long)).await.problem(413, "too-large");
    service.send(form(&[("a", "text/plain", long.as_bytes())])).await.problem(413, "too-large");
    assert_eq!(service.get("/jobs").await.json(), json!({"jobs": []}));
}

#[tokio::test]
async fn what_is_held_for_all_jobs_together_has_a_bound() {
    let guarded = Guarded::new();
    let big =
        json!({"documents": [{"id": "a", "document": {"text": "hang", "title": "x".repeat(40 << 20)}}]});
    let big = big.to_string();
    let send = async |tenant: &str, body: &str| {
        let key = guarded.key(tenant, Role::Editor).await;
        let mut asked = request(Method::POST, "/jobs", "application/json", body.to_owned());
        asked.headers_mut().insert("content-length", body.len().into());
        (key.clone(), guarded.send(&key, asked).await)
    };
    let mut held = Vec::new();
    for n in 0..6 {
        let (key, answer) = send(&format!("t{n}"), &big).await;
        held.push((key, begun(&answer)));
    }
    let (_, refused) = send("late", &big).await;
    refused.problem(503, "overloaded");
    let small = r#"{"documents":[{"id":"a","document":{"text":"x"}}]}"#;
    begun(&send("late", small).await.1);
    let (key, id) = &held[0];
    assert_eq!(guarded.send(key, bare(Method::POST, &format!("/jobs/{id}/cancel"))).await.status, 204);
    guarded.get(key, &format!("/jobs/{id}/events")).await;
    begun(&send("late", &big).await.1);
}

#[tokio::test]
async fn a_job_is_begun_once_for_each_idempotency_key() {
    let service = Service::new();
    let keyed = || {
        let mut asked = begin(&[("a", "x")]);
        asked.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        asked
    };
    let first = begun(&service.send(keyed()).await);
    let again = service.send(keyed()).await;
    assert_eq!((begun(&again), again.header("idempotent-replayed")), (first, "true"));
    assert_eq!(service.get("/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_forgotten_has_no_jobs_any_more() {
    let guarded = Guarded::new();
    let (ann, bob) = (guarded.key("acme", Role::Editor).await, guarded.key("acme", Role::Editor).await);
    let done = begun(&guarded.send(&ann, begin(&[("a", "x")])).await);
    guarded.get(&ann, &format!("/jobs/{done}/events")).await;
    let hangs = begun(&guarded.send(&ann, begin(&[("b", "hang")])).await);
    let export = guarded.get(&ann, "/me/export").await.body;
    assert!(export.contains(r#""type":"job""#) && export.contains(&hangs), "{export}");
    assert!(!guarded.get(&bob, "/me/export").await.body.contains(r#""type":"job""#));
    let events =
        guarded.service.start(shown(&bob.expose(), bare(Method::GET, &format!("/jobs/{hangs}/events"))));
    let events = events.await;
    assert_eq!(guarded.send(&ann, bare(Method::DELETE, "/me")).await.status, 202);
    let end = crate::support::read(events).await.events().pop().unwrap();
    assert_eq!(end["status"], "cancelled");
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert_eq!(guarded.get(&bob, "/jobs").await.json(), json!({"jobs": []}));
    guarded.get(&bob, "/documents/a").await.problem(404, "not-found");
}
