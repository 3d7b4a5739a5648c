//! One immutable state of a partition: both legs, live chunks and statistics of the same commit.

use std::borrow::Borrow;
use std::sync::{Arc, OnceLock};

use agentkit_core::{DocumentId, Error, Filter, Result};
use tantivy::query::Bm25StatisticsProvider;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, Searcher, SegmentReader, TERMINATED, Term};

use super::analysis::Language;
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
    /// Slots of the live chunks; made on first use.
    live_slots: OnceLock<Bitmap>,
    /// Languages of the live chunks; made on first use.
    languages: OnceLock<Vec<Language>>,
}

/// Which live record has a slot.
#[derive(Debug)]
enum BySlot {
    /// One more than the record, by slot from the first on; 0 for none.
    Dense { first: u32, records: Vec<u32> },
    /// Slots far apart with their records, ascending.
    Sparse(Vec<(u32, u32)>),
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
    /// Records by slot; made on first use.
    by_slot: OnceLock<BySlot>,
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
        for view in segments.iter().filter(|view| !known.iter().any(|known| Arc::ptr_eq(known, view))) {
            view.check(&vectors)?;
        }
        let graph = previous.and_then(|snapshot| snapshot.graph.clone());
        Ok(Self {
            generation,
            searcher,
            fields,
            segments,
            vectors,
            graph,
            live_slots: OnceLock::new(),
            languages: OnceLock::new(),
        })
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
            live_slots: OnceLock::new(),
            languages: self.languages.clone(),
        }
    }

    /// Live chunks of the partition.
    pub(super) fn chunks(&self) -> u64 {
        self.segments.iter().map(|segment| segment.chunks).sum()
    }

    /// The slots of a document's live chunks.
    pub(super) fn document_slots(&self, id: &DocumentId) -> Result<Vec<u32>> {
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
        let mut segments = (0..).zip(&self.segments);
        segments.find_map(|(ordinal, view)| Some(DocAddress::new(ordinal, view.record_of(slot)?)))
    }

    /// Slots of the live chunks.
    pub(super) fn live_slots(&self) -> &Bitmap {
        self.live_slots.get_or_init(|| {
            let live: Vec<&Bitmap> = self.segments.iter().map(|view| &view.live).collect();
            self.slots_of(&live)
        })
    }

    /// Languages of the live chunks, in their fixed order.
    pub(super) fn languages(&self) -> tantivy::Result<&[Language]> {
        if let Some(known) = self.languages.get() {
            return Ok(known);
        }
        let mut found = Vec::new();
        if let Some(field) = self.fields.language {
            for language in Language::all() {
                if self.doc_freq(&Term::from_field_text(field, language.code()))? > 0 {
                    found.push(language);
                }
            }
        }
        Ok(self.languages.get_or_init(|| found))
    }

    /// Slots of the given chunks, by segment.
    pub(super) fn slots_of(&self, chunks: &[impl Borrow<Bitmap>]) -> Bitmap {
        let mut slots = Bitmap::empty(u32::try_from(self.vectors.len()).unwrap_or(u32::MAX));
        for (view, chunks) in self.segments.iter().zip(chunks) {
            for doc in chunks.borrow().iter() {
                if let Some(slot) = view.slots.get(doc as usize) {
                    slots.insert(*slot);
                }
            }
        }
        slots
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
            by_slot: OnceLock::new(),
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

    /// Checks that every live chunk has its vector.
    fn check(&self, vectors: &Vectors) -> Result<()> {
        let mut slots = self.live.iter().filter_map(|doc| self.slots.get(doc as usize));
        slots.find(|slot| vectors.codes(**slot).is_none()).map_or(Ok(()), |slot| {
            Err(Error::corrupt(format!("the text index names vector {slot}, which no vector log holds")))
        })
    }

    fn record_of(&self, slot: u32) -> Option<u32> {
        match self.by_slot.get_or_init(|| self.index_by_slot()) {
            BySlot::Dense { first, records } => {
                records.get(slot.checked_sub(*first)? as usize)?.checked_sub(1)
            }
            BySlot::Sparse(records) => {
                let at = records.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
                records.get(at).map(|(_, doc)| *doc)
            }
        }
    }

    fn index_by_slot(&self) -> BySlot {
        let slots = || self.live.iter().filter_map(|doc| Some((*self.slots.get(doc as usize)?, doc)));
        let first = slots().map(|(slot, _)| slot).min().unwrap_or_default();
        let last = slots().map(|(slot, _)| slot).max().unwrap_or_default();
        let spread = (last - first) as usize;
        if spread > 4 * self.slots.len() {
            let mut records: Vec<(u32, u32)> = slots().collect();
            records.sort_unstable();
            return BySlot::Sparse(records);
        }
        let mut records = vec![0; spread + 1];
        for (slot, doc) in slots() {
            if let Some(place) = records.get_mut((slot - first) as usize) {
                *place = doc + 1;
            }
        }
        BySlot::Dense { first, records }
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
        // The schema was compared when the index was opened: what contradicts it now is a file that belongs elsewhere.
        T::DataCorruption(_)
        | T::IncompatibleIndex(_)
        | T::SchemaError(_)
        | T::FieldNotFound(_)
        | T::OpenReadError(OpenReadError::IncompatibleIndex(_)) => {
            Error::corrupt("the text index is damaged")
        }
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
