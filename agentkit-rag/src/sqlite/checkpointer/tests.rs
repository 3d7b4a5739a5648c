//! Runs survive a restart, share their file with conversations, and come into files of older versions.

use agentkit_core::{Memory, Message, SessionId, SessionKey, TenantId};

use super::*;
use crate::sqlite::SqliteMemory;

struct Fixture {
    folder: tempfile::TempDir,
    ctx: RunContext,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), ctx: RunContext::new() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("data").join("agentkit.sqlite")
    }

    async fn open(&self) -> SqliteCheckpointer {
        SqliteCheckpointer::open(&self.path()).await.unwrap()
    }
}

fn key(tenant: &str, run: &str) -> RunKey {
    let scope = TenantScope::for_tenant(TenantId::new(tenant).unwrap());
    RunKey::new(scope, RunId::new(run).unwrap())
}

fn session() -> SessionKey {
    SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap())
}

#[tokio::test]
async fn a_run_survives_a_restart_and_goes_on_at_its_next_revision() {
    let fixture = Fixture::new();
    let runs = fixture.open().await;
    for revision in 1..=3 {
        let checkpoint = Checkpoint::new(revision, format!("state {revision}"));
        runs.save(&key("a", "r"), checkpoint, &fixture.ctx).await.unwrap();
    }
    runs.close().await;

    let runs = fixture.open().await;
    let stored = runs.load(&key("a", "r"), &fixture.ctx).await.unwrap();
    assert_eq!(stored, Some(Checkpoint::new(3, "state 3")));
    let again = runs.save(&key("a", "r"), Checkpoint::new(3, "again"), &fixture.ctx).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    runs.save(&key("a", "r"), Checkpoint::new(4, "state 4"), &fixture.ctx).await.unwrap();
}

#[tokio::test]
async fn of_two_processes_that_carry_on_a_run_one_is_stopped() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.open().await, fixture.open().await);
    for revision in 1..=20 {
        let at = key("a", "r");
        let save = |store: &SqliteCheckpointer, by: &str| {
            let (store, at, checkpoint) = (store.clone(), at.clone(), Checkpoint::new(revision, by));
            async move { store.save(&at, checkpoint, &RunContext::new()).await }
        };
        let (first, second) = tokio::join!(save(&one, "one"), save(&two, "two"));
        let stored = one.load(&at, &fixture.ctx).await.unwrap().unwrap().state;
        match (first, second) {
            (Ok(()), Err(error)) => assert_eq!((stored.as_str(), error.kind()), ("one", ErrorKind::Conflict)),
            (Err(error), Ok(())) => assert_eq!((stored.as_str(), error.kind()), ("two", ErrorKind::Conflict)),
            both => panic!("revision {revision}: {both:?}"),
        }
    }
}

#[tokio::test]
async fn every_commit_is_synced_to_the_disk() {
    let fixture = Fixture::new();
    let runs = fixture.open().await;
    let read = |pragma: &'static str| sqlx::query_scalar::<_, i64>(pragma).fetch_one(&runs.database.pool);
    assert_eq!(read("PRAGMA synchronous").await.unwrap(), 2, "2 is FULL");
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&runs.database.pool).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn conversations_and_runs_share_one_file() {
    let fixture = Fixture::new();
    let memory = SqliteMemory::open(&fixture.path()).await.unwrap();
    let runs = memory.checkpointer();
    memory.append(&session(), vec![Message::user("hello")], &fixture.ctx).await.unwrap();
    runs.save(&key("a", "r"), Checkpoint::new(1, "x"), &fixture.ctx).await.unwrap();
    assert!(memory.forget(&session(), &fixture.ctx).await.unwrap());
    assert!(runs.load(&key("a", "r"), &fixture.ctx).await.unwrap().is_some());
    runs.close().await;
    let closed = memory.recall(&session(), 1, &fixture.ctx).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_file_from_before_there_were_runs_keeps_its_conversations_and_takes_runs() {
    let fixture = Fixture::new();
    let memory = SqliteMemory::open(&fixture.path()).await.unwrap();
    memory.append(&session(), vec![Message::user("hello")], &fixture.ctx).await.unwrap();
    let pool = &memory.checkpointer().database.pool;
    for undo in ["DROP TABLE runs", "DROP TABLE state", "DELETE FROM _sqlx_migrations WHERE version >= 2"] {
        sqlx::query(undo).execute(pool).await.unwrap();
    }
    memory.close().await;

    let runs = fixture.open().await;
    runs.save(&key("a", "r"), Checkpoint::new(1, "x"), &fixture.ctx).await.unwrap();
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version")
        .fetch_all(&runs.database.pool)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2, 3, 4]);
    let memory = SqliteMemory::open(&fixture.path()).await.unwrap();
    assert_eq!(memory.recall(&session(), 9, &fixture.ctx).await.unwrap(), [Message::user("hello")]);
}

#[tokio::test]
async fn a_run_of_an_older_file_is_forgotten_with_its_conversation() {
    let fixture = Fixture::new();
    let runs = fixture.open().await;
    for (run, state) in [("of", r#"{"settings":{"session":"s"}}"#), ("other", "no snapshot")] {
        runs.save(&key("local", run), Checkpoint::new(1, state), &fixture.ctx).await.unwrap();
    }
    for undo in [
        "DROP INDEX runs_of_a_session",
        "ALTER TABLE runs DROP COLUMN session",
        "DELETE FROM _sqlx_migrations WHERE version = 4",
    ] {
        sqlx::query(undo).execute(&runs.database.pool).await.unwrap();
    }
    runs.close().await;

    let runs = fixture.open().await;
    assert_eq!(runs.forget(&session(), &fixture.ctx).await.unwrap(), 1);
    let left = runs.runs(session().scope(), None, 9, &fixture.ctx).await.unwrap();
    assert_eq!(left, [RunSummary::new(RunId::new("other").unwrap(), 1)]);
}

#[tokio::test]
async fn a_removed_run_leaves_no_trace_in_the_files() {
    let fixture = Fixture::new();
    let runs = fixture.open().await;
    let secret = "xylophone-secret-passage";
    runs.save(&key("a", "r"), Checkpoint::new(1, secret.repeat(500)), &fixture.ctx).await.unwrap();
    assert!(runs.remove(&key("a", "r"), &fixture.ctx).await.unwrap());
    for entry in std::fs::read_dir(fixture.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn too_large_a_run_is_refused_and_what_was_stored_stays() {
    let fixture = Fixture::new();
    let runs = fixture.open().await;
    runs.save(&key("a", "r"), Checkpoint::new(1, "kept"), &fixture.ctx).await.unwrap();
    let huge = Checkpoint::new(2, "x".repeat(MAX_STATE_BYTES + 1));
    let error = runs.save(&key("a", "r"), huge, &fixture.ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    let stored = runs.load(&key("a", "r"), &fixture.ctx).await.unwrap();
    assert_eq!(stored, Some(Checkpoint::new(1, "kept")));
}
