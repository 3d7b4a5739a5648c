//! Chunking: cutting a source text into the pieces that are embedded, searched and cited.

mod context;
mod section;
mod sizer;
mod structure;

use agentkit_core::{Locator, Result, Span};

use crate::source::SourceDocument;

pub(crate) use section::floor_boundary;
pub use structure::StructureChunker;

/// Cuts documents into chunks.
///
/// # Contract for implementers
/// - Spans lie on character boundaries of the source text, are not blank, and come in order of their start.
/// - Every non-blank part of the source text lies in some chunk.
/// - The same document gives the same chunks.
pub trait Chunker: Send + Sync {
    /// Cuts `document`; `count_tokens` counts as the embedding model does.
    ///
    /// # Errors
    /// Invalid input, if the document cannot be chunked.
    fn chunk(&self, document: &SourceDocument, count_tokens: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>>;
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Byte range in the source text.
    pub span: Span,
    /// Where it stands in the original.
    pub locator: Locator,
    /// Title and headings above it, as one line: embedded and searched with the chunk, never quoted.
    pub context: String,
}

#[cfg(test)]
mod tests;
