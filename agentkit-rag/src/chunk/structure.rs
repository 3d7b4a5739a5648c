//! The default chunker: sections, then blocks, sentences and words, by tokens of the embedding model.

use std::ops::Range;

use agentkit_core::{Result, Span};
use text_splitter::{ChunkCapacity, ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use super::context::context_line;
use super::section::{Section, Window, sections, windows};
use super::sizer::TokenSizer;
use super::{Chunk, Chunker};
use crate::source::{SourceDocument, SourceKind};

/// The sizes of the default, measured on the passages that answer questions (`docs/evaluation.md`).
const DEFAULT_MAX: usize = 216;
const DEFAULT_TARGET: usize = 152;
const DEFAULT_SMALL: usize = 32;
/// Tokens that models put around a text, and one for the line break after the context.
pub(super) const RESERVED_TOKENS: usize = 3;
/// The context may take one part in this many of the model's tokens.
const CONTEXT_SHARE: usize = 4;
/// A chunk has at most this many bytes for each token of its budget: a word tokenizer makes one unknown token of
/// kilobytes without a space, and none of white space.
const MAX_BYTES_PER_TOKEN: usize = 16;
/// A window has this many bytes for each token of the target: room for some twenty chunks.
const WINDOW_BYTES_PER_TOKEN: usize = 64;

/// Cuts documents along their structure so that no chunk is longer than the embedding model reads.
///
/// A chunk lies in one section unless it is small: then it is joined with what follows, if that lies beside or below
/// it. A section that is too long is cut between blocks, sentences or words, whichever is the largest that fits; a
/// code block that fits is kept whole. Chunks do not overlap. The budget is the model's limit without special tokens
/// and without the context line, which takes a quarter at most.
///
/// # Examples
/// ```
/// use agentkit_rag::chunk::{Chunker, StructureChunker};
///
/// # fn main() -> agentkit_core::Result<()> {
/// let text = b"# Tea\n\n## Green\n\nSteep three minutes.\n\n## Black\n\nSteep five minutes.\n";
/// let document = agentkit_rag::load::load_bytes("tea", "md", text)?;
/// let words = |text: &str| text.split_whitespace().count();
/// let chunks = StructureChunker::new(32).small_tokens(3).chunk(&document, &words)?;
/// let last = chunks.last().expect("the text is not blank");
/// assert_eq!(last.context, "Tea › Black");
/// assert_eq!(last.span.slice(&document.source_text), Some("## Black\n\nSteep five minutes."));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructureChunker {
    max: usize,
    target: usize,
    small: usize,
}

impl Default for StructureChunker {
    /// For models that read 256 tokens, such as all-MiniLM-L6-v2: somewhat shorter than they could read, so that a passage
    /// has less beside what it is found for.
    fn default() -> Self {
        Self::new(DEFAULT_MAX).target_tokens(DEFAULT_TARGET).small_tokens(DEFAULT_SMALL)
    }
}

impl StructureChunker {
    /// A chunker for a model that reads `max_tokens`, special tokens included.
    ///
    /// The target is four fifths of that, and small are chunks under an eighth.
    #[must_use]
    pub fn new(max_tokens: usize) -> Self {
        Self { max: max_tokens, target: max_tokens / 5 * 4, small: max_tokens / 8 }
    }

    /// Tokens after which a chunk ends at the next good place; chunks grow beyond it only to keep a section whole.
    #[must_use]
    pub fn target_tokens(mut self, tokens: usize) -> Self {
        self.target = tokens;
        self
    }

    /// Chunks with fewer tokens are joined with a neighbour where the structure allows; 0 to join none.
    #[must_use]
    pub fn small_tokens(mut self, tokens: usize) -> Self {
        self.small = tokens;
        self
    }
}

impl Chunker for StructureChunker {
    fn chunk(&self, document: &SourceDocument, count_tokens: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let sizer = TokenSizer::adding_words(count_tokens, self.max_bytes());
        let plan = Plan { chunker: self, document, sections: sections(document), sizer: &sizer };
        let exact = TokenSizer::exact(count_tokens, self.max_bytes());
        let mut chunks = Vec::new();
        for piece in plan.joined(plan.pieces()) {
            plan.finish(&piece, &exact, &mut chunks);
        }
        Ok(chunks)
    }
}

impl StructureChunker {
    fn max_bytes(&self) -> usize {
        self.max.saturating_mul(MAX_BYTES_PER_TOKEN).max(64)
    }

    fn window_bytes(&self) -> usize {
        self.target.saturating_mul(WINDOW_BYTES_PER_TOKEN).max(self.max_bytes())
    }
}

/// The work on one document.
struct Plan<'a> {
    chunker: &'a StructureChunker,
    document: &'a SourceDocument,
    sections: Vec<Section>,
    sizer: &'a TokenSizer<'a>,
}

/// A piece of the source text on its way to a chunk: its trimmed range, and the sections it begins and ends in.
struct Piece {
    range: Range<usize>,
    tokens: usize,
    first: usize,
    last: usize,
}

impl Plan<'_> {
    /// Cuts every section into pieces that fit.
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (position, section) in self.sections.iter().enumerate() {
            let text = self.slice(&section.range);
            if text.trim().is_empty() {
                continue;
            }
            let budget = self.budget(&self.context(position, position));
            // Room for a lone heading that stands before the section.
            let limit = budget - budget / 16;
            for range in self.split(text, limit) {
                let range = section.range.start + range.start..section.range.start + range.end;
                let tokens = self.sizer.size(self.slice(&range));
                pieces.push(Piece { range, tokens, first: position, last: position });
            }
        }
        pieces
    }

    /// The trimmed ranges of `text` that fit `limit` tokens.
    fn split(&self, text: &str, limit: usize) -> Vec<Range<usize>> {
        if self.sizer.size(text.trim()) <= limit {
            return trimmed(text, 0..text.len()).into_iter().collect();
        }
        let mut ranges = Vec::new();
        let kind = self.document.kind;
        for window in windows(text, kind, self.chunker.window_bytes()) {
            ranges.extend(split_window(text, &window, self.chunker.target, limit, self.sizer));
        }
        ranges
    }

    /// Joins small pieces with the next one, and the small rest of a section with the one before it.
    fn joined(&self, pieces: Vec<Piece>) -> Vec<Piece> {
        let small = self.chunker.small;
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            if let Some(before) = joined.last_mut()
                && (before.tokens < small || (piece.tokens < small && before.last == piece.first))
                && self.related(before, &piece)
            {
                let range = before.range.start..piece.range.end;
                let tokens = self.sizer.size(self.slice(&range));
                if tokens <= self.budget(&self.context(before.first, piece.last)) {
                    *before = Piece { range, tokens, first: before.first, last: piece.last };
                    continue;
                }
            }
            joined.push(piece);
        }
        joined
    }

    /// Whether `next` lies in the same section as `piece`, or beside or below it.
    fn related(&self, piece: &Piece, next: &Piece) -> bool {
        match (self.sections.get(piece.first), self.sections.get(next.first)) {
            (Some(a), Some(b)) => a.common(b) + 1 >= a.path.len(),
            _ => false,
        }
    }

    /// Makes a chunk of `piece`, or several if the sum over its words was too low an estimate.
    fn finish(&self, piece: &Piece, exact: &TokenSizer<'_>, chunks: &mut Vec<Chunk>) {
        let context = self.context(piece.first, piece.last);
        let budget = self.chunker.max.saturating_sub(RESERVED_TOKENS + exact.size(&context)).max(1);
        if exact.size(self.slice(&piece.range)) <= budget {
            chunks.push(self.chunk(piece.range.clone(), context));
            return;
        }
        let window =
            Window { range: piece.range.clone(), markdown: self.document.kind == SourceKind::Markdown };
        for range in split_window(&self.document.source_text, &window, budget, budget, exact) {
            chunks.push(self.chunk(range, context.clone()));
        }
    }

    fn chunk(&self, range: Range<usize>, context: String) -> Chunk {
        let span = Span::new(range.start, range.end);
        let mut locator = self.document.place(span);
        let at = self.sections.partition_point(|section| section.range.start <= range.start);
        if let Some(section) = self.sections.get(at.saturating_sub(1)) {
            locator.heading_path = self.titles(&section.path).map(str::to_owned).collect();
        }
        Chunk { span, locator, context, parent: None }
    }

    /// The context line for a chunk that begins in section `first` and ends in section `last`.
    fn context(&self, first: usize, last: usize) -> String {
        let (Some(a), Some(b)) = (self.sections.get(first), self.sections.get(last)) else {
            return String::new();
        };
        let path = a.path.get(..a.common(b)).unwrap_or_default();
        let limit = self.chunker.max / CONTEXT_SHARE;
        let size = |text: &str| self.sizer.size(text);
        context_line(self.document.title.as_deref(), self.titles(path), limit, &size)
    }

    fn titles<'p>(&'p self, path: &'p [usize]) -> impl Iterator<Item = &'p str> {
        path.iter().filter_map(|at| self.document.headings.get(*at)).map(|heading| heading.title.as_str())
    }

    /// Tokens left for the text of a chunk with this context.
    fn budget(&self, context: &str) -> usize {
        (self.chunker.max.saturating_sub(RESERVED_TOKENS + self.sizer.size(context))).max(1)
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.document.source_text.get(range.clone()).unwrap_or_default()
    }
}

/// The trimmed ranges of one window of `text` with at most `limit` tokens each, `target` where possible.
fn split_window(
    text: &str,
    window: &Window,
    target: usize,
    limit: usize,
    sizer: &TokenSizer<'_>,
) -> Vec<Range<usize>> {
    let part = text.get(window.range.clone()).unwrap_or_default();
    let target = target.clamp(1, limit.max(1));
    // The maximum is not below the target, so the capacity is valid.
    let capacity = ChunkCapacity::new(target).with_max(limit).unwrap_or(ChunkCapacity::new(target));
    let config = ChunkConfig::new(capacity).with_sizer(sizer);
    let found: Vec<(usize, &str)> = if window.markdown {
        MarkdownSplitter::new(config).chunk_indices(part).collect()
    } else {
        TextSplitter::new(config).chunk_indices(part).collect()
    };
    let absolute =
        |(at, chunk): (usize, &str)| window.range.start + at..window.range.start + at + chunk.len();
    found.into_iter().filter_map(|found| trimmed(text, absolute(found))).collect()
}

/// `range` of `text` without the white space at its ends; none if nothing is left.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = text.get(range.clone())?;
    let start = range.start + part.len() - part.trim_start().len();
    let end = start + part.trim().len();
    (start < end).then_some(start..end)
}
