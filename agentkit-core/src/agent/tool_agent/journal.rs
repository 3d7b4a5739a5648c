//! Where a run is written down, and how often it has been.

use std::sync::Arc;

use crate::agent::run::AgentRun;
use crate::checkpoint::{Checkpoint, Checkpointer, RunKey};
use crate::context::RunContext;
use crate::error::Result;

/// The checkpoints of one run; without a store it does nothing.
pub(super) struct Journal {
    store: Option<Arc<dyn Checkpointer>>,
    key: RunKey,
    revision: u64,
}

impl Journal {
    /// A run that has been written down `revision` times.
    pub(super) fn new(store: Option<Arc<dyn Checkpointer>>, key: RunKey, revision: u64) -> Self {
        Self { store, key, revision }
    }

    pub(super) fn key(&self) -> &RunKey {
        &self.key
    }

    pub(super) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    pub(super) async fn save(&mut self, run: &AgentRun, ctx: &RunContext) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let next = self.revision.saturating_add(1);
        let checkpoint = Checkpoint::new(next, run.to_json()?).session(run.session().cloned());
        ctx.run(store.save(&self.key, checkpoint, ctx)).await?;
        self.revision = next;
        Ok(())
    }
}
