//! The description of the interface lists every route with exactly its methods.

use std::collections::BTreeSet;

use agentkit_server::http::documented_paths;
use axum::body::Body;
use axum::http::Method;
use serde_json::Value;

use crate::support::{Service, request};

async fn description(service: &Service) -> Value {
    let answer = service.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let service = Service::new();
    let description = description(&service).await;
    let described: BTreeSet<&str> =
        description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let routed: Vec<String> = documented_paths().iter().map(|path| path.replace("{*", "{")).collect();
    assert_eq!(described, routed.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn each_route_takes_exactly_the_described_methods() {
    let service = Service::new();
    let description = description(&service).await;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let described = operations.get(method.as_str().to_ascii_lowercase()).is_some();
            let answer =
                service.send(request(method.clone(), &path.replace("{id}", "x"), "", Body::empty())).await;
            assert_eq!(answer.status != 405, described, "{method} {path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn every_reference_leads_to_a_schema() {
    let service = Service::new();
    let description = description(&service).await;
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let text = description.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap().rsplit('/').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    for name in ["AgentReply", "AgentEvent", "Filter", "SearchPlan", "ProblemDocument"] {
        assert!(schemas.contains_key(name), "{name} is not described");
    }
}
