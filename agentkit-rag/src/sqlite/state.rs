//! A service's records in SQLite.

#[cfg(test)]
mod tests;

use std::path::Path;

use agentkit_core::{
    Error, ErrorKind, MAX_RECORDS, Result, RunContext, StateChange, StateCondition, StateQuery, StateRecord,
    StateSpace, StateStore, check_changes,
};
use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};

use super::{Database, bounded};

/// A [`StateStore`] in one SQLite file; cheap to clone. Any number of processes may share the file.
///
/// # Examples
/// ```
/// use agentkit_core::{RunContext, StateChange, StateSpace, StateStore};
/// use agentkit_rag::sqlite::SqliteState;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("state.sqlite");
/// let (state, ctx) = (SqliteState::open(&path).await?, RunContext::new());
/// let space = StateSpace::of_service("keys");
/// state.commit(vec![StateChange::put(space.clone(), "k1", "{}")], &ctx).await?;
/// assert_eq!(state.get(&space, "k1", &ctx).await?.map(|record| record.revision), Some(1));
/// # Ok::<(), agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SqliteState {
    database: Database,
}

impl SqliteState {
    /// Opens the file at `path`, creating it and its folder if they are missing. Where conversations are kept in
    /// the same file, [`SqliteMemory::state`](super::SqliteMemory::state) shares its connections.
    ///
    /// # Cancel safety
    /// Cancel safe: a half-made schema is finished by the next open.
    ///
    /// # Errors
    /// Corrupt if the file is damaged or no database, mismatch if a newer version wrote it, unavailable or
    /// resource exhausted if it cannot be written.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self::new(Database::open(path).await?))
    }

    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Waits for running calls and closes the file, for all who share it; later calls are unavailable.
    ///
    /// # Cancel safety
    /// If dropped, the file is closed when the last clone is.
    pub async fn close(&self) {
        self.database.pool.close().await;
    }

    async fn read(&self, space: &StateSpace, id: &str) -> Result<Option<StateRecord>> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, revision, value FROM state WHERE kind = ? AND tenant = ? AND id = ?")
                .bind(space.kind())
                .bind(space.tenant())
                .bind(id)
                .fetch_optional(&self.database.pool)
                .await
                .map_err(self.database.failed("read"))?;
        row.map(|row| self.record(row)).transpose()
    }

    async fn read_all(&self, space: &StateSpace, query: &StateQuery) -> Result<Vec<StateRecord>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, revision, value FROM state \
             WHERE kind = ? AND tenant = ? AND id >= ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(space.kind())
        .bind(space.tenant())
        .bind(query.prefix.as_str())
        .bind(query.after.as_deref().unwrap_or_default())
        .bind(bounded(query.limit, MAX_RECORDS))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed("list"))?;
        let below = rows.into_iter().take_while(|(id, ..)| id.starts_with(&query.prefix));
        below.map(|row| self.record(row)).collect()
    }

    fn record(&self, (id, revision, value): Row) -> Result<StateRecord> {
        let revision = u64::try_from(revision).map_err(|error| {
            Error::corrupt(format!("record {id:?} in {} is damaged", self.database.path.display()))
                .with_source(error)
        })?;
        Ok(StateRecord::new(id, revision, value))
    }

    async fn write(&self, changes: &[StateChange]) -> Result<()> {
        let deleted = {
            let _turn = self.database.turn().await;
            let failed = || self.database.failed("write to");
            let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
            let mut deleted = 0;
            for change in changes {
                let rows = apply(&mut transaction, change).await.map_err(failed())?;
                if rows == 0 && change.condition != StateCondition::None {
                    let message = format!("somebody else has changed the record {:?}", change.id);
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                deleted += if change.value.is_none() { rows } else { 0 };
            }
            transaction.commit().await.map_err(failed())?;
            deleted
        };
        self.database.erased(deleted).await;
        Ok(())
    }
}

/// Id, revision and value.
type Row = (String, i64, String);

/// Makes one change if its condition is met; gives the number of records it changed.
async fn apply(transaction: &mut Transaction<'_, Sqlite>, change: &StateChange) -> Result<u64, sqlx::Error> {
    let statement = match (&change.value, change.condition) {
        (Some(_), StateCondition::Absent) => {
            "INSERT INTO state (kind, tenant, id, revision, value) VALUES (?1, ?2, ?3, 1, ?4) \
             ON CONFLICT DO NOTHING"
        }
        (Some(_), StateCondition::Revision(_)) => {
            "UPDATE state SET revision = revision + 1, value = ?4 \
             WHERE kind = ?1 AND tenant = ?2 AND id = ?3 AND revision = ?5"
        }
        (Some(_), _) => {
            "INSERT INTO state (kind, tenant, id, revision, value) VALUES (?1, ?2, ?3, 1, ?4) \
             ON CONFLICT DO UPDATE SET revision = revision + 1, value = ?4"
        }
        (None, StateCondition::Revision(_)) => {
            "DELETE FROM state WHERE kind = ?1 AND tenant = ?2 AND id = ?3 AND revision = ?5"
        }
        (None, _) => "DELETE FROM state WHERE kind = ?1 AND tenant = ?2 AND id = ?3",
    };
    let revision = match change.condition {
        StateCondition::Revision(revision) => i64::try_from(revision).unwrap_or(i64::MAX),
        _ => 0,
    };
    let query = sqlx::query(statement).bind(change.space.kind()).bind(change.space.tenant());
    let query =
        query.bind(change.id.as_str()).bind(change.value.as_deref().unwrap_or_default()).bind(revision);
    Ok(query.execute(&mut **transaction).await?.rows_affected())
}

#[async_trait]
impl StateStore for SqliteState {
    async fn get(&self, space: &StateSpace, id: &str, ctx: &RunContext) -> Result<Option<StateRecord>> {
        ctx.run(self.read(space, id)).await
    }

    async fn list(
        &self,
        space: &StateSpace,
        query: &StateQuery,
        ctx: &RunContext,
    ) -> Result<Vec<StateRecord>> {
        ctx.run(self.read_all(space, query)).await
    }

    async fn commit(&self, changes: Vec<StateChange>, ctx: &RunContext) -> Result<()> {
        ctx.check()?;
        check_changes(&changes)?;
        if changes.is_empty() { Ok(()) } else { ctx.run(self.write(&changes)).await }
    }
}
