//! Cutting passages into quotable units: sentences, list items, table rows, code blocks; headings set apart.
//!
//! Sentence boundaries are those of Unicode Annex 29, which knows neither Markdown nor wrapped lines nor
//! abbreviations. So the text is first cut into blocks by its lines, each block is read with its line breaks
//! as spaces (byte for byte, so that offsets stay), and pieces that end in an abbreviation are joined again.
//! A unit's span never includes the markup that introduces it.

use agentkit_core::Span;
use unicode_segmentation::UnicodeSegmentation;

use super::values::begins_with_date_word;

/// Longest unit in bytes; longer sentences are cut at a clause, or failing that at a word.
pub(super) const MAX_UNIT_BYTES: usize = 480;
/// A line shorter than this was ended on purpose, not by wrapping.
const WRAPPED_LINE_BYTES: usize = 40;

/// Words whose full stop does not end a sentence, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "no", "nos", "nr", "fig", "figs", "eq", "vol",
    "gen", "col", "lt", "sgt", "capt", "gov", "sen", "rep", "rev", "hon", "mt", "ft", "cf", "ca", "approx",
    "etc", "art", "sec", "ch", "pp", "ed", "eds", "bzw", "vgl", "sog", "sra", "dra", "mme", "mlle",
];

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// A sentence, or an item of a list.
    Sentence,
    /// A heading: evidence for what stands below it, never quoted alone.
    Heading,
    /// A row of a table.
    Row,
    /// Lines of code.
    Code,
}

/// A quotable piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// What is quoted.
    pub(super) span: Span,
    /// The same with the closing markup, for quotations that begin before it.
    pub(super) outer_end: usize,
    /// What it is.
    pub(super) kind: UnitKind,
}

/// The units of `text` in order; they do not overlap and none is without a letter or digit.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let mut cutter = Cutter { text, units: Vec::new(), prose: None, fence: None };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        cutter.line(start, line);
        start += line.len();
    }
    cutter.finish();
    cutter.units
}

/// The last sentence of `text`.
pub(super) fn last_sentence(text: &str) -> &str {
    units(text).last().and_then(|unit| unit.span.slice(text)).unwrap_or_default()
}

struct Cutter<'t> {
    text: &'t str,
    units: Vec<Unit>,
    prose: Option<Prose>,
    fence: Option<Fence<'t>>,
}

/// A paragraph being read.
struct Prose {
    span: Span,
    last_line_bytes: usize,
    lines: usize,
}

/// A block of code being read.
struct Fence<'t> {
    marker: &'t str,
    start: usize,
}

impl<'t> Cutter<'t> {
    fn line(&mut self, start: usize, line: &'t str) {
        if self.fence.is_some() {
            return self.code_line(start, line);
        }
        let body = line.trim();
        if body.is_empty() {
            return self.flush();
        }
        let indent = line.len() - line.trim_start().len();
        let at = start + indent;
        if let Some(marker) = fence_marker(body) {
            self.flush();
            self.fence = Some(Fence { marker, start: start + line.len() });
        } else if let Some(title) = heading(body) {
            self.flush();
            self.push(at + offset_in(body, title), title.len(), UnitKind::Heading);
        } else if !body.contains(char::is_alphanumeric) {
            self.rule(body);
        } else if body.starts_with('|') {
            self.flush();
            self.push(at, body.len(), UnitKind::Row);
        } else {
            self.prose_line(at, body);
        }
    }

    /// A line without letters: the underline of a heading, or a separator.
    fn rule(&mut self, body: &str) {
        let underline = body.bytes().all(|b| b == b'=') || body.bytes().all(|b| b == b'-');
        match self.prose.take() {
            Some(prose) if underline && prose.lines == 1 => {
                self.push(prose.span.start, prose.span.end - prose.span.start, UnitKind::Heading);
            }
            open => {
                self.prose = open;
                self.flush();
            }
        }
    }

    fn prose_line(&mut self, at: usize, body: &str) {
        let (content, is_item) = strip_markers(body);
        let start = at + offset_in(body, content);
        let end = start + content.len();
        if let Some(prose) = &mut self.prose
            && !is_item
            && continues(prose.last_line_bytes, content)
        {
            prose.span.end = end;
            prose.last_line_bytes = body.len();
            prose.lines += 1;
            return;
        }
        self.flush();
        self.prose = Some(Prose { span: Span::new(start, end), last_line_bytes: body.len(), lines: 1 });
    }

    fn code_line(&mut self, start: usize, line: &'t str) {
        let closes = self.fence.as_ref().is_some_and(|fence| line.trim().starts_with(fence.marker));
        if closes && let Some(fence) = self.fence.take() {
            self.push_code(fence.start, start, start + line.trim_end().len());
        }
    }

    fn finish(&mut self) {
        self.flush();
        if let Some(fence) = self.fence.take() {
            self.push_code(fence.start, self.text.len(), self.text.len());
        }
    }

    fn flush(&mut self) {
        let Some(prose) = self.prose.take() else { return };
        for span in sentences(self.text, prose.span) {
            self.push(span.start, span.end - span.start, UnitKind::Sentence);
        }
    }

    /// Code that fits is one unit; more is quoted in pieces of whole lines.
    fn push_code(&mut self, start: usize, end: usize, outer_end: usize) {
        let Some(code) = self.text.get(start..end) else { return };
        let mut piece = Span::new(start, start);
        for line in code.split_inclusive('\n') {
            if piece.end > piece.start && piece.end + line.len() - piece.start > MAX_UNIT_BYTES {
                self.push(piece.start, piece.end - piece.start, UnitKind::Code);
                piece.start = piece.end;
            }
            piece.end += line.len();
        }
        self.push(piece.start, piece.end - piece.start, UnitKind::Code);
        if let Some(last) = self.units.last_mut()
            && last.kind == UnitKind::Code
        {
            last.outer_end = outer_end;
        }
    }

    fn push(&mut self, start: usize, len: usize, kind: UnitKind) {
        for span in short(self.text, Span::new(start, start + len)) {
            if span.slice(self.text).is_some_and(|text| text.contains(char::is_alphanumeric)) {
                self.units.push(Unit { span, outer_end: span.end, kind });
            }
        }
    }
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn fence_marker(body: &str) -> Option<&str> {
    ["```", "~~~"].into_iter().find(|marker| body.starts_with(marker))
}

fn heading(body: &str) -> Option<&str> {
    let title = body.trim_start_matches('#');
    let level = body.len() - title.len();
    ((1..=6).contains(&level) && title.starts_with([' ', '\t'])).then(|| title.trim_end_matches('#').trim())
}

/// Takes quotation, list and task markers off a line; says whether it begins a list item.
fn strip_markers(body: &str) -> (&str, bool) {
    let quoted = body.trim_start_matches(['>', ' ']);
    let Some(item) = list_item(quoted) else { return (quoted, false) };
    let task = ["[ ] ", "[x] ", "[X] "].into_iter().find_map(|marker| item.strip_prefix(marker));
    (task.unwrap_or(item).trim_start(), true)
}

fn list_item(line: &str) -> Option<&str> {
    let numbered = || {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = line.len() - rest.len();
        rest.strip_prefix(['.', ')']).filter(|_| (1..=3).contains(&digits))
    };
    let rest = line.strip_prefix(['-', '*', '+', '•', '–']).or_else(numbered)?;
    rest.starts_with([' ', '\t']).then(|| rest.trim_start()).filter(|item| !item.is_empty())
}

/// Whether a line goes on with the sentence of the line before.
fn continues(last_line_bytes: usize, content: &str) -> bool {
    last_line_bytes >= WRAPPED_LINE_BYTES || content.starts_with(char::is_lowercase)
}

/// The sentences of a paragraph.
fn sentences(text: &str, paragraph: Span) -> Vec<Span> {
    let Some(raw) = paragraph.slice(text) else { return Vec::new() };
    let flat = raw.replace(['\n', '\r'], " ");
    let mut found: Vec<Span> = Vec::new();
    let mut open: Option<usize> = None;
    for (at, piece) in flat.split_sentence_bound_indices() {
        let start = *open.get_or_insert(at);
        let rest = flat.get(at + piece.len()..).unwrap_or_default();
        let goes_on = ends_in_abbreviation(piece) || (ends_in_ordinal(piece) && begins_with_date_word(rest));
        if !goes_on {
            found.push(trimmed(raw, start, at + piece.len()).shifted(paragraph.start));
            open = None;
        }
    }
    if let Some(start) = open {
        found.push(trimmed(raw, start, raw.len()).shifted(paragraph.start));
    }
    found
}

fn trimmed(text: &str, start: usize, end: usize) -> Span {
    let piece = text.get(start..end).unwrap_or_default();
    let begin = start + (piece.len() - piece.trim_start().len());
    Span::new(begin, begin + piece.trim().len())
}

fn ends_in_abbreviation(piece: &str) -> bool {
    let Some(stem) = piece.trim_end().strip_suffix('.') else { return false };
    let word =
        stem.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(['(', '"', '\'']);
    let initials = word.split('.').all(|letter| {
        let mut chars = letter.chars();
        chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
    });
    initials || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Whether a piece ends in a day as some languages write it: "am 13." before "September".
fn ends_in_ordinal(piece: &str) -> bool {
    let number = piece.trim_end().strip_suffix('.').and_then(|stem| stem.rsplit(char::is_whitespace).next());
    number.is_some_and(|number| (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Cuts a span that is too long to quote, at the last clause, line or word that fits.
fn short(text: &str, span: Span) -> Vec<Span> {
    let mut pieces = Vec::new();
    let mut rest = trimmed(text, span.start, span.end);
    while rest.end - rest.start > MAX_UNIT_BYTES {
        let limit = boundary_before(text, rest.start + MAX_UNIT_BYTES);
        let head = text.get(rest.start..limit).unwrap_or_default();
        let cut = rest.start + clause_end(head);
        pieces.push(trimmed(text, rest.start, cut));
        rest = trimmed(text, cut, rest.end);
    }
    pieces.push(rest);
    pieces
}

/// The end of the last clause in the second half of `head`, or of its last word, or of `head`.
fn clause_end(head: &str) -> usize {
    let half = head.len() / 2;
    let last_of = |separators: &[char]| {
        let found = head.char_indices().rev().find(|(_, c)| separators.contains(c));
        found.map(|(at, c)| at + c.len_utf8()).filter(|end| *end > half)
    };
    let clause = last_of(&['\n', ';', '；', '。']).or_else(|| last_of(&[',', '，', '、', ':']));
    clause.or_else(|| last_of(&[' '])).unwrap_or(head.len())
}

/// The last character boundary of `text` at or before `at`.
pub(super) fn boundary_before(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        units(text).iter().filter_map(|unit| unit.span.slice(text)).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        for (text, expected) in [
            ("It costs 3.5 million. It opened in 1999.", vec!["It costs 3.5 million.", "It opened in 1999."]),
            ("Dr. Smith met J. R. Ewing. They left.", vec!["Dr. Smith met J. R. Ewing.", "They left."]),
            ("Use a cache, e.g. Redis. Done.", vec!["Use a cache, e.g. Redis.", "Done."]),
            ("The U.S. Army won. See Fig. 3 below.", vec!["The U.S. Army won.", "See Fig. 3 below."]),
            ("Am 13. September kam er. Er blieb.", vec!["Am 13. September kam er.", "Er blieb."]),
            ("There were 13. Then more came.", vec!["There were 13.", "Then more came."]),
            ("他登记了。球队赢了！", vec!["他登记了。", "球队赢了！"]),
            ("no full stop", vec!["no full stop"]),
        ] {
            assert_eq!(cut(text), expected, "{text}");
        }
    }

    #[test]
    fn wrapped_lines_are_one_sentence_and_its_span_is_the_source() {
        let text = "The index keeps its vectors in append-only logs that\nare synced first. Then comes the commit.\n";
        let wrapped = "The index keeps its vectors in append-only logs that\nare synced first.";
        assert_eq!(cut(text), [wrapped, "Then comes the commit."]);
    }

    #[test]
    fn markup_stays_outside_the_spans() {
        let text = "# Install #\n\n- first item\n- [ ] second\n  goes on\n> 1. third\n\nTitle\n-----\n| a | b |\n|---|---|\n\
            ```sh\ncargo run\n```\n***\n";
        let expected =
            ["Install", "first item", "second\n  goes on", "third", "Title", "| a | b |", "cargo run"];
        assert_eq!(cut(text), expected);
        let kinds: Vec<_> = units(text).iter().map(|unit| unit.kind).collect();
        assert_eq!(kinds[0], UnitKind::Heading);
        assert_eq!(kinds[4..], [UnitKind::Heading, UnitKind::Row, UnitKind::Code]);
    }

    #[test]
    fn long_sentences_are_cut_at_clauses_and_nothing_is_lost() {
        for text in
            [format!("{}.", "word, ".repeat(300)), "x".repeat(2000), "語".repeat(900), "a ".repeat(1000)]
        {
            let pieces = cut(&text);
            assert!(pieces.iter().all(|piece| piece.len() <= MAX_UNIT_BYTES && !piece.is_empty()));
            let letters = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).count();
            assert_eq!(pieces.iter().map(|piece| letters(piece)).sum::<usize>(), letters(&text));
        }
    }

    #[test]
    fn short_lines_stand_alone() {
        assert_eq!(cut("Name: Alice\nCity: Oslo"), ["Name: Alice", "City: Oslo"]);
    }

    #[test]
    fn an_open_fence_ends_with_the_text() {
        assert_eq!(cut("```\nlet x = 1;"), ["let x = 1;"]);
        assert!(cut("```\n```\n---\n").is_empty());
    }
}
