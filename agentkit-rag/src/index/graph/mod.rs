//! The approximate leg: an immutable HNSW graph over the first slots of a partition.
//!
//! The graph is derived data (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
//! Hierarchical Navigable Small World graphs", 2018). `hnsw_rs` builds it and is then dropped; the finished graph is
//! frozen into flat arrays with a search of its own, and kept in a checksummed file. It holds no vectors: those are
//! the partition's. Slots after the graph's last are scanned exactly by the caller until the next graph is built.
//!
//! Always true: equal vectors share one node, neighbours are node numbers below `nodes`, and a node's slots are
//! below `slots`.

mod build;
mod file;
mod search;

use super::vectors::Vectors;

/// A frozen graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    /// Slots covered: all below this number.
    slots: u32,
    /// The node the search starts from.
    entry: u32,
    /// Slots of each node, by node.
    members: Lists,
    /// Neighbours of each node, by layer and node; layer 0 first.
    layers: Vec<Lists>,
}

impl Graph {
    /// Number of slots covered; all later ones are not in the graph.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Whether all the vectors this graph was built from are still there.
    pub(super) fn fits(&self, vectors: &Vectors) -> bool {
        self.members.values.iter().all(|slot| !vectors.row(*slot).is_empty())
    }

    fn nodes(&self) -> usize {
        self.members.len()
    }
}

/// Many short lists of numbers in two flat arrays.
#[derive(Debug, Clone, Default, PartialEq)]
struct Lists {
    /// Where each list ends; it begins where the one before ends.
    ends: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    fn push(&mut self, list: &[u32]) {
        self.values.extend_from_slice(list);
        self.ends.push(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: u32) -> &[u32] {
        let at = at as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        let end = self.ends.get(at).map_or(start, |end| *end as usize);
        self.values.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
