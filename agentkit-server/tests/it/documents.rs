//! Documents are put, read, listed and deleted, by ids of any form, each in its collection.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, request};

async fn put(service: &Service, path: &str, content_type: &str, body: &str) -> Answer {
    service.send(request(Method::PUT, path, content_type, body.to_owned())).await
}

#[tokio::test]
async fn a_document_comes_back_as_it_was_put() {
    let service = Service::new();
    let body = r#"{"text":"Tea at 80 degrees.","title":"Tea","uri":"file:///tea","metadata":{"lang":"en"}}"#;
    let stored = put(&service, "/documents/tea", "application/json", body).await;
    assert_eq!((stored.status.as_u16(), stored.json()["documents"].as_u64()), (200, Some(1)));
    let document = service.get("/documents/tea").await.json();
    assert_eq!(document["source_text"], "Tea at 80 degrees.");
    assert_eq!((&document["title"], &document["kind"]), (&"Tea".into(), &"text".into()));
    assert_eq!(document["metadata"]["lang"], "en");

    let deleted = service.send(request(Method::DELETE, "/documents/tea", "", Body::empty())).await;
    assert_eq!((deleted.status.as_u16(), deleted.body.as_str()), (204, ""));
    service.get("/documents/tea").await.problem(404, "not-found");
    let again = service.send(request(Method::DELETE, "/documents/tea", "", Body::empty())).await;
    again.problem(404, "not-found");
}

#[tokio::test]
async fn ids_may_hold_slashes_spaces_and_letters_of_any_script() {
    let service = Service::new();
    for (path, id) in [
        ("/documents/docs/a.md", "docs/a.md"),
        ("/documents/docs%2Fb.md", "docs/b.md"),
        ("/documents/gr%C3%B6%C3%9Fe%20x", "größe x"),
        ("/documents/100%25%3F", "100%?"),
    ] {
        assert_eq!(put(&service, path, "text/plain", "x").await.status, 200, "{path}");
        assert_eq!(service.get(path).await.json()["id"], id);
    }
}

#[tokio::test]
async fn files_are_read_by_their_media_type() {
    let service = Service::new();
    put(&service, "/documents/md", "text/markdown; charset=utf-8", "# Tea\n\nSteep it.\n").await;
    let document = service.get("/documents/md").await.json();
    assert_eq!((document["kind"].as_str(), document["title"].as_str()), (Some("markdown"), Some("Tea")));
    put(&service, "/documents/json", "application/json", r##"{"text":"# Tea\n","kind":"markdown"}"##).await;
    assert_eq!(service.get("/documents/json").await.json()["title"], "Tea");
    let page =
        "<html><body><article><h1>Tea</h1><p>Steep the leaves for three minutes.</p></article></body></html>";
    assert_eq!(put(&service, "/documents/html", "text/html", page).await.status, 200);
    let text = service.get("/documents/html").await.json()["source_text"].as_str().unwrap().to_owned();
    assert!(text.contains("three minutes") && !text.contains('<'), "{text}");
}

#[tokio::test]
async fn the_list_goes_on_page_by_page_until_its_end() {
    let service = Service::new();
    for id in ["a", "b", "c", "d"] {
        put(&service, &format!("/documents/{id}"), "text/plain", "x").await;
    }
    let mut seen = Vec::new();
    let mut path = "/documents?limit=2".to_owned();
    loop {
        let page = service.get(&path).await.json();
        let ids = page["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/documents?limit=2&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn collections_do_not_see_each_other() {
    let service = Service::new();
    put(&service, "/documents/a?collection=one", "text/plain", "x").await;
    assert_eq!(service.get("/documents/a?collection=one").await.status, 200);
    service.get("/documents/a?collection=two").await.problem(404, "not-found");
    service.get("/documents/a").await.problem(404, "not-found");
    assert!(service.get("/documents").await.json()["documents"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn documents_that_match_a_filter_are_counted_and_deleted_together() {
    let service = Service::new();
    for (id, collection, year) in [("a", "default", 2024), ("b", "default", 2025), ("c", "other", 2024)] {
        let body = json!({"text": id, "metadata": {"year": year}}).to_string();
        let path = format!("/documents/{id}?collection={collection}");
        assert_eq!(put(&service, &path, "application/json", &body).await.status, 200);
    }
    let old = json!({"range": {"field": "year", "lt": 2025}});
    let ask = |more: Value| {
        let mut body = json!({ "filter": old });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let counted = service.post("/delete", &ask(json!({"dry_run": true}))).await.json();
    assert_eq!(counted, json!({"matched": 1, "deleted": 0, "dry_run": true}));
    assert_eq!(service.get("/documents/a").await.status, 200);
    let deleted = service.post("/delete", &ask(json!({}))).await.json();
    assert_eq!(deleted, json!({"matched": 1, "deleted": 1, "dry_run": false}));
    service.get("/documents/a").await.problem(404, "not-found");
    assert_eq!(service.get("/documents/b").await.status, 200);
    assert_eq!(service.get("/documents/c?collection=other").await.status, 200);
    assert_eq!(service.post("/delete", &ask(json!({}))).await.json()["matched"], 0);
    assert!(
        !service.get("/me/export").await.body.contains(r#""id":"a""#),
        "who uploaded it is forgotten as well"
    );

    service.state.audit_log().flush().await;
    let trail = service.get("/audit").await.json();
    let targets: Vec<_> =
        trail["records"].as_array().unwrap().iter().map(|record| &record["target"]).collect();
    for target in ["would delete 1 documents of default", "1 documents of default", "0 documents of default"]
    {
        assert!(targets.contains(&&target.into()), "{target}: {targets:?}");
    }
    for wrong in [
        r"{}",
        r#"{"filter":{}}"#,
        r#"{"filter":{"range":{"field":"f"}}}"#,
        r#"{"filter":null}"#,
        r#"{"filter":{"and":[]},"all":true}"#,
    ] {
        service.post("/delete", wrong).await.problem(400, "invalid-input");
    }
}

#[tokio::test]
async fn collections_are_listed_with_what_they_hold() {
    let service = Service::new();
    for (id, collection) in [("a", "news"), ("b", "news"), ("c", "manuals")] {
        put(&service, &format!("/documents/{id}?collection={collection}"), "text/plain", "x").await;
    }
    let (mut seen, mut path) = (Vec::new(), "/collections?limit=2".to_owned());
    loop {
        let page = service.get(&path).await.json();
        for entry in page["collections"].as_array().unwrap() {
            seen.push(format!("{} {}", entry["name"].as_str().unwrap(), entry["documents"]));
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/collections?limit=2&after={next}");
    }
    assert_eq!(seen, ["default 0", "manuals 1", "news 2"]);
    for wrong in ["?limit=0", "?after=..", "?page=1"] {
        service.get(&format!("/collections{wrong}")).await.problem(400, "invalid-input");
    }
}
