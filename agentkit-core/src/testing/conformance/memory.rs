//! The suite of the [`Memory`] contract.

use futures_util::future::join_all;
use serde_json::json;

use super::{is_stopped, soon, stopped_contexts, succeeds};
use crate::context::RunContext;
use crate::id::{CollectionName, SessionId, TenantId};
use crate::memory::{Memory, SessionKey};
use crate::message::{Message, Part, Role, ToolCall, ToolResult};
use crate::scope::TenantScope;

/// Turns that are appended at the same time.
const WRITERS: usize = 8;

/// Holds a memory to its contract; `fresh` makes an empty one every time it is called.
///
/// # Panics
/// With a sentence on the first rule that is broken.
///
/// # Cancel safety
/// Cancel safe, as far as the memory is.
pub async fn memory<M, F, Fut>(mut fresh: F)
where
    M: Memory,
    F: FnMut() -> Fut,
    Fut: Future<Output = M>,
{
    unknown_sessions_are_empty(&fresh().await).await;
    messages_come_back_as_they_went_in(&fresh().await).await;
    the_newest_come_oldest_first(&fresh().await).await;
    turns_are_never_torn(&fresh().await).await;
    tenants_never_meet(&fresh().await).await;
    forgetting_leaves_nothing(&fresh().await).await;
    sessions_are_listed_in_pages(&fresh().await).await;
    stopped_contexts_stop_it(&fresh().await).await;
}

async fn unknown_sessions_are_empty(memory: &dyn Memory) {
    let key = key("one", "unknown");
    assert!(recall(memory, &key, 10).await.is_empty(), "an unknown session has messages");
    let forgot = succeeds("forgetting", memory.forget(&key, &RunContext::new()).await);
    assert!(!forgot, "forgetting an unknown session claims that it existed");
    assert!(list(memory, "one", None, 10).await.is_empty(), "asking for a session created it");
}

async fn messages_come_back_as_they_went_in(memory: &dyn Memory) {
    let call =
        ToolCall { id: "c1".into(), name: "echo".into(), arguments: json!({"text": "ü", "n": [1, null]}) };
    let result = ToolResult { call_id: "c1".into(), content: "nul \0 and 🙂".into(), is_error: true };
    let turn = vec![
        Message::system(""),
        Message::user("東京\r\n\"quoted\" '; DROP TABLE x; --"),
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] },
        Message::assistant("long ".repeat(20_000)),
    ];
    let key = key("one", "äöü/../session 1");
    append(memory, &key, turn.clone()).await;
    let back = recall(memory, &key, 10).await;
    assert!(back == turn, "messages did not come back as they were appended");
    let elsewhere = key.scope().in_collection(valid(CollectionName::new("elsewhere")));
    let elsewhere = SessionKey::new(elsewhere, key.session().clone());
    let back = recall(memory, &elsewhere, 10).await;
    assert!(back == turn, "a session belongs to its tenant, but is not found from another collection");
}

async fn the_newest_come_oldest_first(memory: &dyn Memory) {
    let key = key("one", "s");
    for turn in [["a", "b"], ["c", "d"], ["e", "f"]] {
        append(memory, &key, turn.map(Message::user).to_vec()).await;
    }
    for (limit, expected) in [(0, ""), (1, "f"), (3, "def"), (6, "abcdef"), (1000, "abcdef")] {
        let texts: String = recall(memory, &key, limit).await.iter().map(Message::joined_text).collect();
        assert_eq!(texts, expected, "the newest {limit} of \"abcdef\", oldest first, came back as {texts:?}");
    }
}

async fn turns_are_never_torn(memory: &dyn Memory) {
    let key = key("one", "busy");
    let turn = |n: usize| (0..3).map(|part| Message::user(format!("{n}.{part}"))).collect::<Vec<_>>();
    soon("appending at the same time", join_all((0..WRITERS).map(|n| append(memory, &key, turn(n))))).await;
    let all = recall(memory, &key, 1000).await;
    assert_eq!(all.len(), 3 * WRITERS, "turns appended at the same time were lost or doubled");
    for messages in all.chunks(3) {
        let whole = (0..WRITERS).any(|n| messages == turn(n));
        assert!(whole, "turns appended at the same time are mixed up: {messages:?}");
    }
}

async fn tenants_never_meet(memory: &dyn Memory) {
    let (one, two) = (key("one", "same"), key("two", "same"));
    append(memory, &one, vec![Message::user("of one")]).await;
    assert!(recall(memory, &two, 10).await.is_empty(), "a tenant reads another tenant's session");
    assert!(list(memory, "two", None, 10).await.is_empty(), "a tenant lists another tenant's session");
    let forgot = succeeds("forgetting", memory.forget(&two, &RunContext::new()).await);
    assert!(!forgot, "a tenant forgets another tenant's session");
    append(memory, &two, vec![Message::user("of two")]).await;
    let read = recall(memory, &one, 10).await;
    assert_eq!(read, [Message::user("of one")], "a tenant writes into another tenant's session");
}

async fn forgetting_leaves_nothing(memory: &dyn Memory) {
    let (gone, kept) = (key("one", "gone"), key("one", "kept"));
    for key in [&gone, &kept] {
        append(memory, key, vec![Message::user("text")]).await;
    }
    let ctx = RunContext::new();
    assert!(succeeds("forgetting", memory.forget(&gone, &ctx).await), "forgetting says there was nothing");
    assert!(recall(memory, &gone, 10).await.is_empty(), "a forgotten session still has messages");
    assert_eq!(
        list(memory, "one", None, 10).await,
        [("kept".into(), 1)],
        "a forgotten session is still listed"
    );
    assert!(!succeeds("forgetting twice", memory.forget(&gone, &ctx).await), "a session is forgotten twice");
    append(memory, &gone, vec![Message::user("again")]).await;
    assert_eq!(recall(memory, &gone, 10).await.len(), 1, "a forgotten session came back with old messages");
}

async fn sessions_are_listed_in_pages(memory: &dyn Memory) {
    for (at, session) in ["b", "a", "é", "c", "B"].into_iter().enumerate() {
        append(memory, &key("one", session), vec![Message::user("x"); at + 1]).await;
    }
    let expected = [("B", 5), ("a", 2), ("b", 1), ("c", 4), ("é", 3)].map(|(id, n)| (id.to_owned(), n));
    let all = list(memory, "one", None, 100).await;
    assert_eq!(all, expected, "sessions are not listed by id with their number of messages");
    let mut pages: Vec<(String, u64)> = Vec::new();
    loop {
        let after = pages.last().map(|(id, _)| valid(SessionId::new(id.as_str())));
        let page = list(memory, "one", after.as_ref(), 2).await;
        assert!(page.len() <= 2, "a page of at most 2 sessions has {}", page.len());
        if page.is_empty() || pages.len() > expected.len() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages, expected, "paging through the sessions does not give each of them once");
}

async fn stopped_contexts_stop_it(memory: &dyn Memory) {
    let key = key("one", "stopped");
    for (why, ctx) in stopped_contexts() {
        let what = |call: &str| format!("{call} under {why}");
        is_stopped(&what("append"), memory.append(&key, vec![Message::user("x")], &ctx).await);
        is_stopped(&what("recall"), memory.recall(&key, 10, &ctx).await);
        is_stopped(&what("sessions"), memory.sessions(key.scope(), None, 10, &ctx).await);
        is_stopped(&what("forget"), memory.forget(&key, &ctx).await);
    }
    assert!(recall(memory, &key, 10).await.is_empty(), "a turn was stored although its append was stopped");
}

fn key(tenant: &str, session: &str) -> SessionKey {
    SessionKey::new(scope(tenant), valid(SessionId::new(session)))
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::for_tenant(valid(TenantId::new(tenant)))
}

fn valid<T>(name: crate::error::Result<T>) -> T {
    succeeds("making a name of this suite", name)
}

async fn append(memory: &dyn Memory, key: &SessionKey, turn: Vec<Message>) {
    succeeds("append", soon("append", memory.append(key, turn, &RunContext::new())).await);
}

async fn recall(memory: &dyn Memory, key: &SessionKey, limit: usize) -> Vec<Message> {
    succeeds("recall", soon("recall", memory.recall(key, limit, &RunContext::new())).await)
}

async fn list(
    memory: &dyn Memory,
    tenant: &str,
    after: Option<&SessionId>,
    limit: usize,
) -> Vec<(String, u64)> {
    let ctx = RunContext::new();
    let scope = scope(tenant);
    let listed = soon("sessions", memory.sessions(&scope, after, limit, &ctx)).await;
    succeeds("sessions", listed).into_iter().map(|s| (s.session.into(), s.messages)).collect()
}
