//! The session store keeps turns whole, in order, apart by tenant, and over a restart.

use std::sync::Arc;

use agentkit_core::testing::ScriptedModel;
use agentkit_core::{CollectionName, Role, SummaryMemory, TenantId, forget_tenant};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    ctx: RunContext,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), ctx: RunContext::new() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("data").join("sessions.sqlite")
    }

    async fn open(&self) -> SqliteMemory {
        SqliteMemory::open(&self.path()).await.unwrap()
    }
}

fn key(tenant: &str, session: &str) -> SessionKey {
    let scope = TenantScope::for_tenant(TenantId::new(tenant).unwrap());
    SessionKey::new(scope, SessionId::new(session).unwrap())
}

fn turn(n: usize) -> Vec<Message> {
    vec![Message::user(format!("question {n}")), Message::assistant(format!("answer {n}"))]
}

#[tokio::test]
async fn the_newest_messages_come_oldest_first_and_survive_a_restart() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    for n in 0..5 {
        memory.append(&key("a", "s"), turn(n), &fixture.ctx).await.unwrap();
    }
    memory.close().await;

    let memory = fixture.open().await;
    let expected: Vec<Message> = [turn(3), turn(4)].concat();
    assert_eq!(memory.recall(&key("a", "s"), 4, &fixture.ctx).await.unwrap(), expected);
    assert_eq!(memory.recall(&key("a", "s"), usize::MAX, &fixture.ctx).await.unwrap().len(), 10);
    assert!(memory.recall(&key("a", "s"), 0, &fixture.ctx).await.unwrap().is_empty());
    assert!(memory.recall(&key("a", "unknown"), 4, &fixture.ctx).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_longest_page_of_the_service_tells_that_there_are_more() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    let mut rows = sqlx::QueryBuilder::new("INSERT INTO sessions (tenant, session, messages) ");
    rows.push_values(0..1_200, |mut row, n| {
        row.push_bind("a").push_bind(format!("{n:04}")).push_bind(1);
    });
    rows.build().execute(&memory.database.pool).await.unwrap();
    let scope = TenantScope::for_tenant(TenantId::new("a").unwrap());
    let listed = memory.sessions(&scope, None, 1_001, &fixture.ctx).await.unwrap();
    assert_eq!(listed.len(), 1_001, "a page of 1,000 and one that says there is another");
    let after = &listed[999].session;
    assert_eq!(memory.sessions(&scope, Some(after), 1_001, &fixture.ctx).await.unwrap().len(), 200);
    assert_eq!(memory.sessions(&scope, None, usize::MAX, &fixture.ctx).await.unwrap().len(), 1_001);
}

#[tokio::test]
async fn tenants_never_meet_and_collections_share_their_sessions() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    for (tenant, n) in [("a", 1), ("b", 2)] {
        memory.append(&key(tenant, "same"), turn(n), &fixture.ctx).await.unwrap();
    }
    assert_eq!(memory.recall(&key("a", "same"), 9, &fixture.ctx).await.unwrap(), turn(1));
    assert!(memory.forget(&key("a", "same"), &fixture.ctx).await.unwrap());
    assert!(memory.recall(&key("a", "same"), 9, &fixture.ctx).await.unwrap().is_empty());
    assert_eq!(memory.recall(&key("b", "same"), 9, &fixture.ctx).await.unwrap(), turn(2));

    let manuals = key("b", "same").scope().in_collection(CollectionName::new("manuals").unwrap());
    let same = SessionKey::new(manuals, SessionId::new("same").unwrap());
    assert_eq!(memory.recall(&same, 9, &fixture.ctx).await.unwrap(), turn(2));
}

#[tokio::test]
async fn concurrent_turns_are_neither_lost_nor_mixed() {
    let fixture = Fixture::new();
    let memories = [fixture.open().await, fixture.open().await];
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (memory, ctx) = (memories[n % 2].clone(), fixture.ctx.clone());
        tasks.spawn(async move { memory.append(&key("a", "s"), turn(n), &ctx).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let messages = memories[0].recall(&key("a", "s"), 100, &fixture.ctx).await.unwrap();
    assert_eq!(messages.len(), 80);
    for pair in messages.chunks(2) {
        assert_eq!((pair[0].role, pair[1].role), (Role::User, Role::Assistant));
        let numbers = pair.iter().map(|m| m.joined_text().split(' ').nth(1).unwrap().to_owned());
        let numbers: Vec<String> = numbers.collect();
        assert_eq!(numbers[0], numbers[1], "a turn was torn apart");
    }
}

#[tokio::test]
async fn sessions_are_listed_by_id_in_pages() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    for session in ["c", "a", "b", "ä"] {
        memory.append(&key("a", session), turn(0), &fixture.ctx).await.unwrap();
    }
    memory.append(&key("b", "other"), turn(0), &fixture.ctx).await.unwrap();
    let scope = key("a", "x").scope().clone();
    let first = memory.sessions(&scope, None, 2, &fixture.ctx).await.unwrap();
    let rest = memory.sessions(&scope, Some(&first[1].session), 10, &fixture.ctx).await.unwrap();
    let names: Vec<&str> = first.iter().chain(&rest).map(|s| s.session.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "ä"]);
    assert!(first.iter().all(|s| s.messages == 2));
}

#[tokio::test]
async fn forgetting_leaves_no_trace_in_the_files() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    let secret = "xylophone-secret-passage";
    memory.append(&key("a", "s"), vec![Message::user(secret.repeat(500))], &fixture.ctx).await.unwrap();
    memory.append(&key("a", "kept"), turn(1), &fixture.ctx).await.unwrap();
    assert!(memory.forget(&key("a", "s"), &fixture.ctx).await.unwrap());
    assert!(!memory.forget(&key("a", "s"), &fixture.ctx).await.unwrap(), "there is nothing left to forget");
    for entry in std::fs::read_dir(fixture.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    assert_eq!(memory.recall(&key("a", "kept"), 9, &fixture.ctx).await.unwrap(), turn(1));
}

#[tokio::test]
async fn a_reader_in_the_way_only_puts_off_that_no_trace_is_left() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    let secret = "xylophone-secret-passage";
    memory.append(&key("a", "s"), vec![Message::user(secret.repeat(500))], &fixture.ctx).await.unwrap();
    let mut reader = SqliteConnectOptions::new().filename(fixture.path()).connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT count(*) FROM messages").fetch_one(&mut reader).await.unwrap();
    assert!(memory.forget(&key("a", "s"), &fixture.ctx).await.unwrap());
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    memory.append(&key("a", "other"), turn(0), &fixture.ctx).await.unwrap();
    for entry in std::fs::read_dir(fixture.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn forgetting_leaves_no_trace_of_a_summary_either() {
    let fixture = Fixture::new();
    let secret = "swordfish-in-a-summary";
    let store = fixture.open().await;
    let model = Arc::new(ScriptedModel::saying(secret));
    let memory = SummaryMemory::new(Arc::new(store.clone()), model).tokens(60);
    for _ in 0..3 {
        let turn = vec![Message::user("question ".repeat(15)), Message::assistant("answer")];
        memory.append(&key("a", "s"), turn, &fixture.ctx).await.unwrap();
    }
    let recalled = memory.recall(&key("a", "s"), 9, &fixture.ctx).await.unwrap();
    assert!(recalled[0].joined_text().contains(secret), "{recalled:?}");
    assert_eq!(forget_tenant(&memory, None, key("a", "s").scope(), &fixture.ctx).await.unwrap().sessions, 1);
    store.close().await;
    for entry in std::fs::read_dir(fixture.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_damaged_row_is_named_and_other_sessions_go_on() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    for session in ["bad", "good"] {
        memory.append(&key("a", session), turn(0), &fixture.ctx).await.unwrap();
    }
    sqlx::query("UPDATE messages SET message = '{' WHERE session = 'bad' AND position = 1")
        .execute(&memory.database.pool)
        .await
        .unwrap();
    let error = memory.recall(&key("a", "bad"), 9, &fixture.ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("message 1 of session \"bad\""), "{error}");
    assert_eq!(memory.recall(&key("a", "good"), 9, &fixture.ctx).await.unwrap(), turn(0));
}

#[tokio::test]
async fn files_that_are_no_session_store_are_refused_with_a_reason() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    let newer = "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1";
    sqlx::query(newer).execute(&memory.database.pool).await.unwrap();
    memory.close().await;
    assert_eq!(SqliteMemory::open(&fixture.path()).await.unwrap_err().kind(), ErrorKind::Mismatch);

    let other = fixture.folder.path().join("notes.txt");
    std::fs::write(&other, "just some notes, certainly no database ".repeat(100)).unwrap();
    assert_eq!(SqliteMemory::open(&other).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_stopped_run_stores_nothing_and_an_empty_turn_begins_no_session() {
    let fixture = Fixture::new();
    let memory = fixture.open().await;
    memory.append(&key("a", "s"), Vec::new(), &fixture.ctx).await.unwrap();
    let stopped = RunContext::new();
    stopped.cancel();
    assert!(memory.append(&key("a", "s"), turn(0), &stopped).await.unwrap_err().is_stopped());
    let huge = vec![Message::user("x".repeat(MAX_TURN_BYTES + 1))];
    let error = memory.append(&key("a", "s"), huge, &fixture.ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(memory.sessions(key("a", "s").scope(), None, 9, &fixture.ctx).await.unwrap().is_empty());
}
