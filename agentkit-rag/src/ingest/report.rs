//! What an ingest tells: events while it goes on, and a report of what it has done.

use std::path::{Path, PathBuf};

use agentkit_core::Error;
use serde::{Deserialize, Serialize};

use crate::index::UpsertReport;

/// What an ingest has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IngestReport {
    /// Documents written.
    pub documents: u64,
    /// Documents that were stored just so and were left alone.
    pub unchanged: u64,
    /// Chunks of the documents written.
    pub chunks: u64,
    /// Chunks that had to be embedded; the others kept their vectors.
    pub embedded: u64,
    /// Documents deleted because their file, or their record in it, is gone.
    pub deleted: u64,
    /// Files that were not read, because they look as they did when they were last taken in.
    pub untouched: u64,
    /// Files, or records of files, that were left out.
    pub skipped: Vec<SkippedFile>,
}

/// A file that was left out, or of which something was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SkippedFile {
    /// The file or folder, below the path that was given.
    pub path: PathBuf,
    /// Why, with all causes; it names the file.
    pub error: String,
}

/// What happens during an ingest.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestEvent<'a> {
    /// What there is to do is known; comes first.
    Found {
        /// Files to be read.
        files: u64,
        /// Files that need not be read.
        untouched: u64,
        /// Files that are gone.
        gone: u64,
    },
    /// Work was committed, or turned out not to be needed.
    Progress {
        /// Files and records done with.
        done: u64,
        /// Files and records known of; grows when a file turns out to hold many records.
        total: u64,
    },
    /// A file is done with, and what it holds is durable.
    File {
        /// The file, below the path that was given.
        path: &'a Path,
        /// What became of it.
        end: FileEnd,
    },
    /// A file, or a record of one, was left out.
    Skipped(&'a SkippedFile),
    /// A pass over a watched folder failed and will be tried again.
    Retrying {
        /// Why.
        error: &'a Error,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileEnd {
    /// Its documents are in the target.
    Stored {
        /// How many.
        documents: u64,
    },
    /// It was read, and holds what it held before.
    Same,
    /// It is gone, and so are its documents.
    Gone,
    /// Nothing of it could be taken in; another event has said why.
    Skipped,
}

impl IngestReport {
    pub(super) fn add(&mut self, done: &UpsertReport) {
        self.documents += done.documents;
        self.unchanged += done.unchanged;
        self.chunks += done.chunks;
        self.embedded += done.embedded;
    }
}
