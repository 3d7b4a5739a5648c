//! Chunking: cutting a source text into the pieces that are embedded, searched and cited.
//!
//! [`StructureChunker`] is the default. [`SentenceChunker`] and [`ParentChildChunker`] make small chunks that are found
//! exactly, each with a parent: a larger span around it that a search can show in its place. [`SemanticChunker`] cuts
//! where the subject changes.

mod context;
mod parent_child;
mod section;
mod semantic;
mod sentence;
mod sizer;
mod structure;
mod within;

use agentkit_core::{Locator, Result, Span};

use crate::source::SourceDocument;

pub use parent_child::ParentChildChunker;
pub(crate) use section::floor_boundary;
pub use semantic::SemanticChunker;
pub use sentence::SentenceChunker;
pub use structure::StructureChunker;

/// Cuts documents into chunks.
///
/// # Contract for implementers
/// - Spans lie on character boundaries of the source text, are not blank, and come in order of their start.
/// - Every non-blank part of the source text lies in some chunk.
/// - A parent is on character boundaries as well, and holds the chunk's span.
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
#[non_exhaustive]
pub struct Chunk {
    /// Byte range in the source text.
    pub span: Span,
    /// Where it stands in the original.
    pub locator: Locator,
    /// Title and headings above it, as one line: embedded and searched with the chunk, never quoted.
    pub context: String,
    /// A larger span around it, to be shown or read in its place; `None` if it stands for itself. It is stored with the chunk and
    /// neither embedded nor searched.
    pub parent: Option<Span>,
}

impl Chunk {
    /// The piece of `document` at `span`, without context and parent.
    #[must_use]
    pub fn new(document: &SourceDocument, span: Span) -> Self {
        Self { span, locator: document.locator(span), context: String::new(), parent: None }
    }

    /// Sets the line that is embedded and searched with it.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Sets the larger span around it.
    #[must_use]
    pub fn with_parent(mut self, parent: Span) -> Self {
        self.parent = Some(parent);
        self
    }
}

#[cfg(test)]
mod tests;
