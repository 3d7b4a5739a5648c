//! The vectors: append-only logs on disk, the truth, and the same rows in memory.

pub(super) mod log;

use std::sync::Arc;

use tantivy::directory::OwnedBytes;

/// Rows of a block; an append copies at most one block, a snapshot shares the others.
const BLOCK_ROWS: usize = 256;

type Block = Vec<Option<Box<[f32]>>>;

/// All vectors up to some commit, by slot; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    dimension: usize,
    rows: usize,
    blocks: Vec<Arc<Block>>,
}

impl Vectors {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, rows: 0, blocks: Vec::new() }
    }

    /// Number of slots handed out so far.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The vector in `slot`; empty if there is none.
    pub(super) fn row(&self, slot: u32) -> &[f32] {
        let slot = slot as usize;
        let block = self.blocks.get(slot / BLOCK_ROWS);
        block.and_then(|block| block.get(slot % BLOCK_ROWS)?.as_deref()).unwrap_or_default()
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        self.put(Some(vector.into()));
    }

    pub(super) fn skip_to(&mut self, slot: u32) {
        while self.rows < slot as usize {
            self.put(None);
        }
    }

    fn put(&mut self, row: Option<Box<[f32]>>) {
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Arc::new(Vec::with_capacity(BLOCK_ROWS)));
        }
        if let Some(last) = self.blocks.last_mut() {
            Arc::make_mut(last).push(row);
            self.rows += 1;
        }
    }

    pub(super) fn attach(&mut self, file: &OwnedBytes, rows: &[(u32, usize)]) {
        for (slot, offset) in rows {
            if (*slot as usize) < self.rows {
                continue;
            }
            self.skip_to(*slot);
            let bytes = file.get(*offset..*offset + 4 * self.dimension).unwrap_or_default();
            let row: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            self.push(&row);
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let slot = slot as usize;
        if let Some(block) = self.blocks.get_mut(slot / BLOCK_ROWS)
            && let Some(row) = Arc::make_mut(block).get_mut(slot % BLOCK_ROWS)
        {
            *row = None;
        }
    }
}
