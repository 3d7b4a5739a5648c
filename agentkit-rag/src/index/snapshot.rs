//! One immutable state of a partition: both legs, live chunks and statistics of the same commit.

use std::sync::{Arc, OnceLock};

use agentkit_core::{DocumentId, Error, Filter, Result};
use tantivy::query::Bm25StatisticsProvider;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, Searcher, SegmentReader, TERMINATED, Term};

use super::filter::{self, Bitmap};
use super::graph::Graph;
use super::schema::{ChunkRecord, DocumentRecord, Fields};
use super::vectors::Vectors;

/// What a search sees; taken once per search, never changed.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) generation: u64,
    pub(super) searcher: Searcher,
    pub(super) fields: Arc<Fields>,
    pub(super) segments: Vec<Arc<SegmentView>>,
    pub(super) vectors: Vectors,
    pub(super) graph: Option<Arc<Graph>>,
    /// Where the live chunk of each slot is; made on first use.
    places: OnceLock<Vec<Option<DocAddress>>>,
}

/// What is derived from a segment, shared by all snapshots that hold it unchanged.
#[derive(Debug)]
pub(super) struct SegmentView {
    identity: (tantivy::index::SegmentId, Option<u64>),
    /// Live chunk records.
    pub(super) live: Bitmap,
    pub(super) chunks: u64,
    /// Slot and order key by record; zero for records that are no chunks.
    pub(super) slots: Vec<u32>,
    pub(super) keys: Vec<u64>,
    /// Words of the live chunks in text and context, as the field norms count them.
    words: [u64; 2],
}

impl Snapshot {
    /// Derives a snapshot from what the commit holds; segments `previous` already knew are taken over.
    pub(super) fn new(
        generation: u64,
        searcher: Searcher,
        fields: Arc<Fields>,
        vectors: Vectors,
        previous: Option<&Snapshot>,
    ) -> Result<Self> {
        let known = previous.map(|snapshot| snapshot.segments.as_slice()).unwrap_or_default();
        let segments = searcher.segment_readers().iter().map(|reader| {
            let identity = (reader.segment_id(), reader.delete_opstamp());
            match known.iter().find(|view| view.identity == identity) {
                Some(view) => Ok(view.clone()),
                None => SegmentView::new(identity, reader, &fields).map(Arc::new),
            }
        });
        let segments = segments.collect::<tantivy::Result<Vec<_>>>().map_err(text_index_failed)?;
        let graph = previous.and_then(|snapshot| snapshot.graph.clone());
        Ok(Self { generation, searcher, fields, segments, vectors, graph, places: OnceLock::new() })
    }

    /// The same state with another graph, or none.
    pub(super) fn with_graph(&self, graph: Option<Arc<Graph>>) -> Self {
        Self {
            generation: self.generation,
            searcher: self.searcher.clone(),
            fields: self.fields.clone(),
            segments: self.segments.clone(),
            vectors: self.vectors.clone(),
            graph,
            places: OnceLock::new(),
        }
    }

    /// Live chunks of the partition.
    pub(super) fn chunks(&self) -> u64 {
        self.segments.iter().map(|segment| segment.chunks).sum()
    }

    /// The slots of the live chunks, ascending.
    pub(super) fn live_slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> =
            self.segments.iter().flat_map(|view| view.live_slots().map(|(_, slot)| slot)).collect();
        slots.sort_unstable();
        slots
    }

    /// The slots of a document's live chunks.
    pub(super) fn slots_of(&self, id: &DocumentId) -> Result<Vec<u32>> {
        let records = self.live_records(&self.fields.chunks_term(id))?;
        Ok(records.into_iter().map(|(_, slot)| slot).collect())
    }

    /// The live chunks that match, by segment.
    pub(super) fn matching(&self, filter: Option<&Filter>) -> Result<Vec<Bitmap>> {
        let segments = self.segments.iter().zip(self.searcher.segment_readers());
        let matching = segments.map(|(view, reader)| match filter {
            None => Ok(view.live.clone()),
            Some(filter) => filter::evaluate(filter, &view.live, reader, self.fields.metadata),
        });
        matching.collect::<tantivy::Result<_>>().map_err(text_index_failed)
    }

    /// Where the live chunk of `slot` is.
    pub(super) fn place(&self, slot: u32) -> Option<DocAddress> {
        let places = self.places.get_or_init(|| {
            let mut places = vec![None; self.vectors.len()];
            for (ordinal, view) in (0..).zip(&self.segments) {
                for (doc, slot) in view.live_slots() {
                    if let Some(place) = places.get_mut(slot as usize) {
                        *place = Some(DocAddress::new(ordinal, doc));
                    }
                }
            }
            places
        });
        places.get(slot as usize).copied().flatten()
    }

    /// Reads a chunk's record.
    pub(super) fn chunk(&self, address: DocAddress) -> Result<ChunkRecord> {
        self.fields.decode(&self.searcher.doc(address).map_err(text_index_failed)?)
    }

    /// Reads a document's record, if it is live.
    pub(super) fn document(&self, id: &DocumentId) -> Result<Option<DocumentRecord>> {
        let found = self.live_records(&self.fields.document_term(id))?;
        let Some((address, _)) = found.first() else { return Ok(None) };
        let stored = self.searcher.doc(*address).map_err(text_index_failed)?;
        self.fields.decode(&stored).map(Some)
    }

    /// Reads a document's live chunks with their slots, in the order of their spans.
    pub(super) fn chunks_of(&self, id: &DocumentId) -> Result<Vec<(ChunkRecord, u32)>> {
        let found = self.live_records(&self.fields.chunks_term(id))?;
        let mut chunks = found
            .into_iter()
            .map(|(address, slot)| Ok((self.chunk(address)?, slot)))
            .collect::<Result<Vec<_>>>()?;
        chunks.sort_by_key(|(chunk, _)| (chunk.span.start, chunk.span.end));
        Ok(chunks)
    }

    /// Ids of the documents whose chunks match, in order.
    pub(super) fn documents_matching(&self, filter: &Filter) -> Result<Vec<DocumentId>> {
        let mut ids = std::collections::BTreeSet::new();
        for (ordinal, matching) in (0..).zip(self.matching(Some(filter))?) {
            for doc in matching.iter() {
                ids.insert(self.chunk(DocAddress::new(ordinal, doc))?.document);
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// Ids of live documents after `after`, in order, at most `limit`.
    pub(super) fn document_ids(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for reader in self.searcher.segment_readers() {
            let found = live_ids(reader, self.fields.document, after, limit).map_err(text_index_failed)?;
            ids.extend(found);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    /// Number of live documents.
    pub(super) fn documents(&self) -> u64 {
        self.searcher.num_docs().saturating_sub(self.chunks())
    }

    fn live_records(&self, term: &Term) -> Result<Vec<(DocAddress, u32)>> {
        let mut found = Vec::new();
        for (ordinal, (reader, view)) in (0..).zip(self.searcher.segment_readers().iter().zip(&self.segments))
        {
            for_each_live(reader, term, |doc| {
                let slot = view.slots.get(doc as usize).copied().unwrap_or_default();
                found.push((DocAddress::new(ordinal, doc), slot));
            })
            .map_err(text_index_failed)?;
        }
        Ok(found)
    }
}

impl SegmentView {
    fn new(
        identity: (tantivy::index::SegmentId, Option<u64>),
        reader: &SegmentReader,
        fields: &Fields,
    ) -> tantivy::Result<Self> {
        let slots_column = reader.fast_fields().u64("slot")?;
        let keys_column = reader.fast_fields().u64("key")?;
        let norms =
            [reader.get_fieldnorms_reader(fields.text)?, reader.get_fieldnorms_reader(fields.context)?];
        let size = reader.max_doc();
        let mut view = Self {
            identity,
            live: Bitmap::empty(size),
            chunks: 0,
            slots: vec![0; size as usize],
            keys: vec![0; size as usize],
            words: [0; 2],
        };
        for doc in reader.doc_ids_alive() {
            let Some(slot) = slots_column.first(doc) else { continue };
            view.live.insert(doc);
            view.chunks += 1;
            if let (Some(place), Some(key)) =
                (view.slots.get_mut(doc as usize), view.keys.get_mut(doc as usize))
            {
                *place = u32::try_from(slot).unwrap_or(u32::MAX);
                *key = keys_column.first(doc).unwrap_or_default();
            }
            for (sum, norm) in view.words.iter_mut().zip(&norms) {
                *sum += u64::from(norm.fieldnorm(doc));
            }
        }
        Ok(view)
    }

    fn live_slots(&self) -> impl Iterator<Item = (u32, u32)> {
        self.live.iter().filter_map(|doc| self.slots.get(doc as usize).map(|slot| (doc, *slot)))
    }
}

/// BM25 statistics over the live chunks alone: neither deleted chunks nor document records count.
impl Bm25StatisticsProvider for Snapshot {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let which = usize::from(field != self.fields.text);
        Ok(self.segments.iter().filter_map(|view| view.words.get(which)).sum())
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.chunks())
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let mut count = 0;
        for reader in self.searcher.segment_readers() {
            if reader.has_deletes() {
                for_each_live(reader, term, |_| count += 1)?;
            } else {
                count += u64::from(reader.inverted_index(term.field())?.doc_freq(term)?);
            }
        }
        Ok(count)
    }
}

fn for_each_live(reader: &SegmentReader, term: &Term, mut visit: impl FnMut(u32)) -> tantivy::Result<()> {
    let index = reader.inverted_index(term.field())?;
    let Some(mut postings) = index.read_postings(term, IndexRecordOption::Basic)? else { return Ok(()) };
    let mut doc = postings.doc();
    while doc != TERMINATED {
        if !reader.is_deleted(doc) {
            visit(doc);
        }
        doc = postings.advance();
    }
    Ok(())
}

fn live_ids(
    reader: &SegmentReader,
    field: Field,
    after: Option<&DocumentId>,
    limit: usize,
) -> tantivy::Result<Vec<String>> {
    let index = reader.inverted_index(field)?;
    let range = index.terms().range();
    let mut terms = match after {
        Some(after) => range.gt(after.as_str()).into_stream()?,
        None => range.into_stream()?,
    };
    let mut ids = Vec::new();
    while ids.len() < limit && terms.advance() {
        let mut postings = index.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
        let mut doc = postings.doc();
        while doc != TERMINATED && reader.is_deleted(doc) {
            doc = postings.advance();
        }
        if doc != TERMINATED {
            ids.push(String::from_utf8_lossy(terms.key()).into_owned());
        }
    }
    Ok(ids)
}

/// Translates a failure of the text index, telling damage from a passing fault.
pub(super) fn text_index_failed(error: tantivy::TantivyError) -> Error {
    use tantivy::TantivyError as T;
    use tantivy::directory::error::OpenReadError;
    match &error {
        T::DataCorruption(_) | T::IncompatibleIndex(_) => Error::corrupt("the text index is damaged"),
        T::OpenReadError(OpenReadError::FileDoesNotExist(path)) => {
            Error::corrupt(format!("the text index lacks its file {}", path.display()))
        }
        T::OpenReadError(OpenReadError::IoError { io_error, filepath }) => {
            io_failed(io_error, &format!("read {} of the text index", filepath.display()))
        }
        T::OpenWriteError(tantivy::directory::error::OpenWriteError::IoError { io_error, filepath }) => {
            io_failed(io_error, &format!("write {} of the text index", filepath.display()))
        }
        T::IoError(io_error) => io_failed(io_error, "read or write the text index"),
        _ => Error::internal("the text index failed"),
    }
    .with_source(error)
}

fn io_failed(error: &std::io::Error, attempt: &str) -> Error {
    match error.kind() {
        std::io::ErrorKind::InvalidData => Error::corrupt(format!("{attempt}: {error}")),
        kind => Error::io(attempt, kind.into()),
    }
}
