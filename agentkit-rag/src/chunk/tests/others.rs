//! What holds for the chunkers beside the default one, over arbitrary Markdown, and how they cut real text.

use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use proptest::prelude::*;

use super::super::{Chunk, Chunker, ParentChildChunker, SemanticChunker, SentenceChunker, StructureChunker};
use super::{FRAGMENTS, any_text, markdown, plain, quotes, word_pieces};
use crate::source::SourceDocument;

fn all(max: usize) -> Vec<Arc<dyn Chunker>> {
    let embedder = Arc::new(HashingEmbedder::with_dimension(16));
    vec![
        Arc::new(SentenceChunker::new(max)),
        Arc::new(SentenceChunker::new(max).small_tokens(0).around(0)),
        Arc::new(ParentChildChunker::new(max)),
        Arc::new(SemanticChunker::new(embedder)),
    ]
}

/// Holds `chunks` to the contract of [`Chunker`].
fn check(document: &SourceDocument, chunks: &[Chunk]) {
    let text = &document.source_text;
    let mut end = 0;
    for chunk in chunks {
        let quote = chunk.span.slice(text).expect("spans lie on character boundaries");
        assert!(!quote.is_empty() && quote.trim() == quote, "{quote:?} is not trimmed");
        assert!(chunk.span.start >= end, "{:?} overlaps or is out of order", chunk.span);
        assert_eq!(text[end..chunk.span.start].trim(), "", "text was left out");
        end = chunk.span.end;
        assert_eq!(chunk.locator, document.locator(chunk.span));
        if let Some(parent) = chunk.parent {
            assert!(parent.start <= chunk.span.start && chunk.span.end <= parent.end, "{parent:?}");
            assert!(parent.slice(text).is_some());
        }
    }
    assert_eq!(text[end..].trim(), "", "the end was left out");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn any_markdown_is_covered_in_order(
        parts in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..80),
        max in 8_usize..100,
    ) {
        let document = markdown(&parts.concat()).with_title("A title");
        for chunker in all(max) {
            let chunks = chunker.chunk(&document, &word_pieces).unwrap();
            check(&document, &chunks);
            prop_assert_eq!(&chunks, &chunker.chunk(&document, &word_pieces).unwrap());
        }
    }

    #[test]
    fn any_text_is_covered_in_order(text in any_text(), max in 4_usize..64) {
        let document = plain(&text);
        for chunker in all(max) {
            check(&document, &chunker.chunk(&document, &word_pieces).unwrap());
        }
    }
}

const GUIDE: &str = "# Tea\n\nTea is a drink made of leaves that are steeped. It is drunk hot, or with ice in \
                     summer.\n\n## Green\n\nGreen tea wants water of eighty degrees, not more than that. Steep it for \
                     three minutes at most, or it gets bitter.\n";

#[test]
fn sentences_know_the_sentences_around_them_below_the_same_heading() {
    let document = markdown(GUIDE);
    let chunks = SentenceChunker::new(64).small_tokens(4).around(1).chunk(&document, &word_pieces).unwrap();
    assert_eq!(
        quotes(&document, &chunks),
        [
            "# Tea\n\nTea is a drink made of leaves that are steeped.",
            "It is drunk hot, or with ice in summer.",
            "## Green\n\nGreen tea wants water of eighty degrees, not more than that.",
            "Steep it for three minutes at most, or it gets bitter."
        ]
    );
    let window = |at: usize| chunks[at].parent.unwrap().slice(GUIDE).unwrap();
    assert_eq!(
        window(1),
        "# Tea\n\nTea is a drink made of leaves that are steeped. It is drunk hot, or with ice in summer."
    );
    assert!(window(3).starts_with("## Green") && window(3).ends_with("bitter."), "{}", window(3));
    assert_eq!(chunks[3].context, "Tea › Green");
}

#[test]
fn children_lie_in_their_parents_and_carry_their_headings() {
    let body = "Cool water is best for it, as everybody knows. ".repeat(20);
    let document = markdown(&format!("# Tea\n\n## Green\n\n{body}\n\n## Black\n\n{body}\n"));
    let chunks = ParentChildChunker::new(64).chunk(&document, &word_pieces).unwrap();
    assert!(chunks.len() > 6);
    let mut parents: Vec<_> = chunks.iter().map(|chunk| chunk.parent.unwrap()).collect();
    parents.dedup();
    assert!(parents.len() < chunks.len() / 2, "{} parents of {}", parents.len(), chunks.len());
    assert_eq!(chunks.last().unwrap().context, "Tea › Black");
    assert_eq!(chunks.last().unwrap().locator.heading_path, ["Tea", "Black"]);
}

#[test]
fn a_change_of_subject_is_a_break() {
    let tea = "The tea leaves and the tea water make the tea. ";
    let ships = "The ships and the sails cross the wide sea. ";
    let text = format!("{}{}", tea.repeat(6), ships.repeat(6));
    let embedder = Arc::new(HashingEmbedder::with_dimension(64));
    let chunker = SemanticChunker::new(embedder);
    let document = plain(&text);
    let chunks = chunker.chunk(&document, &word_pieces).unwrap();
    let starts: Vec<_> =
        quotes(&document, &chunks).iter().map(|quote| quote.starts_with("The ships")).collect();
    assert!(starts.contains(&true), "{:?}", quotes(&document, &chunks));
    assert!(chunks.len() <= 3, "{:?}", quotes(&document, &chunks));
    let by_structure = StructureChunker::default().chunk(&document, &word_pieces).unwrap();
    assert_eq!(by_structure.len(), 1, "which structure alone does not show");
}
