//! The graph's file: a magic word, a checksum, and the arrays as little-endian numbers.
//!
//! `AKGRAPH1`, CRC-32 of the rest (u32), then as u32: slots, entry, layers, and each list of lists (members first,
//! then the layers) as number of lists, number of values, ends, values. The checksum is verified before anything
//! is believed, and everything is checked again while it is read: a file that passes can be searched.

use std::path::Path;

use agentkit_core::{Error, Result};

use super::{Graph, Lists};
use crate::index::sealed;
use crate::index::storage::Storage;

const MAGIC: &[u8; 8] = b"AKGRAPH1";
/// Bytes of magic and checksum.
const HEAD: usize = 12;
/// More layers than any graph has.
const MAX_LAYERS: u32 = 64;

impl Graph {
    /// Replaces the graph's file.
    pub(in crate::index) fn save(&self, storage: &dyn Storage, path: &Path) -> Result<()> {
        let mut body = Vec::new();
        let layers = u32::try_from(self.layers.len()).unwrap_or(MAX_LAYERS);
        for number in [self.slots, self.entry, layers] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        write_lists(&self.members, &mut body);
        for lists in &self.layers {
            write_lists(lists, &mut body);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        sealed::write(storage, path, &bytes)
            .map_err(|error| Error::io(format!("write graph {}", path.display()), error))
    }

    /// Reads a graph's file.
    ///
    /// # Errors
    /// Not found, unavailable, or corrupt.
    pub(in crate::index) fn load(storage: &dyn Storage, path: &Path) -> Result<Self> {
        let bytes = sealed::read(storage, path)?;
        parse(&bytes).ok_or_else(|| Error::corrupt(format!("graph {} is damaged", path.display())))
    }
}

fn parse(bytes: &[u8]) -> Option<Graph> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let checksum = head.strip_prefix(MAGIC)?;
    if checksum != crc32fast::hash(body).to_le_bytes() {
        return None;
    }
    let mut numbers = Numbers { rest: body };
    let (slots, entry, layers) = (numbers.next()?, numbers.next()?, numbers.next()?);
    if layers == 0 || layers > MAX_LAYERS {
        return None;
    }
    let members = numbers.lists(slots)?;
    let nodes = u32::try_from(members.len()).ok()?;
    let layers = (0..layers).map(|_| numbers.lists(nodes)).collect::<Option<Vec<_>>>()?;
    let complete = layers.iter().all(|lists| lists.len() == nodes as usize) && numbers.rest.is_empty();
    (complete && (entry < nodes || nodes == 0)).then_some(Graph { slots, entry, members, layers })
}

fn write_lists(lists: &Lists, body: &mut Vec<u8>) {
    for length in [lists.ends.len(), lists.values.len()] {
        body.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    for number in lists.ends.iter().chain(&lists.values) {
        body.extend_from_slice(&number.to_le_bytes());
    }
}

struct Numbers<'b> {
    rest: &'b [u8],
}

impl Numbers<'_> {
    fn next(&mut self) -> Option<u32> {
        let (number, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn many(&mut self, count: u32) -> Option<Vec<u32>> {
        let (numbers, rest) = self.rest.split_at_checked((count as usize).checked_mul(4)?)?;
        self.rest = rest;
        Some(numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// Lists whose values are all below `limit`.
    fn lists(&mut self, limit: u32) -> Option<Lists> {
        let (count, total) = (self.next()?, self.next()?);
        let lists = Lists { ends: self.many(count)?, values: self.many(total)? };
        let ordered = lists.ends.is_sorted() && lists.ends.last().copied().unwrap_or(0) == total;
        (ordered && lists.values.iter().all(|value| *value < limit)).then_some(lists)
    }
}
