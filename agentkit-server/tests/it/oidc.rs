//! Tokens of a provider: a small one in this test, always, and a real one where `AGENTKIT_TEST_OIDC_ISSUER` names it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkit_core::{ErrorKind, RunContext};
use agentkit_server::Clock;
use agentkit_server::http::Limits;
use agentkit_server::identity::{Authenticator, Keys, Oidc, OidcOptions, Role};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::doubles::Doubles;
use crate::identity::shown;
use crate::support::{Service, request};

const AUDIENCE: &str = "urn:agentkit";

/// A provider whose keys can be changed and which can be taken away.
#[derive(Clone)]
struct Issuer {
    url: String,
    keys: Arc<Mutex<BTreeMap<String, (EncodingKey, Jwk)>>>,
    away: Arc<Mutex<bool>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, keys: Arc::default(), away: Arc::default(), asked: Arc::default() };
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer.add("k1");
        issuer
    }

    fn add(&self, kid: &str) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.into());
        self.keys.lock().unwrap().insert(kid.into(), (key, jwk));
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid.into());
        encode(&header, claims, &self.keys.lock().unwrap()[kid].0).unwrap()
    }

    fn token(&self, kid: &str) -> String {
        self.sign(kid, &self.claims())
    }

    fn claims(&self) -> Value {
        json!({"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": now() + 600, "nbf": now(),
            "tenant_id": "acme", "roles": ["user", "editor"]})
    }

    fn oidc(&self) -> Oidc {
        self.refreshed(Duration::from_mins(5))
    }

    fn refreshed(&self, refresh: Duration) -> Oidc {
        let mut options = OidcOptions::new(self.url.as_str(), AUDIENCE);
        options.refresh = refresh;
        Oidc::new(options).unwrap()
    }
}

async fn discovery(State(issuer): State<Issuer>) -> axum::response::Response {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    if *issuer.away.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)})).into_response()
}

async fn keys(State(issuer): State<Issuer>) -> axum::Json<Value> {
    // A kind of key that nobody here knows comes with the others.
    let mut keys = vec![json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AA"})];
    keys.extend(issuer.keys.lock().unwrap().values().map(|(_, jwk)| json!(jwk)));
    axum::Json(json!({"keys": keys}))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn refusal(oidc: &Oidc, token: &str) -> String {
    let error = oidc.verify(token, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    error.message().to_owned()
}

#[tokio::test]
async fn a_token_says_who_is_asking_and_the_service_takes_it() {
    let issuer = Issuer::start().await;
    let oidc = issuer.oidc();
    let principal = oidc.verify(&issuer.token("k1"), &RunContext::new()).await.unwrap();
    assert_eq!((principal.tenant.as_str(), principal.subject.as_str()), ("acme", "ann"));
    assert_eq!(principal.role, Role::Editor, "the mightier of the two");
    oidc.verify(&issuer.token("k1"), &RunContext::new()).await.unwrap();
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "keys are kept");

    let doubles = Doubles::default();
    let keys = Keys::new(doubles.state.clone(), Clock::system());
    let service = Service::over(doubles, Authenticator::required(keys).oidc(oidc), Limits::default());
    let asked = || request(Method::GET, "/documents", "", Body::empty());
    assert_eq!(service.send(shown(&issuer.token("k1"), asked())).await.status, 200);
    let mut claims = issuer.claims();
    claims["exp"] = (now() - 60).into();
    let refused = service.send(shown(&issuer.sign("k1", &claims), asked())).await;
    assert_eq!(refused.problem(401, "unauthorized"), "the token is expired");
}

#[tokio::test]
async fn every_claim_is_checked() {
    let issuer = Issuer::start().await;
    let oidc = issuer.oidc();
    for (claim, value, why) in [
        ("iss", json!("http://evil.example"), "another issuer"),
        ("aud", json!("urn:other"), "another audience"),
        ("aud", json!([]), "another audience"),
        ("exp", json!(now() - 31), "is expired"),
        ("nbf", json!(now() + 60), "is not good yet"),
        ("exp", Value::Null, "the token"),
        ("sub", json!("a\nb"), "names nobody"),
        ("sub", Value::Null, "the token"),
        ("tenant_id", json!("../x"), "names no tenant"),
        ("tenant_id", json!(["acme"]), "names no tenant"),
        ("roles", json!(["root"]), "names no role"),
        ("roles", json!({"admin": true}), "names no role"),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value;
        let told = refusal(&oidc, &issuer.sign("k1", &claims)).await;
        assert!(told.contains(why), "{claim}: {told}");
    }
    for (claim, value) in
        [("exp", json!(now() - 25)), ("nbf", json!(now() + 25)), ("aud", json!(["x", AUDIENCE]))]
    {
        let mut claims = issuer.claims();
        claims[claim] = value;
        let token = issuer.sign("k1", &claims);
        assert!(oidc.verify(&token, &RunContext::new()).await.is_ok(), "{claim}: clocks may differ a little");
    }
}

#[tokio::test]
async fn what_was_not_signed_by_the_provider_does_not_count() {
    let issuer = Issuer::start().await;
    let oidc = issuer.oidc();
    let token = issuer.token("k1");
    let parts: Vec<&str> = token.split('.').collect();
    let elsewhere = Issuer::start().await;
    let forged = elsewhere.sign("k1", &issuer.claims());
    assert_eq!(refusal(&oidc, &forged).await, "the token's signature is wrong");
    assert!(refusal(&oidc, &format!("{}.{}.", parts[0], parts[1])).await.contains("the token"));

    // The two classic forgeries: no algorithm, and the public key taken for a shared secret.
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ";
    assert!(refusal(&oidc, &format!("{none}.{}.", parts[1])).await.contains("the token"));
    let public = serde_json::to_vec(&issuer.keys.lock().unwrap()["k1"].1).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".into());
    let confused = encode(&header, &issuer.claims(), &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(
        refusal(&oidc, &confused).await,
        "the token is signed by an algorithm that does not count here"
    );

    for garbage in ["a.b.c", "..", &"x".repeat(20_000), &format!("{}.{}.{}", parts[1], parts[1], parts[2])] {
        assert!(refusal(&oidc, garbage).await.contains("the token"));
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "nothing of that leads to the provider");
}

#[tokio::test]
async fn keys_are_rotated_under_load_without_a_refusal() {
    let issuer = Issuer::start().await;
    let oidc = issuer.refreshed(Duration::from_millis(50));
    for round in 1..3 {
        let (old, new) = (format!("k{round}"), format!("k{}", round + 1));
        issuer.add(&new);
        let tokens = (0..40).map(|n| issuer.token(if n % 2 == 0 { &old } else { &new }));
        let checks = tokens.map(|token| {
            let oidc = oidc.clone();
            async move { oidc.verify(&token, &RunContext::new()).await }
        });
        for checked in futures_util::future::join_all(checks).await {
            checked.unwrap();
        }
        let retired = issuer.token(&old);
        issuer.keys.lock().unwrap().remove(&old);
        let taken_back = std::time::Instant::now();
        while oidc.verify(&retired, &RunContext::new()).await.is_ok() {
            assert!(taken_back.elapsed() < Duration::from_secs(10), "a key that was taken back still counts");
            tokio::task::yield_now().await;
        }
    }
    assert!(issuer.asked.load(Ordering::SeqCst) < 20, "{:?}", issuer.asked);
}

#[tokio::test]
async fn a_key_that_was_taken_back_while_nobody_asked_does_not_count_once() {
    let issuer = Issuer::start().await;
    let oidc = issuer.refreshed(Duration::from_mins(1));
    let retired = issuer.token("k1");
    oidc.verify(&retired, &RunContext::new()).await.unwrap();
    issuer.add("k2");
    issuer.keys.lock().unwrap().remove("k1");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let error = oidc.verify(&retired, &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
}

#[tokio::test]
async fn a_provider_that_is_away_holds_up_only_those_it_has_to() {
    let issuer = Issuer::start().await;
    let oidc = issuer.refreshed(Duration::from_millis(1));
    oidc.verify(&issuer.token("k1"), &RunContext::new()).await.unwrap();
    *issuer.away.lock().unwrap() = true;
    for _ in 0..3 {
        assert!(oidc.verify(&issuer.token("k1"), &RunContext::new()).await.is_ok(), "known keys go on");
    }
    issuer.add("k2");
    let error = oidc.verify(&issuer.token("k2"), &RunContext::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    *issuer.away.lock().unwrap() = false;
    assert!(oidc.verify(&issuer.token("k2"), &RunContext::new()).await.is_ok());
}

#[test]
fn wrong_options_are_told() {
    for (issuer, audience, algorithms) in [
        ("nonsense", "a", &["RS256"][..]),
        ("https://x", "", &["RS256"]),
        ("https://x", "a", &["HS256"]),
        ("https://x", "a", &["none"]),
        ("https://x", "a", &[]),
    ] {
        let mut options = OidcOptions::new(issuer, audience);
        options.algorithms = algorithms.iter().map(|&name| name.to_owned()).collect();
        assert!(Oidc::new(options).unwrap_err().is_invalid_input(), "{issuer} {audience} {algorithms:?}");
    }
}

/// Needs a provider with the client `svc` and secret `svc-secret`, whose tokens for `urn:chat-api` name tenant and roles.
#[tokio::test]
async fn a_real_provider_hands_out_tokens_that_count() {
    let Some(issuer) = std::env::var_os("AGENTKIT_TEST_OIDC_ISSUER") else {
        eprintln!("skipped: a_real_provider_hands_out_tokens_that_count needs AGENTKIT_TEST_OIDC_ISSUER");
        return;
    };
    let issuer = issuer.into_string().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let discovery = client.get(format!("{issuer}/.well-known/openid-configuration")).send().await.unwrap();
    let discovery: Value = discovery.json().await.unwrap();
    let asked = client
        .post(discovery["token_endpoint"].as_str().unwrap())
        .basic_auth("svc", Some("svc-secret"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=chat");
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let oidc = Oidc::new(OidcOptions::new(issuer.as_str(), "urn:chat-api")).unwrap();
    let principal = oidc.verify(token, &RunContext::new()).await.unwrap();
    assert_eq!((principal.tenant.as_str(), principal.role), ("tenant-a", Role::User));
    let elsewhere = Oidc::new(OidcOptions::new(issuer.as_str(), "urn:other")).unwrap();
    assert_eq!(refusal(&elsewhere, token).await, "the token is meant for another audience");
}
