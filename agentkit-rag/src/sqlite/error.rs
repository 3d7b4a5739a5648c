//! Translation of the database's errors into agentkit's kinds.

use std::path::Path;

use agentkit_core::{Error, ErrorKind};
use sqlx::migrate::MigrateError;

/// Primary result codes of SQLite, as listed at <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    /// Extended codes keep the primary one in their lowest byte.
    pub(super) const PRIMARY: i32 = 0xff;
}

/// What `error` means for an `attempt` on the file at `path`.
pub(super) fn translate(attempt: &str, path: &Path, error: sqlx::Error) -> Error {
    let kind = kind_of(&error);
    let advice = match kind {
        ErrorKind::Corrupt => {
            "; the file is damaged, restore it from a backup or move it away to start empty"
        }
        ErrorKind::ResourceExhausted => "; the disk is full, free some space",
        _ => "",
    };
    Error::new(kind, format!("{attempt} the store {}{advice}", path.display())).with_source(error)
}

/// What a failed migration of the file at `path` means.
pub(super) fn translate_migration(path: &Path, error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            translate("update the schema of", path, error)
        }
        other => Error::new(
            ErrorKind::Mismatch,
            format!(
                "the store {} has a schema this version does not know; use the version that wrote it",
                path.display()
            ),
        )
        .with_source(other),
    }
}

fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(database) => {
            let extended = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
            match extended & code::PRIMARY {
                code::CORRUPT | code::NOT_A_DATABASE => ErrorKind::Corrupt,
                code::FULL => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Unavailable,
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => ErrorKind::Corrupt,
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
