//! Checkpoints kept in this process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Checkpoint, Checkpointer, RunKey, RunSummary};
use crate::context::RunContext;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RunId, TenantId};
use crate::memory::SessionKey;
use crate::scope::TenantScope;

/// Most runs of a tenant.
const MAX_RUNS: usize = 10_000;

/// Keeps runs until it is dropped: enough for runs that wait for somebody, too little to survive a crash.
///
/// It holds 10,000 runs of each tenant at most; remove those that are over.
///
/// # Examples
/// ```
/// use agentkit_core::{Checkpoint, Checkpointer, MemoryCheckpointer, RunContext, RunId, RunKey, TenantScope};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (store, ctx) = (MemoryCheckpointer::new(), RunContext::new());
/// let key = RunKey::new(TenantScope::local(), RunId::new("run-1").unwrap());
/// store.save(&key, Checkpoint::new(1, "{}"), &ctx).await.unwrap();
/// assert!(store.save(&key, Checkpoint::new(1, "{}"), &ctx).await.is_err());
/// assert_eq!(store.load(&key, &ctx).await.unwrap(), Some(Checkpoint::new(1, "{}")));
/// # });
/// ```
#[derive(Debug, Default)]
pub struct MemoryCheckpointer {
    tenants: Mutex<Tenants>,
}

type Tenants = BTreeMap<TenantId, BTreeMap<RunId, Checkpoint>>;

impl MemoryCheckpointer {
    /// A store without runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Checkpointer for MemoryCheckpointer {
    async fn save(&self, key: &RunKey, checkpoint: Checkpoint, ctx: &RunContext) -> Result<()> {
        ctx.check()?;
        let mut tenants = self.tenants();
        let runs = tenants.entry(key.scope().tenant().clone()).or_default();
        let stored = runs.get(key.run()).map(|stored| stored.revision);
        follows(key.run(), stored, checkpoint.revision)?;
        if stored.is_none() && runs.len() >= MAX_RUNS {
            let message =
                format!("this store holds {MAX_RUNS} runs of a tenant at most; remove those that are over");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        runs.insert(key.run().clone(), checkpoint);
        Ok(())
    }

    async fn load(&self, key: &RunKey, ctx: &RunContext) -> Result<Option<Checkpoint>> {
        ctx.check()?;
        let tenants = self.tenants();
        Ok(tenants.get(key.scope().tenant()).and_then(|runs| runs.get(key.run())).cloned())
    }

    async fn runs(
        &self,
        scope: &TenantScope,
        after: Option<&RunId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<RunSummary>> {
        ctx.check()?;
        let tenants = self.tenants();
        let Some(runs) = tenants.get(scope.tenant()) else { return Ok(Vec::new()) };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = runs.range::<RunId, _>((start, Bound::Unbounded)).take(limit);
        Ok(page.map(|(run, stored)| RunSummary::new(run.clone(), stored.revision)).collect())
    }

    async fn remove(&self, key: &RunKey, ctx: &RunContext) -> Result<bool> {
        ctx.check()?;
        let mut tenants = self.tenants();
        let runs = tenants.get_mut(key.scope().tenant());
        Ok(runs.is_some_and(|runs| runs.remove(key.run()).is_some()))
    }

    async fn forget(&self, session: &SessionKey, ctx: &RunContext) -> Result<u64> {
        ctx.check()?;
        let mut tenants = self.tenants();
        let Some(runs) = tenants.get_mut(session.scope().tenant()) else { return Ok(0) };
        let before = runs.len();
        runs.retain(|_, stored| stored.session.as_ref() != Some(session.session()));
        Ok((before - runs.len()) as u64)
    }
}

fn follows(run: &RunId, stored: Option<u64>, revision: u64) -> Result<()> {
    let expected = stored.unwrap_or(0).saturating_add(1);
    if revision == expected {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "revision {revision} of run {run} does not follow: {expected} is next; somebody else carries it on"
        ),
    ))
}
