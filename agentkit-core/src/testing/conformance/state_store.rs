//! The suite of the [`StateStore`] contract.

use futures_util::future::join_all;

use super::{is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::error::{ErrorKind, Result};
use crate::id::TenantId;
use crate::scope::TenantScope;
use crate::state::{
    MAX_RECORD_BYTES, MAX_RECORD_ID_BYTES, StateChange, StateCondition, StateQuery, StateSpace, StateStore,
};

/// Commits that are made at the same time.
const WRITERS: usize = 8;

/// Holds a store of records to its contract; `fresh` makes an empty one every time it is called.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe, as far as the store is.
pub async fn state_store<S, F, Fut>(mut fresh: F)
where
    S: StateStore,
    F: FnMut() -> Fut,
    Fut: Future<Output = S>,
{
    what_is_written_comes_back(&fresh().await).await;
    conditions_hold(&fresh().await).await;
    commits_are_whole(&fresh().await).await;
    one_of_many_wins(&fresh().await).await;
    lists_come_in_order_and_pages(&fresh().await).await;
    spaces_never_meet(&fresh().await).await;
    what_is_too_much_is_refused(&fresh().await).await;
    stopped_contexts_stop_it(&fresh().await).await;
}

async fn what_is_written_comes_back(store: &dyn StateStore) {
    let space = service("kind");
    assert!(value(store, &space, "unknown").await.is_none(), "a record is there that nobody wrote");
    for (id, text) in [("äöü/%_ '; --", "{\"a\": \"東京 🙂\"}"), ("empty", ""), ("id", "first")] {
        put(store, &space, id, text).await;
        assert_eq!(value(store, &space, id).await, Some((1, text.into())), "record {id:?} came back changed");
    }
    put(store, &space, "id", "second").await;
    assert_eq!(value(store, &space, "id").await, Some((2, "second".into())), "a record was not replaced");
    succeeds("delete", commit(store, vec![StateChange::delete(space.clone(), "id")]).await);
    succeeds("delete nothing", commit(store, vec![StateChange::delete(space.clone(), "id")]).await);
    assert!(value(store, &space, "id").await.is_none(), "a deleted record is still there");
    put(store, &space, "id", "third").await;
    assert_eq!(value(store, &space, "id").await, Some((1, "third".into())), "revisions outlive a deletion");
}

async fn conditions_hold(store: &dyn StateStore) {
    let space = service("kind");
    let write = |condition| StateChange::put(space.clone(), "id", "new").when(condition);
    let delete = |condition| StateChange::delete(space.clone(), "id").when(condition);
    conflicts("writing a missing record at revision 1", store, write(StateCondition::Revision(1))).await;
    conflicts("deleting a missing record at revision 1", store, delete(StateCondition::Revision(1))).await;
    succeeds("create", commit(store, vec![write(StateCondition::Absent)]).await);
    conflicts("creating what is there", store, write(StateCondition::Absent)).await;
    conflicts("writing at revision 2 of 1", store, write(StateCondition::Revision(2))).await;
    conflicts("deleting at revision 0 of 1", store, delete(StateCondition::Revision(0))).await;
    succeeds("write at its revision", commit(store, vec![write(StateCondition::Revision(1))]).await);
    conflicts("writing at revision 1 of 2", store, write(StateCondition::Revision(1))).await;
    succeeds("delete at its revision", commit(store, vec![delete(StateCondition::Revision(2))]).await);
}

async fn commits_are_whole(store: &dyn StateStore) {
    let (one, two) = (service("one"), service("two"));
    put(store, &two, "there", "old").await;
    let changes = vec![
        StateChange::put(one.clone(), "a", "x"),
        StateChange::delete(two.clone(), "there"),
        StateChange::put(two.clone(), "there too", "x").when(StateCondition::Revision(1)),
    ];
    let refused = commit(store, changes).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::Conflict), "a commit with a condition that is not met is made");
    assert!(value(store, &one, "a").await.is_none(), "a part of a refused commit is there");
    assert_eq!(value(store, &two, "there").await, Some((1, "old".into())), "a refused commit deletes");
    let both = vec![StateChange::put(one.clone(), "a", "x"), StateChange::put(two.clone(), "a", "y")];
    succeeds("commit to two spaces", commit(store, both).await);
    assert_eq!(value(store, &one, "a").await, Some((1, "x".into())));
    assert_eq!(value(store, &two, "a").await, Some((1, "y".into())));
    succeeds("commit nothing", commit(store, Vec::new()).await);
}

async fn one_of_many_wins(store: &dyn StateStore) {
    let space = service("kind");
    let claim = |n: usize| {
        let head = StateChange::put(space.clone(), "head", n.to_string()).when(StateCondition::Absent);
        commit(store, vec![head, StateChange::put(space.clone(), format!("by {n}"), "x")])
    };
    let done = soon("commits at the same time", join_all((0..WRITERS).map(claim))).await;
    let won = done.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1, "{won} of {WRITERS} commits created the same record");
    let lost = done.iter().filter_map(|result| result.as_ref().err());
    for error in lost {
        assert_eq!(error.kind(), ErrorKind::Conflict, "a commit that lost says {error:?}");
    }
    assert_eq!(ids(store, &space, &StateQuery::new(100)).await.len(), 2, "a commit that lost left something");
}

async fn lists_come_in_order_and_pages(store: &dyn StateStore) {
    let space = service("kind");
    for id in ["b/2", "a", "b/10", "é", "b", "b0", "B", "b/1"] {
        put(store, &space, id, "x").await;
    }
    let all = ["B", "a", "b", "b/1", "b/10", "b/2", "b0", "é"];
    assert_eq!(ids(store, &space, &StateQuery::new(100)).await, all, "records are not listed by id");
    let below = ["b/1", "b/10", "b/2"];
    let under = |limit: usize| StateQuery::new(limit).prefix("b/");
    assert_eq!(ids(store, &space, &under(100)).await, below, "a prefix does not select");
    assert_eq!(ids(store, &space, &under(1).after("b/1")).await, ["b/10"], "a page does not go on");
    assert_eq!(ids(store, &space, &under(9).after("a")).await, below, "`after` before the prefix cuts");
    assert!(ids(store, &space, &under(9).after("b/2")).await.is_empty(), "a list goes on behind its end");
    assert!(ids(store, &space, &StateQuery::new(0)).await.is_empty(), "a list of 0 records holds some");
    assert!(ids(store, &space, &StateQuery::new(9).prefix("%")).await.is_empty(), "a prefix is a pattern");
}

async fn spaces_never_meet(store: &dyn StateStore) {
    let spaces = [tenant("kind", "one"), tenant("kind", "two"), service("kind"), tenant("other", "one")];
    for (n, space) in spaces.iter().enumerate() {
        put(store, space, "same", &n.to_string()).await;
    }
    for (n, space) in spaces.iter().enumerate() {
        let read = value(store, space, "same").await;
        assert_eq!(read, Some((1, n.to_string())), "a record was written from another space: {space:?}");
        assert_eq!(ids(store, space, &StateQuery::new(9)).await, ["same"], "a space lists another's records");
    }
    succeeds("delete", commit(store, vec![StateChange::delete(spaces[0].clone(), "same")]).await);
    for space in &spaces[1..] {
        assert!(value(store, space, "same").await.is_some(), "a record was deleted from another space");
    }
}

async fn what_is_too_much_is_refused(store: &dyn StateStore) {
    let space = service("kind");
    let long = "x".repeat(MAX_RECORD_ID_BYTES);
    put(store, &space, &long, &"y".repeat(MAX_RECORD_BYTES)).await;
    let twice = vec![StateChange::delete(space.clone(), "id"), StateChange::put(space.clone(), "id", "x")];
    for (what, changes) in [
        ("an empty id", vec![StateChange::put(space.clone(), "", "x")]),
        ("an id with NUL", vec![StateChange::put(space.clone(), "a\0b", "x")]),
        ("an id that is too long", vec![StateChange::put(space.clone(), format!("{long}x"), "x")]),
        (
            "a value that is too long",
            vec![StateChange::put(space.clone(), "id", "y".repeat(MAX_RECORD_BYTES + 1))],
        ),
        (
            "deleting what is absent",
            vec![StateChange::delete(space.clone(), "id").when(StateCondition::Absent)],
        ),
        ("a record named twice", twice),
    ] {
        let refused = commit(store, changes).await.err();
        assert!(refused.is_some_and(|error| error.is_invalid_input()), "{what} is taken");
    }
    assert!(value(store, &space, "id").await.is_none(), "something of a refused commit is there");
}

async fn stopped_contexts_stop_it(store: &dyn StateStore) {
    let space = service("kind");
    for (why, ctx) in stopped_contexts() {
        let what = |call: &str| format!("{call} under {why}");
        is_stopped(&what("get"), store.get(&space, "id", &ctx).await);
        is_stopped(&what("list"), store.list(&space, &StateQuery::new(1), &ctx).await);
        let change = vec![StateChange::put(space.clone(), "id", "x")];
        is_stopped(&what("commit"), store.commit(change, &ctx).await);
    }
    assert!(value(store, &space, "id").await.is_none(), "a commit was made although it was stopped");
}

fn service(kind: &'static str) -> StateSpace {
    StateSpace::of_service(kind)
}

fn tenant(kind: &'static str, name: &str) -> StateSpace {
    let tenant = succeeds("making a name of this suite", TenantId::new(name));
    StateSpace::of_tenant(kind, &TenantScope::for_tenant(tenant))
}

async fn commit(store: &dyn StateStore, changes: Vec<StateChange>) -> Result<()> {
    soon("commit", store.commit(changes, &RunContext::new())).await
}

async fn conflicts(what: &str, store: &dyn StateStore, change: StateChange) {
    let refused = commit(store, vec![change]).await.err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::Conflict), "{what} is no conflict");
}

async fn put(store: &dyn StateStore, space: &StateSpace, id: &str, text: &str) {
    succeeds("put", commit(store, vec![StateChange::put(space.clone(), id, text)]).await);
}

async fn value(store: &dyn StateStore, space: &StateSpace, id: &str) -> Option<(u64, String)> {
    let found = soon("get", store.get(space, id, &RunContext::new())).await;
    succeeds("get", found).map(|record| (record.revision, record.value))
}

async fn ids(store: &dyn StateStore, space: &StateSpace, query: &StateQuery) -> Vec<String> {
    let listed = soon("list", store.list(space, query, &RunContext::new())).await;
    succeeds("list", listed).into_iter().map(|record| record.id).collect()
}
