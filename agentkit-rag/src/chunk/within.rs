//! Cutting a part of a document as a document of its own, and taking the chunks back.

use agentkit_core::{Result, Span};

use super::{Chunk, Chunker};
use crate::source::{Heading, SourceDocument};

/// The chunks that `chunker` makes of `span`, as chunks of the whole document. Headings above count as if they stood at its start.
pub(super) fn chunks_within(
    document: &SourceDocument,
    span: Span,
    chunker: &dyn Chunker,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Result<Vec<Chunk>> {
    let part = part(document, span);
    let chunks = chunker.chunk(&part, count_tokens)?;
    let whole = chunks.into_iter().map(|chunk| {
        let moved = Chunk::new(document, chunk.span.shifted(span.start)).with_context(chunk.context);
        Chunk { parent: chunk.parent.map(|parent| parent.shifted(span.start)), ..moved }
    });
    Ok(whole.collect())
}

fn part(document: &SourceDocument, span: Span) -> SourceDocument {
    let text = span.slice(&document.source_text).unwrap_or_default();
    let mut above: Vec<&Heading> = Vec::new();
    for heading in document.headings.iter().take_while(|heading| heading.offset < span.start) {
        above.retain(|outer| outer.level < heading.level);
        above.push(heading);
    }
    let within = document.headings.iter().filter(|heading| (span.start..span.end).contains(&heading.offset));
    let headings = above.into_iter().chain(within);
    let moved = headings
        .map(|heading| Heading { offset: heading.offset.saturating_sub(span.start), ..heading.clone() });
    SourceDocument {
        id: document.id.clone(),
        title: document.title.clone(),
        uri: None,
        kind: document.kind,
        source_text: text.to_owned(),
        original_start: 0,
        headings: moved.collect(),
        marks: Vec::new(),
        metadata: agentkit_core::Metadata::new(),
    }
}
