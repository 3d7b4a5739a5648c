//! Stores in one SQLite file: conversations, runs and a service's state, which survive a restart.
//!
//! The file is in write-ahead-log mode with full synchronisation, so a call that returned is on the disk, and
//! readers of any process never wait for a writer. Every key begins with the tenant.

mod checkpointer;
mod error;
mod memory;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentkit_core::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};

use tokio::sync::{Mutex, MutexGuard};

pub use self::checkpointer::SqliteCheckpointer;
pub use self::memory::SqliteMemory;
pub use self::state::SqliteState;

/// Connections of the pool; one writes at a time, the others read.
const CONNECTIONS: u32 = 4;
/// How long a call waits for a connection, or for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database file with its schema up to date.
#[derive(Debug, Clone)]
struct Database {
    pool: SqlitePool,
    path: PathBuf,
    /// Writers of this process queue here in order, which SQLite's own busy wait would not give them.
    writing: Arc<Mutex<()>>,
    /// Whether the log may still hold what was deleted.
    uncut: Arc<AtomicBool>,
}

impl Database {
    /// Opens the file at `path`, creating it and its folder, and brings its schema up to date.
    async fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            let mut private = tokio::fs::DirBuilder::new();
            #[cfg(unix)]
            private.mode(0o700);
            private
                .recursive(true)
                .create(folder)
                .await
                .map_err(|source| Error::io(format!("create the folder {}", folder.display()), source))?;
        }
        make_private(path).await?;
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
        let database = Self { pool, path: path.to_owned(), writing: Arc::default(), uncut: Arc::default() };
        sqlx::migrate!("src/sqlite/migrations")
            .run(&database.pool)
            .await
            .map_err(|error| error::translate_migration(path, error))?;
        Ok(database)
    }

    /// Writes a copy of the file at `from` to the new file `to` (SQLite's `VACUUM INTO`).
    async fn copy(from: &Path, to: &Path) -> Result<()> {
        if to.exists() {
            let message = format!("{} is there already; name a new file", to.display());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // SQLite writes into an empty file as into a new one.
        make_private(to).await?;
        let mut source = connect_to_read(from).await?;
        let target = to.to_str().ok_or_else(|| {
            Error::invalid_input(format!("{} is not in UTF-8, which SQLite asks of a new file", to.display()))
        })?;
        sqlx::query("VACUUM INTO ?")
            .bind(target)
            .execute(&mut source)
            .await
            .map_err(|error| error::translate("copy", from, error))?;
        let file = tokio::fs::File::open(to).await;
        let synced = match file {
            Ok(file) => file.sync_all().await,
            Err(error) => Err(error),
        };
        synced.map_err(|source| Error::io(format!("sync {}", to.display()), source))
    }

    /// Lets SQLite check every page, row and index of the file.
    async fn verify(path: &Path) -> Result<()> {
        let mut source = connect_to_read(path).await?;
        let (found,): (String,) = sqlx::query_as("PRAGMA integrity_check(1)")
            .fetch_one(&mut source)
            .await
            .map_err(|error| error::translate("verify", path, error))?;
        if found == "ok" {
            return Ok(());
        }
        Err(Error::corrupt(format!("{} is damaged: {found}", path.display())))
    }

    /// Waits until nobody else of this process writes.
    async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.writing.lock().await;
        if self.uncut.load(Ordering::Relaxed) {
            self.cut_log().await;
        }
        turn
    }

    /// Whether `rows` that were deleted were any; if so, cuts the log, which still holds them.
    ///
    /// A reader may hold that up; then it is tried again before every later write.
    async fn erased(&self, rows: u64) -> bool {
        if rows > 0 {
            self.uncut.store(true, Ordering::Relaxed);
            self.cut_log().await;
        }
        rows > 0
    }

    async fn cut_log(&self) {
        // The first column says whether somebody was in the way.
        let cut: std::result::Result<(i64, i64, i64), _> =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.pool).await;
        match cut {
            Ok((0, ..)) => self.uncut.store(false, Ordering::Relaxed),
            Ok(_) => tracing::debug!("a reader holds up the cutting of the store's log"),
            Err(error) => tracing::debug!(%error, "the log of the store could not be cut"),
        }
    }

    /// Says which attempt on this file failed and why.
    fn failed(&self, attempt: &str) -> impl FnOnce(sqlx::Error) -> Error + use<'_> {
        let attempt = attempt.to_owned();
        move |error| error::translate(&attempt, &self.path, error)
    }
}

/// Makes an empty file that only its owner may read, unless there is a file; SQLite gives its log the same permissions.
async fn make_private(path: &Path) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    options.mode(0o600);
    let made = options.open(path).await;
    made.map(drop).map_err(|source| Error::io(format!("create {}", path.display()), source))
}

/// A connection that changes nothing in the file at `path`.
async fn connect_to_read(path: &Path) -> Result<SqliteConnection> {
    if !path.exists() {
        return Err(Error::not_found(format!("there is no file {}", path.display())));
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
    options.connect().await.map_err(|error| error::translate("open", path, error))
}

/// The limit of a query that asks for `limit` rows and gets `most` of them at most.
fn bounded(limit: usize, most: usize) -> i64 {
    i64::try_from(limit.min(most)).unwrap_or(i64::MAX)
}
