//! Conversations in SQLite.

#[cfg(test)]
mod tests;

use std::path::Path;

use agentkit_core::{
    Error, ErrorKind, Memory, Message, Result, RunContext, SessionId, SessionKey, SessionSummary, TenantScope,
};
use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};

use super::{Database, SqliteCheckpointer, SqliteState, bounded};

/// Most messages one call reads; a conversation may hold more.
const MAX_RECALL: usize = 10_000;
/// Most conversations one call lists: the longest page of the service, and one that tells that there are more.
const MAX_LISTED: usize = 1_001;
/// Most bytes of JSON a turn may have.
const MAX_TURN_BYTES: usize = 16 * 1024 * 1024;

/// A [`Memory`] in one SQLite file; cheap to clone. Any number of processes may share the file.
///
/// # Examples
/// ```
/// use agentkit_core::{Memory, Message, RunContext, SessionId, SessionKey, TenantScope};
/// use agentkit_rag::sqlite::SqliteMemory;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.sqlite");
/// let memory = SqliteMemory::open(&path).await?;
/// let key = SessionKey::new(TenantScope::local(), SessionId::new("s1")?);
/// let ctx = RunContext::new();
/// memory.append(&key, vec![Message::user("hello")], &ctx).await?;
/// assert_eq!(memory.recall(&key, 10, &ctx).await?.len(), 1);
/// # Ok::<(), agentkit_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct SqliteMemory {
    database: Database,
}

impl SqliteMemory {
    /// Opens the file at `path`, creating it and its folder if they are missing.
    ///
    /// # Cancel safety
    /// Cancel safe: a half-made schema is finished by the next open.
    ///
    /// # Errors
    /// Corrupt if the file is damaged or no database, mismatch if a newer version wrote it, unavailable or
    /// resource exhausted if it cannot be written.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::open(path).await? })
    }

    /// Copies the file at `from` to the new file `to`, as of one moment, while others go on using it.
    ///
    /// # Cancel safety
    /// If dropped, an unfinished `to` may be left.
    ///
    /// # Errors
    /// Not found if there is no such file, conflict if `to` is there already, corrupt, resource exhausted, or
    /// unavailable.
    pub async fn copy(from: &Path, to: &Path) -> Result<()> {
        Database::copy(from, to).await
    }

    /// Checks that the file at `path` is sound.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, saying what is damaged, not found, or unavailable.
    pub async fn verify(path: &Path) -> Result<()> {
        Database::verify(path).await
    }

    /// Keeps runs in the same file, over the same connections.
    #[must_use]
    pub fn checkpointer(&self) -> SqliteCheckpointer {
        SqliteCheckpointer::new(self.database.clone())
    }

    /// Keeps a service's records in the same file, over the same connections.
    #[must_use]
    pub fn state(&self) -> SqliteState {
        SqliteState::new(self.database.clone())
    }

    /// Waits for running calls and closes the file; later calls are unavailable.
    ///
    /// # Cancel safety
    /// If dropped, the file is closed when the last clone is.
    pub async fn close(&self) {
        self.database.pool.close().await;
    }

    async fn append_rows(&self, key: &SessionKey, rows: &[String]) -> Result<()> {
        let _turn = self.database.turn().await;
        let failed = || self.database.failed("append to");
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        let first = reserve(&mut transaction, key, rows.len()).await.map_err(failed())?;
        for (position, row) in (first..).zip(rows) {
            sqlx::query("INSERT INTO messages (tenant, session, position, message) VALUES (?, ?, ?, ?)")
                .bind(key.scope().tenant().as_str())
                .bind(key.session().as_str())
                .bind(position)
                .bind(row)
                .execute(&mut *transaction)
                .await
                .map_err(failed())?;
        }
        transaction.commit().await.map_err(failed())
    }

    async fn read_newest(&self, key: &SessionKey, limit: usize) -> Result<Vec<Message>> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT position, message FROM messages WHERE tenant = ? AND session = ? \
             ORDER BY position DESC LIMIT ?",
        )
        .bind(key.scope().tenant().as_str())
        .bind(key.session().as_str())
        .bind(bounded(limit, MAX_RECALL))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed("read"))?;
        rows.iter().rev().map(|(position, json)| self.decode(key, *position, json)).collect()
    }

    fn decode(&self, key: &SessionKey, position: i64, json: &str) -> Result<Message> {
        serde_json::from_str(json).map_err(|error| {
            Error::corrupt(format!(
                "message {position} of session {:?} in {} is damaged; delete the session to go on",
                key.session().as_str(),
                self.database.path.display()
            ))
            .with_source(error)
        })
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool> {
        let _turn = self.database.turn().await;
        let deleted = sqlx::query("DELETE FROM sessions WHERE tenant = ? AND session = ?")
            .bind(key.scope().tenant().as_str())
            .bind(key.session().as_str())
            .execute(&self.database.pool)
            .await
            .map_err(self.database.failed("delete from"))?;
        Ok(self.database.erased(deleted.rows_affected()).await)
    }

    async fn list(&self, scope: &TenantScope, after: &str, limit: usize) -> Result<Vec<SessionSummary>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT session, messages FROM sessions WHERE tenant = ? AND session > ? ORDER BY session LIMIT ?",
        )
        .bind(scope.tenant().as_str())
        .bind(after)
        .bind(bounded(limit, MAX_LISTED))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed("list"))?;
        rows.into_iter().map(|(session, messages)| self.summary(session, messages)).collect()
    }

    fn summary(&self, session: String, messages: i64) -> Result<SessionSummary> {
        let damaged = || format!("the list of sessions in {} is damaged", self.database.path.display());
        let session =
            SessionId::new(session).map_err(|error| Error::corrupt(damaged()).with_source(error))?;
        let messages =
            u64::try_from(messages).map_err(|error| Error::corrupt(damaged()).with_source(error))?;
        Ok(SessionSummary::new(session, messages))
    }
}

#[async_trait]
impl Memory for SqliteMemory {
    async fn append(&self, key: &SessionKey, turn: Vec<Message>, ctx: &RunContext) -> Result<()> {
        if turn.is_empty() {
            return ctx.check();
        }
        let rows = encode(&turn)?;
        ctx.run(self.append_rows(key, &rows)).await
    }

    async fn recall(&self, key: &SessionKey, limit: usize, ctx: &RunContext) -> Result<Vec<Message>> {
        ctx.run(self.read_newest(key, limit)).await
    }

    async fn sessions(
        &self,
        scope: &TenantScope,
        after: Option<&SessionId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<SessionSummary>> {
        ctx.run(self.list(scope, after.map_or("", SessionId::as_str), limit)).await
    }

    async fn forget(&self, key: &SessionKey, ctx: &RunContext) -> Result<bool> {
        ctx.run(self.delete(key)).await
    }
}

/// Counts `added` messages onto the conversation and gives the position of the first of them.
async fn reserve(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &SessionKey,
    added: usize,
) -> Result<i64, sqlx::Error> {
    let added = bounded(added, usize::MAX);
    let total: i64 = sqlx::query_scalar(
        "INSERT INTO sessions (tenant, session, messages) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET messages = messages + ?3 RETURNING messages",
    )
    .bind(key.scope().tenant().as_str())
    .bind(key.session().as_str())
    .bind(added)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(total - added)
}

fn encode(turn: &[Message]) -> Result<Vec<String>> {
    let rows: serde_json::Result<Vec<String>> = turn.iter().map(serde_json::to_string).collect();
    let rows = rows.map_err(|error| Error::internal("serialise a turn").with_source(error))?;
    let bytes: usize = rows.iter().map(String::len).sum();
    if bytes > MAX_TURN_BYTES {
        return Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!("a turn of {bytes} bytes is too large to remember, at most {MAX_TURN_BYTES} are kept"),
        ));
    }
    Ok(rows)
}
