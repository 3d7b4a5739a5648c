//! Ingest jobs: many documents sent at once and stored after the answer, each with its outcome.
//!
//! What was sent waits in memory, within a bound for all jobs together. What became of each document is in the job's record
//! before anybody is told. A record whose job nobody works on any more is that of a job that was interrupted, so a crash
//! needs no repair: who sent the documents sees which are not stored and sends them again.

mod read;
pub(super) mod routes;
pub(super) mod wire;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentkit_core::{Result, RunContext, StateStore, TenantId, TenantScope};
use tokio::sync::{Semaphore, watch};

pub(super) use self::read::Source;
use super::problem::{Problem, ProblemKind};
use super::runs::Owner;
use crate::jobs::{self, Ingest};

/// Most documents of a job.
pub(super) const MAX_DOCUMENTS: usize = 256;
/// Longest body that makes a job, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of what was sent and is not done with, of all jobs together.
const MAX_HELD_BYTES: usize = 4 * MAX_BODY_BYTES;
/// What the room for them is counted in.
const UNIT_BYTES: usize = 1024;
/// Jobs that are worked on at once.
const RUNNING: usize = 2;
/// Most jobs of a tenant that are not over.
const MAX_OPEN: usize = 8;
/// Jobs of a tenant whose records are kept.
const KEPT: usize = 100;
/// How long a tenant with too many jobs is told to wait.
const WAIT: Duration = Duration::from_secs(5);

/// The jobs that are not over, and the way to the records of all; cheap to clone.
#[derive(Clone)]
pub(super) struct Jobs {
    live: Arc<Mutex<HashMap<String, Arc<Live>>>>,
    store: Arc<dyn StateStore>,
    /// Room for what was sent, in units.
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A job that is not over.
struct Live {
    scope: TenantScope,
    ctx: RunContext,
    job: watch::Sender<Ingest>,
    /// Somebody stopped it.
    cancelled: AtomicBool,
    /// Its record is not to be written any more.
    forgotten: AtomicBool,
}

impl Live {
    fn is(&self, scope: &TenantScope) -> bool {
        self.scope.tenant() == scope.tenant()
    }

    fn stop(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.ctx.cancel();
    }
}

impl Jobs {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            live: Arc::default(),
            store,
            room: Arc::new(Semaphore::new(MAX_HELD_BYTES / UNIT_BYTES)),
            turns: Arc::new(Semaphore::new(RUNNING)),
        }
    }

    /// Takes a place for a job, before it is written down.
    fn enter(&self, scope: &TenantScope, job: Ingest, ctx: RunContext) -> Result<Entered, Problem> {
        let id = job.id.clone();
        let live = Live {
            scope: scope.clone(),
            ctx,
            job: watch::Sender::new(job),
            cancelled: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
        };
        let mut all = self.lock();
        check_open(&all, scope.tenant())?;
        let live = Arc::new(live);
        all.insert(id.clone(), live.clone());
        drop(all);
        Ok(Entered { jobs: self.clone(), live, id })
    }

    /// Refuses a tenant that has too many jobs, before anything is read of another.
    fn check_open(&self, tenant: &TenantId) -> Result<(), Problem> {
        check_open(&self.lock(), tenant)
    }

    /// The job of this id, as it is now.
    async fn find(&self, scope: &TenantScope, id: &str, ctx: &RunContext) -> Result<Option<Ingest>> {
        if let Some(live) = self.live(scope, id) {
            return Ok(Some(live.job.borrow().clone()));
        }
        Ok(jobs::find(&*self.store, scope, id, ctx).await?.map(Ingest::left))
    }

    /// The job of this id, if it is not over.
    fn live(&self, scope: &TenantScope, id: &str) -> Option<Arc<Live>> {
        self.lock().get(id).filter(|live| live.is(scope)).cloned()
    }

    /// The tenant's jobs, the newest first.
    async fn all(&self, scope: &TenantScope, ctx: &RunContext) -> Result<Vec<Ingest>> {
        let mut all = jobs::all(&*self.store, scope, ctx).await?;
        for job in &mut all {
            let now = self.live(scope, &job.id).map(|live| live.job.borrow().clone());
            *job = now.unwrap_or_else(|| job.clone().left());
        }
        all.reverse();
        Ok(all)
    }

    /// Writes a new job down, and forgets the oldest that are over.
    async fn begin(&self, scope: &TenantScope, job: &Ingest, ctx: &RunContext) -> Result<()> {
        let mut changes = vec![job.put(scope)?];
        let old = jobs::all(&*self.store, scope, ctx).await?;
        let over = old.iter().filter(|old| self.live(scope, &old.id).is_none());
        let too_many = (old.len() + 1).saturating_sub(KEPT);
        changes.extend(over.take(too_many).map(|old| jobs::delete(scope, &old.id)));
        self.store.commit(changes, ctx).await
    }

    /// Stops everything of theirs, whose records are to be forgotten.
    pub(super) fn forget(&self, owner: &Owner) {
        for live in self.lock().values() {
            let theirs = live.job.borrow().pseudonym == owner.person;
            if theirs && *live.scope.tenant() == owner.tenant {
                live.forgotten.store(true, Ordering::Relaxed);
                live.stop();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_open(all: &HashMap<String, Arc<Live>>, tenant: &TenantId) -> Result<(), Problem> {
    if all.values().filter(|live| live.scope.tenant() == tenant).count() < MAX_OPEN {
        return Ok(());
    }
    let detail = format!("{MAX_OPEN} jobs are not over yet; wait for one, or stop it");
    Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(WAIT))
}

/// The place of a job that is not over; dropped, it is over.
struct Entered {
    jobs: Jobs,
    live: Arc<Live>,
    id: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.id);
    }
}
