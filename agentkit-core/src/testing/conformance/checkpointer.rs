//! The suite of the [`Checkpointer`] contract.

use futures_util::future::join_all;

use super::{is_stopped, soon, stopped_contexts, succeeds};
use crate::checkpoint::{Checkpoint, Checkpointer, RunKey};
use crate::context::RunContext;
use crate::error::{ErrorKind, Result};
use crate::id::{CollectionName, RunId, SessionId, TenantId};
use crate::memory::SessionKey;
use crate::scope::TenantScope;

/// Processes that carry on the same run at the same time.
const WRITERS: usize = 8;

/// Holds a checkpointer to its contract; `fresh` makes an empty one every time it is called.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe, as far as the checkpointer is.
pub async fn checkpointer<C, F, Fut>(mut fresh: F)
where
    C: Checkpointer,
    F: FnMut() -> Fut,
    Fut: Future<Output = C>,
{
    unknown_runs_are_none(&fresh().await).await;
    checkpoints_come_back_as_they_went_in(&fresh().await).await;
    only_the_next_revision_is_taken(&fresh().await).await;
    one_of_many_writers_wins(&fresh().await).await;
    tenants_never_meet(&fresh().await).await;
    removing_leaves_nothing(&fresh().await).await;
    a_session_is_forgotten_with_its_runs_only(&fresh().await).await;
    runs_are_listed_in_pages(&fresh().await).await;
    stopped_contexts_stop_it(&fresh().await).await;
}

async fn unknown_runs_are_none(store: &dyn Checkpointer) {
    let key = key("one", "unknown");
    assert_eq!(load(store, &key).await, None, "an unknown run has a checkpoint");
    let removed = succeeds("removing", store.remove(&key, &RunContext::new()).await);
    assert!(!removed, "removing an unknown run claims that it existed");
    assert!(list(store, "one", None, 10).await.is_empty(), "asking for a run created it");
}

async fn checkpoints_come_back_as_they_went_in(store: &dyn Checkpointer) {
    let key = key("one", "äöü/../run '1; --");
    for (at, state) in ["東京 🙂 \0 \r\n \"quoted\"", "", &"long ".repeat(100_000)].into_iter().enumerate()
    {
        let checkpoint = Checkpoint::new(at as u64 + 1, state);
        succeeds("save", save(store, &key, checkpoint.clone()).await);
        let same = load(store, &key).await == Some(checkpoint);
        assert!(same, "checkpoint {at} did not come back as it was saved");
    }
    let elsewhere = key.scope().in_collection(valid(CollectionName::new("elsewhere")));
    let found = load(store, &RunKey::new(elsewhere, key.run().clone())).await;
    assert!(found.is_some(), "a run belongs to its tenant, but is not found from another collection");
}

async fn only_the_next_revision_is_taken(store: &dyn Checkpointer) {
    let key = key("one", "run");
    for wrong in [0, 2, u64::MAX] {
        conflicts(
            &format!("revision {wrong} of a new run"),
            save(store, &key, Checkpoint::new(wrong, "x")).await,
        );
    }
    assert_eq!(load(store, &key).await, None, "a checkpoint was stored although it was refused");
    for revision in 1..=2 {
        succeeds("save", save(store, &key, Checkpoint::new(revision, "kept")).await);
    }
    for wrong in [0, 1, 2, 4] {
        conflicts(
            &format!("revision {wrong} behind 2"),
            save(store, &key, Checkpoint::new(wrong, "x")).await,
        );
    }
    let stored = load(store, &key).await;
    assert_eq!(stored, Some(Checkpoint::new(2, "kept")), "a refused checkpoint replaced what was there");
}

async fn one_of_many_writers_wins(store: &dyn Checkpointer) {
    let key = key("one", "contended");
    for revision in 1..=4 {
        let attempts = (0..WRITERS).map(|n| save(store, &key, Checkpoint::new(revision, n.to_string())));
        let results = soon("saving at the same time", join_all(attempts)).await;
        let winners: Vec<usize> = (0..).zip(&results).filter(|(_, r)| r.is_ok()).map(|(n, _)| n).collect();
        assert_eq!(winners.len(), 1, "{} writers of the same revision succeeded, not 1", winners.len());
        let stored = load(store, &key).await.map(|stored| stored.state);
        let won = winners.first().map(ToString::to_string);
        assert_eq!(stored, won, "what is stored is not what the writer saved who succeeded");
    }
}

async fn tenants_never_meet(store: &dyn Checkpointer) {
    let (one, two) = (key("one", "same"), key("two", "same"));
    succeeds("save", save(store, &one, Checkpoint::new(1, "of one")).await);
    assert_eq!(load(store, &two).await, None, "a tenant reads another tenant's run");
    assert!(list(store, "two", None, 10).await.is_empty(), "a tenant lists another tenant's run");
    let removed = succeeds("removing", store.remove(&two, &RunContext::new()).await);
    assert!(!removed, "a tenant removes another tenant's run");
    succeeds("the first save of a tenant", save(store, &two, Checkpoint::new(1, "of two")).await);
    let stored = load(store, &one).await;
    assert_eq!(stored, Some(Checkpoint::new(1, "of one")), "a tenant writes over another tenant's run");
}

async fn removing_leaves_nothing(store: &dyn Checkpointer) {
    let (gone, kept) = (key("one", "gone"), key("one", "kept"));
    for key in [&gone, &kept] {
        succeeds("save", save(store, key, Checkpoint::new(1, "x")).await);
    }
    let ctx = RunContext::new();
    assert!(succeeds("removing", store.remove(&gone, &ctx).await), "removing says there was nothing");
    assert_eq!(load(store, &gone).await, None, "a removed run is still there");
    assert_eq!(list(store, "one", None, 10).await, [("kept".into(), 1)], "a removed run is still listed");
    assert!(!succeeds("removing twice", store.remove(&gone, &ctx).await), "a run is removed twice");
    succeeds("the first save behind a removal", save(store, &gone, Checkpoint::new(1, "new")).await);
}

async fn a_session_is_forgotten_with_its_runs_only(store: &dyn Checkpointer) {
    let of = |session: &str| Checkpoint::new(1, "x").session(Some(valid(SessionId::new(session))));
    let runs = [("one", "a", of("s")), ("one", "b", of("t")), ("one", "c", Checkpoint::new(1, "x"))];
    for (tenant, run, checkpoint) in runs.into_iter().chain([("one", "d", of("s")), ("two", "a", of("s"))]) {
        succeeds("save", save(store, &key(tenant, run), checkpoint).await);
    }
    let moved = Checkpoint { revision: 2, ..of("s") };
    succeeds("save", save(store, &key("one", "b"), moved).await);
    let stored = load(store, &key("one", "d")).await;
    assert_eq!(stored, Some(of("s")), "a checkpoint came back without its session");
    let (ctx, session) = (RunContext::new(), SessionKey::new(scope("one"), valid(SessionId::new("s"))));
    let forgotten = succeeds("forgetting", store.forget(&session, &ctx).await);
    assert_eq!(forgotten, 3, "of a session with 3 runs {forgotten} were forgotten");
    assert_eq!(list(store, "one", None, 10).await, [("c".into(), 1)], "forgetting left the wrong runs");
    assert_eq!(list(store, "two", None, 10).await.len(), 1, "a tenant forgets another tenant's run");
    assert_eq!(
        succeeds("forgetting twice", store.forget(&session, &ctx).await),
        0,
        "a run is forgotten twice"
    );
}

async fn runs_are_listed_in_pages(store: &dyn Checkpointer) {
    for (at, run) in ["b", "a", "é", "c", "B"].into_iter().enumerate() {
        for revision in 1..=at as u64 + 1 {
            succeeds("save", save(store, &key("one", run), Checkpoint::new(revision, "x")).await);
        }
    }
    let expected = [("B", 5), ("a", 2), ("b", 1), ("c", 4), ("é", 3)].map(|(id, n)| (id.to_owned(), n));
    let all = list(store, "one", None, 100).await;
    assert_eq!(all, expected, "runs are not listed by id with their revision");
    let mut pages: Vec<(String, u64)> = Vec::new();
    loop {
        let after = pages.last().map(|(id, _)| valid(RunId::new(id.as_str())));
        let page = list(store, "one", after.as_ref(), 2).await;
        assert!(page.len() <= 2, "a page of at most 2 runs has {}", page.len());
        if page.is_empty() || pages.len() > expected.len() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, expected, "paging through the runs does not give each of them once");
}

async fn stopped_contexts_stop_it(store: &dyn Checkpointer) {
    let key = key("one", "stopped");
    for (why, ctx) in stopped_contexts() {
        let what = |call: &str| format!("{call} under {why}");
        is_stopped(&what("save"), store.save(&key, Checkpoint::new(1, "x"), &ctx).await);
        is_stopped(&what("load"), store.load(&key, &ctx).await);
        is_stopped(&what("runs"), store.runs(key.scope(), None, 10, &ctx).await);
        is_stopped(&what("remove"), store.remove(&key, &ctx).await);
        let session = SessionKey::new(key.scope().clone(), valid(SessionId::new("s")));
        is_stopped(&what("forget"), store.forget(&session, &ctx).await);
    }
    assert_eq!(load(store, &key).await, None, "a checkpoint was stored although its save was stopped");
}

fn conflicts<T>(what: &str, result: Result<T>) {
    let kind = result.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Conflict), "{what} must be refused as a conflict, not {kind:?}");
}

fn key(tenant: &str, run: &str) -> RunKey {
    RunKey::new(scope(tenant), valid(RunId::new(run)))
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::for_tenant(valid(TenantId::new(tenant)))
}

fn valid<T>(name: Result<T>) -> T {
    succeeds("making a name of this suite", name)
}

async fn save(store: &dyn Checkpointer, key: &RunKey, checkpoint: Checkpoint) -> Result<()> {
    soon("save", store.save(key, checkpoint, &RunContext::new())).await
}

async fn load(store: &dyn Checkpointer, key: &RunKey) -> Option<Checkpoint> {
    succeeds("load", soon("load", store.load(key, &RunContext::new())).await)
}

async fn list(
    store: &dyn Checkpointer,
    tenant: &str,
    after: Option<&RunId>,
    limit: usize,
) -> Vec<(String, u64)> {
    let ctx = RunContext::new();
    let scope = scope(tenant);
    let listed = soon("runs", store.runs(&scope, after, limit, &ctx)).await;
    succeeds("runs", listed).into_iter().map(|listed| (listed.run.into(), listed.revision)).collect()
}
