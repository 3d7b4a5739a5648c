//! Cutting where the subject changes, as the embedding model sees it.
//!
//! Each sentence is embedded together with its neighbours. Where the similarity of one to the next falls lowest, there the text
//! is cut; in between, sentences are kept together up to what the model reads. (The method is known from G. Kamradt's
//! "5 levels of text splitting".)

use std::fmt;
use std::sync::Arc;

use agentkit_core::{EmbedSide, Embedder, Embedding, Error, ErrorKind, Result, RunContext, Span};
use tokio::runtime::{Builder, Handle};

use super::sentence::sentences;
use super::structure::RESERVED_TOKENS;
use super::{Chunk, Chunker, StructureChunker};
use crate::source::SourceDocument;

/// A region is so many times as long as what the model reads.
const REGION_SHARE: usize = 16;
/// Sentences on each side that are embedded with a sentence.
const NEIGHBOURS: usize = 1;
/// Of the steps between sentences, the part that is no break.
const KEPT_STEPS: f32 = 0.9;
/// Sentences embedded at a time.
const BATCH: usize = 256;

/// Cuts documents where the subject changes.
///
/// It embeds every sentence, on top of what the index embeds, so that ingesting takes several times as long. Chunks do not cross
/// the larger sections of a document and are never longer than what the model reads.
///
/// The chunker waits for the embedder on a thread of its own. It can be called anywhere; with an embedder that works over the
/// network, call it within the runtime that the embedder belongs to, as an index does.
#[derive(Clone)]
pub struct SemanticChunker {
    embedder: Arc<dyn Embedder>,
    max: usize,
    kept: f32,
}

impl SemanticChunker {
    /// A chunker that asks `embedder` what is similar, and makes chunks that it reads as a whole.
    #[must_use]
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        let max = embedder.identity().max_tokens;
        Self { embedder, max, kept: KEPT_STEPS }
    }

    /// The part of the steps from one sentence to the next that are no breaks, from 0 to 1; 0.9 unless set.
    #[must_use]
    pub fn kept_steps(mut self, part: f32) -> Self {
        self.kept = part.clamp(0.0, 1.0);
        self
    }
}

impl fmt::Debug for SemanticChunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, kept, .. } = self;
        f.debug_struct("SemanticChunker").field("max", max).field("kept", kept).finish_non_exhaustive()
    }
}

impl Chunker for SemanticChunker {
    fn chunk(&self, document: &SourceDocument, count_tokens: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let regions =
            StructureChunker::new(self.max.saturating_mul(REGION_SHARE)).chunk(document, count_tokens)?;
        let regions: Vec<Region> = regions
            .into_iter()
            .map(|chunk| Region {
                sentences: self.sentences(document, &chunk, count_tokens),
                context: chunk.context,
            })
            .collect();
        let texts: Vec<String> =
            regions.iter().flat_map(|region| windows(document, &region.sentences)).collect();
        let mut vectors = self.embed(&texts)?.into_iter();
        let steps: Vec<Vec<f32>> = regions
            .iter()
            .map(|region| steps(&vectors.by_ref().take(region.sentences.len()).collect::<Vec<_>>()))
            .collect();
        let least = percentile(steps.iter().flatten().copied().collect(), 1.0 - self.kept);
        let mut chunks = Vec::new();
        for (region, steps) in regions.iter().zip(&steps) {
            let tokens = self.max.saturating_sub(RESERVED_TOKENS + count_tokens(&region.context)).max(1);
            let fits =
                |span: Span| count_tokens(span.slice(&document.source_text).unwrap_or_default()) <= tokens;
            let spans = gathered(&region.sentences, steps, least, &fits);
            let cut = spans.into_iter().map(|span| Chunk::new(document, span));
            chunks.extend(cut.map(|chunk| chunk.with_context(region.context.clone())));
        }
        Ok(chunks)
    }
}

/// A stretch of the document below the same headings.
struct Region {
    sentences: Vec<Span>,
    context: String,
}

impl SemanticChunker {
    /// The sentences of a region; one that is too long for the model is cut.
    fn sentences(
        &self,
        document: &SourceDocument,
        region: &Chunk,
        count_tokens: &dyn Fn(&str) -> usize,
    ) -> Vec<Span> {
        let budget = self.max.saturating_sub(RESERVED_TOKENS + count_tokens(&region.context)).max(1);
        let short = StructureChunker::new(budget.saturating_add(RESERVED_TOKENS)).small_tokens(0);
        let mut fitting = Vec::new();
        for span in sentences(document, region.span) {
            let text = span.slice(&document.source_text).unwrap_or_default();
            if count_tokens(text) <= budget {
                fitting.push(span);
                continue;
            }
            // Without title and headings, which would take their share again.
            let Ok(part) = SourceDocument::text(document.id.as_str(), text) else { continue };
            let cut = short.chunk(&part, count_tokens).unwrap_or_default();
            fitting.extend(cut.into_iter().map(|chunk| chunk.span.shifted(span.start)));
        }
        fitting
    }

    /// Embeds on a thread of its own, so that it can wait wherever it was called.
    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>> {
        let runtime = Handle::try_current().ok();
        let work = async {
            let ctx = RunContext::new();
            let mut vectors = Vec::with_capacity(texts.len());
            for some in texts.chunks(BATCH) {
                vectors.extend(self.embedder.embed(EmbedSide::Document, some.to_vec(), &ctx).await?);
            }
            Ok(vectors)
        };
        let wait = || match runtime {
            Some(runtime) => runtime.block_on(work),
            None => Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(|error| Error::io("start a runtime to embed sentences", error))?
                .block_on(work),
        };
        let waited = std::thread::scope(|scope| scope.spawn(wait).join());
        let vectors = waited.unwrap_or_else(|_| Err(Error::internal("the embedder panicked")))?;
        if vectors.len() == texts.len() {
            return Ok(vectors);
        }
        let message = format!("the embedder gave {} vectors for {} texts", vectors.len(), texts.len());
        Err(Error::new(ErrorKind::Internal, message))
    }
}

/// Each sentence with its neighbours.
fn windows(document: &SourceDocument, sentences: &[Span]) -> Vec<String> {
    let window = |at: usize| {
        let first = sentences.get(at.saturating_sub(NEIGHBOURS))?;
        let last = sentences.get((at + NEIGHBOURS).min(sentences.len().checked_sub(1)?))?;
        Span::new(first.start, last.end).slice(&document.source_text).map(str::to_owned)
    };
    (0..sentences.len()).filter_map(window).collect()
}

/// The similarity of each vector to the next one.
fn steps(vectors: &[Embedding]) -> Vec<f32> {
    vectors
        .windows(2)
        .map(|pair| match pair {
            [one, other] => cosine(one.as_slice(), other.as_slice()),
            _ => 1.0,
        })
        .collect()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let length = (dot(one, one) * dot(other, other)).sqrt();
    if length > 0.0 { dot(one, other) / length } else { 1.0 }
}

/// The value that this part of `values` lies below.
fn percentile(mut values: Vec<f32>, part: f32) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank"
    )]
    let rank = (values.len() as f32 * part) as usize;
    values.get(rank).copied().unwrap_or(f32::NEG_INFINITY)
}

/// Puts sentences together up to a step below `lowest`, or up to what fits.
fn gathered(sentences: &[Span], steps: &[f32], lowest: f32, fits: &dyn Fn(Span) -> bool) -> Vec<Span> {
    let mut gathered: Vec<Span> = Vec::new();
    let steps = std::iter::once(&f32::NEG_INFINITY).chain(steps);
    for (sentence, step) in sentences.iter().zip(steps) {
        let joined = gathered.last().map(|last| Span::new(last.start, sentence.end));
        match (gathered.last_mut(), joined) {
            (Some(last), Some(joined)) if *step >= lowest && fits(joined) => *last = joined,
            _ => gathered.push(*sentence),
        }
    }
    gathered
}
