//! Records survive a restart, and files of every earlier version are brought up to date.

use agentkit_core::{Memory as _, Message, SessionId, SessionKey, TenantScope};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::super::SqliteMemory;
use super::*;

fn space() -> StateSpace {
    StateSpace::of_tenant("kind", &TenantScope::local())
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_but_the_owner_may_read_the_files_and_a_copy() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (path, copy, ctx) =
        (folder.path().join("a.sqlite"), folder.path().join("b.sqlite"), RunContext::new());
    let state = SqliteState::open(&path).await.unwrap();
    state.commit(vec![StateChange::put(space(), "id", "first")], &ctx).await.unwrap();
    SqliteMemory::copy(&path, &copy).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() >= 3, "the two files and a log: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert_eq!(
        SqliteState::open(&copy).await.unwrap().get(&space(), "id", &ctx).await.unwrap().unwrap().value,
        "first"
    );
}

#[tokio::test]
async fn records_survive_a_restart_and_are_seen_by_other_handles() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ctx) = (folder.path().join("state.sqlite"), RunContext::new());
    let (one, other) = (SqliteState::open(&path).await.unwrap(), SqliteState::open(&path).await.unwrap());
    one.commit(vec![StateChange::put(space(), "id", "first")], &ctx).await.unwrap();
    assert_eq!(other.get(&space(), "id", &ctx).await.unwrap().unwrap().value, "first");
    let stale = StateChange::put(space(), "id", "second").when(StateCondition::Revision(7));
    assert_eq!(other.commit(vec![stale], &ctx).await.unwrap_err().kind(), ErrorKind::Conflict);
    one.close().await;
    other.close().await;
    let again = SqliteState::open(&path).await.unwrap();
    assert_eq!(again.get(&space(), "id", &ctx).await.unwrap(), Some(StateRecord::new("id", 1, "first")));
}

#[tokio::test]
async fn conversations_and_records_share_a_file_and_its_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ctx) = (folder.path().join("state.sqlite"), RunContext::new());
    let memory = SqliteMemory::open(&path).await.unwrap();
    let state = memory.state();
    state.commit(vec![StateChange::put(space(), "id", "x")], &ctx).await.unwrap();
    let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
    memory.append(&key, vec![Message::user("hello")], &ctx).await.unwrap();
    memory.close().await;
    let closed = state.get(&space(), "id", &ctx).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Unavailable, "{closed:?}");
}

#[tokio::test]
async fn what_is_deleted_leaves_no_trace_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ctx) = (folder.path().join("state.sqlite"), RunContext::new());
    let state = SqliteState::open(&path).await.unwrap();
    state.commit(vec![StateChange::put(space(), "id", "the canary sings")], &ctx).await.unwrap();
    state.commit(vec![StateChange::delete(space(), "id")], &ctx).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"canary sin"));
    }
}

#[tokio::test]
async fn files_of_every_earlier_version_are_brought_up_to_date() {
    let all = sqlx::migrate!("src/sqlite/migrations");
    for applied in 0..=all.migrations.len() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ctx) = (folder.path().join("state.sqlite"), RunContext::new());
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut old = options.connect().await.unwrap();
        let earlier = Migrator { migrations: all.migrations[..applied].to_vec().into(), ..Migrator::DEFAULT };
        earlier.run_direct(None, &mut old, false).await.unwrap();
        if applied > 0 {
            let rows = "INSERT INTO sessions VALUES ('local', 's', 1); \
                        INSERT INTO messages VALUES ('local', 's', 0, '{\"role\":\"user\",\"parts\":[]}')";
            sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();

        let memory = SqliteMemory::open(&path).await.unwrap();
        let key = SessionKey::new(TenantScope::local(), SessionId::new("s").unwrap());
        let kept = memory.recall(&key, 9, &ctx).await.unwrap();
        assert_eq!(kept.len(), usize::from(applied > 0), "after {applied} of the migrations");
        memory.state().commit(vec![StateChange::put(space(), "id", "x")], &ctx).await.unwrap();
        assert!(memory.state().get(&space(), "id", &ctx).await.unwrap().is_some());
    }
}
