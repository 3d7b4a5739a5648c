//! Gathering what was read into batches, one commit each, and committing them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkit_core::{DocumentId, Error, Result, RunContext, TenantScope};
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;

use super::read::{Content, Item, Look, ReadFile};
use super::target::IngestTarget;
use crate::index::UpsertReport;
use crate::source::SourceDocument;

/// Documents in one commit.
const BATCH_DOCUMENTS: usize = 64;
/// Bytes of text after which a batch is committed early.
const BATCH_BYTES: usize = 4 << 20;
/// Files without documents that wait for a batch to be settled with.
const BATCH_FILES: usize = 256;

/// A file that was read; the room it takes is given back when nothing of it is on its way any more.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) look: Option<Look>,
    pub(super) hash: String,
    /// How many documents it holds; `None` if it holds what it held before.
    pub(super) documents: Option<u64>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A file, or a part of one that holds many documents.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) origin: Arc<Origin>,
    /// Whether it is the file's first, and its last.
    pub(super) first: bool,
    pub(super) last: bool,
    pub(super) stored: Vec<Stored>,
    pub(super) errors: Vec<Error>,
}

/// A document that is in the target, with the hash of its source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: DocumentId,
    pub(super) source_hash: String,
}

/// What is committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
    documents: Vec<Queued>,
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    part: usize,
    document: SourceDocument,
}

/// A batch that is durable.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) parts: Vec<Part>,
    pub(super) upserted: UpsertReport,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.documents.len() >= BATCH_DOCUMENTS
            || self.bytes >= BATCH_BYTES
            || self.parts.len() >= BATCH_FILES
    }

    fn push(&mut self, document: SourceDocument) {
        self.bytes += document.source_text.len();
        self.documents.push(Queued { part: self.parts.len(), document });
    }

    /// Writes the documents in one commit. If the target refuses one of them, the others do not suffer for it.
    pub(super) async fn commit(
        mut self,
        target: &dyn IngestTarget,
        scope: &TenantScope,
        ctx: &RunContext,
    ) -> Result<Committed> {
        let queued = std::mem::take(&mut self.documents);
        if queued.is_empty() {
            return Ok(Committed { parts: self.parts, upserted: UpsertReport::default() });
        }
        let all = queued.iter().map(|queued| queued.document.clone()).collect();
        let upserted = match target.upsert(scope, all, ctx).await {
            Ok(done) => {
                for queued in &queued {
                    self.stored(queued);
                }
                done
            }
            Err(error) if error.is_invalid_input() => self.one_by_one(queued, (target, scope, ctx)).await?,
            Err(error) => return Err(error),
        };
        Ok(Committed { parts: self.parts, upserted })
    }

    async fn one_by_one(
        &mut self,
        queued: Vec<Queued>,
        (target, scope, ctx): (&dyn IngestTarget, &TenantScope, &RunContext),
    ) -> Result<UpsertReport> {
        let mut sum = UpsertReport::default();
        for queued in queued {
            match target.upsert(scope, vec![queued.document.clone()], ctx).await {
                Ok(done) => {
                    add(&mut sum, &done);
                    self.stored(&queued);
                }
                Err(error) if error.is_invalid_input() => self.refused(queued.part, error),
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    fn stored(&mut self, queued: &Queued) {
        let source_hash = blake3::hash(queued.document.source_text.as_bytes()).to_hex().to_string();
        if let Some(part) = self.parts.get_mut(queued.part) {
            part.stored.push(Stored { id: queued.document.id.clone(), source_hash });
        }
    }

    fn refused(&mut self, part: usize, error: Error) {
        if let Some(part) = self.parts.get_mut(part) {
            part.errors.push(error);
        }
    }
}

fn add(sum: &mut UpsertReport, done: &UpsertReport) {
    sum.documents += done.documents;
    sum.unchanged += done.unchanged;
    sum.chunks += done.chunks;
    sum.embedded += done.embedded;
    sum.generation = done.generation;
}

/// The batches that `items` make. A batch ends early where the reader waits for room.
pub(super) fn batches(items: Receiver<Item>) -> impl Stream<Item = Batch> {
    let gathering = Gathering { items, seen: HashMap::new(), current: Batch::default(), split: None };
    futures_util::stream::unfold(gathering, |mut gathering| async {
        gathering.next().await.map(|batch| (batch, gathering))
    })
}

struct Gathering {
    items: Receiver<Item>,
    /// Which file each document came from.
    seen: HashMap<DocumentId, PathBuf>,
    current: Batch,
    /// The file that is being taken apart.
    split: Option<Split>,
}

struct Split {
    part: Part,
    documents: std::vec::IntoIter<SourceDocument>,
}

impl Gathering {
    async fn next(&mut self) -> Option<Batch> {
        loop {
            self.take_apart();
            if self.current.is_full() {
                return Some(std::mem::take(&mut self.current));
            }
            match self.items.recv().await {
                Some(Item::File(file)) => self.split = Some(Split::of(*file)),
                Some(Item::Waiting) if self.current.parts.is_empty() => {}
                None if self.current.parts.is_empty() => return None,
                Some(Item::Waiting) | None => return Some(std::mem::take(&mut self.current)),
            }
        }
    }

    /// Moves documents of the current file to the batch until one of the two ends.
    fn take_apart(&mut self) {
        let Some(mut split) = self.split.take() else { return };
        while !self.current.is_full() {
            let Some(document) = split.documents.next() else { break };
            match self.seen.entry(document.id.clone()) {
                Entry::Occupied(other) => split.part.errors.push(twice(&document.id, other.get())),
                Entry::Vacant(new) => {
                    new.insert(split.part.origin.path.clone());
                    self.current.push(document);
                }
            }
        }
        split.part.last = split.documents.len() == 0;
        let rest = Part::of(split.part.origin.clone(), false);
        let part = std::mem::replace(&mut split.part, rest);
        self.split = Some(split).filter(|_| !part.last);
        self.current.parts.push(part);
    }
}

impl Part {
    fn of(origin: Arc<Origin>, first: bool) -> Self {
        Self { origin, first, last: false, stored: Vec::new(), errors: Vec::new() }
    }
}

impl Split {
    fn of(file: ReadFile) -> Self {
        let ReadFile { path, look, hash, content, room } = file;
        let (count, documents, error) = match content {
            Ok(Content::Documents(documents)) => (Some(documents.len() as u64), documents, None),
            Ok(Content::Same) => (None, Vec::new(), None),
            Err(error) => (Some(0), Vec::new(), Some(error)),
        };
        let origin = Origin { path, look, hash, documents: count, _room: room };
        let mut part = Part::of(Arc::new(origin), true);
        part.errors.extend(error);
        Self { part, documents: documents.into_iter() }
    }
}

fn twice(id: &DocumentId, other: &Path) -> Error {
    Error::invalid_input(format!(
        "the document id {:?} is already that of {}; ingest them apart, each with its own prefix",
        id.as_str(),
        other.display()
    ))
}
