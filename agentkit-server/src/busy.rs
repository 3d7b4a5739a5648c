//! A store in memory that is slow, counts what is read, and can be out of reach for a while; for tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkit_core::{
    Error, ErrorKind, MemoryState, Result, RunContext, StateChange, StateQuery, StateRecord, StateSpace,
    StateStore,
};
use async_trait::async_trait;

/// A slow store that fails the first so many readings.
#[derive(Default)]
pub(crate) struct Busy {
    store: MemoryState,
    reads: AtomicU64,
    failing: u64,
}

impl Busy {
    pub(crate) fn failing(reads: u64) -> Self {
        Self { failing: reads, ..Self::default() }
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl StateStore for Busy {
    async fn get(&self, space: &StateSpace, id: &str, ctx: &RunContext) -> Result<Option<StateRecord>> {
        let before = self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if before < self.failing {
            return Err(Error::new(ErrorKind::Unavailable, "the store is busy"));
        }
        self.store.get(space, id, ctx).await
    }

    async fn list(
        &self,
        space: &StateSpace,
        query: &StateQuery,
        ctx: &RunContext,
    ) -> Result<Vec<StateRecord>> {
        self.store.list(space, query, ctx).await
    }

    async fn commit(&self, changes: Vec<StateChange>, ctx: &RunContext) -> Result<()> {
        self.store.commit(changes, ctx).await
    }
}
