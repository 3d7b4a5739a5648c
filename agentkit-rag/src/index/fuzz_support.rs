//! A door for the fuzz targets: the readers of the index's files, and the kernels beside their scalar twins.
//!
//! No part of the public interface; it may change at any time. Functions give what they found, or the broken promise
//! as text.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Error, Result, RunContext};

use super::filter::Bitmap;
use super::graph::{Graph, GraphSearch};
use super::kernel::{self, Kernel, LINE, Line, QueryCodes};
use super::storage::{Disk, Folder};
use super::store::Commit;
use super::vectors::Vectors;
use super::vectors::codes::{Query, scaled};
use super::vectors::log::{self, Logs};
use super::{layout, sealed};

/// The bytes as a sealed file has them.
#[must_use]
pub fn seal(data: &[u8]) -> Vec<u8> {
    sealed::seal(data)
}

/// What a sealed file holds, if it is undamaged.
#[must_use]
pub fn unseal(bytes: &[u8]) -> Option<Vec<u8>> {
    sealed::unseal(bytes.to_vec())
}

/// Reads a manifest and writes it again.
#[must_use]
pub fn manifest(json: &[u8]) -> Option<Vec<u8>> {
    layout::rewritten(json)
}

/// A record of a vector log.
#[must_use]
pub fn log_record(slot: u32, vector: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    log::encode(slot, vector, &mut bytes);
    bytes
}

/// The header of a vector log.
///
/// # Errors
/// Internal, if the dimension is too large.
pub fn log_header(dimension: usize) -> Result<Vec<u8>> {
    log::header(dimension).map(Vec::from)
}

/// Reads the vector logs that the payload of a commit names; gives the length of each row.
///
/// # Errors
/// Corrupt, or what reading fails with.
pub fn logs(folder: &Path, dimension: usize, payload: &[u8]) -> Result<Vec<usize>> {
    let commit: Commit = serde_json::from_slice(payload)
        .map_err(|error| Error::corrupt("the payload is damaged").with_source(error))?;
    let folder = Folder::new(Arc::new(Disk), folder);
    let vectors = log::load(&folder, dimension, &commit.logs)?;
    let (_, same) = Logs::open(&folder, dimension, &commit.logs)?;
    let lengths = |vectors: &Vectors| -> Vec<usize> {
        let slots = u32::try_from(vectors.len()).unwrap_or(u32::MAX).min(10_000);
        (0..slots).map(|slot| vectors.row(slot).len()).collect()
    };
    if lengths(&vectors) != lengths(&same) {
        return Err(Error::internal("reader and writer see different vectors"));
    }
    Ok(lengths(&vectors))
}

/// Reads a graph, also with its checksum mended, and searches it: the slots found, or `None` if it is damaged.
///
/// # Errors
/// What searching fails with.
pub fn graph(bytes: &[u8], mends: bool, allowed: &[u32]) -> Result<Option<Vec<u32>>> {
    let mended = if mends { super::graph::with_checksum(bytes) } else { bytes.to_vec() };
    let Some(graph) = super::graph::parse(&mended) else { return Ok(None) };
    let (mut vectors, mut matches) = (Vectors::new(DIMENSION), Bitmap::empty(graph.slots().min(1 << 20)));
    for slot in 0..64_u8 {
        vectors.push(&direction(slot));
    }
    for slot in allowed {
        matches.insert(*slot);
    }
    let (vector, ctx) = (direction(7), RunContext::new());
    let query = Query::new(&vector);
    let mut found = Vec::new();
    for allowed in [None, Some(&matches)] {
        let search = GraphSearch {
            vectors: &vectors,
            query: &query,
            breadth: 16,
            limit: 8,
            patience: 20,
            detects_barren: allowed.is_some(),
            hidden: None,
            allowed,
            ctx: &ctx,
        };
        found.extend(graph.search(search)?.slots.into_iter().map(|(slot, _)| slot));
    }
    found.retain(|slot| *slot >= graph.slots());
    Ok(Some(found))
}

/// The bytes of a small sound graph.
///
/// # Errors
/// What building fails with.
pub fn small_graph() -> Result<Vec<u8>> {
    let mut vectors = Vectors::new(DIMENSION);
    (0..64_u8).for_each(|slot| vectors.push(&direction(slot)));
    Ok(super::graph::encode(&Graph::build(&vectors, &RunContext::new())?))
}

const DIMENSION: usize = 4;

/// A unit vector for each number.
fn direction(number: u8) -> [f32; DIMENSION] {
    let angle = f32::from(number) * 0.37;
    let (sin, cos) = angle.sin_cos();
    [sin * 0.8, cos * 0.8, 0.6 * sin, 0.6 * cos]
}

/// Compares all kernels of this CPU with the scalar one on slices of any numbers.
///
/// # Errors
/// The name of the kernel that differs.
pub fn products(a: &[f32], b: &[f32]) -> Result<(), &'static str> {
    let expected = (kernel::scalar::KERNEL.dot)(a, b);
    for kernel in kernel::available() {
        let found = (kernel.dot)(a, b);
        if found.to_bits() != expected.to_bits() && !(found.is_nan() && expected.is_nan()) {
            return Err(kernel.name);
        }
    }
    Ok(())
}

/// Compares all kernels of this CPU with the scalar one on rows of codes.
///
/// # Errors
/// The name of the kernel that differs.
pub fn code_products(components: &[i16], codes: &[u8]) -> Result<(), &'static str> {
    let lines = components.len().div_ceil(LINE);
    let limit = i16::try_from(QueryCodes::limit(lines * LINE)).unwrap_or(i16::MAX);
    let components: Vec<i16> = components.iter().map(|component| (*component).clamp(-limit, limit)).collect();
    let query = QueryCodes::new(&components);
    let rows: Vec<Line> =
        codes.as_chunks().0.iter().map(|codes| Line(codes.map(|code| code.max(1)))).collect();
    let rows: Vec<&[Line]> = rows.chunks_exact(lines.max(1)).chain([&[][..]]).collect();
    let mut expected = vec![0; rows.len()];
    (kernel::scalar::KERNEL.dots)(&query, &rows, &mut expected);
    for kernel in kernel::available() {
        let mut found = vec![1; rows.len()];
        (kernel.dots)(&query, &rows, &mut found);
        if found != expected || !pairs_agree(kernel, &rows) {
            return Err(kernel.name);
        }
    }
    Ok(())
}

/// Whether a kernel's products of the first row with each are those of the scalar kernel, however they are asked for.
fn pairs_agree(kernel: &Kernel, rows: &[&[Line]]) -> bool {
    let Some(first) = rows.first() else { return true };
    let rows = rows.iter().filter(|row| row.len() == first.len());
    let rows: Vec<&[Line]> = rows.copied().collect();
    let expected: Vec<i32> = rows.iter().map(|row| (kernel::scalar::KERNEL.pair)(first, row)).collect();
    let pairs: Vec<i32> = rows.iter().map(|row| (kernel.pair)(first, row)).collect();
    let mut dots = vec![1; rows.len()];
    (kernel.dots)(&QueryCodes::of_row(first), &rows, &mut dots);
    pairs == expected && dots == expected
}

/// Whether the interval that the codes of a unit vector give for its product with a unit query holds that product.
#[must_use]
pub fn interval_holds(query: &[f32], row: &[f32]) -> bool {
    let mut vectors = Vectors::new(row.len());
    vectors.push(row);
    let query = Query::new(query);
    let Some((lines, scale)) = vectors.codes(0) else { return false };
    let mut product = [0];
    kernel::dots(&query.codes, &[lines], &mut product);
    let interval = query.interval(scaled(product[0], scale.scale), scale, query.slack(vectors.bound()));
    let score = query.score(row);
    interval.low <= score && score <= interval.high
}

/// The vector scaled to norm 1, if it has a direction.
#[must_use]
pub fn unit(vector: Vec<f32>) -> Option<Vec<f32>> {
    let vectors = Vectors::new(vector.len());
    super::dense::unit(vector, &vectors).ok()
}
