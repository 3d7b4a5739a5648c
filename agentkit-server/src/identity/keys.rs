//! API keys in the state store: made, listed, rotated, revoked and checked.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkit_core::{
    CollectionName, Error, ErrorKind, Result, RunContext, StateChange, StateCondition, StateQuery,
    StateSpace, StateStore, TenantId, telemetry,
};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::key::ApiKey;
use super::{Principal, Role, check_subject};
use crate::clock::{Clock, Timestamp};
use crate::records::{self, Kept};

/// How long a key that was read is believed: the longest time another process's revocation takes to be seen.
const BELIEVED: Duration = Duration::from_millis(500);
/// Keys that are believed at once.
const MAX_BELIEVED: u64 = 10_000;
/// Keys that are read from the store at once.
const READERS: usize = 64;
/// Longest label of a key in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// What a key shall be good for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeySpec {
    /// Whose documents it opens.
    pub tenant: TenantId,
    /// Who uses it; left out, the key is a user of its own.
    pub subject: Option<String>,
    /// What it may do.
    pub role: Role,
    /// The collections it may use; all if `None`.
    pub collections: Option<BTreeSet<CollectionName>>,
    /// What it is for, to recognise it in the list.
    pub label: String,
    /// How long it is good; for ever if `None`.
    pub lifetime: Option<Duration>,
}

impl KeySpec {
    /// A key for `role` in every collection of `tenant`, good for ever.
    #[must_use]
    pub fn new(tenant: TenantId, role: Role) -> Self {
        Self { tenant, subject: None, role, collections: None, label: String::new(), lifetime: None }
    }
}

/// A key as it is stored: everything but the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyRecord {
    /// What it is found by.
    pub id: String,
    /// Whose documents it opens.
    pub tenant: TenantId,
    /// Who uses it.
    pub subject: String,
    /// What it may do.
    pub role: Role,
    /// The collections it may use; all if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collections: Option<BTreeSet<CollectionName>>,
    /// What it is for.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops being good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// The key it was made in the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    hash: String,
}

impl KeyRecord {
    /// `active`, `expired` or `revoked`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> &'static str {
        match (self.revoked, self.expires) {
            (Some(_), _) => "revoked",
            (None, Some(expires)) if expires <= now => "expired",
            _ => "active",
        }
    }

    fn principal(&self) -> Principal {
        Principal {
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            role: self.role,
            collections: self.collections.clone(),
            credential: self.id.clone(),
        }
    }
}

/// All keys of a service; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn StateStore>,
    clock: Clock,
    believed: Cache<String, Arc<KeyRecord>>,
    /// Whoever reads a key from the store, or revokes it, holds the one of these that its id falls to.
    reading: Arc<[Mutex<()>; READERS]>,
}

impl Keys {
    /// The keys in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, clock: Clock) -> Self {
        let believed = Cache::builder().max_capacity(MAX_BELIEVED).time_to_live(BELIEVED).build();
        let reading = Arc::new(std::array::from_fn(|_| Mutex::new(())));
        Self { store, clock, believed, reading }
    }

    /// Makes a key. It is returned only here; what is stored cannot be turned back into it.
    ///
    /// # Cancel safety
    /// If dropped, a key that nobody knows may be left.
    ///
    /// # Errors
    /// Invalid input, or what the store says.
    pub async fn create(&self, spec: &KeySpec, ctx: &RunContext) -> Result<(ApiKey, KeyRecord)> {
        let (key, record) = self.make(spec)?;
        self.store.commit(vec![added(&record)?], ctx).await?;
        Ok((key, record))
    }

    /// The keys by id, at most `limit` after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, after: Option<&str>, limit: usize, ctx: &RunContext) -> Result<Vec<KeyRecord>> {
        let query = StateQuery::new(limit).after(after.unwrap_or_default());
        let found = records::page::<KeyRecord>(&*self.store, &space(), &query, ctx).await?;
        Ok(found.into_iter().map(|kept| kept.value).collect())
    }

    /// The key of this id, if there is one.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, id: &str, ctx: &RunContext) -> Result<Option<KeyRecord>> {
        Ok(records::load(&*self.store, &space(), id, ctx).await?.map(|kept| kept.value))
    }

    /// Makes the key `id` worthless: at once in this process, within a second in every other.
    ///
    /// # Cancel safety
    /// If dropped, the key is revoked or not.
    ///
    /// # Errors
    /// Not found if there is no such key, conflict if somebody else changes it, or what the store says.
    pub async fn revoke(&self, id: &str, ctx: &RunContext) -> Result<KeyRecord> {
        // Nobody reads the key meanwhile, who would believe it afterwards.
        let _turn = self.turn(id, ctx).await?;
        let Kept { revision, value: mut record, .. } = self.find(id, ctx).await?;
        record.revoked.get_or_insert(self.clock.now());
        self.store.commit(vec![changed(&record, revision)?], ctx).await?;
        self.believed.invalidate(id);
        Ok(record)
    }

    /// Makes a key that is good for the same, and lets the key `id` go on for `overlap`, so that both are good
    /// while users change over. The new key lives as long as the old one was made for.
    ///
    /// # Cancel safety
    /// If dropped, both happen or neither.
    ///
    /// # Errors
    /// Not found if there is no such key, invalid input if it is not good any more, conflict if somebody else
    /// changes it, or what the store says.
    pub async fn rotate(&self, id: &str, overlap: Duration, ctx: &RunContext) -> Result<(ApiKey, KeyRecord)> {
        let Kept { revision, value: mut old, .. } = self.find(id, ctx).await?;
        let now = self.clock.now();
        if old.status(now) != "active" {
            return Err(Error::invalid_input(format!("the key {id} is {}; create one", old.status(now))));
        }
        let (key, mut new) = self.make(&again(&old))?;
        new.replaces = Some(old.id.clone());
        let end = now.after(overlap);
        old.expires = Some(old.expires.map_or(end, |expires| expires.min(end)));
        self.store.commit(vec![added(&new)?, changed(&old, revision)?], ctx).await?;
        self.believed.invalidate(id);
        Ok((key, new))
    }

    /// Who shows `key`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unauthorized if the key is unknown, expired or revoked, or what the store says.
    pub async fn verify(&self, key: &ApiKey, ctx: &RunContext) -> Result<Principal> {
        let believed = self.believed.get(key.id());
        telemetry::looked_up("api_keys", believed.is_some());
        let record = match believed {
            Some(record) => Some(record),
            None => self.read(key.id(), ctx).await?,
        };
        let known = record.filter(|record| key.is(&record.hash));
        let record = known.ok_or_else(|| unauthorized("the API key is not known"))?;
        match record.status(self.clock.now()) {
            "active" => Ok(record.principal()),
            status => Err(unauthorized(&format!("the API key {} is {status}", record.id))),
        }
    }

    /// Reads a key from the store. Of those who ask for one at the same time only the first does: under load they are
    /// hundreds, and would take all of the store's connections.
    async fn read(&self, id: &str, ctx: &RunContext) -> Result<Option<Arc<KeyRecord>>> {
        let _turn = self.turn(id, ctx).await?;
        if let Some(record) = self.believed.get(id) {
            return Ok(Some(record));
        }
        let kept = records::load::<KeyRecord>(&*self.store, &space(), id, ctx).await?;
        let record = kept.map(|kept| Arc::new(kept.value));
        if let Some(record) = &record {
            self.believed.insert(id.to_owned(), record.clone());
        }
        Ok(record)
    }

    /// The turn of whoever reads or revokes the key `id`.
    async fn turn(&self, id: &str, ctx: &RunContext) -> Result<Option<MutexGuard<'_, ()>>> {
        let place = id.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let Some(turn) = self.reading.get(place % READERS) else { return Ok(None) };
        ctx.run(async { Ok(Some(turn.lock().await)) }).await
    }

    async fn find(&self, id: &str, ctx: &RunContext) -> Result<Kept<KeyRecord>> {
        let found = records::load(&*self.store, &space(), id, ctx).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no key {id:?}; `keys list` shows them")))
    }

    fn make(&self, spec: &KeySpec) -> Result<(ApiKey, KeyRecord)> {
        if spec.label.len() > MAX_LABEL_BYTES {
            let message = format!("a key's label may have {MAX_LABEL_BYTES} bytes at most");
            return Err(Error::invalid_input(message));
        }
        if spec.collections.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(Error::invalid_input("a key needs at least one collection, or all of them"));
        }
        let (key, now) = (ApiKey::random()?, self.clock.now());
        let subject = spec.subject.clone().unwrap_or_else(|| format!("key-{}", key.id()));
        check_subject(&subject)?;
        let record = KeyRecord {
            id: key.id().to_owned(),
            tenant: spec.tenant.clone(),
            subject,
            role: spec.role,
            collections: spec.collections.clone(),
            label: spec.label.clone(),
            created: now,
            expires: spec.lifetime.map(|lifetime| now.after(lifetime)),
            revoked: None,
            replaces: None,
            hash: key.hash(),
        };
        Ok((key, record))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn space() -> StateSpace {
    StateSpace::of_service("keys")
}

fn added(record: &KeyRecord) -> Result<StateChange> {
    let put = StateChange::put(space(), record.id.as_str(), records::encode(record)?);
    Ok(put.when(StateCondition::Absent))
}

fn changed(record: &KeyRecord, revision: u64) -> Result<StateChange> {
    let put = StateChange::put(space(), record.id.as_str(), records::encode(record)?);
    Ok(put.when(StateCondition::Revision(revision)))
}

/// What the key was made for.
fn again(record: &KeyRecord) -> KeySpec {
    let lived =
        |expires: Timestamp| Duration::from_secs(expires.seconds().saturating_sub(record.created.seconds()));
    KeySpec {
        tenant: record.tenant.clone(),
        subject: Some(record.subject.clone()),
        role: record.role,
        collections: record.collections.clone(),
        label: record.label.clone(),
        lifetime: record.expires.map(lived),
    }
}

pub(super) fn unauthorized(message: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, message)
}
