//! What Prometheus reads: a valid text format, counts that are right, nothing that a client chose, and who may read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use agentkit_core::TenantId;
use agentkit_server::Clock;
use agentkit_server::http::{AppState, Limits, router};
use agentkit_server::identity::{Authenticator, KeySpec, Keys, Role};
use agentkit_server::telemetry::Metrics;
use axum::body::Body;
use axum::http::Method;
use tower::ServiceExt as _;

use crate::cli::{Folder, Server};
use crate::doubles::Doubles;
use crate::identity::Guarded;
use crate::support::{Service, read, request};

/// Metrics as they were read: the value of every series, by its name with its labels.
pub(crate) type Series = BTreeMap<String, f64>;

/// Reads the text format of version 0.0.4 as strictly as it is described, and fails at the first thing that is wrong.
pub(crate) fn parse(text: &str) -> Series {
    assert!(text.ends_with('\n'), "the last line is not ended");
    let (mut series, mut kinds, mut helped) = (Series::new(), BTreeMap::new(), BTreeSet::new());
    let mut last = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!text.is_empty() && helped.insert(name.to_owned()), "helped twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "no help for {name}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "typed twice: {line}");
            name.clone_into(&mut last);
        } else {
            assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            check_key(key, &last, &kinds[&last]);
            assert!(series.insert(key.to_owned(), value).is_none(), "told twice: {line}");
        }
    }
    check_histograms(&series, &kinds);
    series
}

/// The series stands under its type, and its name and labels are well-formed.
fn check_key(key: &str, family: &str, kind: &str) {
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} stands under {family}"));
    let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    assert!(suffixes.contains(&suffix), "{name} is no {kind}");
    assert!(kind != "counter" || family.ends_with("_total"), "the counter {family} has no suffix");
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    assert!(word(name) && !name.starts_with(|first: char| first.is_ascii_digit()), "{name}");
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{key}"));
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{label} in {key}"));
        assert!(word(name) && !name.starts_with("__"), "{label}");
        assert!(!value.trim_end_matches('"').contains(['"', '\n']), "{label}");
    }
}

/// Buckets never fall, and the last holds all.
fn check_histograms(series: &Series, kinds: &BTreeMap<String, String>) {
    for name in kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (key, count) in series.iter().filter(|(key, _)| key.starts_with(&format!("{name}_bucket{{"))) {
            let labels = key.split_once('{').unwrap().1.trim_end_matches('}');
            let (rest, bound) = labels.rsplit_once("le=\"").unwrap();
            let bound = bound.trim_end_matches('"').replace("+Inf", "inf").parse().unwrap();
            buckets.entry(rest.trim_end_matches(',').to_owned()).or_default().push((bound, *count));
        }
        for (labels, mut of_it) in buckets {
            of_it.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(of_it.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name} {labels} falls");
            let count =
                if labels.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{labels}}}") };
            let last = of_it.last().unwrap();
            assert!(last.0.is_infinite() && series[&count].total_cmp(&last.1).is_eq(), "{count}");
        }
    }
}

/// The value of a series; 0 if it is not there.
#[track_caller]
pub(crate) fn value(series: &Series, key: &str) -> u64 {
    let value = series.get(key).copied().unwrap_or_default();
    assert!(value >= 0.0 && value.fract() == 0.0, "{key} {value}");
    format!("{value:.0}").parse().unwrap()
}

async fn scrape(service: &Service) -> (String, Series) {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let series = parse(&answer.body);
    (answer.body, series)
}

#[tokio::test]
async fn every_request_is_counted_by_its_route_and_never_by_its_path() {
    let service = Service::new();
    for path in ["/documents/canary-1", "/documents/a/canary-2", "/canary-3", "/documents?limit=1"] {
        service.get(path).await;
    }
    service.post("/chat", r#"{"message":"x"}"#).await;
    service.post("/chat", r#"{"message":"fail"}"#).await;
    service.send(request(Method::from_bytes(b"CANARY").unwrap(), "/chat", "", Body::empty())).await;
    let (text, series) = scrape(&service).await;
    for (labels, count) in [
        ("method=\"GET\",route=\"/documents/{id}\",status=\"4xx\"", 2),
        ("method=\"GET\",route=\"/documents\",status=\"2xx\"", 1),
        ("method=\"GET\",route=\"none\",status=\"4xx\"", 1),
        ("method=\"POST\",route=\"/chat\",status=\"2xx\"", 1),
        ("method=\"POST\",route=\"/chat\",status=\"5xx\"", 1),
        ("method=\"_OTHER\",route=\"/chat\",status=\"4xx\"", 1),
    ] {
        assert_eq!(value(&series, &format!("agentkit_http_requests_total{{{labels}}}")), count, "{text}");
    }
    let chats = "agentkit_http_request_duration_seconds_count{method=\"POST\",route=\"/chat\"}";
    assert_eq!(value(&series, chats), 2);
    for bound in ["0.2", "1", "2"] {
        let bucket = format!("le=\"{bound}\"}}");
        assert!(text.contains(&bucket), "no bucket {bound}: {text}");
    }
    assert_eq!(value(&series, "agentkit_problems_total{problem=\"not-found\"}"), 3);
    assert_eq!(value(&series, "agentkit_http_requests_in_flight"), 1, "the one that asks for it");
    assert!(!text.to_lowercase().contains("canary"), "{text}");
}

#[tokio::test]
async fn a_stream_is_in_flight_until_it_is_read_or_left() {
    let service = Service::new();
    let body = r#"{"message":"hang","stream":true}"#;
    let stream = service.start(request(Method::POST, "/chat", "application/json", body)).await;
    let of_chat = "agentkit_http_requests_total{method=\"POST\",route=\"/chat\",status=\"2xx\"}";
    let (_, series) = scrape(&service).await;
    assert_eq!((value(&series, "agentkit_http_requests_in_flight"), value(&series, of_chat)), (2, 0));
    drop(stream);
    let (_, series) = scrape(&service).await;
    assert_eq!((value(&series, "agentkit_http_requests_in_flight"), value(&series, of_chat)), (1, 1));
}

#[tokio::test]
async fn the_index_and_what_is_needed_are_told_as_they_are_when_asked() {
    let service = Service::new();
    service.send(request(Method::PUT, "/documents/tea", "text/plain", "green")).await;
    let (_, series) = scrape(&service).await;
    assert_eq!(value(&series, "agentkit_index_documents"), 1);
    assert_eq!(value(&series, "agentkit_ready"), 1);
    assert_eq!(value(&series, "agentkit_dependency_up{dependency=\"index\"}"), 1);
    if cfg!(target_os = "linux") {
        assert!(value(&series, "process_resident_memory_bytes") > 1 << 20);
    }
    service.state.drain();
    let (_, series) = scrape(&service).await;
    assert_eq!(value(&series, "agentkit_ready"), 0);
}

#[tokio::test]
async fn each_limit_counts_whom_it_refuses() {
    let mut limits = Limits::default();
    limits.max_concurrent_requests = 1;
    limits.rates.user_requests_per_minute = Some(2);
    let service = Service::within(limits);
    let hanging = request(Method::POST, "/chat", "application/json", r#"{"message":"hang","stream":true}"#);
    let stream = service.start(hanging).await;
    service.post("/chat", r#"{"message":"x"}"#).await.problem(503, "overloaded");
    service.post("/chat", r#"{"message":"x"}"#).await.problem(429, "rate-limited");
    drop(stream);
    let (_, series) = scrape(&service).await;
    assert_eq!(value(&series, "agentkit_refusals_total{limit=\"concurrency\"}"), 1);
    assert_eq!(value(&series, "agentkit_refusals_total{limit=\"requests\"}"), 1);
}

#[tokio::test]
async fn only_those_who_run_the_machine_may_read_them() {
    let guarded = Guarded::new();
    for (tenant, role, status) in [
        ("local", Role::Admin, 200),
        ("local", Role::Auditor, 200),
        ("local", Role::Editor, 403),
        ("acme", Role::Admin, 403),
        ("acme", Role::Auditor, 403),
    ] {
        let key = guarded.key(tenant, role).await;
        assert_eq!(guarded.get(&key, "/metrics").await.status, status, "{role} of {tenant}");
    }
    guarded.service.get("/metrics").await.problem(401, "unauthorized");
    guarded.service.state.audit_log().flush().await;
    let auditor = guarded.key("local", Role::Auditor).await;
    let trail = guarded.get(&auditor, "/audit").await.json();
    assert!(
        !trail.to_string().contains("/metrics"),
        "a scrape every few seconds would fill the trail: {trail}"
    );
}

#[tokio::test]
async fn only_tenants_that_the_operator_named_have_a_label() {
    let doubles = Doubles::default();
    let keys = Keys::new(doubles.state.clone(), Clock::system());
    let metrics = Metrics::with_tenants([TenantId::new("acme").unwrap()]);
    let authenticator = Authenticator::required(keys.clone());
    let state = AppState::measured(doubles.services(), authenticator, Limits::default(), metrics.clone());
    let service = router(state);
    for tenant in ["acme", "zoo", "canary"] {
        let spec = KeySpec::new(TenantId::new(tenant).unwrap(), Role::User);
        let key = keys.create(&spec, &agentkit_core::RunContext::new()).await.unwrap().0;
        let asked =
            crate::identity::shown(&key.expose(), request(Method::GET, "/documents", "", Body::empty()));
        assert_eq!(read(service.clone().oneshot(asked).await.unwrap()).await.status, 200);
    }
    let text = metrics.text().unwrap();
    let series = parse(&text);
    assert_eq!(value(&series, "agentkit_tenant_requests_total{tenant=\"acme\"}"), 1);
    assert_eq!(value(&series, "agentkit_tenant_requests_total{tenant=\"other\"}"), 2);
    assert!(!text.contains("canary") && !text.contains("zoo"), "{text}");
}

#[tokio::test]
async fn a_running_server_counts_what_a_question_costs_from_the_edge_to_the_model() {
    let folder = Folder::new();
    let server = Server::with(&folder, &[("AGENTKIT_METRICS__LISTEN", "127.0.0.1:0")]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |method: Method, path: &str| {
        client.request(method, format!("{}{path}", server.url)).bearer_auth(&server.key)
    };
    let tea = ask(Method::PUT, "/documents/tea").header("content-type", "text/plain");
    assert!(tea.body("Green tea is best at 80 degrees.").send().await.unwrap().status().is_success());
    let chat =
        ask(Method::POST, "/chat").json(&serde_json::json!({"message": "How hot should green tea be?"}));
    let reply: serde_json::Value = chat.send().await.unwrap().json().await.unwrap();
    assert_eq!(reply["outcome"], "answered", "{reply}");

    assert_eq!(client.get(format!("{}/metrics", server.url)).send().await.unwrap().status(), 401);
    assert_eq!(client.get(format!("{}/documents", server.operators)).send().await.unwrap().status(), 404);
    assert_eq!(client.get(format!("{}/health/ready", server.operators)).send().await.unwrap().status(), 200);
    let scraped = client.get(format!("{}/metrics", server.operators)).send().await.unwrap();
    let text = scraped.text().await.unwrap();
    let series = parse(&text);
    for (key, count) in [
        ("agentkit_http_requests_total{method=\"POST\",route=\"/chat\",status=\"2xx\"}", 1),
        ("agentkit_agent_runs_total{outcome=\"answered\"}", 1),
        ("agentkit_chat_time_to_first_token_seconds_count", 1),
        ("agentkit_retrieval_duration_seconds_count{leg=\"all\"}", 1),
        ("agentkit_retrieval_duration_seconds_count{leg=\"dense\"}", 1),
        ("agentkit_retrieval_duration_seconds_count{leg=\"lexical\"}", 1),
        ("agentkit_embedding_duration_seconds_count{side=\"query\"}", 1),
        ("agentkit_embedding_duration_seconds_count{side=\"document\"}", 1),
        ("agentkit_index_documents", 1),
        ("agentkit_index_generation", 1),
        ("agentkit_ready", 1),
    ] {
        assert_eq!(value(&series, key), count, "{key}: {text}");
    }
    assert!(value(&series, "agentkit_cache_lookups_total{cache=\"api_keys\",result=\"miss\"}") > 0, "{text}");
    let model = series.keys().find(|key| key.starts_with("agentkit_model_request_duration_seconds_count{"));
    assert!(model.is_some_and(|key| key.contains("outcome=\"answered\"")), "{text}");
    let tokens: u64 = series
        .keys()
        .filter(|key| key.starts_with("agentkit_model_tokens"))
        .map(|key| value(&series, key))
        .sum();
    assert_eq!(
        tokens,
        reply["usage"]["input_tokens"].as_u64().unwrap() + reply["usage"]["output_tokens"].as_u64().unwrap()
    );
}

/// Prometheus' own check, where it is installed: every metric has a help text and a name that follows the rules.
#[tokio::test]
async fn prometheus_own_tool_finds_nothing_to_complain_about() {
    let service = Service::new();
    service.post("/chat", r#"{"message":"x"}"#).await;
    let (text, _) = scrape(&service).await;
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        println!("skipped: promtool is not installed");
        return;
    };
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.trim().is_empty(), "{told}\n{text}");
}
