//! Sentences as chunks, each with a window of the sentences around it.

use agentkit_core::{Result, Span};

use super::{Chunk, Chunker, StructureChunker};
use crate::answer::sentence_ends;
use crate::source::SourceDocument;

/// Shorter sentences are joined with the next one.
const SMALL_TOKENS: usize = 12;

/// Cuts documents into sentences, each of which knows the window around it.
///
/// The sentence is embedded and searched; a search that expands to parents gives the window, which is the sentences before and after
/// it below the same headings. Headings, list items, rows and short sentences are joined with what follows.
///
/// # Examples
/// ```
/// use agentkit_rag::chunk::{Chunker, SentenceChunker};
///
/// # fn main() -> agentkit_core::Result<()> {
/// let text = "Tea is a drink. It is made of leaves. They are steeped. Then it is drunk.";
/// let document = agentkit_rag::load::load_bytes("tea", "txt", text.as_bytes())?;
/// let words = |text: &str| text.split_whitespace().count();
/// let chunks = SentenceChunker::new(256).small_tokens(0).around(1).chunk(&document, &words)?;
/// assert_eq!(chunks[1].span.slice(text), Some("It is made of leaves."));
/// let window = chunks[1].parent.and_then(|parent| parent.slice(text));
/// assert_eq!(window, Some("Tea is a drink. It is made of leaves. They are steeped."));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceChunker {
    blocks: StructureChunker,
    small: usize,
    around: usize,
}

impl Default for SentenceChunker {
    /// For models that read 256 tokens, such as all-MiniLM-L6-v2.
    fn default() -> Self {
        Self::new(256)
    }
}

impl SentenceChunker {
    /// A chunker for a model that reads `max_tokens`; a longer sentence is cut.
    #[must_use]
    pub fn new(max_tokens: usize) -> Self {
        Self { blocks: StructureChunker::new(max_tokens), small: SMALL_TOKENS, around: 3 }
    }

    /// Sentences with fewer tokens are joined with the next one; 0 to join none; 12 unless set.
    #[must_use]
    pub fn small_tokens(mut self, tokens: usize) -> Self {
        self.small = tokens;
        self
    }

    /// Chunks before, and as many after, that belong to the window; 3 unless set.
    #[must_use]
    pub fn around(mut self, chunks: usize) -> Self {
        self.around = chunks;
        self
    }
}

impl Chunker for SentenceChunker {
    fn chunk(&self, document: &SourceDocument, count_tokens: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        for block in self.blocks.chunk(document, count_tokens)? {
            let sentences = joined(document, &sentences(document, block.span), self.small, count_tokens);
            let cut = sentences.into_iter().map(|span| Chunk::new(document, span));
            chunks.extend(cut.map(|chunk| chunk.with_context(block.context.clone())));
        }
        let windows: Vec<Span> = (0..chunks.len()).map(|at| window(&chunks, at, self.around)).collect();
        Ok(chunks.into_iter().zip(windows).map(|(chunk, window)| chunk.with_parent(window)).collect())
    }
}

/// The sentences of `block`, which together are all that is not blank in it.
pub(super) fn sentences(document: &SourceDocument, block: Span) -> Vec<Span> {
    let text = block.slice(&document.source_text).unwrap_or_default();
    let mut spans = Vec::new();
    let mut start = 0;
    for end in sentence_ends(text).into_iter().chain([text.len()]) {
        let piece = text.get(start..end).unwrap_or_default();
        let blank = piece.len() - piece.trim_start().len();
        if piece.trim().contains(char::is_alphanumeric) || (end == text.len() && spans.is_empty()) {
            let from = block.start + start + blank;
            spans.push(Span::new(from, from + piece.trim().len()));
        } else if let Some(last) = spans.last_mut().filter(|_| !piece.trim().is_empty()) {
            // Marks that end a list or a block of code belong to what they end.
            *last = Span::new(last.start, block.start + start + piece.trim_end().len());
        } else {
            continue;
        }
        start = end;
    }
    spans.retain(|span| span.end > span.start);
    spans
}

/// Joins sentences of fewer than `small` tokens with the next one, or the last with the one before.
fn joined(
    document: &SourceDocument,
    sentences: &[Span],
    small: usize,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Span> {
    let tokens = |span: Span| count_tokens(span.slice(&document.source_text).unwrap_or_default());
    let mut joined: Vec<Span> = Vec::new();
    for (at, sentence) in sentences.iter().enumerate() {
        let is_last = at + 1 == sentences.len();
        match joined.last_mut() {
            Some(before) if tokens(*before) < small || (is_last && tokens(*sentence) < small) => {
                *before = Span::new(before.start, sentence.end);
            }
            _ => joined.push(*sentence),
        }
    }
    joined
}

/// From `around` chunks before the one at `at` to as many after it, as far as they have its context.
fn window(chunks: &[Chunk], at: usize, around: usize) -> Span {
    let Some(chunk) = chunks.get(at) else { return Span::new(0, 0) };
    let near =
        chunks.iter().enumerate().skip(at.saturating_sub(around)).take_while(|(i, _)| *i <= at + around);
    let same = near.filter(|(_, other)| other.context == chunk.context).map(|(_, other)| other.span);
    same.fold(chunk.span, |all, span| Span::new(all.start.min(span.start), all.end.max(span.end)))
}
