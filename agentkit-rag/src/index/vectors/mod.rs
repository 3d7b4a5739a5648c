//! The vectors: an append-only log on disk, the truth, and what a search reads of them in memory.
//!
//! In memory every vector is a row of int8 codes ([`codes`]), which nearly all of a search reads. The rows themselves
//! are needed for the few that end up near the top; where the log is mapped they are read from there and take no
//! memory of the process.
//!
//! Always true: rows are in blocks of 256 slots that snapshots share; a block holds its codes once, whoever owns its
//! rows; a slot that was skipped is a hole, and a block of holes costs nothing.

pub(super) mod codes;
pub(super) mod log;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use agentkit_core::{Error, Result};
use tantivy::directory::OwnedBytes;

use self::codes::{BLOCK_ROWS, Bound, Codes, Run, Scale};
use super::kernel::Line;

/// All vectors up to some commit, by slot; cheap to clone. An append copies at most one block.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    dimension: usize,
    /// The slot after the last.
    end: usize,
    /// The largest norms of all rows there ever were.
    bound: Bound,
    blocks: Vec<Option<Arc<Block>>>,
}

#[derive(Debug, Clone)]
struct Block {
    codes: Arc<Codes>,
    rows: Rows,
}

/// Where the rows of a block are.
#[derive(Debug, Clone)]
enum Rows {
    /// One after the other, zeros in holes.
    Owned(Vec<f32>),
    /// In a file, each at its offset from `start`; offsets of holes mean nothing.
    Mapped { file: OwnedBytes, start: usize, offsets: Box<[u32]> },
}

impl Vectors {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, end: 0, bound: Bound::default(), blocks: Vec::new() }
    }

    /// The slot after the highest; the number of slots, holes included.
    pub(super) fn len(&self) -> usize {
        self.end
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of slots that hold a vector.
    #[cfg(test)]
    pub(super) fn present(&self) -> usize {
        self.blocks.iter().flatten().map(|block| block.codes.count()).sum()
    }

    /// The vector in `slot`; empty if there is none.
    pub(super) fn row(&self, slot: u32) -> &[f32] {
        self.at(slot).map_or(&[], |(block, at)| block.row(at, self.dimension))
    }

    /// The codes of `slot` and their scale; nothing for a hole.
    #[inline]
    pub(super) fn codes(&self, slot: u32) -> Option<(&[Line], Scale)> {
        let (block, at) = self.at(slot)?;
        block.codes.contains(at).then(|| (block.codes.row(at), block.codes.scale(at)))
    }

    /// The codes of slots that follow one another in one block without a hole, if these do.
    pub(super) fn run(&self, slots: &[u32]) -> Option<Run<'_>> {
        let (block, at) = self.at(*slots.first()?)?;
        let consecutive = slots.is_sorted_by(|a, b| a.wrapping_add(1) == *b);
        (consecutive && at + slots.len() <= BLOCK_ROWS).then(|| block.codes.run(at, slots.len())).flatten()
    }

    /// What bounds the norms of all rows.
    pub(super) fn bound(&self) -> Bound {
        self.bound
    }

    #[inline]
    fn at(&self, slot: u32) -> Option<(&Block, usize)> {
        let slot = slot as usize;
        let block = self.blocks.get(slot / BLOCK_ROWS)?.as_deref()?;
        Some((block, slot % BLOCK_ROWS))
    }

    /// Lets the next vector go to `slot`, unless that is behind the last; what is skipped are holes.
    pub(super) fn skip_to(&mut self, slot: usize) {
        self.end = self.end.max(slot);
    }

    /// Puts a vector into the next slot.
    pub(super) fn push(&mut self, vector: &[f32]) {
        let (block, at) = (self.end / BLOCK_ROWS, self.end % BLOCK_ROWS);
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, None);
        }
        let Some(place) = self.blocks.get_mut(block) else { return };
        let block = place.get_or_insert_with(|| Arc::new(Block::new(self.dimension)));
        let Block { codes, rows } = Arc::make_mut(block);
        self.bound.widen(Arc::make_mut(codes).push(at, vector));
        // Mapped rows are those of a block that is behind the last slot, so they never grow.
        if let Rows::Owned(rows) = rows {
            rows.reserve_exact((BLOCK_ROWS * self.dimension).saturating_sub(rows.len()));
            rows.resize(at * self.dimension, 0.0);
            rows.extend_from_slice(vector);
        }
        self.end += 1;
    }

    /// Takes rows from a mapped file, given the slots, ascending, and the byte offsets of their components.
    ///
    /// Slots after the last are new. Those that are there already must have the same vectors; once a file has all
    /// rows of a block, the block reads from it and what it held is freed. A block that can still grow is copied.
    ///
    /// # Errors
    /// Corrupt, if a row is not within the file.
    pub(super) fn attach(
        &mut self,
        file: &OwnedBytes,
        records: impl IntoIterator<Item = (u32, u64)>,
    ) -> Result<()> {
        let mut group: Vec<(u32, usize)> = Vec::with_capacity(BLOCK_ROWS);
        for (slot, offset) in records {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let inside = offset.checked_add(self.dimension * 4).is_some_and(|end| end <= file.len());
            if !inside {
                return Err(Error::corrupt(format!("the vector of slot {slot} is not within its file")));
            }
            let block = |slot: u32| slot as usize / BLOCK_ROWS;
            if group.last().is_some_and(|(last, _)| block(*last) != block(slot)) {
                self.attach_block(file, &group, true);
                group.clear();
            }
            group.push((slot, offset));
        }
        self.attach_block(file, &group, false);
        Ok(())
    }

    /// Attaches rows of one block; `followed` says that slots of a later block come next.
    fn attach_block(&mut self, file: &OwnedBytes, group: &[(u32, usize)], followed: bool) {
        let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else { return };
        let index = *first as usize / BLOCK_ROWS;
        let behind = (index + 1) * BLOCK_ROWS;
        let grows_no_more = followed || self.end >= behind || *last as usize + 1 == behind;
        let rows = grows_no_more.then(|| Rows::mapped(file, group, self.dimension)).flatten();
        match rows {
            Some(rows) if self.end <= index * BLOCK_ROWS => self.append_block(file, group, rows),
            rows => {
                self.append_copies(file, group);
                if let Some(rows) = rows {
                    self.replace_rows(index, group.len(), rows);
                }
            }
        }
    }

    fn append_block(&mut self, file: &OwnedBytes, group: &[(u32, usize)], rows: Rows) {
        let mut codes = Codes::new(self.dimension);
        for (slot, offset) in group {
            let row = in_place(file, *offset, self.dimension).unwrap_or_default();
            self.bound.widen(codes.push(*slot as usize % BLOCK_ROWS, row));
            self.end = *slot as usize + 1;
        }
        self.blocks.resize((self.end - 1) / BLOCK_ROWS, None);
        self.blocks.push(Some(Arc::new(Block { codes: Arc::new(codes), rows })));
    }

    fn append_copies(&mut self, file: &OwnedBytes, group: &[(u32, usize)]) {
        let mut vector = Vec::with_capacity(self.dimension);
        for (slot, offset) in group {
            if *slot as usize >= self.end {
                let bytes = file.as_slice().get(*offset..*offset + self.dimension * 4).unwrap_or_default();
                vector.clear();
                vector.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
                self.skip_to(*slot as usize);
                self.push(&vector);
            }
        }
    }

    /// Makes slots holes. What is left of their blocks is copied, so that no file is kept for it.
    pub(super) fn remove(&mut self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            let at = slot as usize % BLOCK_ROWS;
            let dimension = self.dimension;
            let Some(Some(block)) = self.blocks.get_mut(slot as usize / BLOCK_ROWS) else { continue };
            if !block.codes.contains(at) {
                continue;
            }
            if let Rows::Mapped { .. } = block.rows {
                *block = Arc::new(block.owned(dimension));
            }
            let Block { codes, rows } = Arc::make_mut(block);
            Arc::make_mut(codes).remove(at);
            if let Rows::Owned(rows) = rows
                && let Some(row) = rows.get_mut(at * dimension..(at + 1) * dimension)
            {
                row.fill(0.0);
            }
        }
        for block in &mut self.blocks {
            block.take_if(|block| block.codes.count() == 0);
        }
    }

    /// Gives a block its rows elsewhere, if those are as many as it has.
    fn replace_rows(&mut self, index: usize, count: usize, rows: Rows) {
        if let Some(Some(block)) = self.blocks.get_mut(index)
            && block.codes.count() == count
        {
            *block = Arc::new(Block { codes: block.codes.clone(), rows });
        }
    }
}

impl Block {
    fn new(dimension: usize) -> Self {
        Self { codes: Arc::new(Codes::new(dimension)), rows: Rows::Owned(Vec::new()) }
    }

    /// The same with rows of its own.
    fn owned(&self, dimension: usize) -> Self {
        let mut rows = Vec::with_capacity(BLOCK_ROWS * dimension);
        for at in (0..BLOCK_ROWS).filter(|at| self.codes.contains(*at)) {
            rows.resize(at * dimension, 0.0);
            rows.extend_from_slice(self.row(at, dimension));
        }
        Self { codes: self.codes.clone(), rows: Rows::Owned(rows) }
    }

    /// The vector in row `at`; empty for a hole.
    fn row(&self, at: usize, dimension: usize) -> &[f32] {
        if !self.codes.contains(at) {
            return &[];
        }
        match &self.rows {
            Rows::Owned(rows) => rows.get(at * dimension..(at + 1) * dimension).unwrap_or_default(),
            Rows::Mapped { file, start, offsets } => {
                let offset =
                    offsets.get(at).map_or(usize::MAX, |offset| start.saturating_add(*offset as usize));
                in_place(file, offset, dimension).unwrap_or_default()
            }
        }
    }
}

impl Rows {
    /// The rows of one block as they lie in a file; nothing if they cannot be read in place.
    fn mapped(file: &OwnedBytes, group: &[(u32, usize)], dimension: usize) -> Option<Self> {
        let start = group.iter().map(|(_, offset)| *offset).min()?;
        let mut offsets = vec![0_u32; group.last()?.0 as usize % BLOCK_ROWS + 1];
        for (slot, offset) in group {
            in_place(file, *offset, dimension)?;
            *offsets.get_mut(*slot as usize % BLOCK_ROWS)? = u32::try_from(offset - start).ok()?;
        }
        Some(Self::Mapped { file: file.clone(), start, offsets: offsets.into_boxed_slice() })
    }
}

/// The components at `offset` of a file, if they are laid out there as in memory.
fn in_place(file: &OwnedBytes, offset: usize, dimension: usize) -> Option<&[f32]> {
    let bytes = file.as_slice().get(offset..offset.checked_add(dimension * 4)?)?;
    if cfg!(target_endian = "big") {
        return None;
    }
    bytemuck::try_cast_slice(bytes).ok()
}
