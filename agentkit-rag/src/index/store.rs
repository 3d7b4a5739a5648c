//! The files of one partition, opened: text index, vector log, and the commit that binds them.

use std::path::Path;
use std::sync::Arc;

use agentkit_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tantivy::directory::META_LOCK;
use tantivy::index::{SegmentId, SegmentMeta};
use tantivy::indexer::{LogMergePolicy, MergePolicy, NoMergePolicy};
use tantivy::{
    FutureResult, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, Term,
};

use super::analysis::Analysis;
use super::directory::SafeDirectory;
use super::schema::{self, Fields};
use super::snapshot::{Snapshot, text_index_failed};
use super::storage::{Folder, Lock};
use super::vectors::Vectors;
use super::vectors::log::{self, LogExtent, Logs, Rewrite};

/// Memory for documents that are not yet in a segment.
const WRITER_BYTES: usize = 64 << 20;
/// Share of deleted records from which a segment or a vector log is rewritten.
const DELETED_SHARE: f32 = 0.3;
/// Fewer dead vectors than this are left where they are.
const DEAD_VECTORS: u64 = 1024;
/// The folder of the text index in that of the partition.
pub(super) const TEXT: &str = "text";
/// The file whose replacement is the commit.
pub(super) const META: &str = "text/meta.json";

/// The payload of a Tantivy commit: what else belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) generation: u64,
    /// Slots handed out so far; not fewer than the logs hold.
    #[serde(default)]
    slots: u32,
    /// The vector logs, in the order of their slots.
    pub(super) logs: Vec<LogExtent>,
}

/// What a partition is made of, if it has to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Components of its vectors.
    pub(super) dimension: usize,
    /// How its words are treated.
    pub(super) analysis: Analysis,
}

/// The text index of a partition, open for reading.
struct TextIndex {
    index: Index,
    directory: SafeDirectory,
    reader: IndexReader,
    fields: Arc<Fields>,
}

impl TextIndex {
    /// Opens the text index in `folder`, or makes one with the analysis in `create`.
    fn open(folder: &Folder, create: Option<Analysis>) -> Result<Self> {
        let text = folder.folder(TEXT);
        let at = text.path.display();
        if create.is_some() {
            super::storage::create_folders(&*text.storage, &text.path)
                .map_err(|error| Error::io(format!("create {at}"), error))?;
        }
        let directory = SafeDirectory::open(text.clone()).map_err(|error| {
            Error::not_found(format!("there is no text index at {at}")).with_source(error)
        })?;
        let exists = Index::exists(&directory).map_err(|error| text_index_failed(error.into()))?;
        let index = if exists {
            Index::open(directory.clone())
        } else {
            let missing = || Error::not_found(format!("there is no index at {at}"));
            let analysis = create.ok_or_else(missing)?;
            if log::any(folder)? {
                return Err(Error::corrupt(format!("{at} lacks its meta.json")));
            }
            Index::create(directory.clone(), schema::schema(analysis).0, IndexSettings::default())
        };
        let index = index.map_err(text_index_failed)?;
        let known = [Analysis::EnglishOnly, Analysis::Multilingual].into_iter().find_map(|analysis| {
            let (schema, fields) = schema::schema(analysis);
            (index.schema() == schema).then_some((analysis, fields))
        });
        let (analysis, fields) = known.ok_or_else(|| {
            let message = format!("the text index at {at} has another format");
            Error::new(ErrorKind::Mismatch, message)
        })?;
        index.tokenizers().register(analysis.name(), analysis.analyzer());
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader = reader.map_err(text_index_failed)?;
        Ok(Self { index, directory, reader, fields: Arc::new(fields) })
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
/// What belongs to it is read between two looks at the commit, and again if they differ.
pub(super) fn read(folder: &Folder, dimension: usize) -> Result<Snapshot> {
    let text = TextIndex::open(folder, None)?;
    loop {
        let before = text.commit()?;
        let reloaded = text.reader.reload().map_err(text_index_failed);
        let vectors = reloaded.and_then(|()| log::load(folder, dimension, &before.logs));
        if text.commit()? != before {
            continue;
        }
        return Snapshot::new(before.generation, text.reader.searcher(), text.fields, vectors?, None);
    }
}

/// Keeps files that the last commit names from being removed until it is dropped. Opening a text index takes the same
/// lock, so that must not be done while it is held.
fn lock_removal(folder: &Folder) -> std::io::Result<Lock> {
    folder.storage.lock(&folder.folder(TEXT).at(&META_LOCK.filepath))
}

/// The last commit: `meta.json` as it is, what it says, and the names of its segment files.
pub(super) struct Committed {
    pub(super) meta: Vec<u8>,
    pub(super) commit: Commit,
    pub(super) segments: Vec<String>,
    /// Keeps the files from being removed. Where nothing may be written there is nobody who removes any.
    _lock: Option<Lock>,
}

/// Looks at the last commit, whose files stay as long as the answer is held.
pub(super) fn committed(folder: &Folder) -> Result<Committed> {
    let path = folder.at(META);
    let read = || {
        let bytes = folder.storage.read(&path);
        bytes.map_err(|error| Error::io(format!("read {}", path.display()), error))
    };
    let text = TextIndex::open(folder, None)?;
    let lock = lock_removal(folder).ok();
    loop {
        let before = read()?;
        let (commit, metas) = (text.commit()?, text.index.load_metas().map_err(text_index_failed)?);
        if read()? != before {
            continue;
        }
        let mut segments = Vec::new();
        for file in metas.list_segment_files() {
            let name = format!("{TEXT}/{}", file.display());
            let path = folder.at(&name);
            let length = folder.storage.length(&path);
            if length.map_err(|error| Error::io(format!("look at {}", path.display()), error))?.is_some() {
                segments.push(name);
            }
        }
        return Ok(Committed { meta: before, commit, segments, _lock: lock });
    }
}

/// A partition open for writing; used by its one writer thread.
pub(super) struct Store {
    folder: Folder,
    text: TextIndex,
    writer: IndexWriter,
    logs: Logs,
    vectors: Vectors,
    generation: u64,
}

impl Store {
    /// Opens the files at their last commit; what was written after it is cut off.
    pub(super) fn open(folder: &Folder, kind: Kind) -> Result<Self> {
        let text = TextIndex::open(folder, Some(kind.analysis))?;
        let writer = text.index.writer_with_num_threads(1, WRITER_BYTES).map_err(text_index_failed)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        // A process that was killed may have left a file of deletions under the very name the next commit needs.
        writer.garbage_collect_files().wait().map_err(text_index_failed)?;
        let commit = text.commit()?;
        let (logs, mut vectors) = Logs::open(folder, kind.dimension, &commit.logs)?;
        vectors.skip_to(commit.slots as usize);
        Ok(Self { folder: folder.clone(), text, writer, logs, vectors, generation: commit.generation })
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.text.fields
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Appends vectors and returns the slot of the first.
    pub(super) fn append(&mut self, new: &[Vec<f32>]) -> Result<u32> {
        let first = u32::try_from(self.vectors.len()).map_err(|_| {
            Error::new(ErrorKind::ResourceExhausted, "a partition holds at most 2^32 vectors")
        })?;
        self.logs.append(&mut self.vectors, new)?;
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
        self.logs.sync()?;
        let commit = Commit {
            generation: self.generation + 1,
            slots: u32::try_from(self.vectors.len()).unwrap_or(u32::MAX),
            logs: self.logs.extents(),
        };
        let payload = serde_json::to_string(&commit)
            .map_err(|error| Error::internal("serialise a commit").with_source(error))?;
        let mut prepared = self.writer.prepare_commit().map_err(text_index_failed)?;
        prepared.set_payload(&payload);
        prepared.commit().map_err(text_index_failed)?;
        self.generation = commit.generation;
        Ok(())
    }

    /// The state of the last commit.
    pub(super) fn snapshot(&self, previous: Option<&Snapshot>) -> Result<Snapshot> {
        self.text.reader.reload().map_err(text_index_failed)?;
        let searcher = self.text.reader.searcher();
        Snapshot::new(self.generation, searcher, self.text.fields.clone(), self.vectors.clone(), previous)
    }

    fn segments(&self) -> Result<Vec<SegmentMeta>> {
        self.text.index.searchable_segment_metas().map_err(text_index_failed)
    }

    /// Small or much deleted segments that should become one.
    pub(super) fn mergeable(&self) -> Result<Option<Vec<SegmentId>>> {
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
        let candidates = policy.compute_merge_candidates(&self.segments()?);
        Ok(candidates.into_iter().next().map(|candidate| candidate.0))
    }

    /// All segments with deleted records.
    pub(super) fn with_deleted(&self) -> Result<Option<Vec<SegmentId>>> {
        let segments = self.segments()?;
        let deleted: Vec<SegmentId> =
            segments.iter().filter(|segment| segment.has_deletes()).map(SegmentMeta::id).collect();
        Ok(Some(deleted).filter(|deleted| !deleted.is_empty()))
    }

    /// Starts merging segments on Tantivy's thread.
    pub(super) fn merge(&mut self, segments: &[SegmentId]) -> FutureResult<Option<SegmentMeta>> {
        self.writer.merge(segments)
    }

    /// What of the vector logs is worth rewriting, given the present snapshot.
    pub(super) fn rewritable(&mut self, snapshot: &Snapshot, thorough: bool) -> Result<Option<Rewrite>> {
        let dead = self.logs.rows().saturating_sub(snapshot.chunks());
        if dead == 0 || (!thorough && dead < DEAD_VECTORS) {
            return Ok(None);
        }
        let share = if thorough { 0.0 } else { DELETED_SHARE.into() };
        let live: Vec<u32> = snapshot.live_slots().iter().collect();
        self.logs.plan_rewrite(&mut self.vectors, &live, share)
    }

    /// Commits a finished rewrite of vector logs and removes the old files.
    pub(super) fn swap_logs(&mut self, rewrite: &Rewrite, written: Option<LogExtent>) -> Result<()> {
        self.logs.replace(rewrite, written, &mut self.vectors)?;
        self.commit()?;
        let _lock = lock_removal(&self.folder);
        for old in &rewrite.old {
            let path = self.folder.at(old);
            self.folder
                .storage
                .remove(&path)
                .map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        }
        Ok(())
    }

    /// Removes the text index's files that no commit and no snapshot needs; says whether none is left.
    pub(super) fn collect_garbage(&self) -> Result<bool> {
        self.writer.garbage_collect_files().wait().map_err(text_index_failed)?;
        let text = self.folder.folder(TEXT);
        let names = text
            .storage
            .list(&text.path)
            .map_err(|error| Error::io(format!("list {}", text.path.display()), error))?;
        let metas = self.text.index.load_metas().map_err(text_index_failed)?;
        let needed = metas.list_segment_files();
        let is_needed =
            |name: &String| name.starts_with('.') || name == "meta.json" || needed.contains(Path::new(name));
        Ok(names.iter().all(is_needed))
    }
}

/// Whatever Tantivy's threads still do, they no longer write.
impl Drop for Store {
    fn drop(&mut self) {
        self.text.directory.refuse_writes();
    }
}
