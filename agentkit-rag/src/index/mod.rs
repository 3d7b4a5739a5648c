//! The embedded hybrid index: vectors and BM25 behind one commit point.
//!
//! Why: two stores that are written one after the other drift apart with the first crash. Here a chunk's text,
//! metadata and vector become visible together and durable together.
//!
//! How: vectors go to an append-only log and are synced; then a Tantivy commit, whose payload says how much of the
//! log counts, is the atomic commit of both ([`store`]). One writer thread a partition commits in groups and
//! publishes immutable snapshots ([`writer`]); a search takes one snapshot and sees one state of both legs
//! ([`snapshot`], [`plan`]). Graphs are derived and may be missing at any time ([`graph`]).
//!
//! Always true: a live chunk record names a slot the commit holds; a slot's vector never changes; a partition is
//! one tenant's collection in a folder of its own, so statistics and vocabulary never mix.

mod analysis;
mod backup;
#[doc(hidden)]
pub mod bench_support;
mod changes;
mod contained;
mod dense;
mod directory;
mod edition;
mod filter;
#[doc(hidden)]
pub mod fuzz_support;
mod graph;
mod kernel;
mod layout;
mod lexical;
mod partition;
mod plan;
mod ranking;
mod reembed;
mod schema;
mod sealed;
mod shared;
mod snapshot;
mod storage;
mod store;
mod upsert;
mod vectors;
mod widen;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::{
    CollectionName, DocumentId, EmbedSide, Embedder, Embedding, Error, ErrorKind, Expansion, Filter, Hit,
    Metadata, Result, Retriever, RunContext, SearchRequest, SearchResponse, TenantScope, search_by_parts,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::backup::{BackupReport, backup, verify};
use self::contained::contained;
use self::plan::Search;
pub use self::reembed::{ReembedProgress, ReembedReport};
use self::shared::Shared;
use self::snapshot::Snapshot;
use self::storage::{Disk, Folder};
pub use self::upsert::MAX_DOCUMENT_BYTES;
use self::writer::{Change, Outcome};
use crate::chunk::Chunker;
use crate::embed::AbsentModel;
use crate::source::{SourceDocument, SourceKind};

/// How often a write is prepared anew if others change the same documents meanwhile.
const ATTEMPTS: usize = 5;
/// Most documents a listing gives at once.
const MAX_LISTED: usize = 10_000;

/// A hybrid index in a folder; cheap to clone, and closed when the last clone is dropped.
///
/// One process writes, held by a lock that names it; any number of others may read.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use std::sync::Arc;
/// use agentkit_core::testing::HashingEmbedder;
/// use agentkit_core::{Retriever, RunContext, SearchRequest, TenantScope};
/// use agentkit_rag::{Index, SourceDocument};
///
/// let folder = tempfile::tempdir()?;
/// let (scope, ctx) = (TenantScope::local(), RunContext::new());
/// let index = Index::open(folder.path(), Arc::new(HashingEmbedder::default())).await?;
/// index.upsert(&scope, vec![SourceDocument::text("tea", "Green tea is best at 80 degrees.")?], &ctx).await?;
/// let found = index.search(&SearchRequest::new(scope, "how hot is green tea?"), &ctx).await?;
/// assert_eq!(found.hits[0].passage.text, "Green tea is best at 80 degrees.");
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UpsertReport {
    /// Documents written.
    pub documents: u64,
    /// Documents that were stored just so and were left alone.
    pub unchanged: u64,
    /// Chunks of the documents written.
    pub chunks: u64,
    /// Chunks that had to be embedded; the others kept their vectors.
    pub embedded: u64,
    /// The index's generation that holds them.
    pub generation: u64,
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredDocument {
    /// Its id.
    pub id: DocumentId,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What kind of text it is.
    pub kind: SourceKind,
    /// The text that all spans refer to.
    pub source_text: String,
    /// BLAKE3 hash of the source text, hexadecimal.
    pub source_hash: String,
    /// Fields to filter by.
    #[serde(default)]
    pub metadata: Metadata,
    /// Number of its chunks.
    pub chunks: u64,
}

/// A listed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentSummary {
    /// Its id.
    pub id: DocumentId,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Bytes of its source text.
    pub bytes: u64,
    /// BLAKE3 hash of its source text, hexadecimal.
    #[serde(default)]
    pub source_hash: String,
    /// Number of its chunks.
    pub chunks: u64,
}

/// The size of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IndexStats {
    /// Documents.
    pub documents: u64,
    /// Chunks.
    pub chunks: u64,
    /// Grows with every commit.
    pub generation: u64,
    /// Chunks that the newest graph covers, deleted ones included; 0 while there is none.
    pub graph_chunks: u64,
    /// Whether searches go through the graph. They do not if it was measured to find too little for what it costs.
    #[serde(default)]
    pub graph_used: bool,
}

impl Index {
    /// Opens the index in `folder` for reading and writing, creating it if there is none.
    ///
    /// # Cancel safety
    /// If dropped, an empty index may have been created.
    ///
    /// # Errors
    /// Conflict if another process or handle writes to it, mismatch if it was made with another model or format,
    /// corrupt, resource exhausted, or unavailable.
    pub async fn open(folder: impl AsRef<Path>, embedder: Arc<dyn Embedder>) -> Result<Self> {
        Self::open_in(Folder::new(Arc::new(Disk), folder.as_ref()), embedder).await
    }

    async fn open_in(root: Folder, embedder: Arc<dyn Embedder>) -> Result<Self> {
        let (folder, identity) = (root.clone(), embedder.identity().clone());
        let (lock, manifest) =
            RunContext::new().run_blocking(move |_| layout::open_for_writing(&folder, &identity)).await?;
        Ok(Self { shared: Arc::new(Shared::new(root, manifest, embedder, Some(lock))) })
    }

    /// Opens the index in `folder` for reading and writing without its embedding model.
    ///
    /// Everything works that needs no embedding: BM25 searches, reading, listing, deleting, compacting, and embedding
    /// anew with another model. The rest is refused as unsupported.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is created.
    ///
    /// # Errors
    /// Not found if there is no index, and as [`Index::open`].
    pub async fn open_without_model(folder: impl AsRef<Path>) -> Result<Self> {
        let root = Folder::new(Arc::new(Disk), folder.as_ref());
        let from = root.clone();
        let manifest = RunContext::new().run_blocking(move |_| layout::manifest(&from)).await;
        let identity = manifest.map_err(|error| no_index(error, &root))?.embedder;
        Self::open_in(root, Arc::new(AbsentModel::new(identity))).await
    }

    /// Opens the last commit of the index in `folder`, also while another process writes to it.
    ///
    /// Each collection is read as it is when it is first used.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Not found if there is no index, mismatch, corrupt, or unavailable.
    pub async fn open_read_only(folder: impl AsRef<Path>, embedder: Arc<dyn Embedder>) -> Result<Self> {
        let root = Folder::new(Arc::new(Disk), folder.as_ref());
        let (folder, identity) = (root.clone(), embedder.identity().clone());
        let checked =
            RunContext::new().run_blocking(move |_| layout::checked_manifest(&folder, &identity)).await;
        let manifest = checked.map_err(|error| no_index(error, &root))?;
        Ok(Self { shared: Arc::new(Shared::new(root, manifest, embedder, None)) })
    }

    /// Cuts documents with `chunker` from now on. Call it before the index is cloned.
    #[must_use]
    pub fn with_chunker(mut self, chunker: Arc<dyn Chunker>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.chunker = chunker;
        }
        self
    }

    /// Writes documents in one commit; each replaces the document of the same id, of several with the same id the
    /// last counts. When it returns, they are durable and found.
    ///
    /// Chunks whose text and context have not changed keep their vectors and are not embedded again.
    ///
    /// # Cancel safety
    /// If dropped, either all or none of the documents are written.
    ///
    /// # Errors
    /// Invalid input naming the document, what the embedder returns, stopped, resource exhausted, corrupt,
    /// unavailable, or unsupported if the index is read-only.
    pub async fn upsert(
        &self,
        scope: &TenantScope,
        documents: Vec<SourceDocument>,
        ctx: &RunContext,
    ) -> Result<UpsertReport> {
        let documents = Arc::new(upsert::last_of_each_id(documents));
        for _ in 0..ATTEMPTS {
            if let Some(report) = self.try_upsert(scope, &documents, ctx).await? {
                return Ok(report);
            }
        }
        Err(contended())
    }

    /// Prepares and writes documents; `None` if another write has changed what was kept of them meanwhile.
    async fn try_upsert(
        &self,
        scope: &TenantScope,
        documents: &Arc<Vec<SourceDocument>>,
        ctx: &RunContext,
    ) -> Result<Option<UpsertReport>> {
        let (edition, partition) = self.shared.writable(scope).await?;
        let snapshot = partition.snapshot();
        let (chunker, model) = (self.shared.chunker.clone(), edition.embedder.clone());
        let (seen, all) = (snapshot.clone(), documents.clone());
        let prepared =
            ctx.run_blocking(move |ctx| upsert::prepare(&all, &seen, &*chunker, &*model, ctx)).await?;
        let written = prepared.len() as u64;
        let (chunks, embedded) = upsert::counts(&prepared);
        let mut generation = snapshot.generation;
        if written > 0 {
            let model = &*edition.embedder;
            let changes = upsert::embed(prepared, model, &HashMap::new(), &snapshot.vectors, ctx).await?;
            drop(snapshot);
            match self.shared.write(&edition, &partition, changes).await? {
                Outcome::Done(done) => generation = done.generation,
                Outcome::Stale => return Ok(None),
            }
        }
        let unchanged = documents.len() as u64 - written;
        Ok(Some(UpsertReport { documents: written, unchanged, chunks, embedded, generation }))
    }

    /// Deletes documents in one commit and says how many existed.
    ///
    /// # Cancel safety
    /// If dropped, either all or none of the documents are deleted.
    ///
    /// # Errors
    /// Stopped, resource exhausted, corrupt, unavailable, or unsupported if the index is read-only.
    pub async fn delete(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        ctx.check()?;
        for _ in 0..ATTEMPTS {
            let (edition, partition) = self.shared.writable(scope).await?;
            let changes = ids.iter().cloned().map(Change::Delete).collect();
            if let Outcome::Done(written) = self.shared.write(&edition, &partition, changes).await? {
                return Ok(written.existed);
            }
        }
        Err(contended())
    }

    /// Deletes the documents that match `filter` in one commit and says how many there were.
    ///
    /// Documents written meanwhile may or may not be among them.
    ///
    /// # Cancel safety
    /// If dropped, either all or none of the documents are deleted.
    ///
    /// # Errors
    /// As [`Index::delete`], and invalid input if the filter is malformed.
    pub async fn delete_matching(
        &self,
        scope: &TenantScope,
        filter: &Filter,
        ctx: &RunContext,
    ) -> Result<u64> {
        filter.validate()?;
        self.shared.check_writable()?;
        let ids = self.matching(scope, filter, ctx).await?;
        if ids.is_empty() { Ok(0) } else { self.delete(scope, &ids, ctx).await }
    }

    /// The ids of the documents that match `filter`, in order.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Invalid input if the filter is malformed; stopped, corrupt or unavailable.
    pub async fn matching(
        &self,
        scope: &TenantScope,
        filter: &Filter,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentId>> {
        filter.validate()?;
        let filter = filter.clone();
        let ids = self.read(scope, ctx, move |snapshot| snapshot.documents_matching(&filter)).await?;
        Ok(ids.unwrap_or_default())
    }

    /// Deletes documents and waits until nothing of their text, words or vectors is left in the index's files;
    /// says how many existed.
    ///
    /// Earlier versions of them go as well, and whatever else was deleted before. What the operating system keeps of
    /// removed files on the medium, and backups made before, are beyond its reach.
    ///
    /// # Cancel safety
    /// If dropped, the documents are deleted or not, and the rest is removed at the next compaction.
    ///
    /// # Errors
    /// As [`Index::delete`], and unavailable if a search holds the old files for half a minute.
    pub async fn forget(&self, scope: &TenantScope, ids: &[DocumentId], ctx: &RunContext) -> Result<u64> {
        let existed = self.delete(scope, ids, ctx).await?;
        // First the edition that is being made: when the living one is clean, it may be the living one itself.
        if let Some(copier) = self.shared.copier() {
            copier.forget(scope, ids, ctx).await?;
        }
        self.compact(scope, ctx).await?;
        Ok(existed)
    }

    /// Removes from the files what was deleted: merges the segments that hold deleted records and rewrites the
    /// vector logs that hold dead vectors. Some of it happens by itself; this does all of it. Searches and writes
    /// go on meanwhile.
    ///
    /// # Cancel safety
    /// If dropped, the compaction goes on in the background.
    ///
    /// # Errors
    /// Stopped, resource exhausted, corrupt, unsupported if the index is read-only, or unavailable if a search holds
    /// the old files for half a minute.
    pub async fn compact(&self, scope: &TenantScope, ctx: &RunContext) -> Result<()> {
        let (_, partition) = self.shared.writable(scope).await?;
        ctx.run(partition.compact()).await
    }

    /// Reads a document with its whole source text.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Stopped, corrupt, or unavailable.
    pub async fn get(
        &self,
        scope: &TenantScope,
        id: &DocumentId,
        ctx: &RunContext,
    ) -> Result<Option<StoredDocument>> {
        let id = id.clone();
        self.read(scope, ctx, move |snapshot| {
            let Some(record) = snapshot.document(&id)? else { return Ok(None) };
            let source_text = upsert::source_text(&record, &snapshot.chunks_of(&id)?)?;
            Ok(Some(StoredDocument {
                id: record.id,
                title: record.title,
                uri: record.uri,
                kind: record.kind,
                source_text,
                source_hash: record.source_hash,
                metadata: record.metadata,
                chunks: record.chunks,
            }))
        })
        .await
        .map(Option::flatten)
    }

    /// Lists documents in the order of their ids: at most `limit` (at most 10,000) after `after`.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Stopped, corrupt, or unavailable.
    pub async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&DocumentId>,
        limit: usize,
        ctx: &RunContext,
    ) -> Result<Vec<DocumentSummary>> {
        let after = after.cloned();
        self.read(scope, ctx, move |snapshot| {
            let ids = snapshot.document_ids(after.as_ref(), limit.min(MAX_LISTED))?;
            let records = ids.into_iter().map(|id| snapshot.document(&DocumentId::new(id)?));
            records.filter_map(Result::transpose).map(|record| record.map(summary)).collect()
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// The size of a collection.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, or unavailable.
    pub async fn stats(&self, scope: &TenantScope) -> Result<IndexStats> {
        let (_, partition) = self.shared.readable(scope).await?;
        Ok(partition.map_or_else(IndexStats::default, |partition| sizes(&partition.snapshot())))
    }

    /// The sizes of the collections that were used since the index was opened, of all tenants.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    pub async fn in_use(&self) -> Vec<IndexStats> {
        let opened = self.shared.living().opened().await;
        opened.iter().map(|partition| sizes(&partition.snapshot())).collect()
    }

    /// The collections of the scope's tenant that were ever written to, by name.
    ///
    /// # Cancel safety
    /// Cancel safe: reading changes nothing.
    ///
    /// # Errors
    /// Corrupt, or unavailable.
    pub async fn collections(&self, scope: &TenantScope) -> Result<Vec<CollectionName>> {
        let (edition, _) = self.shared.readable(scope).await?;
        edition.collections(scope.tenant()).await
    }

    /// Finishes the commits under way and gives the writer's lock back, if this is the last clone.
    ///
    /// # Cancel safety
    /// If dropped, closing goes on in the background.
    ///
    /// # Errors
    /// Internal, if the closing thread panicked.
    pub async fn close(self) -> Result<()> {
        RunContext::new()
            .run_blocking(move |_| {
                drop(self);
                Ok(())
            })
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        scope: &TenantScope,
        ctx: &RunContext,
        read: impl FnOnce(&Snapshot) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (_, Some(partition)) = self.shared.readable(scope).await? else { return Ok(None) };
        let (root, snapshot) = (self.shared.root.path.clone(), partition.snapshot());
        ctx.run_blocking(move |_| contained(&root, || read(&snapshot).map(Some))).await
    }
}

async fn query_vector(
    embedder: &dyn Embedder,
    request: &SearchRequest,
    ctx: &RunContext,
) -> Result<Option<Embedding>> {
    if !request.plan.needs_embedding() {
        return Ok(None);
    }
    let texts = vec![request.text.clone()];
    let vectors = ctx.run(embedder.embed(EmbedSide::Query, texts, ctx)).await?;
    let vector = vectors.into_iter().next().ok_or_else(|| Error::internal("the embedder gave no vector"))?;
    Ok(Some(vector))
}

fn contended() -> Error {
    Error::new(ErrorKind::Conflict, "others keep changing the same documents; write them again")
}

fn no_index(error: Error, root: &Folder) -> Error {
    if !error.is_not_found() {
        return error;
    }
    Error::not_found(format!("there is no index in {}; ingest documents first", root.path.display()))
}

#[async_trait]
impl Retriever for Index {
    async fn search(&self, request: &SearchRequest, ctx: &RunContext) -> Result<SearchResponse> {
        request.validate()?;
        ctx.check()?;
        if !request.plan.is_plain() {
            return search_by_parts(self, request, ctx).await;
        }
        let (edition, Some(partition)) = self.shared.readable(&request.scope).await? else {
            return Ok(SearchResponse::default());
        };
        let vector = query_vector(&*edition.embedder, request, ctx).await?;
        let familiarity = vector.as_ref().map_or(1.0, |_| edition.embedder.familiarity(&request.text));
        let (shared, request, snapshot) = (self.shared.clone(), request.clone(), partition.snapshot());
        ctx.run_blocking(move |ctx| {
            let embedding = vector.clone();
            let vector = vector.map(|vector| dense::unit(vector.into_vec(), &snapshot.vectors)).transpose();
            let vector = vector.map_err(|problem| {
                Error::invalid_input(format!(
                    "the query cannot be embedded: the vector is unusable, {problem}"
                ))
            })?;
            let vector = vector.as_deref();
            let search = Search { snapshot: &snapshot, vector, familiarity, request: &request, ctx };
            let mut response = contained(&shared.root.path, || search.run())?;
            response.vector = embedding;
            Ok(response)
        })
        .await
    }

    async fn expand(
        &self,
        request: &SearchRequest,
        hits: Vec<Hit>,
        to: Expansion,
        ctx: &RunContext,
    ) -> Result<Vec<Hit>> {
        let widened =
            self.read(&request.scope, ctx, move |snapshot| widen::widen(snapshot, hits, to)).await?;
        Ok(widened.unwrap_or_default())
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("root", &self.shared.root.path).finish_non_exhaustive()
    }
}

fn sizes(snapshot: &Snapshot) -> IndexStats {
    IndexStats {
        documents: snapshot.documents(),
        chunks: snapshot.chunks(),
        generation: snapshot.generation,
        graph_chunks: snapshot.graph.as_ref().map_or(0, |graph| graph.slots().into()),
        graph_used: dense::planned(snapshot.graph.as_deref()).0.is_some(),
    }
}

fn summary(record: schema::DocumentRecord) -> DocumentSummary {
    DocumentSummary {
        id: record.id,
        title: record.title,
        uri: record.uri,
        bytes: record.bytes,
        source_hash: record.source_hash,
        chunks: record.chunks,
    }
}

#[cfg(test)]
mod tests;
