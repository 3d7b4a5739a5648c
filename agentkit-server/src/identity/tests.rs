//! Keys are found by their secret alone, end when they should, and never show themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use agentkit_core::{ErrorKind, MemoryState, RunContext, StateQuery, StateSpace, StateStore};

use super::*;
use crate::busy::Busy;
use crate::clock::Clock;

struct Fixture {
    store: Arc<MemoryState>,
    seconds: Arc<AtomicU64>,
    keys: Keys,
    ctx: RunContext,
}

impl Fixture {
    fn new() -> Self {
        let (store, seconds) = (Arc::new(MemoryState::new()), Arc::new(AtomicU64::new(1_000_000)));
        let told = seconds.clone();
        let clock = Clock::telling(move || UNIX_EPOCH + Duration::from_secs(told.load(Ordering::SeqCst)));
        let keys = Keys::new(store.clone(), clock);
        Self { store, seconds, keys, ctx: RunContext::new() }
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn create(&self, change: impl FnOnce(&mut KeySpec)) -> ApiKey {
        let mut spec = KeySpec::new(TenantId::new("acme").unwrap(), Role::User);
        change(&mut spec);
        self.keys.create(&spec, &self.ctx).await.unwrap().0
    }

    /// Why the key is refused; empty if it is not.
    async fn refusal(&self, key: &ApiKey) -> String {
        match self.keys.verify(key, &self.ctx).await {
            Ok(_) => String::new(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unauthorized);
                error.message().to_owned()
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_known_by_its_secret_and_stored_as_a_hash() {
    let fixture = Fixture::new();
    let key = fixture.create(|spec| spec.subject = Some("ann".into())).await;
    let found = fixture.keys.verify(&ApiKey::parse(&key.expose()).unwrap(), &fixture.ctx).await.unwrap();
    assert_eq!((found.tenant.as_str(), found.subject.as_str(), found.role), ("acme", "ann", Role::User));

    let other = fixture.create(|_| {}).await;
    let mixed = key.expose().replace(key.id(), other.id());
    assert_eq!(fixture.refusal(&ApiKey::parse(&mixed).unwrap()).await, "the API key is not known");
    assert_eq!(fixture.refusal(&ApiKey::random().unwrap()).await, "the API key is not known");

    let secret = key.expose().rsplit('_').next().unwrap().to_owned();
    let kept = fixture.store.list(&StateSpace::of_service("keys"), &StateQuery::new(9), &fixture.ctx).await;
    assert!(!format!("{:?} {key:?}", kept.unwrap()).contains(&secret), "the secret is shown or stored");
}

#[test]
fn what_is_no_key_is_not_taken_for_one() {
    let whole = ApiKey::random().unwrap().expose();
    assert!(ApiKey::parse(&whole).is_some());
    let long = "x".repeat(100_000);
    for wrong in ["", "agk", "agk__", &whole[1..], &whole[..whole.len() - 1], &whole.to_uppercase(), &long] {
        assert_eq!(ApiKey::parse(wrong), None, "{wrong:?}");
    }
    assert!(ApiKey::parse(&format!("{whole}_")).is_none());
}

#[tokio::test]
async fn a_key_ends_when_it_expires_or_is_revoked() {
    let fixture = Fixture::new();
    let key = fixture.create(|spec| spec.lifetime = Some(Duration::from_mins(1))).await;
    fixture.pass(59);
    assert_eq!(fixture.refusal(&key).await, "");
    fixture.pass(1);
    assert!(fixture.refusal(&key).await.ends_with("is expired"));

    let key = fixture.create(|_| {}).await;
    assert_eq!(fixture.refusal(&key).await, "");
    fixture.keys.revoke(key.id(), &fixture.ctx).await.unwrap();
    assert!(fixture.refusal(&key).await.ends_with("is revoked"), "the cache outlives the revocation");
    assert!(fixture.keys.revoke("unknown", &fixture.ctx).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_rotated_key_and_its_successor_are_both_good_for_a_while() {
    let fixture = Fixture::new();
    let old = fixture.create(|spec| spec.lifetime = Some(Duration::from_secs(1000))).await;
    let (new, record) = fixture.keys.rotate(old.id(), Duration::from_mins(1), &fixture.ctx).await.unwrap();
    assert_eq!(record.replaces.as_deref(), Some(old.id()));
    fixture.pass(59);
    assert_eq!((fixture.refusal(&old).await, fixture.refusal(&new).await), (String::new(), String::new()));
    fixture.pass(1);
    assert!(fixture.refusal(&old).await.ends_with("is expired"));
    let (a, b) = (
        fixture.keys.verify(&new, &fixture.ctx).await.unwrap(),
        fixture.keys.list(None, 9, &fixture.ctx).await.unwrap().len(),
    );
    assert_eq!((a.subject, b), (format!("key-{}", old.id()), 2), "the successor is the same user");
    let again = fixture.keys.rotate(old.id(), Duration::ZERO, &fixture.ctx).await.unwrap_err();
    assert!(again.is_invalid_input());
    fixture.pass(1000);
    assert!(fixture.refusal(&new).await.ends_with("is expired"));
}

#[tokio::test]
async fn another_process_sees_a_revocation_within_a_second() {
    let fixture = Fixture::new();
    let other = Keys::new(fixture.store.clone(), Clock::system());
    let key = fixture.create(|_| {}).await;
    assert!(other.verify(&key, &fixture.ctx).await.is_ok());
    fixture.keys.revoke(key.id(), &fixture.ctx).await.unwrap();
    let revoked = std::time::Instant::now();
    while other.verify(&key, &fixture.ctx).await.is_ok() {
        assert!(revoked.elapsed() < Duration::from_secs(1), "a revoked key is good for a second");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_scoped_principal_stays_in_its_collections() {
    let name = |name: &str| CollectionName::new(name).unwrap();
    let mut principal = Principal::new(TenantId::new("acme").unwrap(), "ann", Role::User);
    assert_eq!(principal.scope(Some(name("x"))).unwrap().collection().as_str(), "x");
    assert_eq!(principal.scope(None).unwrap().collection().as_str(), "default");
    principal.collections = Some([name("a")].into());
    assert_eq!(principal.scope(None).unwrap().collection().as_str(), "a");
    assert!(principal.scope(Some(name("b"))).unwrap_err().is_not_found());
    principal.collections = Some([name("a"), name("b")].into());
    assert!(principal.scope(None).unwrap_err().is_not_found(), "none of the two is meant");
    assert_eq!(principal.scope(Some(name("b"))).unwrap().tenant().as_str(), "acme");
}

#[tokio::test]
async fn what_no_key_can_be_made_for_is_refused() {
    let fixture = Fixture::new();
    for change in [
        (|spec: &mut KeySpec| spec.subject = Some(String::new())) as fn(&mut KeySpec),
        |spec| spec.subject = Some("a\nb".into()),
        |spec| spec.subject = Some("x".repeat(257)),
        |spec| spec.collections = Some(BTreeSet::new()),
        |spec| spec.label = "x".repeat(257),
    ] {
        let mut spec = KeySpec::new(TenantId::new("acme").unwrap(), Role::User);
        change(&mut spec);
        assert!(fixture.keys.create(&spec, &fixture.ctx).await.unwrap_err().is_invalid_input());
    }
    assert!("root".parse::<Role>().unwrap_err().is_invalid_input());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_many_show_at_once_is_read_once() {
    let (store, ctx) = (Arc::new(Busy::default()), RunContext::new());
    let keys = Keys::new(store.clone(), Clock::system());
    let spec = KeySpec::new(TenantId::new("acme").unwrap(), Role::User);
    let (key, _) = keys.create(&spec, &ctx).await.unwrap();
    let shown = (0..500).map(|_| keys.verify(&key, &ctx));
    let known = futures_util::future::join_all(shown).await;
    assert!(known.iter().all(Result::is_ok));
    assert_eq!(store.reads(), 1);
}
