//! The contract of stores of small records: keys, audit trails, feedback, jobs of a service.
//!
//! What a service remembers besides documents and conversations is small and found by its name, so the contract is
//! no more than that: records in ordered spaces, changed together or not at all, each change on a condition. Every
//! database can keep it, and what the records mean is written once, above it.

mod memory;

use async_trait::async_trait;

pub use self::memory::MemoryState;
use crate::context::RunContext;
use crate::error::{Error, Result};
use crate::scope::TenantScope;

/// Longest id of a record in bytes.
pub const MAX_RECORD_ID_BYTES: usize = 2048;
/// Longest value of a record in bytes.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Most changes of one commit, and most records of one list.
pub const MAX_RECORDS: usize = 1000;

/// A kind of records, of one tenant or of the service itself.
///
/// # Examples
/// ```
/// use agentkit_core::{StateSpace, TenantScope};
///
/// let feedback = StateSpace::of_tenant("feedback", &TenantScope::local());
/// assert_eq!((feedback.kind(), feedback.tenant()), ("feedback", "local"));
/// assert_eq!(StateSpace::of_service("keys").tenant(), "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateSpace {
    kind: &'static str,
    tenant: String,
}

impl StateSpace {
    /// Records of the scope's tenant. They belong to the tenant, not to a collection.
    #[must_use]
    pub fn of_tenant(kind: &'static str, scope: &TenantScope) -> Self {
        Self { kind, tenant: scope.tenant().as_str().to_owned() }
    }

    /// Records that belong to no tenant, such as those by which one is found out.
    #[must_use]
    pub fn of_service(kind: &'static str) -> Self {
        Self { kind, tenant: String::new() }
    }

    /// What the records are.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whose they are; empty for the service's own.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateRecord {
    /// Its name within the space.
    pub id: String,
    /// How often it has been written; begins at 1, also after a deletion.
    pub revision: u64,
    /// What it says.
    pub value: String,
}

impl StateRecord {
    /// The record `id` after `revision` writes.
    #[must_use]
    pub fn new(id: impl Into<String>, revision: u64, value: impl Into<String>) -> Self {
        Self { id: id.into(), revision, value: value.into() }
    }
}

/// What must be true of a record for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateCondition {
    /// Nothing.
    None,
    /// It is not there.
    Absent,
    /// It is there and has this revision.
    Revision(u64),
}

/// A change of one record.
///
/// # Examples
/// ```
/// use agentkit_core::{StateChange, StateCondition, StateSpace};
///
/// let create = StateChange::put(StateSpace::of_service("keys"), "k1", "{}").when(StateCondition::Absent);
/// assert_eq!(create.value.as_deref(), Some("{}"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// Where the record is.
    pub space: StateSpace,
    /// Its name there.
    pub id: String,
    /// What must be true of it.
    pub condition: StateCondition,
    /// What it says from now on; `None` deletes it.
    pub value: Option<String>,
}

impl StateChange {
    /// Writes a record, whatever was there.
    #[must_use]
    pub fn put(space: StateSpace, id: impl Into<String>, value: impl Into<String>) -> Self {
        Self { space, id: id.into(), condition: StateCondition::None, value: Some(value.into()) }
    }

    /// Deletes a record, if it is there.
    #[must_use]
    pub fn delete(space: StateSpace, id: impl Into<String>) -> Self {
        Self { space, id: id.into(), condition: StateCondition::None, value: None }
    }

    /// Makes the change only if `condition` is met.
    #[must_use]
    pub fn when(mut self, condition: StateCondition) -> Self {
        self.condition = condition;
        self
    }

    /// Whether a store has to take it.
    ///
    /// # Errors
    /// Invalid input, if the id is empty or too long or holds a NUL, the value is too long, or what is absent is to be
    /// deleted.
    pub fn validate(&self) -> Result<()> {
        let (id, value) = (self.id.len(), self.value.as_ref().map_or(0, String::len));
        if id == 0 || id > MAX_RECORD_ID_BYTES || self.id.contains('\0') {
            return Err(Error::invalid_input(format!(
                "the id of a record must have 1 to {MAX_RECORD_ID_BYTES} bytes without NUL, got {id}"
            )));
        }
        if value > MAX_RECORD_BYTES {
            return Err(Error::invalid_input(format!(
                "a record may have {MAX_RECORD_BYTES} bytes at most, got {value}"
            )));
        }
        if self.value.is_none() && self.condition == StateCondition::Absent {
            let message = format!("the record {:?} is to be deleted if it is not there", self.id);
            return Err(Error::invalid_input(message));
        }
        Ok(())
    }
}

/// Which records of a space to list.
///
/// # Examples
/// ```
/// use agentkit_core::StateQuery;
///
/// let next = StateQuery::new(100).prefix("session-1/").after("session-1/turn-7");
/// assert_eq!((next.prefix.as_str(), next.limit), ("session-1/", 100));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateQuery {
    /// What the ids begin with.
    pub prefix: String,
    /// The id behind which the list begins.
    pub after: Option<String>,
    /// Most records to list; [`MAX_RECORDS`] bounds it.
    pub limit: usize,
}

impl StateQuery {
    /// The first `limit` records.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Only records whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Begins behind `id`.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }
}

/// Keeps records.
///
/// # Contract for implementers
/// - `commit` is atomic and isolated: all of its changes take effect or none, and no reader sees some of them. The
///   conditions are checked in the same transaction; the first that is not met is a conflict and nothing is changed.
///   A commit that names a record twice is invalid input.
/// - A returned `commit` is as durable as the store promises, and visible to every later call of any process.
/// - `list` gives records by the bytes of their ids.
/// - Spaces never meet, whatever the ids.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The record `id`, if it is there.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn get(&self, space: &StateSpace, id: &str, ctx: &RunContext) -> Result<Option<StateRecord>>;

    /// The records that `query` names, by id.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn list(
        &self,
        space: &StateSpace,
        query: &StateQuery,
        ctx: &RunContext,
    ) -> Result<Vec<StateRecord>>;

    /// Makes all of the changes, or none.
    ///
    /// # Cancel safety
    /// If dropped, all changes are made or none.
    ///
    /// # Errors
    /// Conflict if a condition is not met, invalid input, unavailable, resource exhausted, or stopped.
    async fn commit(&self, changes: Vec<StateChange>, ctx: &RunContext) -> Result<()>;
}

/// Checks what every store has to check of a commit.
///
/// # Errors
/// Invalid input, if there are too many changes, one is malformed, or two are about the same record.
pub fn check_changes(changes: &[StateChange]) -> Result<()> {
    if changes.len() > MAX_RECORDS {
        let message =
            format!("a commit may hold {MAX_RECORDS} changes at most, got {}; split it", changes.len());
        return Err(Error::invalid_input(message));
    }
    let mut named = std::collections::BTreeSet::new();
    for change in changes {
        change.validate()?;
        if !named.insert((&change.space, change.id.as_str())) {
            let message = format!("a commit names the record {:?} twice; change it once", change.id);
            return Err(Error::invalid_input(message));
        }
    }
    Ok(())
}
