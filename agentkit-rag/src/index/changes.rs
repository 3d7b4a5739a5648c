//! Which documents have been changed, noted while somebody wants to know.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentkit_core::{DocumentId, TenantScope};

type Noted = HashMap<TenantScope, HashSet<DocumentId>>;

/// The notes on all partitions of an edition; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Arc<Mutex<Option<Noted>>>);

/// The notes on one partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionChanges {
    all: Changes,
    scope: TenantScope,
}

impl Changes {
    /// Notes what changes from now on.
    pub(super) fn begin(&self) {
        *self.noted() = Some(Noted::new());
    }

    /// Forgets the notes and takes none any more.
    pub(super) fn end(&self) {
        *self.noted() = None;
    }

    /// What was noted since the last time.
    pub(super) fn take(&self) -> Vec<(TenantScope, Vec<DocumentId>)> {
        let noted = self.noted().as_mut().map(std::mem::take).unwrap_or_default();
        noted.into_iter().map(|(scope, ids)| (scope, ids.into_iter().collect())).collect()
    }

    pub(super) fn of(&self, scope: &TenantScope) -> PartitionChanges {
        PartitionChanges { all: self.clone(), scope: scope.clone() }
    }

    fn noted(&self) -> MutexGuard<'_, Option<Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionChanges {
    /// Notes documents whose change can be seen by now.
    pub(super) fn note(&self, ids: impl IntoIterator<Item = DocumentId>) {
        if let Some(noted) = &mut *self.all.noted() {
            noted.entry(self.scope.clone()).or_default().extend(ids);
        }
    }
}
