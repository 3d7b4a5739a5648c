//! The files of one partition, opened: text index, vector log, and the commit that binds them.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tantivy::indexer::{LogMergePolicy, MergePolicy, NoMergePolicy};
use tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use super::directory::SafeDirectory;
use super::schema::{self, Fields};
use super::snapshot::{Snapshot, text_index_failed};
use super::vectors::Vectors;
use super::vectors::log::{self, HEADER_BYTES, VectorLog};

/// Memory for documents that are not yet in a segment.
const WRITER_BYTES: usize = 64 << 20;
/// Share of deleted records from which a segment is rewritten.
const DELETED_SHARE: f32 = 0.3;

/// The payload of a Tantivy commit: what else belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) generation: u64,
    /// The vector logs, in the order of their slots.
    logs: Vec<LogExtent>,
}

/// How much of a log a commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LogExtent {
    file: String,
    bytes: u64,
}

const LOG: &str = "vectors-000001.log";

impl Commit {
    fn log_bytes(&self) -> u64 {
        self.logs.iter().find(|log| log.file == LOG).map_or(0, |log| log.bytes)
    }
}

/// The text index of a partition, open for reading.
struct TextIndex {
    index: Index,
    reader: IndexReader,
    fields: Arc<Fields>,
}

impl TextIndex {
    fn open(folder: &Path, create: bool) -> Result<Self> {
        let (schema, fields) = schema::schema();
        let text = folder.join("text");
        if create {
            std::fs::create_dir_all(&text)
                .map_err(|error| Error::io(format!("create {}", text.display()), error))?;
        }
        let directory = SafeDirectory::open(&text).map_err(|error| {
            Error::not_found(format!("there is no text index at {}", text.display())).with_source(error)
        })?;
        let failed = |error| text_index_failed(error);
        let exists = Index::exists(&directory).map_err(|error| failed(error.into()))?;
        if !exists && folder.join(LOG).metadata().is_ok_and(|log| log.len() > HEADER_BYTES) {
            return Err(Error::corrupt(format!("{} lacks its meta.json", text.display())));
        }
        let index = match (exists, create) {
            (true, _) => Index::open(directory).map_err(failed)?,
            (false, true) => {
                Index::create(directory, schema.clone(), IndexSettings::default()).map_err(failed)?
            }
            (false, false) => {
                return Err(Error::not_found(format!("there is no index at {}", text.display())));
            }
        };
        if index.schema() != schema {
            let message = format!("the text index at {} has another format", text.display());
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let (name, analyzer) = schema::analyzer();
        index.tokenizers().register(name, analyzer);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        Ok(Self { index, reader, fields: Arc::new(fields) })
    }

    fn commit(&self) -> Result<Commit> {
        let metas = self.index.load_metas().map_err(text_index_failed)?;
        let Some(payload) = metas.payload else { return Ok(Commit::default()) };
        serde_json::from_str(&payload).map_err(|error| {
            Error::corrupt("the payload of the text index's commit is damaged").with_source(error)
        })
    }
}

/// Reads the last commit of a partition that another process may be writing.
///
/// The text index is read between two looks at the commit, and again if they differ.
pub(super) fn read(folder: &Path, dimension: usize) -> Result<Snapshot> {
    let text = TextIndex::open(folder, false)?;
    loop {
        let before = text.commit()?;
        text.reader.reload().map_err(text_index_failed)?;
        if text.commit()? != before {
            continue;
        }
        let vectors = log::load(&folder.join(LOG), dimension, before.log_bytes())?;
        return Snapshot::new(before.generation, text.reader.searcher(), text.fields, vectors, None);
    }
}

/// A partition open for writing; used by its one writer thread.
pub(super) struct Store {
    text: TextIndex,
    writer: IndexWriter,
    log: VectorLog,
    vectors: Vectors,
    generation: u64,
}

impl Store {
    /// Opens the files at their last commit; what was written after it is cut off.
    pub(super) fn open(folder: &Path, dimension: usize) -> Result<Self> {
        let text = TextIndex::open(folder, true)?;
        let writer = text.index.writer_with_num_threads(1, WRITER_BYTES).map_err(text_index_failed)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let commit = text.commit()?;
        let path = folder.join(LOG);
        let vectors = log::load(&path, dimension, commit.log_bytes())?;
        let log = VectorLog::open(&path, dimension, commit.log_bytes())?;
        super::sealed::sync_folder(folder)
            .map_err(|error| Error::io(format!("sync folder {}", folder.display()), error))?;
        Ok(Self { text, writer, log, vectors, generation: commit.generation })
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.text.fields
    }

    /// Appends vectors durably and returns the slot of the first.
    pub(super) fn append(&mut self, new: &[Vec<f32>]) -> Result<u32> {
        let first = u32::try_from(self.vectors.len()).map_err(|_| {
            Error::new(ErrorKind::ResourceExhausted, "a partition holds at most 2^32 vectors")
        })?;
        self.log.append(&mut self.vectors, new)?;
        Ok(first)
    }

    pub(super) fn delete(&self, term: Term) {
        self.writer.delete_term(term);
    }

    pub(super) fn add(&self, record: TantivyDocument) -> Result<()> {
        self.writer.add_document(record).map(|_| ()).map_err(text_index_failed)
    }

    /// The commit point: everything since the last commit becomes durable at once.
    pub(super) fn commit(&mut self) -> Result<()> {
        let commit = Commit {
            generation: self.generation + 1,
            logs: vec![LogExtent { file: LOG.into(), bytes: self.log.length() }],
        };
        let payload = serde_json::to_string(&commit)
            .map_err(|error| Error::internal("serialise a commit").with_source(error))?;
        let mut prepared = self.writer.prepare_commit().map_err(text_index_failed)?;
        prepared.set_payload(&payload);
        prepared.commit().map_err(text_index_failed)?;
        self.generation = commit.generation;
        Ok(())
    }

    /// Merges one group of small or much deleted segments, if there is one; says whether it did.
    pub(super) fn merge_once(&mut self) -> Result<bool> {
        let segments = self.text.index.searchable_segment_metas().map_err(text_index_failed)?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
        let candidates = policy.compute_merge_candidates(&segments);
        let Some(candidate) = candidates.into_iter().next() else { return Ok(false) };
        self.writer.merge(&candidate.0).wait().map_err(text_index_failed)?;
        Ok(true)
    }

    /// The state of the last commit.
    pub(super) fn snapshot(&self, previous: Option<&Snapshot>) -> Result<Snapshot> {
        self.text.reader.reload().map_err(text_index_failed)?;
        let searcher = self.text.reader.searcher();
        Snapshot::new(self.generation, searcher, self.text.fields.clone(), self.vectors.clone(), previous)
    }
}
