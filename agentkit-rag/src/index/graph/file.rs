//! The graph's file: a magic word, a checksum, and the arrays as little-endian numbers.
//!
//! `AKGRAPH4`, CRC-32 of the rest (u32), then as u32: slots, quarters of the usual effort, upper layers; the slots of each node and its
//! neighbours on layer 0 as lists; and for every upper layer, from layer 1 up, the number of its nodes, the nodes and
//! their neighbours as lists. Lists are number of lists, number of values, ends, values. A search starts at the first
//! node of the topmost layer. The checksum is verified before anything is believed, and everything is checked again
//! while it is read: a file that passes can be searched.

use std::path::Path;

use agentkit_core::{Error, Result};

use super::{Arrays, Effort, Graph, Links, Lists};
use crate::index::sealed;
use crate::index::storage::Storage;

const MAGIC: &[u8; 8] = b"AKGRAPH4";
/// Bytes of magic and checksum.
const HEAD: usize = 12;
/// More layers than any graph has.
const MAX_LAYERS: u32 = 64;

impl Graph {
    /// Replaces the graph's file.
    pub(in crate::index) fn save(&self, storage: &dyn Storage, path: &Path) -> Result<()> {
        sealed::write(storage, path, &encode(self))
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

/// The bytes of a graph's file.
pub(in crate::index) fn encode(graph: &Graph) -> Vec<u8> {
    let arrays = &graph.arrays;
    let mut body = Vec::new();
    write_numbers(
        &[arrays.slots, arrays.effort.map_or(0, Effort::quarters), number(arrays.upper.len())],
        &mut body,
    );
    write_lists(&arrays.members, &mut body);
    let mut base = Lists::default();
    for (node, links) in (0_u32..).zip(&arrays.base) {
        base.push(links.of(node));
    }
    write_lists(&base, &mut body);
    for layer in &arrays.upper {
        let mut links = layer.links.clone();
        for place in &mut links.values {
            *place = layer.nodes.get(*place as usize).copied().unwrap_or_default();
        }
        write_numbers(&[number(layer.nodes.len())], &mut body);
        write_numbers(&layer.nodes, &mut body);
        write_lists(&links, &mut body);
    }
    with_checksum(&body)
}

/// The file that has this body.
pub(in crate::index) fn with_checksum(body: &[u8]) -> Vec<u8> {
    [MAGIC, &crc32fast::hash(body).to_le_bytes()[..], body].concat()
}

/// Reads the bytes of a graph's file; nothing if they are damaged.
pub(in crate::index) fn parse(bytes: &[u8]) -> Option<Graph> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let checksum = head.strip_prefix(MAGIC)?;
    if checksum != crc32fast::hash(body).to_le_bytes() {
        return None;
    }
    let mut numbers = Numbers { rest: body };
    let (slots, effort, layers) = (numbers.next()?, numbers.next()?, numbers.next()?);
    if layers > MAX_LAYERS {
        return None;
    }
    let members = numbers.lists(slots)?;
    let nodes = number(members.len());
    let base = numbers.lists(nodes)?;
    let mut upper = Vec::new();
    for _ in 0..layers {
        let count = numbers.next()?;
        upper.push((numbers.many(count)?, numbers.lists(nodes)?));
    }
    let base = (0..base.len()).map(|node| Links::new(node, base.get(node))).collect::<Option<_>>()?;
    let arrays = Arrays::new(slots, members, base, upper)?;
    let effort = Effort::of_quarters(effort);
    numbers.rest.is_empty().then(|| Graph::new(Arrays { effort, ..arrays }))
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn write_numbers(numbers: &[u32], body: &mut Vec<u8>) {
    body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn write_lists(lists: &Lists, body: &mut Vec<u8>) {
    write_numbers(&[number(lists.ends.len()), number(lists.values.len())], body);
    write_numbers(&lists.ends, body);
    write_numbers(&lists.values, body);
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
