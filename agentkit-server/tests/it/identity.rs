//! Who may do what: every route with every role, two tenants that never meet, and the trail that is left.

use std::time::Duration;

use agentkit_core::{CollectionName, RunContext, TenantId};
use agentkit_server::Clock;
use agentkit_server::http::Limits;
use agentkit_server::identity::{ApiKey, Authenticator, KeySpec, Keys, Role};
use axum::body::Body;
use axum::http::{Method, Request};

use crate::doubles::Doubles;
use crate::support::{Answer, Service, request};

/// The service with credentials required.
pub(crate) struct Guarded {
    pub(crate) service: Service,
    pub(crate) keys: Keys,
}

impl Guarded {
    pub(crate) fn new() -> Self {
        Self::within(Limits::default())
    }

    pub(crate) fn within(limits: Limits) -> Self {
        let doubles = Doubles::default();
        let keys = Keys::new(doubles.state.clone(), Clock::system());
        let authenticator = Authenticator::required(keys.clone());
        Self { service: Service::over(doubles, authenticator, limits), keys }
    }

    pub(crate) async fn key(&self, tenant: &str, role: Role) -> ApiKey {
        self.key_for(tenant, role, |_| {}).await
    }

    pub(crate) async fn key_for(
        &self,
        tenant: &str,
        role: Role,
        change: impl FnOnce(&mut KeySpec),
    ) -> ApiKey {
        let mut spec = KeySpec::new(TenantId::new(tenant).unwrap(), role);
        change(&mut spec);
        self.keys.create(&spec, &RunContext::new()).await.unwrap().0
    }

    /// Sends a request with `key`.
    pub(crate) async fn send(&self, key: &ApiKey, asked: Request<Body>) -> Answer {
        self.service.send(shown(&key.expose(), asked)).await
    }

    pub(crate) async fn put(&self, key: &ApiKey, id: &str, text: &str) -> Answer {
        let asked = request(Method::PUT, &format!("/documents/{id}"), "text/plain", text.to_owned());
        self.send(key, asked).await
    }

    pub(crate) async fn get(&self, key: &ApiKey, path: &str) -> Answer {
        self.send(key, request(Method::GET, path, "", Body::empty())).await
    }
}

pub(crate) fn shown(credential: &str, mut asked: Request<Body>) -> Request<Body> {
    asked.headers_mut().insert("authorization", format!("Bearer {credential}").parse().unwrap());
    asked
}

const FEEDBACK: &str = r#"{"turn":"4bf92f3577b34da6a3ce929d0e0e4736","rating":"up"}"#;

const COMPLETION: &str = r#"{"model":"default","messages":[{"role":"user","content":"x"}]}"#;

const ALL: &[Role] = &Role::ALL;
const USERS: &[Role] = &[Role::Admin, Role::Editor, Role::User];
const EDITORS: &[Role] = &[Role::Admin, Role::Editor];
const ADMINS: &[Role] = &[Role::Admin];
const AUDITORS: &[Role] = &[Role::Admin, Role::Auditor];

/// A message that the Model Context Protocol answers whatever there is.
fn ping() -> Request<Body> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let mut asked = request(Method::POST, "/mcp", "application/json", body);
    asked.headers_mut().insert("accept", "application/json, text/event-stream".parse().unwrap());
    asked
}

/// One request for every route that touches data, with the roles that may send it.
fn matrix() -> Vec<(Request<Body>, &'static [Role])> {
    let json =
        |method: Method, path: &str, body: &str| request(method, path, "application/json", body.to_owned());
    let bare = |method: Method, path: &str| request(method, path, "", Body::empty());
    vec![
        (json(Method::POST, "/chat", r#"{"message":"x"}"#), USERS),
        (bare(Method::GET, "/chat/tea/events"), USERS),
        (bare(Method::POST, "/chat/tea/stop"), USERS),
        (json(Method::POST, "/search", r#"{"query":"x"}"#), USERS),
        (ping(), USERS),
        (bare(Method::GET, "/v1/models"), USERS),
        (bare(Method::GET, "/v1/models/tea"), USERS),
        (json(Method::POST, "/v1/chat/completions", COMPLETION), USERS),
        (json(Method::POST, "/v1/responses", r#"{"model":"default","input":"x"}"#), USERS),
        (bare(Method::GET, "/v1/responses/tea"), USERS),
        (bare(Method::DELETE, "/v1/responses/tea"), USERS),
        (json(Method::POST, "/v1/embeddings", r#"{"model":"agentkit/hashing","input":"x"}"#), USERS),
        (json(Method::PUT, "/documents/tea", r#"{"text":"green"}"#), EDITORS),
        (bare(Method::GET, "/documents/tea"), USERS),
        (bare(Method::GET, "/collections"), USERS),
        (bare(Method::GET, "/documents"), USERS),
        (bare(Method::DELETE, "/documents/tea"), EDITORS),
        (json(Method::POST, "/delete", r#"{"filter":{"exists":{"field":"year"}}}"#), EDITORS),
        (bare(Method::GET, "/audit"), AUDITORS),
        (bare(Method::GET, "/sessions"), USERS),
        (bare(Method::GET, "/sessions/tea"), USERS),
        (json(Method::PATCH, "/sessions/tea", r#"{"title":"x"}"#), USERS),
        (bare(Method::DELETE, "/sessions/tea"), USERS),
        (bare(Method::GET, "/sessions/tea/export"), USERS),
        (json(Method::POST, "/feedback", FEEDBACK), USERS),
        (bare(Method::GET, "/feedback"), ADMINS),
        (bare(Method::GET, "/keys"), ADMINS),
        (json(Method::POST, "/keys", r#"{"role":"user"}"#), ADMINS),
        (json(Method::POST, "/keys/tea/rotate", "{}"), ADMINS),
        (bare(Method::DELETE, "/keys/tea"), ADMINS),
        (bare(Method::GET, "/me"), ALL),
        (bare(Method::GET, "/me/export"), ALL),
        (bare(Method::DELETE, "/me"), ALL),
        (json(Method::POST, "/jobs", r#"{"documents":[{"id":"tea","document":{"text":"green"}}]}"#), EDITORS),
        (bare(Method::GET, "/jobs"), EDITORS),
        (bare(Method::GET, "/jobs/tea"), ALL),
        (bare(Method::GET, "/jobs/tea/events"), EDITORS),
        (bare(Method::POST, "/jobs/tea/cancel"), EDITORS),
    ]
}

#[tokio::test]
async fn every_route_takes_the_roles_it_is_for_and_no_other() {
    let guarded = Guarded::new();
    for role in Role::ALL {
        let key = guarded.key("acme", role).await;
        for (asked, roles) in matrix() {
            let what = format!("{} {} as {role}", asked.method(), asked.uri());
            let answer = guarded.send(&key, asked).await;
            if roles.contains(&role) {
                // What an editor deleted is missing to the user after them.
                let done = answer.status.is_success() || answer.status == 404;
                assert!(done, "{what}: {}", answer.body);
            } else {
                assert_eq!(answer.status, 403, "{what}: {}", answer.body);
                assert!(answer.body.contains(role.name()), "{what}: {}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn every_route_that_touches_data_is_in_the_matrix() {
    let guarded = Guarded::new();
    let description = guarded.service.get("/openapi.json").await.json();
    let mut tried: Vec<String> = Vec::new();
    for (asked, _) in matrix() {
        let path = asked.uri().path().replace("/tea", "/{id}");
        tried.push(format!("{} {path}", asked.method().as_str().to_lowercase()));
    }
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            // A WebSocket asks for the credential itself, and metrics are for one tenant.
            let apart = ["/openapi.json", "/chat/ws", "/metrics"].contains(&path.as_str());
            let open = path.starts_with("/health/") || apart;
            assert!(open || tried.contains(&format!("{method} {path}")), "{method} {path} is not tried");
        }
    }
}

#[tokio::test]
async fn without_a_good_credential_nothing_is_said_about_anything() {
    let guarded = Guarded::new();
    let good = guarded.key("acme", Role::Admin).await;
    let unknown = ApiKey::random().unwrap();
    for (asked, _) in matrix() {
        let (method, uri) = (asked.method().clone(), asked.uri().clone());
        let refused = guarded.service.send(asked).await;
        if !uri.path().starts_with("/v1/") {
            refused.problem(401, "unauthorized");
        }
        assert!(refused.status == 401 && refused.body.contains("credential"), "{method} {uri}");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"agentkit\"");
    }
    for wrong in [unknown.expose(), good.expose().to_uppercase(), String::new(), "x".repeat(9000)] {
        let asked = shown(&wrong, request(Method::GET, "/documents", "", Body::empty()));
        guarded.service.send(asked).await.problem(401, "unauthorized");
    }
    assert_eq!(guarded.get(&good, "/documents").await.status, 200);
    let health = guarded.service.get("/health/ready").await;
    assert!(!health.body.contains("documents,"), "anybody may ask for the health: {}", health.body);
}

#[tokio::test]
async fn refused_credentials_are_recorded_and_an_address_may_not_try_for_ever() {
    let guarded = Guarded::new();
    let good = guarded.key("acme", Role::User).await;
    let unknown = ApiKey::random().unwrap();
    for _ in 0..120 {
        guarded.get(&unknown, "/documents/tea").await.problem(401, "unauthorized");
    }
    let refused = guarded.get(&unknown, "/documents/tea").await;
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(guarded.get(&good, "/documents").await.status, 200, "a good credential is not held up");

    guarded.service.state.audit_log().flush().await;
    let auditor = guarded.key("service", Role::Auditor).await;
    let trail = guarded.get(&auditor, "/audit?limit=500").await.json();
    let records = trail["records"].as_array().unwrap();
    assert_eq!(records.len(), 120, "what comes too often is not recorded");
    assert_eq!(records[0]["action"], "GET /documents/{id}");
    assert_eq!((&records[0]["outcome"], &records[0]["role"]), (&401.into(), &serde_json::Value::Null));
    assert!(records[0]["actor"].as_str().unwrap().starts_with("a-"), "{}", records[0]);
    assert!(!trail.to_string().contains(unknown.id()));
    guarded.service.state.audit_log().verify(&RunContext::new()).await.unwrap();
}

#[tokio::test]
async fn a_key_works_from_any_host_and_ends_when_it_is_revoked() {
    let guarded = Guarded::new();
    let key = guarded.key("acme", Role::User).await;
    let mut asked = request(Method::GET, "/documents", "", Body::empty());
    asked.headers_mut().insert("host", "docs.example.com".parse().unwrap());
    assert_eq!(guarded.send(&key, asked).await.status, 200);
    guarded.keys.revoke(key.id(), &RunContext::new()).await.unwrap();
    let refused = guarded.get(&key, "/documents").await;
    assert!(refused.problem(401, "unauthorized").ends_with("is revoked"));
}

#[tokio::test]
async fn keys_are_rotated_under_load_without_a_refusal() {
    let (guarded, ctx) = (Guarded::new(), RunContext::new());
    let mut key = guarded.key("acme", Role::User).await;
    for _ in 0..5 {
        let asking = (0..20).map(|_| guarded.get(&key, "/documents"));
        let (answers, rotated) = tokio::join!(
            futures_util::future::join_all(asking),
            guarded.keys.rotate(key.id(), Duration::from_mins(1), &ctx)
        );
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(guarded.get(&key, "/documents").await.status, 200, "the old one goes on for a while");
        key = rotated.unwrap().0;
        assert_eq!(guarded.get(&key, "/documents").await.status, 200);
    }
}

#[tokio::test]
async fn a_scoped_key_finds_nothing_outside_of_its_collections() {
    let guarded = Guarded::new();
    let editor = guarded.key("acme", Role::Editor).await;
    for collection in ["open", "secret"] {
        let path = format!("tea?collection={collection}");
        assert_eq!(guarded.put(&editor, &path, "green").await.status, 200);
    }
    let scope = |spec: &mut KeySpec| spec.collections = Some([CollectionName::new("open").unwrap()].into());
    let scoped = guarded.key_for("acme", Role::Editor, scope).await;
    assert_eq!(guarded.get(&scoped, "/documents/tea").await.status, 200, "its only collection is meant");
    for path in ["/documents/tea?collection=secret", "/documents?collection=nowhere"] {
        let refused = guarded.get(&scoped, path).await;
        assert!(refused.problem(404, "not-found").starts_with("there is no collection"));
    }
    let ask = r#"{"message":"x","collection":"secret"}"#;
    let asked = request(Method::POST, "/chat", "application/json", ask.to_owned());
    guarded.send(&scoped, asked).await.problem(404, "not-found");
}

#[tokio::test]
async fn what_was_done_is_in_the_trail_of_the_tenant_and_of_no_other() {
    let guarded = Guarded::new();
    let (ann, zoe) = (guarded.key("acme", Role::Editor).await, guarded.key("zoo", Role::Editor).await);
    guarded.put(&ann, "docs/tea.md", "green").await;
    guarded.get(&ann, "/documents/missing").await.problem(404, "not-found");
    guarded.get(&ann, "/audit").await.problem(403, "forbidden");
    guarded.put(&zoe, "lion", "roars").await;
    guarded.service.state.audit_log().flush().await;

    let auditor = guarded.key("acme", Role::Auditor).await;
    let trail = guarded.get(&auditor, "/audit").await.json();
    let records = trail["records"].as_array().unwrap();
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["action"].as_str().unwrap(), &record["target"], &record["outcome"]))
        .collect();
    assert_eq!(
        told,
        [
            ("PUT /documents/{id}", &"docs/tea.md".into(), &200.into()),
            ("GET /documents/{id}", &"missing".into(), &404.into()),
            ("GET /audit", &serde_json::Value::Null, &403.into()),
        ]
    );
    assert_eq!(records[0]["credential"], ann.id());
    assert_eq!(records[0]["actor"], records[1]["actor"]);
    assert!(!trail.to_string().contains(&format!("key-{}", ann.id())), "people stand under pseudonyms");
    let page = guarded.get(&auditor, "/audit?after=1&limit=1").await.json();
    assert_eq!((&page["records"][0]["seq"], &page["next"]), (&2.into(), &2.into()));
    guarded.service.state.audit_log().flush().await;
    let newest = guarded.get(&auditor, "/audit?newest=true&limit=2").await.json();
    let seqs: Vec<_> = newest["records"].as_array().unwrap().iter().map(|record| &record["seq"]).collect();
    assert_eq!((seqs, newest.get("next")), (vec![&4.into(), &5.into()], None));
    let newer = guarded.get(&auditor, "/audit?newest=true&limit=2&after=4").await.json();
    assert_eq!((newer["records"][0]["seq"].as_u64(), newer["records"].get(1)), (Some(5), None));
    let verified = guarded.service.state.audit_log().verify(&RunContext::new()).await.unwrap();
    assert_eq!(verified.len(), 2);
}
