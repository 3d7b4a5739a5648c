//! The log file: the truth about the vectors, append-only.
//!
//! A header of magic (8 bytes), dimension (u32) and CRC-32 of both (u32), then records of slot (u32), CRC-32 of slot
//! and vector (u32), and the vector as `f32`. Everything is little-endian. How many bytes count is said by the
//! commit; what lies beyond was never acknowledged and is cut off by the next writer.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};

use super::Vectors;

const MAGIC: &[u8; 8] = b"AKVLOG01";
/// Bytes before the first record.
pub(in crate::index) const HEADER_BYTES: u64 = HEADER as u64;
const HEADER: usize = 16;
/// Bytes of a record before its vector.
const RECORD_HEAD: usize = 8;
/// The log file, open for appending.
#[derive(Debug)]
pub(in crate::index) struct VectorLog {
    path: PathBuf,
    file: File,
    length: u64,
}

impl VectorLog {
    /// Opens the log for appending after its `committed` bytes, creating it if nothing was committed yet.
    pub(in crate::index) fn open(path: &Path, dimension: usize, committed: u64) -> Result<Self> {
        let attempt = || format!("open vector log {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| Error::io(attempt(), error))?;
        let io = |error| Error::io(attempt(), error);
        let length = committed.max(HEADER_BYTES);
        if committed == 0 {
            file.set_len(0).map_err(io)?;
            file.write_all(&header(dimension)?).map_err(io)?;
        }
        if file.metadata().map_err(io)?.len() < length {
            return Err(shorter(path, committed));
        }
        file.set_len(length).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Appends vectors to log and memory and makes them durable; they count once a commit names the new length.
    pub(in crate::index) fn append(&mut self, vectors: &mut Vectors, new: &[Vec<f32>]) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(new.len() * (RECORD_HEAD + vectors.dimension * 4));
        for vector in new {
            let slot = u32::try_from(vectors.len())
                .map_err(|_| Error::internal("a partition holds at most 2^32 vectors"))?;
            encode(slot, vector, &mut bytes);
            vectors.push(vector);
        }
        let attempt = || format!("append to vector log {}", self.path.display());
        self.file.write_all(&bytes).map_err(|error| Error::io(attempt(), error))?;
        self.file.sync_data().map_err(|error| Error::io(attempt(), error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(in crate::index) fn length(&self) -> u64 {
        self.length
    }
}

/// Reads the first `committed` bytes of a log.
pub(in crate::index) fn load(path: &Path, dimension: usize, committed: u64) -> Result<Vectors> {
    let mut vectors = Vectors::new(dimension);
    read_on(path, &mut vectors, 0, committed)?;
    Ok(vectors)
}

/// Reads the records between `from` and `committed` bytes into `vectors`.
pub(in crate::index) fn read_on(path: &Path, vectors: &mut Vectors, from: u64, committed: u64) -> Result<()> {
    if committed <= HEADER_BYTES {
        return Ok(());
    }
    let attempt = || format!("read vector log {}", path.display());
    let mut file = File::open(path).map_err(|error| Error::io(attempt(), error))?;
    if file.metadata().map_err(|error| Error::io(attempt(), error))?.len() < committed {
        return Err(shorter(path, committed));
    }
    let mut head = [0; HEADER];
    file.read_exact(&mut head).map_err(|error| Error::io(attempt(), error))?;
    if head != header(vectors.dimension)? {
        return Err(Error::corrupt(format!("the header of vector log {} is damaged", path.display())));
    }
    let from = from.max(HEADER_BYTES);
    file.seek(SeekFrom::Start(from)).map_err(|error| Error::io(attempt(), error))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut record = vec![0; RECORD_HEAD + vectors.dimension * 4];
    let records = (committed - from) / record.len() as u64;
    let mut vector = Vec::with_capacity(vectors.dimension);
    for _ in 0..records {
        reader.read_exact(&mut record).map_err(|error| Error::io(attempt(), error))?;
        decode(&record, vectors.len(), &mut vector).ok_or_else(|| {
            Error::corrupt(format!("record {} of {} is damaged", vectors.len(), path.display()))
        })?;
        vectors.push(&vector);
    }
    Ok(())
}

fn shorter(path: &Path, committed: u64) -> Error {
    Error::corrupt(format!("vector log {} is shorter than the {committed} bytes committed", path.display()))
}

fn header(dimension: usize) -> Result<[u8; HEADER]> {
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

fn encode(slot: u32, vector: &[f32], bytes: &mut Vec<u8>) {
    let slot = slot.to_le_bytes();
    let body: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
    bytes.extend_from_slice(&slot);
    bytes.extend_from_slice(&checksum(&slot, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
}

/// Reads a record into `vector` if its checksum matches and it is that of slot `expected`.
fn decode(record: &[u8], expected: usize, vector: &mut Vec<f32>) -> Option<()> {
    let (slot, rest) = record.split_first_chunk::<4>()?;
    let (crc, body) = rest.split_first_chunk::<4>()?;
    if checksum(slot, body) != u32::from_le_bytes(*crc) || u32::from_le_bytes(*slot) as usize != expected {
        return None;
    }
    vector.clear();
    vector.extend(body.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    Some(())
}

fn checksum(slot: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(slot);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(path: &Path, rows: u16) -> (VectorLog, Vectors) {
        let mut log = VectorLog::open(path, 3, 0).unwrap();
        let mut vectors = Vectors::new(3);
        for row in 0..rows {
            log.append(&mut vectors, &[vec![f32::from(row), 1.0, 2.0]]).unwrap();
        }
        (log, vectors)
    }

    #[test]
    fn rows_come_back_after_reopening_and_an_uncommitted_tail_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.log");
        let (mut log, mut vectors) = log_of(&path, 600);
        let committed = log.length();
        log.append(&mut vectors, &[vec![9.0; 3]]).unwrap();
        drop(log);
        let log = VectorLog::open(&path, 3, committed).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), committed);
        let loaded = load(&path, 3, log.length()).unwrap();
        assert_eq!(loaded.len(), 600);
        for slot in [0_u16, 255, 256, 599] {
            assert_eq!(loaded.row(slot.into()), [f32::from(slot), 1.0, 2.0]);
        }
        assert!(loaded.row(600).is_empty());
    }

    #[test]
    fn every_flipped_bit_and_truncation_is_a_corrupt_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.log");
        let (log, _) = log_of(&path, 3);
        let committed = log.length();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            let error = load(&path, 3, committed).unwrap_err();
            assert_eq!(error.kind(), agentkit_core::ErrorKind::Corrupt, "byte {at}");
            assert!(error.message().contains("v.log"));
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(load(&path, 3, committed).is_err(), "cut at {at}");
            assert!(VectorLog::open(&path, 3, committed).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_snapshot_does_not_see_later_rows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, mut vectors) = log_of(&folder.path().join("v.log"), 10);
        let snapshot = vectors.clone();
        log.append(&mut vectors, &[vec![7.0; 3]]).unwrap();
        assert_eq!((snapshot.len(), vectors.len()), (10, 11));
        assert!(snapshot.row(10).is_empty());
    }
}
