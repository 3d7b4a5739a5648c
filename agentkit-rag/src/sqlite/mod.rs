//! Stores in one SQLite file: conversations that survive a restart.
//!
//! The file is in write-ahead-log mode with full synchronisation, so a call that returned is on the disk, and
//! readers of any process never wait for a writer. Every key begins with the tenant.

mod error;
mod memory;

use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkit_core::{Error, Result};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use self::memory::SqliteMemory;

/// Connections of the pool; one writes at a time, the others read.
const CONNECTIONS: u32 = 4;
/// How long a call waits for a connection, or for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database file with its schema up to date.
#[derive(Debug, Clone)]
struct Database {
    pool: SqlitePool,
    path: PathBuf,
}

impl Database {
    /// Opens the file at `path`, creating it and its folder, and brings its schema up to date.
    async fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|source| Error::io(format!("create the folder {}", folder.display()), source))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            // Deleted conversations are overwritten, not merely unlinked.
            .pragma("secure_delete", "ON");
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await.map_err(|error| error::translate("open", path, error))?;
        let database = Self { pool, path: path.to_owned() };
        sqlx::migrate!("src/sqlite/migrations")
            .run(&database.pool)
            .await
            .map_err(|error| error::translate_migration(path, error))?;
        Ok(database)
    }

    /// Says which attempt on this file failed and why.
    fn failed(&self, attempt: &str) -> impl FnOnce(sqlx::Error) -> Error + use<'_> {
        let attempt = attempt.to_owned();
        move |error| error::translate(&attempt, &self.path, error)
    }
}
