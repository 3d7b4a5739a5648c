//! Answers to keys that survive a restart: those to what was done, which must not be done again.
//!
//! An answer is a record of its tenant, under the pseudonym of the one who got it. A second record, which begins with the
//! moment it was made, says what there is in the order of its age, so that the oldest can go.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    MAX_RECORDS, Result, RunContext, StateChange, StateQuery, StateSpace, StateStore, TenantId, TenantScope,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::KEPT;
use crate::clock::{Clock, Timestamp};
use crate::http::runs::Owner;
use crate::personal::idempotent_of;
use crate::records;

/// Longest body of an answer that is written down, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// What all answers that are written down may take, in bytes.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// Most answers that are written down.
const MAX_ANSWERS: usize = 50_000;
/// Most answers that go with one that comes.
const MAX_GONE: usize = 100;
/// How long writing one down may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    /// What was asked, as a hash in hexadecimal.
    pub(super) asked: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// When it was written down.
    pub(super) at: Timestamp,
}

/// The answers in the store; cheap to clone.
#[derive(Clone)]
pub(super) struct Durable {
    store: Arc<dyn StateStore>,
    clock: Clock,
    /// What there is, once it was looked at.
    ages: Arc<Mutex<Option<Ages>>>,
}

/// The answers by their age.
#[derive(Default)]
struct Ages {
    /// The id of the record of an age, and how long the answer is.
    all: VecDeque<(String, usize)>,
    bytes: usize,
}

impl Durable {
    pub(super) fn new(store: Arc<dyn StateStore>, clock: Clock) -> Self {
        Self { store, clock, ages: Arc::default() }
    }

    /// This moment.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The answer that somebody got to a key, unless its time is over.
    pub(super) async fn get(&self, owner: &Owner, key: &str, ctx: &RunContext) -> Result<Option<Written>> {
        let (space, id) = (idempotent_of(&scope(owner)), id(owner, key));
        let found = ctx.run(records::load::<Written>(&*self.store, &space, &id, ctx)).await?;
        let oldest = self.now().before(KEPT);
        Ok(found.map(|kept| kept.value).filter(|written| written.at > oldest))
    }

    /// Writes an answer down, if it is not too long, and forgets those whose time is over or that are too many.
    pub(super) async fn put(&self, owner: &Owner, key: &str, written: &Written) -> Result<()> {
        let value = records::encode(written)?;
        if value.len() > MAX_BYTES {
            return Ok(());
        }
        let ctx = RunContext::new().with_timeout(PATIENCE);
        ctx.run(self.commit(owner, key, (value, written.at), &ctx)).await
    }

    async fn commit(
        &self,
        owner: &Owner,
        key: &str,
        (value, at): (String, Timestamp),
        ctx: &RunContext,
    ) -> Result<()> {
        let id = id(owner, key);
        let age = format!("{}/{}/{id}", at.sortable(), owner.tenant.as_str());
        let mut changes = vec![
            StateChange::put(ages(), age.as_str(), value.len().to_string()),
            StateChange::put(idempotent_of(&scope(owner)), id, value.as_str()),
        ];
        for (gone, _) in self.enter((age.clone(), value.len()), ctx).await? {
            if answer_of(&gone) != answer_of(&age) {
                changes.extend(self.forgets(&gone, ctx).await?);
            }
            changes.push(StateChange::delete(ages(), gone));
        }
        self.store.commit(changes, ctx).await
    }

    /// The change that forgets the answer of an age; none if it was written anew, and has a newer age.
    async fn forgets(&self, age: &str, ctx: &RunContext) -> Result<Option<StateChange>> {
        let Some((scope, id)) = answer_of(age) else { return Ok(None) };
        let space = idempotent_of(&scope);
        let found = records::load::<Written>(&*self.store, &space, &id, ctx).await?;
        let is_its = found.is_some_and(|kept| age.starts_with(&kept.value.at.sortable()));
        Ok(is_its.then(|| StateChange::delete(space, id)))
    }

    /// Enters an answer, and takes those out that have to go.
    async fn enter(&self, answer: (String, usize), ctx: &RunContext) -> Result<Vec<(String, usize)>> {
        let mut known = self.ages.lock().await;
        let all = match &mut *known {
            Some(all) => all,
            none => none.insert(read(&*self.store, ctx).await?),
        };
        all.bytes += answer.1;
        all.all.push_back(answer);
        let oldest = self.now().before(KEPT).sortable();
        let mut gone = Vec::new();
        while gone.len() < MAX_GONE {
            let is_full = all.bytes > MAX_ALL_BYTES || all.all.len() > MAX_ANSWERS;
            let Some(first) = all.all.pop_front_if(|(age, _)| is_full || *age < oldest) else { break };
            all.bytes = all.bytes.saturating_sub(first.1);
            gone.push(first);
        }
        Ok(gone)
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

async fn read(store: &dyn StateStore, ctx: &RunContext) -> Result<Ages> {
    let mut found = Ages::default();
    loop {
        let after = found.all.back().map(|(age, _)| age.clone()).unwrap_or_default();
        let page = store.list(&ages(), &StateQuery::new(MAX_RECORDS).after(after), ctx).await?;
        if page.is_empty() {
            return Ok(found);
        }
        for record in page {
            let bytes = record.value.parse().unwrap_or_default();
            found.bytes += bytes;
            found.all.push_back((record.id, bytes));
        }
    }
}

/// Where the answer of an age is.
fn answer_of(age: &str) -> Option<(TenantScope, String)> {
    let (_, rest) = age.split_once('/')?;
    let (tenant, id) = rest.split_once('/')?;
    Some((TenantScope::for_tenant(TenantId::new(tenant).ok()?), id.to_owned()))
}

fn scope(owner: &Owner) -> TenantScope {
    TenantScope::for_tenant(owner.tenant.clone())
}

/// Keys are texts of clients, so they stand in ids as hashes.
fn id(owner: &Owner, key: &str) -> String {
    format!("{}/{}", owner.person, blake3::hash(key.as_bytes()).to_hex())
}

fn ages() -> StateSpace {
    StateSpace::of_service("idempotent-ages")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

    use agentkit_core::MemoryState;

    use super::*;

    fn written(at: Timestamp, body: String) -> Written {
        Written { asked: "asked".into(), status: 200, headers: Vec::new(), body, at }
    }

    /// Answers at a time that can be set, in seconds.
    fn answers(store: &Arc<MemoryState>, time: &Arc<AtomicU64>) -> Durable {
        let time = time.clone();
        let clock = Clock::telling(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::Relaxed)));
        Durable::new(store.clone(), clock)
    }

    async fn count(store: &MemoryState, space: &StateSpace) -> usize {
        store.list(space, &StateQuery::new(MAX_RECORDS), &RunContext::new()).await.unwrap().len()
    }

    #[tokio::test]
    async fn answers_go_with_their_time_also_those_from_before_a_restart() {
        let (store, time) = (Arc::new(MemoryState::default()), Arc::new(AtomicU64::new(1_000_000)));
        let owner = Owner { tenant: TenantId::new("acme").unwrap(), person: "p-1".into() };
        let (first, ctx) = (answers(&store, &time), RunContext::new());
        for key in ["a", "b"] {
            first.put(&owner, key, &written(first.now(), key.into())).await.unwrap();
        }
        assert_eq!(first.get(&owner, "a", &ctx).await.unwrap().unwrap().body, "a");
        let other = Owner { tenant: TenantId::new("zoo").unwrap(), ..owner.clone() };
        assert_eq!(first.get(&other, "a", &ctx).await.unwrap(), None);

        time.fetch_add(1800, Ordering::Relaxed);
        let second = answers(&store, &time);
        second.put(&owner, "a", &written(second.now(), "anew".into())).await.unwrap();
        time.fetch_add(1801, Ordering::Relaxed);
        assert_eq!(second.get(&owner, "b", &ctx).await.unwrap(), None, "its hour is over");
        second.put(&owner, "c", &written(second.now(), "c".into())).await.unwrap();
        assert_eq!(second.get(&owner, "a", &ctx).await.unwrap().unwrap().body, "anew");
        assert_eq!(count(&store, &idempotent_of(&scope(&owner))).await, 2, "a and c");
        assert_eq!(count(&store, &ages()).await, 2);
        second.put(&owner, "d", &written(second.now(), "x".repeat(MAX_BYTES))).await.unwrap();
        assert_eq!(second.get(&owner, "d", &ctx).await.unwrap(), None, "it is too long");
    }
}
