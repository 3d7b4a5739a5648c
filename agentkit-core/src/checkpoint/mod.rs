//! The checkpointer contract: where runs are written down, so that another process can take them up.

mod memory;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::memory::MemoryCheckpointer;
use crate::context::RunContext;
use crate::error::Result;
use crate::id::{RunId, SessionId};
use crate::memory::SessionKey;
use crate::scope::TenantScope;

/// Names one run of one tenant; cannot be formed without a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    scope: TenantScope,
    run: RunId,
}

impl RunKey {
    /// The run `run` of the scope's tenant. Runs belong to the tenant, not to a collection.
    #[must_use]
    pub fn new(scope: TenantScope, run: RunId) -> Self {
        Self { scope, run }
    }

    /// Whose run it is.
    #[must_use]
    pub fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// Which run it is.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }
}

/// A run as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// How often the run has been written down, this time included.
    pub revision: u64,
    /// The run, as [`AgentRun::to_json`](crate::AgentRun::to_json) gives it.
    pub state: String,
    /// The conversation the run belongs to, with which it is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

impl Checkpoint {
    /// The `revision`th state of a run.
    #[must_use]
    pub fn new(revision: u64, state: impl Into<String>) -> Self {
        Self { revision, state: state.into(), session: None }
    }

    /// The same, as a run of `session`.
    #[must_use]
    pub fn session(mut self, session: Option<SessionId>) -> Self {
        self.session = session;
        self
    }
}

/// A listed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// Which run.
    pub run: RunId,
    /// How often it has been written down.
    pub revision: u64,
}

impl RunSummary {
    /// Describes a run.
    #[must_use]
    pub fn new(run: RunId, revision: u64) -> Self {
        Self { run, revision }
    }
}

/// Keeps the newest checkpoint of each run.
///
/// # Contract for implementers
/// - `save` is atomic, and a returned `save` is as durable as the store promises: tools are called because of it.
/// - `save` succeeds only if its revision is one more than what is stored, and 1 for a run that is not; otherwise
///   it is a conflict and changes nothing. So of two processes that carry on the same run, one is stopped before
///   it calls a tool.
/// - `load` gives what was saved last; an unknown run is `None`, not an error.
/// - Runs of different tenants never meet, whatever their ids.
/// - `remove` deletes every trace and says whether there was anything; `forget` does so with every run whose last
///   checkpoint names the session.
#[async_trait]
pub trait Checkpointer: Send + Sync {
    /// Writes a run down, in place of what was there.
    ///
    /// # Cancel safety
    /// If dropped, the checkpoint is stored whole or not at all.
    ///
    /// # Errors
    /// Conflict, if the revision does not follow; unavailable, resource exhausted, or stopped.
    async fn save(&self, key: &RunKey, checkpoint: Checkpoint, ctx: &RunContext) -> Result<()>;

    /// What was written down last.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn load(&self, key: &RunKey, ctx: &RunContext) -> Result<Option<Checkpoint>>;

    /// The tenant's runs, ordered by id, at most `limit` after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Unavailable, corrupt, or stopped.
    async fn runs(
        &self,
        scope: &TenantScope,
        after: Option<&RunId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<RunSummary>>;

    /// Deletes a run; says whether it existed.
    ///
    /// # Cancel safety
    /// If dropped, the run is deleted whole or not at all.
    ///
    /// # Errors
    /// Unavailable, or stopped.
    async fn remove(&self, key: &RunKey, ctx: &RunContext) -> Result<bool>;

    /// Deletes the runs of a conversation; says how many there were.
    ///
    /// # Cancel safety
    /// If dropped, each run is deleted whole or not at all; call it again for the rest.
    ///
    /// # Errors
    /// Unavailable, or stopped.
    async fn forget(&self, session: &SessionKey, ctx: &RunContext) -> Result<u64>;
}
