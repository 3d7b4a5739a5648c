//! Runs of agents in SQLite.

#[cfg(test)]
mod tests;

use std::path::Path;

use agentkit_core::{
    Checkpoint, Checkpointer, Error, ErrorKind, Result, RunContext, RunId, RunKey, RunSummary, SessionId,
    SessionKey, TenantScope,
};
use async_trait::async_trait;

use super::{Database, bounded};

/// Most runs one call lists.
const MAX_LISTED: usize = 1_000;
/// Most bytes the state of a run may have.
const MAX_STATE_BYTES: usize = 64 * 1024 * 1024;

/// A [`Checkpointer`] in one SQLite file; cheap to clone. Any number of processes may share the file.
///
/// A `save` that returned survives a power loss: the file's log is synced first. So a tool whose start was
/// saved before it is called is never called twice.
///
/// # Examples
/// ```
/// use agentkit_core::{Checkpoint, Checkpointer, RunContext, RunId, RunKey, TenantScope};
/// use agentkit_rag::sqlite::SqliteCheckpointer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("runs.sqlite");
/// let (runs, ctx) = (SqliteCheckpointer::open(&path).await?, RunContext::new());
/// let key = RunKey::new(TenantScope::local(), RunId::new("run-1")?);
/// runs.save(&key, Checkpoint::new(1, "{}"), &ctx).await?;
/// assert_eq!(runs.load(&key, &ctx).await?, Some(Checkpoint::new(1, "{}")));
/// # Ok::<(), agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SqliteCheckpointer {
    database: Database,
}

impl SqliteCheckpointer {
    /// Opens the file at `path`, creating it and its folder if they are missing. Where conversations are kept in
    /// the same file, [`SqliteMemory::checkpointer`](super::SqliteMemory::checkpointer) shares its connections.
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

    /// Puts the checkpoint in the place of the one before it; says whether that was there.
    async fn replace(&self, key: &RunKey, checkpoint: &Checkpoint) -> Result<bool> {
        let (Ok(revision), Some(before)) =
            (i64::try_from(checkpoint.revision), checkpoint.revision.checked_sub(1))
        else {
            return Ok(false);
        };
        let statement = if before == 0 {
            "INSERT INTO runs (tenant, run, revision, state, session) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING"
        } else {
            "UPDATE runs SET revision = ?3, state = ?4, session = ?5 \
             WHERE tenant = ?1 AND run = ?2 AND revision = ?3 - 1"
        };
        let _turn = self.database.turn().await;
        let written = sqlx::query(statement)
            .bind(key.scope().tenant().as_str())
            .bind(key.run().as_str())
            .bind(revision)
            .bind(checkpoint.state.as_str())
            .bind(checkpoint.session.as_ref().map(SessionId::as_str))
            .execute(&self.database.pool)
            .await
            .map_err(self.database.failed("write a run to"))?;
        Ok(written.rows_affected() == 1)
    }

    async fn write(&self, key: &RunKey, checkpoint: &Checkpoint) -> Result<()> {
        if self.replace(key, checkpoint).await? {
            return Ok(());
        }
        let (revision, run) = (checkpoint.revision, key.run());
        let message = format!(
            "revision {revision} of run {run} does not follow what is stored; somebody else carries it on"
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    async fn read(&self, key: &RunKey) -> Result<Option<Checkpoint>> {
        let row: Option<(i64, String, Option<String>)> =
            sqlx::query_as("SELECT revision, state, session FROM runs WHERE tenant = ? AND run = ?")
                .bind(key.scope().tenant().as_str())
                .bind(key.run().as_str())
                .fetch_optional(&self.database.pool)
                .await
                .map_err(self.database.failed("read a run from"))?;
        row.map(|(revision, state, session)| {
            let session = session.map(SessionId::new).transpose();
            let session = session.map_err(|error| self.damaged().with_source(error))?;
            Ok(Checkpoint::new(self.revision(revision)?, state).session(session))
        })
        .transpose()
    }

    async fn list(&self, scope: &TenantScope, after: &str, limit: usize) -> Result<Vec<RunSummary>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT run, revision FROM runs WHERE tenant = ? AND run > ? ORDER BY run LIMIT ?",
        )
        .bind(scope.tenant().as_str())
        .bind(after)
        .bind(bounded(limit, MAX_LISTED))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed("list the runs of"))?;
        rows.into_iter().map(|(run, revision)| self.summary(run, revision)).collect()
    }

    fn summary(&self, run: String, revision: i64) -> Result<RunSummary> {
        let run = RunId::new(run).map_err(|error| self.damaged().with_source(error))?;
        Ok(RunSummary::new(run, self.revision(revision)?))
    }

    fn revision(&self, stored: i64) -> Result<u64> {
        u64::try_from(stored).map_err(|error| self.damaged().with_source(error))
    }

    fn damaged(&self) -> Error {
        Error::corrupt(format!("the runs in {} are damaged", self.database.path.display()))
    }

    async fn delete(&self, key: &RunKey) -> Result<bool> {
        let _turn = self.database.turn().await;
        let deleted = sqlx::query("DELETE FROM runs WHERE tenant = ? AND run = ?")
            .bind(key.scope().tenant().as_str())
            .bind(key.run().as_str())
            .execute(&self.database.pool)
            .await
            .map_err(self.database.failed("delete a run from"))?;
        Ok(self.database.erased(deleted.rows_affected()).await)
    }

    async fn delete_session(&self, key: &SessionKey) -> Result<u64> {
        let _turn = self.database.turn().await;
        let deleted = sqlx::query("DELETE FROM runs WHERE tenant = ? AND session = ?")
            .bind(key.scope().tenant().as_str())
            .bind(key.session().as_str())
            .execute(&self.database.pool)
            .await
            .map_err(self.database.failed("delete runs from"))?;
        self.database.erased(deleted.rows_affected()).await;
        Ok(deleted.rows_affected())
    }
}

#[async_trait]
impl Checkpointer for SqliteCheckpointer {
    async fn save(&self, key: &RunKey, checkpoint: Checkpoint, ctx: &RunContext) -> Result<()> {
        let bytes = checkpoint.state.len();
        if bytes > MAX_STATE_BYTES {
            let message =
                format!("a run of {bytes} bytes is too large to keep, at most {MAX_STATE_BYTES} are");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        ctx.run(self.write(key, &checkpoint)).await
    }

    async fn load(&self, key: &RunKey, ctx: &RunContext) -> Result<Option<Checkpoint>> {
        ctx.run(self.read(key)).await
    }

    async fn runs(
        &self,
        scope: &TenantScope,
        after: Option<&RunId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<RunSummary>> {
        ctx.run(self.list(scope, after.map_or("", RunId::as_str), limit)).await
    }

    async fn remove(&self, key: &RunKey, ctx: &RunContext) -> Result<bool> {
        ctx.run(self.delete(key)).await
    }

    async fn forget(&self, session: &SessionKey, ctx: &RunContext) -> Result<u64> {
        ctx.run(self.delete_session(session)).await
    }
}
