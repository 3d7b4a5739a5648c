//! The chain grows without gaps from many writers, shows every kind of tampering, and stays whole when it is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use agentkit_core::{
    MemoryState, RunContext, StateChange, StateQuery, StateSpace, StateStore, TenantId, TenantScope,
};
use futures_util::future::join_all;

use super::*;
use crate::busy::Busy;
use crate::clock::Clock;

fn event(actor: &str) -> AuditEvent {
    AuditEvent {
        actor: actor.into(),
        credential: "k1".into(),
        role: Some(Role::Editor),
        action: "PUT /documents/{id}".into(),
        target: Some("tea".into()),
        outcome: 200,
        trace_id: "t".into(),
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn links(name: &str) -> StateSpace {
    StateSpace::of_tenant("audit", &TenantScope::for_tenant(tenant(name)))
}

struct Fixture {
    store: Arc<MemoryState>,
    seconds: Arc<AtomicU64>,
    ctx: RunContext,
}

impl Fixture {
    fn new() -> Self {
        let seconds = Arc::new(AtomicU64::new(1_000_000));
        Self { store: Arc::new(MemoryState::new()), seconds, ctx: RunContext::new() }
    }

    fn log(&self) -> AuditLog {
        let told = self.seconds.clone();
        let now = move || UNIX_EPOCH + Duration::from_secs(told.load(Ordering::SeqCst));
        AuditLog::new(self.store.clone(), Clock::telling(now))
    }

    async fn filled() -> Self {
        let fixture = Self::new();
        for n in 0..5 {
            fixture.log().record(&tenant("acme"), event(&format!("actor-{n}"))).await.unwrap();
        }
        fixture
    }

    async fn broken(&self, change: StateChange) -> String {
        self.store.commit(vec![change], &self.ctx).await.unwrap();
        let error = self.log().verify(&self.ctx).await.unwrap_err();
        assert_eq!(error.kind(), agentkit_core::ErrorKind::Corrupt);
        error.message().to_owned()
    }
}

#[tokio::test]
async fn many_writers_of_many_processes_make_one_chain_a_tenant() {
    let fixture = Fixture::new();
    let logs = [fixture.log(), fixture.log()];
    let writes = (0..400).map(|n| {
        let log = logs[n % 2].clone();
        async move { log.record(&tenant(["acme", "zoo"][n % 3 % 2]), event(&n.to_string())).await }
    });
    assert!(join_all(writes).await.into_iter().all(|written| written.is_ok()));
    let verified = fixture.log().verify(&fixture.ctx).await.unwrap();
    assert_eq!(verified.iter().map(|chain| chain.records).sum::<u64>(), 400);
    let names: Vec<_> = verified.iter().map(|chain| chain.tenant.as_str()).collect();
    assert_eq!(names, ["acme", "zoo"]);
}

#[tokio::test]
async fn what_is_only_noted_is_there_after_a_flush_and_records_come_in_pages() {
    let fixture = Fixture::new();
    let log = fixture.log();
    for n in 0..300 {
        log.note(&tenant("acme"), event(&n.to_string())).await.unwrap();
    }
    log.flush().await;
    let scope = TenantScope::for_tenant(tenant("acme"));
    let page = log.list(&scope, 100, 3, &fixture.ctx).await.unwrap();
    assert_eq!(page.iter().map(|record| record.seq).collect::<Vec<_>>(), [101, 102, 103]);
    assert_eq!(page[0].event, event("100"));
    let other = TenantScope::for_tenant(tenant("zoo"));
    assert!(log.list(&other, 0, 9, &fixture.ctx).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    let id = chain::id;
    let fixture = Fixture::filled().await;
    let kept = fixture.store.get(&links("acme"), &id(3), &fixture.ctx).await.unwrap().unwrap().value;
    let changed = StateChange::put(links("acme"), id(3), kept.replace("actor-2", "actor-9"));
    assert!(fixture.broken(changed).await.contains("was changed"));

    let fixture = Fixture::filled().await;
    assert!(fixture.broken(StateChange::delete(links("acme"), id(3))).await.contains("should be"));
    let fixture = Fixture::filled().await;
    assert!(fixture.broken(StateChange::delete(links("acme"), id(5))).await.contains("instead of 5"));
    let fixture = Fixture::filled().await;
    assert!(fixture.broken(StateChange::delete(links("acme"), id(1))).await.contains("should be"));

    let fixture = Fixture::filled().await;
    let mut forged: AuditRecord = serde_json::from_str(&kept).unwrap();
    forged.event.outcome = 403;
    let mut ends = chain::Ends::new();
    ends.last = 2;
    ends.head.clone_from(&forged.previous);
    let forged = ends.append(forged.at, forged.event).unwrap();
    let replaced = StateChange::put(links("acme"), id(3), serde_json::to_string(&forged).unwrap());
    assert!(fixture.broken(replaced).await.contains("does not follow"), "a record with a new hash is taken");
}

#[tokio::test]
async fn a_damaged_chain_holds_up_nobody_else_s() {
    let ends = |value: &str| StateChange::put(StateSpace::of_service("audit-chains"), "acme", value);
    let forged = |seq| StateChange::put(links("acme"), chain::id(seq), "{}");
    for damage in [ends("not JSON"), forged(6)] {
        let fixture = Fixture::filled().await;
        fixture.store.commit(vec![damage], &fixture.ctx).await.unwrap();
        let log = fixture.log();
        let (acme, zoo) = (tenant("acme"), tenant("zoo"));
        let (damaged, whole) = tokio::join!(log.record(&acme, event("a")), log.record(&zoo, event("z")));
        assert!(damaged.is_err());
        whole.unwrap();
        let scope = TenantScope::for_tenant(zoo);
        assert_eq!(log.list(&scope, 0, 9, &fixture.ctx).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_damaged_chain_keeps_no_other_from_being_cut() {
    let ends = StateChange::put(StateSpace::of_service("audit-chains"), "acme", "not JSON");
    let first = StateChange::put(links("acme"), chain::id(1), "{}");
    for damage in [ends, first] {
        let fixture = Fixture::filled().await;
        let log = fixture.log();
        log.record(&tenant("zoo"), event("z")).await.unwrap();
        fixture.store.commit(vec![damage], &fixture.ctx).await.unwrap();
        fixture.seconds.fetch_add(100, Ordering::SeqCst);
        let error = log.prune(Duration::from_secs(9), &fixture.ctx).await.unwrap_err();
        assert_eq!(error.kind(), agentkit_core::ErrorKind::Corrupt);
        let scope = TenantScope::for_tenant(tenant("zoo"));
        assert!(log.list(&scope, 0, 9, &fixture.ctx).await.unwrap().is_empty(), "zoo's time was over");
    }
}

#[tokio::test]
async fn old_records_are_removed_and_the_rest_is_still_a_chain() {
    let fixture = Fixture::new();
    let log = fixture.log();
    for n in 0..700 {
        fixture.seconds.fetch_add(1, Ordering::SeqCst);
        log.record(&tenant("acme"), event(&n.to_string())).await.unwrap();
    }
    assert_eq!(log.prune(Duration::from_secs(99), &fixture.ctx).await.unwrap(), 600);
    assert_eq!(log.prune(Duration::from_secs(99), &fixture.ctx).await.unwrap(), 0);
    let [chain] = &log.verify(&fixture.ctx).await.unwrap()[..] else { panic!("one chain") };
    assert_eq!((chain.records, chain.last), (100, 700));
    log.record(&tenant("acme"), event("new")).await.unwrap();
    assert_eq!(log.verify(&fixture.ctx).await.unwrap()[0].last, 701);
    let left = fixture.store.list(&links("acme"), &StateQuery::new(1), &fixture.ctx).await.unwrap();
    assert_eq!(left[0].id, chain::id(601));
    assert_eq!(log.prune(Duration::ZERO, &fixture.ctx).await.unwrap(), 99, "this second is not over");
}

#[tokio::test(start_paused = true)]
async fn records_wait_for_a_store_that_is_busy() {
    let log = AuditLog::new(Arc::new(Busy::failing(3)), Clock::system());
    log.record(&tenant("acme"), event("ann")).await.unwrap();
    assert_eq!(log.verify(&RunContext::new()).await.unwrap().len(), 1);
}
