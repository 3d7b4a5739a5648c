//! The vectors: an append-only log on disk, the truth, and the same rows in memory.

pub(super) mod log;

use std::sync::Arc;

/// Rows of a block; an append copies at most one block, a snapshot shares the others.
const BLOCK_ROWS: usize = 256;

/// All vectors up to some commit, by slot; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    dimension: usize,
    rows: usize,
    blocks: Vec<Arc<Vec<f32>>>,
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
        let start = (slot % BLOCK_ROWS) * self.dimension;
        let block = self.blocks.get(slot / BLOCK_ROWS);
        block.and_then(|block| block.get(start..start + self.dimension)).unwrap_or_default()
    }

    fn push(&mut self, vector: &[f32]) {
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Arc::new(Vec::with_capacity(BLOCK_ROWS * self.dimension)));
        }
        if let Some(last) = self.blocks.last_mut() {
            Arc::make_mut(last).extend_from_slice(vector);
            self.rows += 1;
        }
    }
}
