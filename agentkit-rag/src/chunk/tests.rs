//! Properties of the structure chunker over arbitrary text, and the cases people will look at.

mod others;

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::load::load_bytes;
use crate::source::{Heading, SourceKind};

const FRAGMENTS: [&str; 24] = [
    "# One\n",
    "## Two\n",
    "### Three\n",
    "Setext\n===\n",
    "\n",
    "\r\n",
    "```rust\nfn main() {\n    body();\n}\n```\n",
    "    indented code\n",
    "- item one\n- item two\n  - nested\n",
    "1. first\n2. second\n",
    "> quoted words of somebody\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "A sentence of several words. Another one follows it! Is there a third?\n",
    "words without an end ",
    "<div>html</div>\n",
    "[link](http://example.org/a/long/path) ",
    "---\n",
    "größe ",
    "日本語の文章です。",
    "e\u{301}\u{200d}👩‍👩‍👧 ",
    "\u{a0}\u{2003}\t",
    "averyveryveryveryverylongwordwithoutanyspaceinitatall",
    "$x^2$ `code` **strong** ",
    "[^1]: a note\n",
];

/// Adds up over words, as a word tokenizer does.
fn word_pieces(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum()
}

/// Does not add up over words: white space counts.
fn thirds(text: &str) -> usize {
    text.chars().count().div_ceil(3)
}

fn markdown(text: &str) -> SourceDocument {
    load_bytes("d", "md", text.as_bytes()).unwrap()
}

fn plain(text: &str) -> SourceDocument {
    SourceDocument::text("d", text).unwrap()
}

fn quotes<'t>(document: &'t SourceDocument, chunks: &[Chunk]) -> Vec<&'t str> {
    chunks.iter().map(|chunk| chunk.span.slice(&document.source_text).unwrap()).collect()
}

/// Holds `chunks` to the contract of [`Chunker`] and to the budget.
fn check(document: &SourceDocument, chunks: &[Chunk], max: usize, count: &dyn Fn(&str) -> usize) {
    let text = &document.source_text;
    let mut end = 0;
    for chunk in chunks {
        let quote = chunk.span.slice(text).expect("spans lie on character boundaries");
        assert!(!quote.is_empty() && quote.trim() == quote, "{quote:?} is not trimmed");
        assert!(chunk.span.start >= end, "{:?} overlaps or is out of order", chunk.span);
        assert_eq!(text[end..chunk.span.start].trim(), "", "text was left out");
        end = chunk.span.end;
        assert!(!chunk.context.contains(['\n', '\r']));
        // The line is measured word by word, and the white space between may count as well.
        let spaces = chunk.context.split_whitespace().count();
        assert!(count(&chunk.context) <= max / 4 + spaces, "{:?} is too long", chunk.context);
        let budget = max.saturating_sub(3 + count(&chunk.context)).max(1);
        assert!(
            count(quote) <= budget || quote.chars().count() == 1,
            "{} tokens in a budget of {budget}: {quote:?}",
            count(quote)
        );
        assert_eq!(chunk.locator, document.locator(chunk.span));
    }
    assert_eq!(text[end..].trim(), "", "the end was left out");
}

/// Characters of all kinds with enough white space and line ends among them to make words.
fn any_text() -> impl Strategy<Value = String> {
    let character =
        prop_oneof![any::<char>(), prop::char::range(' ', '~'), prop::sample::select(&[' ', '\n', '.'][..])];
    prop::collection::vec(character, 0..600).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn any_text_is_covered_in_order_within_the_budget(text in any_text(), max in 1_usize..64) {
        for document in [plain(&text), markdown(&text.replace('\0', ""))] {
            for count in [word_pieces, thirds] {
                let chunks = StructureChunker::new(max).chunk(&document, &count).unwrap();
                check(&document, &chunks, max, &count);
            }
        }
    }

    #[test]
    fn any_markdown_is_covered_in_order_within_the_budget(
        parts in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..120),
        max in 4_usize..200,
    ) {
        let document = markdown(&parts.concat()).with_title("A title");
        let chunker = StructureChunker::new(max);
        for count in [word_pieces, thirds] {
            let chunks = chunker.chunk(&document, &count).unwrap();
            check(&document, &chunks, max, &count);
            prop_assert_eq!(&chunks, &chunker.chunk(&document, &count).unwrap());
        }
    }

    #[test]
    fn any_headings_are_taken(
        text in "[a-zé \n.]{0,400}",
        headings in prop::collection::vec((0_usize..500, any::<u8>(), ".{0,20}"), 0..20),
    ) {
        let mut document = plain(&text);
        document.kind = SourceKind::Html;
        document.headings =
            headings.into_iter().map(|(offset, level, title)| Heading { offset, level, title }).collect();
        document.headings.sort_by_key(|heading| heading.offset);
        document.headings.retain(|heading| document.source_text.is_char_boundary(heading.offset));
        let chunks = StructureChunker::new(24).chunk(&document, &word_pieces).unwrap();
        check(&document, &chunks, 24, &word_pieces);
    }
}

#[test]
fn blank_documents_have_no_chunks() {
    for text in ["", " ", "\n\r\n\t\u{a0}\u{3000}", &"\n".repeat(100_000)] {
        for document in [plain(text), markdown(text)] {
            assert_eq!(StructureChunker::default().chunk(&document, &word_pieces).unwrap(), []);
        }
    }
}

#[test]
fn sections_are_kept_apart_with_their_headings_as_context() {
    let body = "These words are the body of the section that they stand in. ".repeat(6);
    let document = markdown(&format!(
        "# Guide\n\n{body}\n\n## Install\n\n{body}\n\n### Linux\n\n{body}\n\n# Appendix\n\n{body}\n"
    ));
    let chunks = StructureChunker::new(128).chunk(&document, &word_pieces).unwrap();
    let contexts: Vec<_> = chunks.iter().map(|chunk| chunk.context.as_str()).collect();
    assert_eq!(contexts, ["Guide", "Guide › Install", "Guide › Install › Linux", "Guide › Appendix"]);
    let starts: Vec<_> = quotes(&document, &chunks).iter().map(|q| q.lines().next().unwrap()).collect();
    assert_eq!(starts, ["# Guide", "## Install", "### Linux", "# Appendix"]);
}

#[test]
fn small_sections_join_their_neighbours_but_not_those_above() {
    let document =
        markdown("# Tea\n\n## Green\n\nCool water.\n\n## Black\n\nHot water.\n\n# Coffee\n\nNo.\n");
    let chunker = StructureChunker::new(64);
    let chunks = chunker.clone().small_tokens(6).chunk(&document, &word_pieces).unwrap();
    assert_eq!(
        quotes(&document, &chunks),
        ["# Tea\n\n## Green\n\nCool water.", "## Black\n\nHot water.", "# Coffee\n\nNo."]
    );
    let chunks = chunker.small_tokens(0).chunk(&document, &word_pieces).unwrap();
    assert_eq!(chunks.len(), 4);
    assert_eq!(chunks[2].context, "Tea › Black");
}

#[test]
fn a_lone_heading_goes_with_the_long_section_below_it() {
    let document = markdown(&format!("# Tea\n\n## Green\n\n{}\n", "Cool water is best. ".repeat(100)));
    let chunks = StructureChunker::default().chunk(&document, &word_pieces).unwrap();
    assert!(chunks.len() > 1);
    assert!(quotes(&document, &chunks)[0].starts_with("# Tea\n\n## Green\n\nCool water"));
}

#[test]
fn a_code_block_that_fits_is_whole() {
    let code = "```rust\nfn one() {\n    two();\n\n    // # no heading\n    three();\n}\n```";
    for newline in ["\n", "\r\n"] {
        let text =
            format!("{}\n\n{code}\n\n{}", "Some words before it. ".repeat(20), "And some after. ".repeat(20));
        let document = markdown(&text.replace('\n', newline));
        let chunks = StructureChunker::new(64).chunk(&document, &word_pieces).unwrap();
        assert!(chunks.len() > 2);
        let code = code.replace('\n', newline);
        assert!(quotes(&document, &chunks).iter().any(|quote| quote.contains(&code)), "{newline:?}");
    }
}

#[test]
fn long_prose_is_cut_between_sentences() {
    let document = plain(&"The kettle sings before the water boils. Then it is poured! ".repeat(50));
    let chunks = StructureChunker::new(64).chunk(&document, &word_pieces).unwrap();
    assert!(chunks.len() > 10);
    for quote in quotes(&document, &chunks) {
        assert!(quote.ends_with(['.', '!']), "{quote}");
    }
}

#[test]
fn huge_texts_are_counted_in_linear_work() {
    let large = 1 << 20;
    let mixed = "# h\n\nsome words of text. ";
    for (name, text, kind) in [
        ("one word", "x".repeat(10 * large), "txt"),
        ("one line", "some words of text. ".repeat(large / 20), "txt"),
        ("headings", "# h\n".repeat(large / 40), "md"),
        ("sections", mixed.repeat(large / mixed.len()), "md"),
        ("one code block", format!("```\n{}\n```", "let a = b;\n".repeat(large / 11)), "md"),
        ("accents", "\u{301}".repeat(large / 20), "txt"),
    ] {
        let document = load_bytes("d", kind, text.as_bytes()).unwrap();
        let (calls, bytes) = (Cell::new(0), Cell::new(0));
        let count = |text: &str| {
            calls.set(calls.get() + 1);
            bytes.set(bytes.get() + text.len());
            text.split_whitespace().map(|word| word.len().div_ceil(4)).sum()
        };
        let chunks = StructureChunker::default().chunk(&document, &count).unwrap();
        assert!(!chunks.is_empty());
        let (calls, bytes) = (calls.get(), bytes.get());
        assert!(calls <= 64 * chunks.len() + 100, "{name}: {calls} calls for {} chunks", chunks.len());
        assert!(bytes <= 64 * text.len(), "{name}: {bytes} bytes counted of {}", text.len());
    }
}
