//! Sections between headings, and windows that bound how much text is split at a time.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser};

use crate::source::{Heading, SourceDocument, SourceKind};

/// The text from one heading to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Byte range in the source text.
    pub(super) range: Range<usize>,
    /// The headings above, outermost first, as positions in the document's list.
    pub(super) path: Vec<usize>,
}

impl Section {
    /// How many headings above this section are above `other` as well.
    pub(super) fn common(&self, other: &Self) -> usize {
        self.path.iter().zip(&other.path).take_while(|(a, b)| a == b).count()
    }
}

/// The sections of a document, which together are its whole source text. Headings out of order or off the character
/// boundaries are passed over.
pub(super) fn sections(document: &SourceDocument) -> Vec<Section> {
    let text = &document.source_text;
    let mut sections = vec![Section { range: 0..text.len(), path: Vec::new() }];
    let mut path: Vec<usize> = Vec::new();
    for (position, heading) in document.headings.iter().enumerate() {
        let Some(last) = sections.last_mut() else { break };
        if heading.offset < last.range.start || !text.is_char_boundary(heading.offset) {
            continue;
        }
        let level = |at: &usize| document.headings.get(*at).map_or(0, |outer: &Heading| outer.level);
        path.retain(|outer| level(outer) < heading.level);
        path.push(position);
        last.range.end = heading.offset;
        sections.push(Section { range: heading.offset..text.len(), path: path.clone() });
    }
    sections
}

/// A stretch of a section that is split on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Byte range relative to the section.
    pub(super) range: Range<usize>,
    /// Whether it holds whole Markdown blocks; otherwise it is split as plain text.
    pub(super) markdown: bool,
}

/// Cuts a section into windows of at most `limit` bytes, at block, paragraph, line or sentence ends where it can.
///
/// Splitting takes time by the square of what it is given, so a window must hold many chunks but not a book.
pub(super) fn windows(section: &str, kind: SourceKind, limit: usize) -> Vec<Window> {
    let markdown = kind == SourceKind::Markdown;
    if section.len() <= limit {
        return vec![Window { range: 0..section.len(), markdown }];
    }
    let mut windows = Vec::new();
    if !markdown {
        cut(section, 0..section.len(), limit, &mut windows);
        return windows;
    }
    let mut starts = block_starts(section);
    starts.push(section.len());
    let (mut from, mut to) = (0, 0);
    for start in starts {
        if start - from > limit {
            pack(section, from..to, limit, &mut windows);
            from = to;
        }
        to = start;
    }
    pack(section, from..to, limit, &mut windows);
    windows
}

/// Adds whole blocks as one window, or the parts of a single block that is too large for one.
fn pack(section: &str, blocks: Range<usize>, limit: usize, windows: &mut Vec<Window>) {
    if blocks.len() > limit {
        cut(section, blocks, limit, windows);
    } else if !blocks.is_empty() {
        windows.push(Window { range: blocks, markdown: true });
    }
}

/// Where the outermost blocks of a Markdown text begin.
fn block_starts(markdown: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        if depth == 0 {
            starts.push(range.start);
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    starts
}

/// Adds plain windows over `range`.
fn cut(section: &str, range: Range<usize>, limit: usize, windows: &mut Vec<Window>) {
    let mut from = range.start;
    while let Some(rest) = section.get(from..range.end).filter(|rest| !rest.is_empty()) {
        let length = if rest.len() <= limit { rest.len() } else { cut_length(rest, limit) };
        windows.push(Window { range: from..from + length, markdown: false });
        from += length;
    }
}

/// Where to cut `text`, which is longer than `limit`: after the last paragraph, line, sentence or word that ends in
/// the second half of the window, else between two characters.
fn cut_length(text: &str, limit: usize) -> usize {
    let head = text.get(..floor_boundary(text, limit)).unwrap_or(text);
    let half = head.len() / 2;
    let sentence_end =
        || ["\u{3002}", ". ", "! ", "? "].iter().filter_map(|end| Some(head.rfind(end)? + end.len())).max();
    let word_end = || head.char_indices().rfind(|(_, c)| c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    let late = |at: &usize| *at > half;
    (head.rfind("\n\n").map(|at| at + 2).filter(late))
        .or_else(|| head.rfind('\n').map(|at| at + 1).filter(late))
        .or_else(|| sentence_end().filter(late))
        .or_else(|| word_end().filter(late))
        .unwrap_or(head.len())
}

/// The last character boundary at or before `at`, but after the first character.
pub(crate) fn floor_boundary(text: &str, at: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    (first..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(windows: &[Window], length: usize, limit: usize) {
        let mut at = 0;
        for window in windows {
            assert_eq!(window.range.start, at);
            assert!(!window.range.is_empty() && window.range.len() <= limit, "{window:?}");
            at = window.range.end;
        }
        assert_eq!(at, length);
    }

    #[test]
    fn windows_tile_any_text_within_the_limit() {
        for text in ["é".repeat(500), "a b. ".repeat(200), "x\n\n".repeat(300), "# h\n\ntext\n".repeat(100)]
        {
            for kind in [SourceKind::Text, SourceKind::Markdown] {
                for limit in [16, 33, 100] {
                    tiles(&windows(&text, kind, limit), text.len(), limit);
                }
            }
        }
    }

    #[test]
    fn a_code_block_is_in_one_window_if_it_fits() {
        let code = "```rust\nfn a() {}\n\nfn b() {}\n```\n";
        let text = format!("{}\n{code}\n{}", "some words\n\n".repeat(4), "more words\n\n".repeat(9));
        let windows = windows(&text, SourceKind::Markdown, 60);
        tiles(&windows, text.len(), 60);
        assert!(windows.iter().any(|window| text[window.range.clone()].contains(code)), "{windows:?}");
        assert!(windows.iter().all(|window| window.markdown));
    }

    #[test]
    fn headings_that_do_not_fit_the_text_are_passed_over() {
        let mut document = SourceDocument::text("d", "é one two").unwrap();
        document.headings = [(1, 1), (3, 1), (2, 2), (99, 1)]
            .map(|(offset, level)| Heading { offset, level, title: "t".into() })
            .to_vec();
        let ranges: Vec<_> = sections(&document).into_iter().map(|s| s.range).collect();
        assert_eq!(ranges, [0..3, 3..10]);
    }
}
