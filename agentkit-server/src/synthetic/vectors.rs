//! The rows that vectors are made of: read from a file one by one, or generated.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use agentkit_core::{Error, Result};

use super::texts::Random;
use super::{unreadable, unusable};

/// Components of a vector: those of all-MiniLM-L6-v2.
pub const DIMENSION: usize = 384;
/// Bytes of a row in a file.
const ROW_BYTES: usize = DIMENSION * size_of::<f32>();
/// Dimensions in which generated rows spread; embeddings of text fill only a small part of their space.
const LATENT: usize = 32;
/// Centres of generated rows.
const CENTRES: u64 = 256;
/// Distinct generated rows.
const GENERATED: u64 = 20_000;
/// How far generated rows lie from their centre, where the centres have deviation 1.
const SPREAD: f32 = 0.6;

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Generated,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Generated => "generated",
        })
    }
}

/// Base vectors by number. None is kept in memory, so that they do not count where memory is measured.
#[derive(Debug)]
pub(super) enum Rows {
    File { path: PathBuf, file: Mutex<File>, rows: u64 },
    Generated { axes: Vec<[f32; DIMENSION]> },
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| unreadable(path, error);
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes == 0 || bytes % ROW_BYTES as u64 != 0 {
            let problem = format!("{bytes} bytes are not rows of {ROW_BYTES} bytes, {DIMENSION} f32 each");
            return Err(unusable(path, &problem));
        }
        Ok(Self::File { path: path.to_owned(), file: Mutex::new(file), rows: bytes / ROW_BYTES as u64 })
    }

    pub(super) fn generated() -> Self {
        let mut random = Random::new(7);
        let axes = (0..LATENT).map(|_| std::array::from_fn(|_| random.normal()));
        Self::Generated { axes: axes.collect() }
    }

    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::File { .. } => Origin::File,
            Self::Generated { .. } => Origin::Generated,
        }
    }

    /// The row that `hash` falls on, with norm 1 unless it has no direction.
    pub(super) fn row(&self, hash: u64) -> Result<Vec<f32>> {
        let row = match self {
            Self::File { path, file, rows } => {
                let mut bytes = [0; ROW_BYTES];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(hash % rows * ROW_BYTES as u64))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|error| unreadable(path, error))?;
                bytes.as_chunks().0.iter().map(|component| f32::from_le_bytes(*component)).collect()
            }
            Self::Generated { axes } => generated(axes, hash % GENERATED),
        };
        Ok(unit(row).unwrap_or_default())
    }

    /// Why no vector can be made of the row that `hash` falls on.
    pub(super) fn without_direction(&self, hash: u64) -> Error {
        match self {
            Self::File { path, rows, .. } => {
                unusable(path, &format!("row {} is zero or not finite, so it has no direction", hash % rows))
            }
            Self::Generated { .. } => Error::internal("a generated vector has no direction"),
        }
    }
}

/// A point near one of the centres, brought into the space by `axes`.
fn generated(axes: &[[f32; DIMENSION]], number: u64) -> Vec<f32> {
    let mut centre = Random::new(number % CENTRES);
    let mut offset = Random::new(!number);
    let mut row = vec![0.0; DIMENSION];
    for axis in axes {
        let share = centre.normal() + SPREAD * offset.normal();
        for (component, direction) in row.iter_mut().zip(axis) {
            *component += share * direction;
        }
    }
    row
}

/// The unit vector of `row` with noise of this deviation; `None` if the row or the sum has no direction.
pub(super) fn perturbed(mut row: Vec<f32>, deviation: f32, random: &mut Random) -> Option<Vec<f32>> {
    if row.is_empty() {
        return None;
    }
    for component in &mut row {
        *component += deviation * random.normal();
    }
    unit(row)
}

fn unit(mut row: Vec<f32>) -> Option<Vec<f32>> {
    let norm = row.iter().map(|component| component * component).sum::<f32>().sqrt();
    if !norm.is_normal() {
        return None;
    }
    for component in &mut row {
        *component /= norm;
    }
    Some(row)
}
