//! Preparing a write: documents become records, unchanged chunks keep their vectors, the others are embedded.

use std::collections::{HashMap, HashSet};

use agentkit_core::{EmbedSide, Embedder, Error, Result, RunContext, Span};

use super::dense;
use super::schema::{self, ChunkRecord, DocumentRecord, chunk_id};
use super::snapshot::Snapshot;
use super::vectors::Vectors;
use super::writer::{Change, Vector};
use crate::chunk::{Chunk, Chunker};
use crate::source::SourceDocument;

/// Longest source text of one document in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// A document ready to be written but for the vectors of its new chunks.
pub(super) struct Prepared {
    record: DocumentRecord,
    chunks: Vec<(ChunkRecord, Option<u32>)>,
}

impl Prepared {
    /// A stored document, whose chunks get new vectors.
    pub(super) fn stored(record: DocumentRecord, chunks: Vec<(ChunkRecord, u32)>) -> Self {
        Self::new(record, chunks.into_iter().map(|(chunk, _)| (chunk, None)).collect())
    }

    fn new(record: DocumentRecord, mut chunks: Vec<(ChunkRecord, Option<u32>)>) -> Self {
        schema::recognise(chunks.iter_mut().map(|(chunk, _)| chunk));
        Self { record, chunks }
    }
}

/// Drops documents that a later one of the same id replaces.
pub(super) fn last_of_each_id(mut documents: Vec<SourceDocument>) -> Vec<SourceDocument> {
    let mut seen = HashSet::new();
    documents.reverse();
    documents.retain(|document| seen.insert(document.id.clone()));
    documents.reverse();
    documents
}

/// Cuts documents and finds out what is new; documents that are stored just so are left out. Blocks.
pub(super) fn prepare(
    documents: &[SourceDocument],
    snapshot: &Snapshot,
    chunker: &dyn Chunker,
    embedder: &dyn Embedder,
    ctx: &RunContext,
) -> Result<Vec<Prepared>> {
    let mut prepared = Vec::new();
    for document in documents {
        ctx.check()?;
        validate(document)?;
        let fingerprint = fingerprint(document);
        let stored = snapshot.document(&document.id)?;
        if stored.is_some_and(|stored| stored.fingerprint == fingerprint) {
            continue;
        }
        let chunks = chunker.chunk(document, &|text| embedder.count_tokens(text))?;
        let record = document_record(document, &chunks, fingerprint)?;
        prepared.push(Prepared::new(record, records(document, &chunks, snapshot)?));
    }
    Ok(prepared)
}

/// Number of chunks of all documents, and of those that have to be embedded.
pub(super) fn counts(prepared: &[Prepared]) -> (u64, u64) {
    let chunks = || prepared.iter().flat_map(|document| &document.chunks);
    (chunks().count() as u64, chunks().filter(|(_, slot)| slot.is_none()).count() as u64)
}

/// Embeds what is new, equal texts once and those with a `known` vector not at all, and gives the changes to write.
pub(super) async fn embed(
    prepared: Vec<Prepared>,
    embedder: &dyn Embedder,
    known: &HashMap<String, Vec<f32>>,
    vectors: &Vectors,
    ctx: &RunContext,
) -> Result<Vec<Change>> {
    let chunks = prepared.iter().flat_map(|document| &document.chunks);
    let new = chunks.filter(|(chunk, slot)| slot.is_none() && !known.contains_key(&chunk.content));
    let mut texts: HashMap<String, String> = HashMap::new();
    for (chunk, _) in new {
        texts.entry(chunk.content.clone()).or_insert_with(|| embedded_text(&chunk.context, &chunk.text));
    }
    let (contents, texts): (Vec<String>, Vec<String>) = texts.into_iter().unzip();
    let expected = texts.len();
    let embeddings = ctx.run(embedder.embed(EmbedSide::Document, texts, ctx)).await?;
    if embeddings.len() != expected {
        return Err(Error::internal(format!(
            "the embedder gave {} vectors for {expected} texts",
            embeddings.len()
        )));
    }
    let embeddings = embeddings.into_iter().map(agentkit_core::Embedding::into_vec);
    let mut by_content: HashMap<String, Vec<f32>> = contents.into_iter().zip(embeddings).collect();
    by_content.extend(known.iter().map(|(content, vector)| (content.clone(), vector.clone())));
    prepared.into_iter().map(|document| with_vectors(document, &by_content, vectors)).collect()
}

fn with_vectors(document: Prepared, new: &HashMap<String, Vec<f32>>, vectors: &Vectors) -> Result<Change> {
    let chunks = document.chunks.into_iter().map(|(chunk, slot)| {
        if let Some(slot) = slot {
            return Ok((chunk, Vector::Kept(slot)));
        }
        let vector = new.get(&chunk.content).cloned().unwrap_or_default();
        let unit = dense::unit(vector, vectors).map_err(|problem| {
            let document = chunk.document.as_str();
            Error::invalid_input(format!(
                "the vector of a chunk of document {document:?} is unusable: {problem}"
            ))
        })?;
        Ok((chunk, Vector::New(unit)))
    });
    Ok(Change::Put(Box::new(document.record), chunks.collect::<Result<_>>()?))
}

fn validate(document: &SourceDocument) -> Result<()> {
    let refuse =
        |problem: String| Err(Error::invalid_input(format!("document {:?} {problem}", document.id.as_str())));
    let text = &document.source_text;
    if text.trim().is_empty() {
        return refuse("has no text".into());
    }
    if text.len() > MAX_DOCUMENT_BYTES {
        return refuse(format!("has {} bytes of text, at most {MAX_DOCUMENT_BYTES} are allowed", text.len()));
    }
    if let Some(at) = text.find('\0') {
        return refuse(format!("holds a NUL at byte {at}, so it is not text"));
    }
    document.metadata.validate()
}

/// Hash of everything a stored document depends on.
fn fingerprint(document: &SourceDocument) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(document.source_text.as_bytes());
    part(document.title.as_deref().unwrap_or("\0").as_bytes());
    part(document.uri.as_deref().unwrap_or("\0").as_bytes());
    part(format!("{:?} {:?}", document.kind, document.headings).as_bytes());
    part(&serde_json::to_vec(&document.metadata).unwrap_or_default());
    // Documents that have none keep the fingerprint of builds that knew none.
    if !document.marks.is_empty() || document.original_start > 0 {
        part(format!("{} {:?}", document.original_start, document.marks).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What is embedded for a chunk: its context, if any, and its text.
fn embedded_text(context: &str, text: &str) -> String {
    if context.is_empty() { text.to_owned() } else { format!("{context}\n{text}") }
}

/// The chunks' records, each with the slot it can keep.
fn records(
    document: &SourceDocument,
    chunks: &[Chunk],
    snapshot: &Snapshot,
) -> Result<Vec<(ChunkRecord, Option<u32>)>> {
    let mut kept: HashMap<String, Vec<u32>> = HashMap::new();
    for (chunk, slot) in snapshot.chunks_of(&document.id)? {
        kept.entry(chunk.content).or_default().push(slot);
    }
    let mut occurrences: HashMap<String, usize> = HashMap::new();
    let records = chunks.iter().map(|chunk| {
        let text = slice(document, chunk.span)?;
        let content = blake3::hash(embedded_text(&chunk.context, text).as_bytes()).to_hex().to_string();
        let occurrence = occurrences.entry(content.clone()).or_default();
        *occurrence += 1;
        let slot = kept.get_mut(&content).and_then(Vec::pop);
        let record = ChunkRecord {
            id: chunk_id(&document.id, &content, *occurrence)?,
            document: document.id.clone(),
            title: document.title.clone(),
            text: text.to_owned(),
            context: chunk.context.clone(),
            span: chunk.span,
            locator: chunk.locator.clone(),
            parent: parent(document, chunk)?,
            metadata: document.metadata.clone(),
            content,
            language: None,
        };
        Ok((record, slot))
    });
    records.collect()
}

fn document_record(
    document: &SourceDocument,
    chunks: &[Chunk],
    fingerprint: String,
) -> Result<DocumentRecord> {
    Ok(DocumentRecord {
        gaps: gaps(document, chunks)?,
        bytes: document.source_text.len() as u64,
        chunks: chunks.len() as u64,
        source_hash: blake3::hash(document.source_text.as_bytes()).to_hex().to_string(),
        fingerprint,
        id: document.id.clone(),
        title: document.title.clone(),
        uri: document.uri.clone(),
        kind: document.kind,
        metadata: document.metadata.clone(),
    })
}

/// The parts of the source text that are in no chunk.
fn gaps(document: &SourceDocument, chunks: &[Chunk]) -> Result<Vec<(usize, String)>> {
    let mut gaps = Vec::new();
    let mut covered = 0;
    let end = Span::new(document.source_text.len(), document.source_text.len());
    for span in chunks.iter().map(|chunk| chunk.span).chain([end]) {
        if span.start > covered {
            gaps.push((covered, slice(document, Span::new(covered, span.start))?.to_owned()));
        }
        covered = covered.max(span.end);
    }
    Ok(gaps)
}

/// Puts a source text together again from its gaps and its chunks, which are in the order of their spans.
pub(super) fn source_text(record: &DocumentRecord, chunks: &[(ChunkRecord, u32)]) -> Result<String> {
    let damaged =
        || Error::corrupt(format!("the stored text of document {:?} is incomplete", record.id.as_str()));
    let gaps = record.gaps.iter().map(|(start, text)| (*start, text.as_str()));
    let mut pieces: Vec<(usize, &str)> =
        gaps.chain(chunks.iter().map(|(chunk, _)| (chunk.span.start, chunk.text.as_str()))).collect();
    pieces.sort_by_key(|(start, text)| (*start, text.len()));
    let mut text = String::new();
    for (start, piece) in pieces {
        let known = text.len().checked_sub(start).ok_or_else(damaged)?;
        if known < piece.len() {
            text.push_str(piece.get(known..).ok_or_else(damaged)?);
        }
    }
    if blake3::hash(text.as_bytes()).to_hex().as_str() == record.source_hash {
        Ok(text)
    } else {
        Err(damaged())
    }
}

/// The chunk's parent, if it is a span of the text around the chunk.
fn parent(document: &SourceDocument, chunk: &Chunk) -> Result<Option<Span>> {
    let Some(parent) = chunk.parent else { return Ok(None) };
    slice(document, parent)?;
    if parent.start <= chunk.span.start && chunk.span.end <= parent.end {
        return Ok(Some(parent));
    }
    let (id, at) = (document.id.as_str(), chunk.span.start);
    Err(Error::internal(format!("the chunker gave the chunk at {at} of document {id:?} a parent elsewhere")))
}

fn slice(document: &SourceDocument, span: Span) -> Result<&str> {
    span.slice(&document.source_text).ok_or_else(|| {
        Error::internal(format!(
            "the chunker gave span {}..{} for document {:?}, which is not on character boundaries of its text",
            span.start,
            span.end,
            document.id.as_str()
        ))
    })
}
