//! Writes the chains, many records in one commit, and reads and checks them.
//!
//! Records that come while a commit is under way wait and share the next one. Whoever comes first writes for all, in a
//! task of its own, so that nobody's leaving loses another's record. Other processes may append to the same chains:
//! a commit is made only if the end of the chain is still where it was, else it is made anew behind theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkit_core::{
    Error, ErrorKind, MAX_RECORDS, Result, RunContext, StateChange, StateCondition, StateQuery, StateSpace,
    StateStore, TenantId, TenantScope,
};
use tokio::sync::{Semaphore, oneshot};

use super::chain::{self, Ends, Walk};
use super::{AuditEvent, AuditRecord};
use crate::clock::{Clock, Timestamp};
use crate::records::{self, Kept};

/// Records that may wait to be written; who comes then waits for room.
const MAX_WAITING: usize = 4096;
/// Records of one commit.
const BATCH: usize = 256;
/// How often a batch is tried.
const ATTEMPTS: usize = 20;
/// The wait before a store that was busy is tried anew.
const PAUSE: Duration = Duration::from_millis(500);
/// How long writing a batch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What people get answers by.
const ANSWERS: [&str; 5] =
    ["POST /chat", "MESSAGE /chat/ws", "POST /mcp", "POST /v1/chat/completions", "POST /v1/responses"];
/// The outcome of a request that was answered.
const ANSWERED: u16 = 200;

/// The audit trails of all tenants; cheap to clone.
#[derive(Clone)]
pub struct AuditLog(Arc<Shared>);

struct Shared {
    store: Arc<dyn StateStore>,
    clock: Clock,
    room: Arc<Semaphore>,
    waiting: Mutex<Vec<Waiting>>,
    writing: tokio::sync::Mutex<()>,
}

/// A record that waits to be written, and who waits for it.
struct Waiting {
    tenant: TenantId,
    at: Timestamp,
    event: AuditEvent,
    done: oneshot::Sender<Result<()>>,
    _room: tokio::sync::OwnedSemaphorePermit,
}

/// What waits, by whose chain it belongs to.
type Tenants = BTreeMap<TenantId, Vec<Waiting>>;

/// A chain that was checked and is whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// Whose chain it is.
    pub tenant: TenantId,
    /// How many records it holds.
    pub records: u64,
    /// The number of its last record.
    pub last: u64,
    /// The hash of its last record. Kept elsewhere, it shows later that the chain up to here was not made anew.
    pub head: String,
}

impl AuditLog {
    /// The trails in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            store,
            clock,
            room: Arc::new(Semaphore::new(MAX_WAITING)),
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// Appends a record; it is as durable as the store when this returns.
    ///
    /// # Cancel safety
    /// If dropped once there is room for it, the record is written all the same.
    ///
    /// # Errors
    /// What the store says.
    pub async fn record(&self, tenant: &TenantId, event: AuditEvent) -> Result<()> {
        let written = self.begin(tenant, event).await?;
        written.await.unwrap_or_else(|_| Err(Error::internal("the audit record was dropped")))
    }

    /// Appends a record soon, and does not wait until it is durable.
    ///
    /// # Cancel safety
    /// If dropped once there is room for it, the record is written all the same.
    ///
    /// # Errors
    /// Unavailable, if no more records are taken.
    pub async fn note(&self, tenant: &TenantId, event: AuditEvent) -> Result<()> {
        self.begin(tenant, event).await.map(drop)
    }

    /// Waits until everything that was noted is written.
    ///
    /// # Cancel safety
    /// Cancel safe: what is under way goes on.
    pub async fn flush(&self) {
        while !self.waiting().is_empty() {
            self.0.write_batch().await;
        }
        drop(self.0.writing.lock().await);
    }

    /// The records of a tenant by number, at most `limit` after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(
        &self,
        scope: &TenantScope,
        after: u64,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<AuditRecord>> {
        let query = StateQuery::new(limit).after(chain::id(after));
        let found = records::page::<AuditRecord>(&*self.0.store, &links(scope), &query, ctx).await?;
        Ok(found.into_iter().map(|kept| kept.value).collect())
    }

    /// The newest `limit` records of a tenant by number.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn newest(
        &self,
        scope: &TenantScope,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<AuditRecord>> {
        let ends = self.0.ends(scope.tenant().as_str(), ctx).await?;
        let last = ends.map_or(0, |kept| kept.value.last);
        self.list(scope, last.saturating_sub(limit as u64), limit, ctx).await
    }

    /// Whether `actor` was given an answer in the trace `trace_id` of which there is a record.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn has_answered(
        &self,
        scope: &TenantScope,
        (actor, trace_id): (&str, &str),
        ctx: &RunContext,
    ) -> Result<bool> {
        let id = answer_id(actor, trace_id);
        if self.0.store.get(&answers(scope), &id, ctx).await?.is_some() {
            return Ok(true);
        }
        // It may have been noted a moment ago.
        self.flush().await;
        Ok(self.0.store.get(&answers(scope), &id, ctx).await?.is_some())
    }

    /// Checks every record of every tenant.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, saying which record is wrong, or what the store says.
    pub async fn verify(&self, ctx: &RunContext) -> Result<Vec<Verified>> {
        let mut verified = Vec::new();
        for tenant in self.0.tenants(ctx).await? {
            verified.push(self.0.verify(&tenant, ctx).await?);
        }
        Ok(verified)
    }

    /// Removes the records that are older than `retention`; says how many. A chain that cannot be cut holds up no other.
    ///
    /// # Cancel safety
    /// If dropped, some are removed; every chain stays whole.
    ///
    /// # Errors
    /// Corrupt, if a chain is damaged, or what the store says; of several errors the first.
    pub async fn prune(&self, retention: Duration, ctx: &RunContext) -> Result<u64> {
        let before = self.0.clock.now().before(retention);
        let (mut removed, mut failed) = (0, None);
        for tenant in self.0.tenants(ctx).await? {
            match self.0.shorten(&tenant, before, ctx).await {
                Ok(cut) => removed += cut,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    async fn begin(&self, tenant: &TenantId, event: AuditEvent) -> Result<oneshot::Receiver<Result<()>>> {
        let closed = |_| Error::new(ErrorKind::Unavailable, "the audit trail takes no more records");
        let room = self.0.room.clone().acquire_owned().await.map_err(closed)?;
        let (done, written) = oneshot::channel();
        let at = self.0.clock.now();
        self.waiting().push(Waiting { tenant: tenant.clone(), at, event, done, _room: room });
        let shared = self.0.clone();
        tokio::spawn(async move { shared.write_batch().await });
        Ok(written)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Writes what waits, up to a batch, and tells those who wait for it.
    async fn write_batch(&self) {
        let _turn = self.writing.lock().await;
        let batch: Vec<Waiting> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let end = waiting.len().min(BATCH);
            waiting.drain(..end).collect()
        };
        if batch.is_empty() {
            return;
        }
        let mut tenants = Tenants::new();
        for waiting in batch {
            tenants.entry(waiting.tenant.clone()).or_default().push(waiting);
        }
        let ctx = RunContext::new().with_timeout(PATIENCE);
        let together = self.write(&tenants, &ctx).await;
        if together.is_ok() || tenants.len() == 1 {
            return tell(tenants, &together);
        }
        // A damaged chain must not hold up those of others.
        for (tenant, waiting) in tenants {
            let alone = Tenants::from([(tenant, waiting)]);
            let written = self.write(&alone, &ctx).await;
            tell(alone, &written);
        }
    }

    /// Writes what waits for the chains of some tenants in one commit. Records are not given up because another process
    /// wrote to a chain, or because the store is busy for a while.
    async fn write(&self, tenants: &Tenants, ctx: &RunContext) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.try_write(tenants, ctx).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(error = error.chain(), "audit records wait to be written");
                    ctx.run(pause()).await?;
                }
                done => return done,
            }
        }
        self.try_write(tenants, ctx).await
    }

    async fn try_write(&self, tenants: &Tenants, ctx: &RunContext) -> Result<()> {
        let mut changes = Vec::new();
        for (tenant, waiting) in tenants {
            changes.extend(self.extend(tenant, waiting, ctx).await?);
        }
        self.store.commit(changes, ctx).await
    }

    /// The changes that append to one chain.
    async fn extend(
        &self,
        tenant: &TenantId,
        waiting: &[Waiting],
        ctx: &RunContext,
    ) -> Result<Vec<StateChange>> {
        let scope = TenantScope::for_tenant(tenant.clone());
        let found = self.ends(tenant.as_str(), ctx).await?;
        let (mut ends, condition) = match found {
            Some(kept) => (kept.value, StateCondition::Revision(kept.revision)),
            None => (Ends::new(), StateCondition::Absent),
        };
        let mut changes = Vec::with_capacity(waiting.len() + 1);
        let answered: BTreeSet<_> = waiting.iter().filter_map(|waiting| answer_of(&waiting.event)).collect();
        changes.extend(answered.into_iter().map(|id| StateChange::put(answers(&scope), id, "")));
        for waiting in waiting {
            let record = ends.append(waiting.at, waiting.event.clone())?;
            let put = StateChange::put(links(&scope), chain::id(record.seq), records::encode(&record)?);
            changes.push(put.when(StateCondition::Absent));
        }
        let end = StateChange::put(chains(), tenant.as_str(), records::encode(&ends)?);
        changes.push(end.when(condition));
        Ok(changes)
    }

    async fn ends(&self, tenant: &str, ctx: &RunContext) -> Result<Option<Kept<Ends>>> {
        records::load(&*self.store, &chains(), tenant, ctx).await
    }

    /// Whose chains there are, damaged ones included.
    async fn tenants(&self, ctx: &RunContext) -> Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let after = all.last().cloned().unwrap_or_default();
            let page = self.store.list(&chains(), &StateQuery::new(MAX_RECORDS).after(after), ctx).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|record| record.id));
        }
    }

    /// Walks along a chain up to where it ended when the walk began, so that writers may go on.
    async fn verify(&self, tenant: &str, ctx: &RunContext) -> Result<Verified> {
        let scope = scope(tenant)?;
        loop {
            let missing = || Error::corrupt(format!("the audit trail of {tenant} has no end"));
            let ends = self.ends(tenant, ctx).await?.ok_or_else(missing)?.value;
            let walked = self.walk(&scope, &ends, ctx).await;
            // Records whose time was over may have been removed under the walk, which is no break.
            let cut = self.ends(tenant, ctx).await?.is_some_and(|now| now.value.first > ends.first);
            if walked.is_ok() || !cut {
                walked?;
                let records = (ends.last + 1).saturating_sub(ends.first);
                let (tenant, last) = (scope.tenant().clone(), ends.last);
                return Ok(Verified { tenant, records, last, head: ends.head });
            }
        }
    }

    async fn walk(&self, scope: &TenantScope, ends: &Ends, ctx: &RunContext) -> Result<()> {
        let (mut walk, mut after) = (Walk::from(ends), chain::id(ends.first.saturating_sub(1)));
        loop {
            let query = StateQuery::new(MAX_RECORDS).after(after.as_str());
            let page = records::page::<AuditRecord>(&*self.store, &links(scope), &query, ctx).await?;
            let known = page.iter().take_while(|kept| kept.value.seq <= ends.last);
            for kept in known {
                walk.step(&kept.id, &kept.value)?;
            }
            match page.last() {
                Some(last) if last.value.seq < ends.last => after.clone_from(&last.id),
                _ => break,
            }
        }
        walk.end(ends)
    }

    /// Removes the records of a chain that are older than `before`; says how many.
    async fn shorten(&self, tenant: &str, before: Timestamp, ctx: &RunContext) -> Result<u64> {
        let (scope, mut removed) = (scope(tenant)?, 0);
        loop {
            let cut = self.cut(&scope, before, ctx).await?;
            removed += cut;
            if cut == 0 {
                return Ok(removed);
            }
        }
    }

    /// Removes a few records from the beginning of a chain that are older than `before`; says how many.
    async fn cut(&self, scope: &TenantScope, before: Timestamp, ctx: &RunContext) -> Result<u64> {
        let _turn = self.writing.lock().await;
        let Some(kept) = self.ends(scope.tenant().as_str(), ctx).await? else { return Ok(0) };
        let mut ends: Ends = kept.value;
        let query = StateQuery::new(BATCH).after(chain::id(ends.first.saturating_sub(1)));
        let page = records::page::<AuditRecord>(&*self.store, &links(scope), &query, ctx).await?;
        let old: Vec<_> = page.into_iter().take_while(|kept| kept.value.at < before).collect();
        let Some(last) = old.last() else { return Ok(0) };
        ends.cut(&last.value);
        let mut changes: Vec<_> =
            old.iter().map(|kept| StateChange::delete(links(scope), kept.id.as_str())).collect();
        let answered: BTreeSet<_> = old.iter().filter_map(|kept| answer_of(&kept.value.event)).collect();
        changes.extend(answered.into_iter().map(|id| StateChange::delete(answers(scope), id)));
        let end = StateChange::put(chains(), scope.tenant().as_str(), records::encode(&ends)?);
        changes.push(end.when(StateCondition::Revision(kept.revision)));
        self.store.commit(changes, ctx).await?;
        Ok(old.len() as u64)
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

async fn pause() -> Result<()> {
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// Tells those who wait how it went.
fn tell(tenants: Tenants, written: &Result<()>) {
    let waiting: Vec<Waiting> = tenants.into_values().flatten().collect();
    if let Err(error) = written {
        let records = waiting.len();
        tracing::error!(error = error.chain(), records, "audit records could not be written");
    }
    for waiting in waiting {
        let told = written.as_ref().copied().map_err(|error| Error::new(error.kind(), error.message()));
        // Nobody may be waiting for a record that was only noted.
        let _ = waiting.done.send(told);
    }
}

/// By which id an answer is found that the event tells of; none if it tells of another thing.
fn answer_of(event: &AuditEvent) -> Option<String> {
    let is_answer = event.outcome == ANSWERED && ANSWERS.contains(&event.action.as_str());
    is_answer.then(|| answer_id(&event.actor, &event.trace_id))
}

fn answer_id(actor: &str, trace_id: &str) -> String {
    format!("{actor}/{trace_id}")
}

/// Who was given which answer, as long as there is a record of it.
fn answers(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("answers", scope)
}

/// The records of a chain.
fn links(scope: &TenantScope) -> StateSpace {
    StateSpace::of_tenant("audit", scope)
}

/// The ends of all chains, by tenant.
fn chains() -> StateSpace {
    StateSpace::of_service("audit-chains")
}

fn scope(tenant: &str) -> Result<TenantScope> {
    Ok(TenantScope::for_tenant(TenantId::new(tenant)?))
}
