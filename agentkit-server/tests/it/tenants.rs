//! Two tenants on the real stores at random: whatever one does, nothing the other wrote ever reaches them.

use std::time::Duration;

use agentkit_core::{RunContext, TenantId};
use agentkit_rag::models::NoProgress;
use agentkit_server::config::{Config, EmbedderChoice};
use agentkit_server::http::{AppState, Limits, router};
use agentkit_server::identity::{ApiKey, Authenticator, KeySpec, Keys, Role};
use agentkit_server::{Access, Clock, Engine};
use axum::body::Body;
use axum::http::{Method, Request};
use fastrand::Rng;
use serde_json::json;
use tower::ServiceExt as _;

use crate::identity::shown;
use crate::support::{Answer, read, request};

/// Steps of the test.
const STEPS: usize = 400;

/// A tenant: its keys, and the word that only its own people write and read.
struct Tenant {
    name: &'static str,
    keys: Vec<(Role, ApiKey)>,
    canary: String,
    /// How often it read its own word: the test must not pass because nobody reads anything.
    seen: usize,
}

struct Stage {
    _folder: tempfile::TempDir,
    engine: Engine,
    router: axum::Router,
    tenants: Vec<Tenant>,
    random: Rng,
    /// The resumable run that was begun last.
    last_run: String,
    /// The job that was begun last.
    last_job: String,
}

impl Stage {
    async fn set(seed: u64) -> Self {
        let mut limits = Limits::default();
        limits.request_timeout = Duration::from_secs(20);
        Self::within(seed, limits).await
    }

    async fn within(seed: u64, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data_dir = folder.path().to_owned();
        config.embedder = EmbedderChoice::Hashing;
        let ctx = RunContext::new();
        let engine = Engine::open(&config, Access::ReadWrite, &NoProgress, &ctx).await.unwrap();
        let services = engine.services().unwrap();
        let keys = Keys::new(services.state.clone(), Clock::system());
        let mut tenants = Vec::new();
        for name in ["acme", "zoo"] {
            let mut all = Vec::new();
            for role in Role::ALL {
                let spec = KeySpec::new(TenantId::new(name).unwrap(), role);
                all.push((role, keys.create(&spec, &ctx).await.unwrap().0));
            }
            tenants.push(Tenant { name, keys: all, canary: format!("canary{name}{seed}"), seen: 0 });
        }
        let router = router(AppState::new(services, Authenticator::required(keys), limits));
        Self {
            _folder: folder,
            engine,
            router,
            tenants,
            random: Rng::with_seed(seed),
            last_run: "none".into(),
            last_job: "none".into(),
        }
    }

    /// One random request of one tenant, whose answer must not hold the other's word.
    async fn step(&mut self) {
        let who = self.random.usize(..2);
        let (role, key) = self.random.choice(&self.tenants[who].keys).unwrap().clone();
        let (own, other) = (self.tenants[who].canary.clone(), self.tenants[1 - who].canary.clone());
        let asked = self.request(&own);
        let what = format!("{} {} as {role} of {}", asked.method(), asked.uri(), self.tenants[who].name);
        let answer = self.send(&key, asked).await;
        if let Some(run) = answer.headers.get("agentkit-run") {
            run.to_str().unwrap().clone_into(&mut self.last_run);
        }
        if let Some(job) =
            answer.headers.get("location").and_then(|at| at.to_str().ok()?.strip_prefix("/jobs/"))
        {
            job.clone_into(&mut self.last_job);
        }
        let text = format!("{:?} {}", answer.headers, answer.body);
        assert!(!text.contains(&other), "{what} told what is not theirs: {text}");
        assert!(answer.status.as_u16() < 500, "{what}: {text}");
        self.tenants[who].seen += usize::from(text.contains(&own));
    }

    async fn send(&self, key: &ApiKey, asked: Request<Body>) -> Answer {
        read(self.router.clone().oneshot(shown(&key.expose(), asked)).await.unwrap()).await
    }

    /// A request as anybody may send it. Names are of a few, so that the two tenants use the same.
    #[expect(clippy::too_many_lines, reason = "a table of all routes")]
    fn request(&mut self, own: &str) -> Request<Body> {
        let random = &mut self.random;
        let id = ["shared", "docs/a.md", own][random.usize(..3)].to_owned();
        let session = ["talk", "chat", own][random.usize(..3)].to_owned();
        let collection = ["default", "manuals"][random.usize(..2)];
        let turn = format!("{:032x}", random.u128(1..4));
        let bare = |method: Method, path: String| request(method, &path, "", Body::empty());
        let with = |method: Method, path: String, body: serde_json::Value| {
            request(method, &path, "application/json", body.to_string())
        };
        let document = format!("/documents/{id}?collection={collection}");
        match random.u8(..36) {
            0..=3 => {
                let text = format!("The lamp is {own}. The kettle is {own} as well.");
                let fields = json!({"word": own});
                with(Method::PUT, document, json!({"text": text, "title": own, "metadata": fields}))
            }
            4 => bare(Method::GET, document),
            5 => bare(Method::DELETE, document),
            6 => bare(Method::GET, format!("/documents?collection={collection}")),
            7 | 8 => {
                let plan = [json!({"lexical": {}}), json!({"dense": {}})][random.usize(..2)].clone();
                let search =
                    json!({"query": "lamp kettle", "plan": plan, "collection": collection, "top_k": 50});
                with(Method::POST, "/search".into(), search)
            }
            9 => {
                let filter = json!({"prefix": {"field": "word", "value": "canary"}});
                with(Method::POST, "/search".into(), json!({"query": "lamp", "filter": filter}))
            }
            10..=12 => {
                let message = format!("What is the lamp? {own}");
                let (stream, collection) = (random.bool(), collection);
                let resumable = stream && random.bool();
                let ask = json!({"message": message, "session_id": session, "stream": stream, "collection": collection, "resumable": resumable});
                let mut asked = with(Method::POST, "/chat".into(), ask);
                let trace = format!("00-{turn}-00f067aa0ba902b7-01").parse().unwrap();
                asked.headers_mut().insert("traceparent", trace);
                if !stream && random.bool() {
                    let key = ["one", "two", "three"][random.usize(..3)];
                    asked.headers_mut().insert("idempotency-key", key.parse().unwrap());
                }
                asked
            }
            13 => bare(Method::GET, ["/sessions", "/collections", "/keys"][random.usize(..3)].into()),
            14 => {
                let path = format!("/sessions/{session}");
                match random.u8(..4) {
                    0 => bare(Method::DELETE, path),
                    1 => bare(Method::GET, format!("{path}/export")),
                    2 => with(Method::PATCH, path, json!({"title": own})),
                    _ => bare(Method::GET, path),
                }
            }
            15 => {
                let feedback = json!({"turn": turn, "rating": "up", "comment": own, "session_id": session});
                with(Method::POST, "/feedback".into(), feedback)
            }
            16 => bare(Method::GET, "/feedback".into()),
            17 => bare(Method::GET, ["/me", "/me/export"][random.usize(..2)].into()),
            18 => bare(Method::GET, "/audit?limit=1000".into()),
            19 | 20 => call(random, &id, own, collection),
            28..=30 => {
                let document = json!({"text": format!("The lamp is {own}."), "metadata": {"word": own}});
                let body = json!({"documents": [{"id": id, "document": document}, {"id": own, "document": {"text": " "}}]});
                with(Method::POST, format!("/jobs?collection={collection}"), body)
            }
            31 => bare(Method::GET, "/jobs".into()),
            // A job of whichever of the two began the last one.
            32 | 33 => {
                let more = ["", "/events"][random.usize(..2)];
                bare(Method::GET, format!("/jobs/{}{more}", self.last_job))
            }
            34 => {
                let filter = json!({"prefix": {"field": "word", "value": "canary"}});
                let body = json!({"filter": filter, "dry_run": random.bool(), "collection": collection});
                with(Method::POST, "/delete".into(), body)
            }
            // A run of whichever of the two began the last one.
            24 | 25 => bare(Method::GET, format!("/chat/{}/events", self.last_run)),
            21..=23 => over_openai(random, own, collection),
            _ => bare(Method::GET, ["/health/ready", "/openapi.json", "/nowhere"][random.usize(..3)].into()),
        }
    }
}

/// A request of a client of OpenAI.
fn over_openai(random: &mut Rng, own: &str, collection: &str) -> Request<Body> {
    let with = |path: &str, body: serde_json::Value| {
        request(Method::POST, path, "application/json", body.to_string())
    };
    match random.u8(..5) {
        0 => request(Method::GET, "/v1/models", "", Body::empty()),
        1 => with("/v1/embeddings", json!({"model": "agentkit/hashing", "input": own})),
        2 => {
            let (conversation, stream) = (["talk", "chat"][random.usize(..2)], random.bool());
            let input = format!("What is the kettle? {own}");
            let ask =
                json!({"model": collection, "input": input, "conversation": conversation, "stream": stream});
            with("/v1/responses", ask)
        }
        _ => {
            let said = |role: &str, text: String| json!({"role": role, "content": text});
            let messages = [
                said("system", format!("Say {own}.")),
                said("user", format!("What is the kettle? {own}")),
                said("assistant", own.to_owned()),
                said("user", format!("What is the lamp? {own}")),
            ];
            let stream = random.bool();
            with("/v1/chat/completions", json!({"model": collection, "messages": messages, "stream": stream}))
        }
    }
}

/// A call of a random tool over the Model Context Protocol.
fn call(random: &mut Rng, id: &str, own: &str, collection: &str) -> Request<Body> {
    let (name, arguments) = match random.u8(..3) {
        0 => ("search", json!({"query": "lamp kettle", "top_k": 50})),
        1 => ("fetch", json!({"id": id})),
        _ => ("ask", json!({"message": format!("What is the lamp? {own}")})),
    };
    call_tool(&format!("/mcp?collection={collection}"), name, &arguments)
}

fn call_tool(path: &str, name: &str, arguments: &serde_json::Value) -> Request<Body> {
    let params = json!({"name": name, "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let mut asked = request(Method::POST, path, "application/json", call);
    asked.headers_mut().insert("accept", "application/json, text/event-stream".parse().unwrap());
    asked
}

#[tokio::test]
async fn nothing_of_one_tenant_ever_reaches_the_other() {
    let seed = fastrand::u64(..1 << 32);
    eprintln!("seed {seed}");
    let mut stage = Stage::set(seed).await;
    for _ in 0..STEPS {
        stage.step().await;
    }
    for tenant in &stage.tenants {
        assert!(tenant.seen > 20, "{} read its own word {} times only", tenant.name, tenant.seen);
    }
    let Stage { engine, router, _folder, .. } = stage;
    drop(router);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_another_tenant_has_is_answered_like_what_does_not_exist() {
    let stage = Stage::set(1).await;
    let key = |tenant: usize, role: Role| {
        stage.tenants[tenant].keys.iter().find(|(had, _)| *had == role).unwrap().1.clone()
    };
    let (ann, zoe) = (key(0, Role::Editor), key(1, Role::Editor));
    let put = request(Method::PUT, "/documents/theirs", "text/plain", "The lamp is green.");
    assert_eq!(stage.send(&ann, put).await.status, 200);
    let ask = r#"{"message":"What is the lamp?","session_id":"theirs"}"#;
    let chat = stage.send(&ann, request(Method::POST, "/chat", "application/json", ask)).await.json();
    assert_eq!((&chat["session_id"], &chat["outcome"]), (&"theirs".into(), &"answered".into()), "{chat}");
    let job = stage.send(&key(0, Role::User), request(Method::DELETE, "/me", "", Body::empty())).await;
    assert_eq!(job.status, 202);
    let job = job.json()["id"].as_str().unwrap().to_owned();

    for (method, path, missing) in [
        (Method::GET, "/documents/theirs".to_owned(), "/documents/nobody".to_owned()),
        (Method::DELETE, "/documents/theirs".into(), "/documents/nobody".into()),
        (Method::GET, "/sessions/theirs".into(), "/sessions/nobody".into()),
        (Method::GET, "/sessions/theirs/export".into(), "/sessions/nobody/export".into()),
        (Method::DELETE, "/sessions/theirs".into(), "/sessions/nobody".into()),
        (Method::GET, format!("/jobs/{job}"), format!("/jobs/{}", "0".repeat(32))),
    ] {
        let told = async |path: &str| {
            let answer = stage.send(&zoe, request(method.clone(), path, "", Body::empty())).await;
            let name = path.split('/').nth(2).unwrap();
            answer.problem(404, "not-found").replace(name, "…")
        };
        assert_eq!(told(&path).await, told(&missing).await, "{method} {path}");
    }
    for path in ["/documents/theirs", "/sessions/theirs"] {
        let kept = stage.send(&ann, request(Method::GET, path, "", Body::empty())).await;
        assert_eq!(kept.status, 200, "{path} is gone");
    }
}

#[tokio::test]
async fn a_budget_of_model_tokens_ends_with_the_answer_that_uses_it_up() {
    let mut limits = Limits::default();
    limits.rates.user_tokens_per_day = Some(60);
    let stage = Stage::within(2, limits).await;
    let key = stage.tenants[0].keys[0].1.clone();
    let put = request(Method::PUT, "/documents/lamp", "text/plain", "The lamp is green.");
    assert_eq!(stage.send(&key, put).await.status, 200);
    let ask = || request(Method::POST, "/chat", "application/json", r#"{"message":"What is the lamp?"}"#);
    let mut answered = 0;
    let last = loop {
        let answer = stage.send(&key, ask()).await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 60, "every answer costs at least a token");
    };
    if last.status == 422 {
        last.problem(422, "budget-exhausted");
    }
    let refused = stage.send(&key, ask()).await;
    assert!(refused.problem(429, "rate-limited").contains("model tokens"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60, "{:?}", refused.headers);
    let search = request(Method::POST, "/search", "application/json", r#"{"query":"lamp"}"#);
    assert_eq!(stage.send(&key, search).await.status, 200, "searching costs none");
    for (tool, arguments, told) in [
        ("search", json!({"query": "lamp"}), "The lamp is green."),
        ("fetch", json!({"id": "lamp"}), "The lamp is green."),
        ("ask", json!({"message": "What is the lamp?"}), "the budget of model tokens is used up"),
    ] {
        let answer = stage.send(&key, call_tool("/mcp", tool, &arguments)).await;
        assert!(answer.status == 200 && answer.body.contains(told), "{tool}: {}", answer.body);
    }
    let other = stage.tenants[0].keys[1].1.clone();
    assert_ne!(stage.send(&other, ask()).await.status, 429, "another user has a budget of their own");
}
