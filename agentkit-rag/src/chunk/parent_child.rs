//! Parent and child: small chunks to find, each in a large one to read.

use agentkit_core::Result;

use super::within::chunks_within;
use super::{Chunk, Chunker, StructureChunker};
use crate::source::SourceDocument;

/// Parents are so many times as long as what the model reads.
const PARENT_SHARE: usize = 4;
/// Children are this part of it.
const CHILD_SHARE: usize = 2;

/// Cuts documents into parents along their structure, and each parent into small chunks.
///
/// The small chunks are embedded and searched; each knows its parent's span, so that a search that expands to parents gives what
/// was found with what stands around it. A parent holds about a thousand tokens unless set, a child about a hundred.
///
/// # Examples
/// ```
/// use agentkit_rag::chunk::{Chunker, ParentChildChunker};
///
/// # fn main() -> agentkit_core::Result<()> {
/// let text = "Green tea is steeped at eighty degrees. ".repeat(40);
/// let document = agentkit_rag::load::load_bytes("tea", "txt", text.as_bytes())?;
/// let words = |text: &str| text.split_whitespace().count();
/// let chunks = ParentChildChunker::new(64).chunk(&document, &words)?;
/// let child = &chunks[0];
/// let parent = child.parent.expect("every child has a parent");
/// assert!(parent.end - parent.start > 4 * (child.span.end - child.span.start));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentChildChunker {
    parents: StructureChunker,
    children: StructureChunker,
}

impl Default for ParentChildChunker {
    /// For models that read 256 tokens, such as all-MiniLM-L6-v2.
    fn default() -> Self {
        Self::new(256)
    }
}

impl ParentChildChunker {
    /// A chunker for a model that reads `max_tokens`.
    #[must_use]
    pub fn new(max_tokens: usize) -> Self {
        let children = StructureChunker::new(max_tokens).target_tokens(max_tokens / CHILD_SHARE);
        Self { parents: StructureChunker::new(max_tokens * PARENT_SHARE), children }
    }

    /// How the document is cut into parents, which no model has to read as a whole.
    #[must_use]
    pub fn parents(mut self, parents: StructureChunker) -> Self {
        self.parents = parents;
        self
    }

    /// How each parent is cut into the chunks that are embedded.
    #[must_use]
    pub fn children(mut self, children: StructureChunker) -> Self {
        self.children = children;
        self
    }
}

impl Chunker for ParentChildChunker {
    fn chunk(&self, document: &SourceDocument, count_tokens: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        for parent in self.parents.chunk(document, count_tokens)? {
            let children = chunks_within(document, parent.span, &self.children, count_tokens)?;
            chunks.extend(children.into_iter().map(|child| child.with_parent(parent.span)));
        }
        Ok(chunks)
    }
}
