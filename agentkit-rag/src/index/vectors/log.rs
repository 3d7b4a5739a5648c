//! The log files: the truth about the vectors, append-only.
//!
//! Each file is a header of magic (8 bytes), dimension (u32) and CRC-32 of both (u32), then records of slot (u32),
//! CRC-32 of slot and vector (u32), and the vector as `f32`. Everything is little-endian. Records are in ascending
//! order of slots, through all files in the order the commit lists them. How many bytes of a file count is said by
//! the commit; what lies beyond was never acknowledged and is cut off by the next writer.
//!
//! Only the last file grows; when it is full another is begun. Compaction writes the live records of a file into a
//! new one under their old slots, so nothing is renumbered.

use std::ops::Range;
use std::path::Path;

use agentkit_core::{Error, Result, RunContext};
use serde::{Deserialize, Serialize};

use super::{BLOCK_ROWS, Vectors};
use crate::index::storage::{Folder, StoredFile};

const MAGIC: &[u8; 8] = b"AKVLOG01";
/// Bytes before the first record.
const HEADER: usize = 16;
/// Bytes of a record before its vector.
const RECORD_HEAD: usize = 8;
/// From this many bytes on another file is begun.
const FULL: u64 = 64 << 20;

/// How much of a log file a commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::index) struct LogExtent {
    pub(in crate::index) file: String,
    pub(in crate::index) bytes: u64,
}

/// A log file and the slots in it.
#[derive(Debug, Clone)]
struct Log {
    extent: LogExtent,
    /// The slot from which on this file's records are; the next file's begin after the last of them.
    first: u32,
    rows: u64,
}

/// The log files of a partition, open for appending.
#[derive(Debug)]
pub(in crate::index) struct Logs {
    folder: Folder,
    dimension: usize,
    all: Vec<Log>,
    /// The last file, once something is appended to it.
    active: Option<Box<dyn StoredFile>>,
    unsynced: bool,
    full: u64,
}

/// A file whose dead records are to go: what a compaction works on.
#[derive(Debug)]
pub(in crate::index) struct Rewrite {
    pub(in crate::index) old: Vec<String>,
    pub(in crate::index) new: String,
    /// The slots that stay, ascending.
    pub(in crate::index) kept: Vec<u32>,
}

/// Reads what a commit holds.
///
/// # Errors
/// Corrupt, naming the file, or what reading fails with.
pub(in crate::index) fn load(folder: &Folder, dimension: usize, extents: &[LogExtent]) -> Result<Vectors> {
    let mut vectors = Vectors::new(dimension);
    for extent in extents {
        attach_next(folder, extent, &mut vectors)?;
    }
    Ok(vectors)
}

/// Adds the records of the next file, all of which must come after those that are there; gives its first slot and how
/// many it has. A file without records begins where the ones before it end.
fn attach_next(folder: &Folder, extent: &LogExtent, vectors: &mut Vectors) -> Result<(u32, u64)> {
    let end = u32::try_from(vectors.len()).unwrap_or(u32::MAX);
    let slots = attach(folder, extent, vectors)?;
    let first = slots.first().copied().unwrap_or(end);
    if first < end {
        return Err(Error::corrupt(format!(
            "vector log {} is out of order",
            folder.at(&extent.file).display()
        )));
    }
    Ok((first, slots.len() as u64))
}

/// Checks the records of a file and hands them to `vectors`; gives their slots.
fn attach(folder: &Folder, extent: &LogExtent, vectors: &mut Vectors) -> Result<Vec<u32>> {
    let path = folder.at(&extent.file);
    let attempt = || format!("read vector log {}", path.display());
    if extent.bytes <= HEADER as u64 {
        return Ok(Vec::new());
    }
    let bytes = folder.storage.map(&path).map_err(|error| Error::io(attempt(), error))?;
    let committed = usize::try_from(extent.bytes).unwrap_or(usize::MAX);
    let (head, records) = bytes
        .get(..committed)
        .and_then(|committed| committed.split_at_checked(HEADER))
        .ok_or_else(|| shorter(&path, extent.bytes))?;
    if head != header(vectors.dimension())? {
        return Err(Error::corrupt(format!("the header of vector log {} is damaged", path.display())));
    }
    let length = RECORD_HEAD + vectors.dimension() * 4;
    let mut rows = Vec::with_capacity(records.len() / length);
    let mut next = 0;
    for (number, record) in records.chunks(length).enumerate() {
        let slot = slot_of(record).filter(|slot| *slot >= next).ok_or_else(|| {
            Error::corrupt(format!("record {number} of vector log {} is damaged", path.display()))
        })?;
        rows.push((slot, (HEADER + number * length + RECORD_HEAD) as u64));
        next = slot.saturating_add(1);
    }
    vectors.attach(&bytes, rows.iter().copied())?;
    Ok(rows.into_iter().map(|(slot, _)| slot).collect())
}

/// The slot of an undamaged record.
fn slot_of(record: &[u8]) -> Option<u32> {
    let (slot, rest) = record.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    (checksum(slot, body) == u32::from_le_bytes(*crc)).then_some(u32::from_le_bytes(*slot))
}

impl Logs {
    /// Opens the files of a commit for appending; files no commit names are removed.
    pub(in crate::index) fn open(
        folder: &Folder,
        dimension: usize,
        extents: &[LogExtent],
    ) -> Result<(Self, Vectors)> {
        let mut vectors = Vectors::new(dimension);
        let mut logs: Vec<Log> = Vec::new();
        for extent in extents {
            let (first, rows) = attach_next(folder, extent, &mut vectors)?;
            logs.push(Log { extent: extent.clone(), first, rows });
        }
        remove_orphans(folder, extents)?;
        let logs =
            Self { folder: folder.clone(), dimension, all: logs, active: None, unsynced: false, full: FULL };
        Ok((logs, vectors))
    }

    /// What a commit made now holds.
    pub(in crate::index) fn extents(&self) -> Vec<LogExtent> {
        self.all.iter().map(|log| log.extent.clone()).collect()
    }

    /// Records in all files, dead ones too.
    pub(in crate::index) fn rows(&self) -> u64 {
        self.all.iter().map(|log| log.rows).sum()
    }

    /// Appends vectors to log and memory; they count once a commit made after [`Logs::sync`] names them.
    pub(in crate::index) fn append(&mut self, vectors: &mut Vectors, new: &[Vec<f32>]) -> Result<()> {
        let mut new = new;
        while !new.is_empty() {
            if vectors.len().is_multiple_of(BLOCK_ROWS)
                && self.all.last().is_some_and(|log| log.extent.bytes >= self.full)
            {
                self.seal(vectors)?;
            }
            // A file is only full at the end of a block of memory, so that a block's rows lie in one file.
            let room = BLOCK_ROWS - vectors.len() % BLOCK_ROWS;
            let (now, rest) = new.split_at(room.min(new.len()));
            self.append_block(vectors, now)?;
            new = rest;
        }
        Ok(())
    }

    fn append_block(&mut self, vectors: &mut Vectors, new: &[Vec<f32>]) -> Result<()> {
        self.activate(vectors)?;
        let mut bytes = Vec::with_capacity(new.len() * (RECORD_HEAD + self.dimension * 4));
        for vector in new {
            let slot = u32::try_from(vectors.len())
                .map_err(|_| Error::internal("a partition holds at most 2^32 vectors"))?;
            encode(slot, vector, &mut bytes);
            vectors.push(vector);
        }
        let (Some(file), Some(log)) = (&mut self.active, self.all.last_mut()) else {
            return Err(Error::internal("there is no vector log to append to"));
        };
        self.unsynced = true;
        let path = self.folder.at(&log.extent.file);
        file.write_all(&bytes)
            .map_err(|error| Error::io(format!("append to vector log {}", path.display()), error))?;
        log.extent.bytes += bytes.len() as u64;
        log.rows += new.len() as u64;
        Ok(())
    }

    /// Makes what was appended durable.
    pub(in crate::index) fn sync(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.unsynced, false) {
            return Ok(());
        }
        let Some(file) = &mut self.active else { return Ok(()) };
        file.sync().map_err(|error| {
            Error::io(format!("sync the vector log in {}", self.folder.path.display()), error)
        })
    }

    /// Opens the last file for appending, or begins the first.
    fn activate(&mut self, vectors: &Vectors) -> Result<()> {
        if self.active.is_some() {
            return Ok(());
        }
        let Some(last) = self.all.last() else { return self.begin(vectors) };
        let path = self.folder.at(&last.extent.file);
        let attempt = |error| Error::io(format!("open vector log {}", path.display()), error);
        let length = self.folder.storage.length(&path).map_err(attempt)?;
        if length.is_none_or(|length| length < last.extent.bytes) {
            return Err(shorter(&path, last.extent.bytes));
        }
        self.active = Some(self.folder.storage.extend(&path, last.extent.bytes).map_err(attempt)?);
        Ok(())
    }

    /// Ends the last file; memory refers to it from now on. The next append begins another.
    fn seal(&mut self, vectors: &mut Vectors) -> Result<()> {
        self.sync()?;
        if let Some(last) = self.all.last() {
            attach(&self.folder, &last.extent, vectors)?;
        }
        self.begin(vectors)
    }

    fn begin(&mut self, vectors: &Vectors) -> Result<()> {
        let name = self.next_name();
        let file = create(&self.folder, &name, self.dimension)?;
        self.active = Some(file);
        self.unsynced = true;
        let first = u32::try_from(vectors.len()).unwrap_or(u32::MAX);
        self.all.push(Log { extent: LogExtent { file: name, bytes: HEADER as u64 }, first, rows: 0 });
        Ok(())
    }

    fn next_name(&self) -> String {
        let numbers = self.all.iter().filter_map(|log| number_of(&log.extent.file));
        format!("vectors-{:06}.log", numbers.max().unwrap_or(0) + 1)
    }

    /// What a compaction should do: the first run of files of which more than `share` of the records are dead, given
    /// the live slots in ascending order. If the last file is among them it is ended.
    pub(in crate::index) fn plan_rewrite(
        &mut self,
        vectors: &mut Vectors,
        live: &[u32],
        share: f64,
    ) -> Result<Option<Rewrite>> {
        let Some((files, kept)) = self.much_deleted(live, share) else { return Ok(None) };
        if files.end == self.all.len() {
            self.seal(vectors)?;
            self.sync()?;
        }
        let old = self.all.get(files).unwrap_or_default().iter().map(|log| log.extent.file.clone());
        Ok(Some(Rewrite { old: old.collect(), new: self.next_name(), kept }))
    }

    fn much_deleted(&self, live: &[u32], share: f64) -> Option<(Range<usize>, Vec<u32>)> {
        let ends = self.all.iter().skip(1).map(|log| log.first).chain([u32::MAX]);
        let mut chosen: Option<(Range<usize>, Vec<u32>)> = None;
        for (at, (log, end)) in self.all.iter().zip(ends).enumerate() {
            let from = live.partition_point(|slot| *slot < log.first);
            let to = live.partition_point(|slot| *slot < end);
            let kept = live.get(from..to).unwrap_or_default();
            let dead = log.rows.saturating_sub(kept.len() as u64);
            let full =
                chosen.as_ref().is_some_and(|(_, kept)| kept.len() as u64 * self.record_bytes() >= self.full);
            if dead > 0 && !full && ratio(dead, log.rows) > share {
                let (files, slots) = chosen.get_or_insert((at..at, Vec::new()));
                files.end = at + 1;
                slots.extend_from_slice(kept);
            } else if chosen.is_some() {
                break;
            }
        }
        chosen
    }

    /// Puts a rewritten file, if anything was left to write, in the place of the old ones; the next commit makes it so.
    pub(in crate::index) fn replace(
        &mut self,
        rewrite: &Rewrite,
        written: Option<LogExtent>,
        vectors: &mut Vectors,
    ) -> Result<()> {
        let is_old = |log: &Log| rewrite.old.contains(&log.extent.file);
        let Some(at) = self.all.iter().position(is_old) else { return Ok(()) };
        let first = self.all.get(at).map_or(0, |log| log.first);
        self.all.retain(|log| !is_old(log));
        let end = self.all.get(at).map_or(vectors.len(), |log| log.first as usize);
        let mut kept = rewrite.kept.iter().copied().peekable();
        let range = (first..).take_while(|slot| (*slot as usize) < end);
        vectors.remove(range.filter(|slot| kept.next_if_eq(slot).is_none()));
        if let Some(extent) = written {
            attach(&self.folder, &extent, vectors)?;
            self.all.insert(at, Log { extent, first, rows: rewrite.kept.len() as u64 });
        }
        Ok(())
    }

    fn record_bytes(&self) -> u64 {
        (RECORD_HEAD + self.dimension * 4) as u64
    }
}

impl Rewrite {
    /// Writes the new file, durably; `None` if nothing is left. Works on a copy of the state, beside the writer.
    ///
    /// # Errors
    /// Stopped, or what writing fails with.
    pub(in crate::index) fn write(
        &self,
        folder: &Folder,
        vectors: &Vectors,
        ctx: &RunContext,
    ) -> Result<Option<LogExtent>> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let attempt =
            |error| Error::io(format!("write vector log {}", folder.at(&self.new).display()), error);
        let mut file = create(folder, &self.new, vectors.dimension())?;
        let mut bytes = HEADER as u64;
        for slots in self.kept.chunks(BLOCK_ROWS) {
            ctx.check()?;
            let mut records = Vec::new();
            for slot in slots {
                encode(*slot, vectors.row(*slot), &mut records);
            }
            file.write_all(&records).map_err(attempt)?;
            bytes += records.len() as u64;
        }
        file.sync().map_err(attempt)?;
        Ok(Some(LogExtent { file: self.new.clone(), bytes }))
    }
}

fn create(folder: &Folder, name: &str, dimension: usize) -> Result<Box<dyn StoredFile>> {
    let path = folder.at(name);
    let attempt = |error| Error::io(format!("create vector log {}", path.display()), error);
    if folder.storage.length(&path).map_err(attempt)?.is_some() {
        // A leftover of a process that ended before its commit.
        folder.storage.remove(&path).map_err(attempt)?;
    }
    let mut file = folder.storage.create(&path).map_err(attempt)?;
    file.write_all(&header(dimension)?).map_err(attempt)?;
    file.sync().map_err(attempt)?;
    folder.sync().map_err(attempt)?;
    Ok(file)
}

/// Removes log files that no commit names: leftovers of a process that ended before its commit.
fn remove_orphans(folder: &Folder, extents: &[LogExtent]) -> Result<()> {
    let attempt = |error| Error::io(format!("tidy partition {}", folder.path.display()), error);
    for name in folder.storage.list(&folder.path).map_err(attempt)? {
        if number_of(&name).is_some() && !extents.iter().any(|extent| extent.file == name) {
            folder.storage.remove(&folder.at(&name)).map_err(attempt)?;
        }
    }
    Ok(())
}

/// Whether any log file holds a record.
pub(in crate::index) fn any(folder: &Folder) -> Result<bool> {
    let attempt = |error| Error::io(format!("look into partition {}", folder.path.display()), error);
    for name in folder.storage.list(&folder.path).map_err(attempt)? {
        let length = folder.storage.length(&folder.at(&name)).map_err(attempt)?;
        if number_of(&name).is_some() && length.is_some_and(|length| length > HEADER as u64) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("vectors-")?.strip_suffix(".log")?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts of records, where seven digits are plenty")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn shorter(path: &Path, committed: u64) -> Error {
    Error::corrupt(format!("vector log {} is shorter than the {committed} bytes committed", path.display()))
}

pub(in crate::index) fn header(dimension: usize) -> Result<[u8; HEADER]> {
    let dimension =
        u32::try_from(dimension).map_err(|_| Error::invalid_input("the dimension is too large"))?;
    let mut header = [0; HEADER];
    let (head, checksum) = header.split_at_mut(12);
    let (magic, size) = head.split_at_mut(8);
    magic.copy_from_slice(MAGIC);
    size.copy_from_slice(&dimension.to_le_bytes());
    checksum.copy_from_slice(&crc32fast::hash(head).to_le_bytes());
    Ok(header)
}

pub(in crate::index) fn encode(slot: u32, vector: &[f32], bytes: &mut Vec<u8>) {
    let slot = slot.to_le_bytes();
    let body: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
    bytes.extend_from_slice(&slot);
    bytes.extend_from_slice(&checksum(&slot, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
}

fn checksum(slot: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(slot);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
