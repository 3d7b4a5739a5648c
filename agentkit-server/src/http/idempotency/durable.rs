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
            // One that was written anew has a newer age, and stays.
            let answer = answer_of(&gone).filter(|answer| answer_of(&age).as_ref() != Some(answer));
            changes.extend(answer.map(|(scope, id)| StateChange::delete(idempotent_of(&scope), id)));
            changes.push(StateChange::delete(ages(), gone));
        }
        self.store.commit(changes, ctx).await
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
