//! Applying changes to the open files of a partition.

use std::collections::HashSet;

use agentkit_core::{DocumentId, Result};

use super::{Change, Vector};
use crate::index::schema::{ChunkRecord, DocumentRecord};
use crate::index::snapshot::Snapshot;
use crate::index::store::Store;

/// Whether every vector the changes keep is that of a live chunk of the same document, so that no rewrite of the
/// logs can have dropped it.
pub(super) fn is_current(snapshot: &Snapshot, changes: &[Change]) -> Result<bool> {
    for change in changes {
        let Change::Put(record, chunks) = change else { continue };
        let kept = chunks.iter().filter_map(|(_, vector)| match vector {
            Vector::Kept(slot) => Some(slot),
            Vector::New(_) => None,
        });
        let kept: Vec<&u32> = kept.collect();
        if kept.is_empty() {
            continue;
        }
        let live = snapshot.document_slots(&record.id)?;
        if kept.into_iter().any(|slot| !live.contains(slot)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Which documents exist in the middle of a group, beyond what the snapshot says.
#[derive(Default)]
pub(super) struct Applied {
    existing: HashSet<DocumentId>,
    removed: HashSet<DocumentId>,
}

impl Applied {
    /// Applies changes in order and counts the documents that existed.
    pub(super) fn apply(
        &mut self,
        store: &mut Store,
        snapshot: &Snapshot,
        changes: Vec<Change>,
    ) -> Result<u64> {
        let mut existed = 0;
        for change in changes {
            let (id, put) = match change {
                Change::Delete(id) => (id, None),
                Change::Put(record, chunks) => (record.id.clone(), Some((record, chunks))),
            };
            existed += u64::from(self.exists(snapshot, &id)?);
            for term in store.fields().records_of(&id) {
                store.delete(term);
            }
            if let Some((record, chunks)) = put {
                add(store, &record, chunks)?;
                self.removed.remove(&id);
                self.existing.insert(id);
            } else {
                self.existing.remove(&id);
                self.removed.insert(id);
            }
        }
        Ok(existed)
    }

    fn exists(&self, snapshot: &Snapshot, id: &DocumentId) -> Result<bool> {
        if self.existing.contains(id) {
            return Ok(true);
        }
        Ok(!self.removed.contains(id) && snapshot.document(id)?.is_some())
    }
}

/// Appends the new vectors and adds the records.
fn add(store: &mut Store, record: &DocumentRecord, chunks: Vec<(ChunkRecord, Vector)>) -> Result<()> {
    let mut new = Vec::new();
    let placed: Vec<(ChunkRecord, Option<u32>)> = chunks
        .into_iter()
        .map(|(chunk, vector)| match vector {
            Vector::Kept(slot) => (chunk, Some(slot)),
            Vector::New(vector) => {
                new.push(vector);
                (chunk, None)
            }
        })
        .collect();
    let mut next = store.append(&new)?;
    for (chunk, slot) in placed {
        let slot = slot.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        store.add(chunk.to_tantivy(store.fields(), slot)?)?;
    }
    store.add(record.to_tantivy(store.fields())?)
}
