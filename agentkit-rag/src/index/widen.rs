//! Hits with the chunks around them, cut out of the source text anew.

use std::collections::HashMap;
use std::ops::Range;

use agentkit_core::{DocumentId, Error, Expansion, Hit, Locator, Result, Span};

use super::schema::ChunkRecord;
use super::snapshot::Snapshot;
use super::upsert;

/// Most chunks on each side of a hit.
const MOST: usize = 100;

/// A document's source text, and its chunks in the order of their spans.
struct Document {
    text: String,
    chunks: Vec<ChunkRecord>,
}

/// Widens every hit whose chunk is still there; the others stay as they are.
pub(super) fn widen(snapshot: &Snapshot, hits: Vec<Hit>, to: Expansion) -> Result<Vec<Hit>> {
    let mut documents: HashMap<DocumentId, Option<Document>> = HashMap::new();
    let mut widened = Vec::with_capacity(hits.len());
    for mut hit in hits {
        let id = &hit.passage.document_id;
        if !documents.contains_key(id) {
            documents.insert(id.clone(), read(snapshot, id)?);
        }
        if let Some(Some(document)) = documents.get(id) {
            document.widen(&mut hit, to)?;
        }
        widened.push(hit);
    }
    Ok(widened)
}

fn read(snapshot: &Snapshot, id: &DocumentId) -> Result<Option<Document>> {
    let Some(record) = snapshot.document(id)? else { return Ok(None) };
    let chunks = snapshot.chunks_of(id)?;
    let text = upsert::source_text(&record, &chunks)?;
    Ok(Some(Document { text, chunks: chunks.into_iter().map(|(chunk, _)| chunk).collect() }))
}

impl Document {
    fn widen(&self, hit: &mut Hit, to: Expansion) -> Result<()> {
        let Some(at) = self.chunks.iter().position(|chunk| chunk.id == hit.passage.chunk_id) else {
            return Ok(());
        };
        let chunks = self.chunks.get(self.around(at, to)).unwrap_or_default();
        let start = chunks.iter().map(|chunk| chunk.span.start).min().unwrap_or(hit.passage.span.start);
        let end = chunks.iter().map(|chunk| chunk.span.end).max().unwrap_or(hit.passage.span.end);
        let span = Span::new(start, end);
        let text =
            span.slice(&self.text).ok_or_else(|| Error::corrupt("a chunk's span is not in its text"))?;
        text.clone_into(&mut hit.passage.text);
        hit.passage.locator = located(chunks);
        hit.passage.span = span;
        Ok(())
    }

    fn around(&self, at: usize, to: Expansion) -> Range<usize> {
        let (before, after) = match to {
            Expansion::Neighbours { before, after } => (before, after),
            _ => (
                self.alike(self.chunks.iter().rev().skip(self.chunks.len() - at), at),
                self.alike(self.chunks.iter().skip(at + 1), at),
            ),
        };
        at.saturating_sub(before.min(MOST))..(at + 1 + after.min(MOST)).min(self.chunks.len())
    }

    /// How many chunks follow one another that stand under the same headings as the one at `at`.
    fn alike<'c>(&self, chunks: impl Iterator<Item = &'c ChunkRecord>, at: usize) -> usize {
        let headings = self.chunks.get(at).map(|chunk| &chunk.locator.heading_path);
        chunks.take_while(|chunk| Some(&chunk.locator.heading_path) == headings).count()
    }
}

/// Where chunks in a row stand: from where the first begins, under the headings that all have.
fn located(chunks: &[ChunkRecord]) -> Locator {
    let mut locator = chunks.first().map(|chunk| chunk.locator.clone()).unwrap_or_default();
    for chunk in chunks.iter().skip(1) {
        let shared = locator.heading_path.iter().zip(&chunk.locator.heading_path);
        let shared = shared.take_while(|(a, b)| a == b).count();
        locator.heading_path.truncate(shared);
        let new = chunk.locator.marks.iter().filter(|mark| !locator.marks.contains(mark)).copied();
        let new: Vec<_> = new.collect();
        locator.marks.extend(new);
        locator.bytes =
            locator.bytes.zip(chunk.locator.bytes).map(|(a, b)| Span::new(a.start, a.end.max(b.end)));
    }
    locator
}
