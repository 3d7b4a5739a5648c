//! Runs that outlive the connection that began them, and how a client comes back to one.
//!
//! A resumable run is driven by a task of its own, which writes its events into a record. Whoever reads it, the first
//! client included, reads the record. So it does not matter when a client leaves, and a client that comes back is
//! told every event once. Records are bounded in number and size, and forgotten some minutes after their run ended.

mod record;
pub(super) mod routes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentkit_core::{AgentStream, RunContext, SessionId, TenantId};
use futures_util::StreamExt as _;
use tokio_util::task::TaskTracker;

use self::record::Ending;
pub(super) use self::record::{Record, follow};
use super::admit::Run;
use super::events::Guarded;
use super::problem::{Problem, ProblemKind};
use super::state::Limits;
use crate::identity::random_hex;

/// Most records of all tenants together.
const MAX_RECORDS: usize = 256;

/// Whose run it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) tenant: TenantId,
    /// The person, by pseudonym.
    pub(super) person: Arc<str>,
}

/// The records of resumable runs.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    records: Arc<Mutex<HashMap<String, Arc<Record>>>>,
    limits: Limits,
    /// The runs under way, so that the service can wait for them at its end.
    tasks: TaskTracker,
}

impl Runs {
    pub(super) fn new(limits: Limits, tasks: TaskTracker) -> Self {
        Self { records: Arc::default(), limits, tasks }
    }

    /// Takes a place for a run, before it begins.
    pub(super) fn register(&self, owner: &Owner, ctx: &RunContext) -> Result<Place, Problem> {
        let id = random_hex::<16>()?;
        let record =
            Arc::new(Record::new(id.clone(), owner.clone(), ctx.clone(), self.limits.kept_run_bytes));
        let mut records = self.lock();
        let own = |record: &Arc<Record>| record.owner().tenant == owner.tenant;
        if records.values().filter(|record| own(record)).count() >= self.limits.kept_runs {
            make_room(&mut records, own).ok_or_else(|| too_many(self.limits.kept_runs))?;
        }
        if records.len() >= MAX_RECORDS {
            make_room(&mut records, |_| true).ok_or_else(full)?;
        }
        records.insert(id, record.clone());
        Ok(Place { runs: self.clone(), record, begun: false })
    }

    /// The run of this id, if it is theirs.
    pub(super) fn find(&self, owner: &Owner, id: &str) -> Result<Arc<Record>, Problem> {
        let found = self.lock().get(id).filter(|record| record.owner() == owner).cloned();
        found.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no run {id:?}, or it is not kept any more"))
        })
    }

    fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Stops and forgets everything of theirs.
    pub(super) fn forget(&self, owner: &Owner) {
        self.lock().retain(|_, record| {
            let theirs = record.owner() == owner;
            if theirs {
                record.stop();
            }
            !theirs
        });
    }

    /// Stops and forgets what belongs to a conversation of theirs.
    pub(super) fn forget_session(&self, owner: &Owner, session: &SessionId) {
        self.lock().retain(|_, record| {
            let belongs = record.owner() == owner && record.session() == Some(session);
            if belongs {
                record.stop();
            }
            !belongs
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for a run that is to begin; dropped before, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    runs: Runs,
    record: Arc<Record>,
    begun: bool,
}

impl Place {
    /// Drives the run to its end, whoever reads its record, and forgets it some time after.
    pub(super) fn drive(mut self, events: AgentStream, run: Run, session: Option<SessionId>) -> Arc<Record> {
        self.begun = true;
        let record = self.record.clone();
        record.is_of(session.clone());
        let (runs, kept) = (self.runs.clone(), record.clone());
        self.runs.tasks.spawn(async move {
            let ending = Ending::of(kept.clone());
            let mut events = Guarded::new(events, run, session);
            while let Some(event) = events.next().await {
                if !kept.write(&event) {
                    break;
                }
            }
            // Frees the slot of the run before its record is kept for a while.
            drop((events, ending));
            // Nobody has to wait for this.
            tokio::spawn(async move {
                tokio::time::sleep(runs.limits.kept_run_time).await;
                runs.remove(kept.id());
            });
        });
        record
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.begun {
            self.runs.remove(self.record.id());
        }
    }
}

/// Forgets the record that ended first, of those that may go.
fn make_room(
    records: &mut HashMap<String, Arc<Record>>,
    may_go: impl Fn(&Arc<Record>) -> bool,
) -> Option<Arc<Record>> {
    let candidates = records.values().filter(|record| may_go(record));
    let ended = candidates.filter_map(|record| Some((record.ended()?, record.id().to_owned())));
    let (_, id) = ended.min()?;
    records.remove(&id)
}

fn too_many(most: usize) -> Problem {
    let detail = format!("{most} resumable runs are under way; wait for one, or stop it");
    Problem::new(ProblemKind::RateLimited, detail)
}

fn full() -> Problem {
    Problem::new(ProblemKind::Overloaded, format!("the service already keeps {MAX_RECORDS} resumable runs"))
}
