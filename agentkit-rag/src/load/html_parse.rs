//! Parsing HTML within bounds of size, depth and attributes.
//!
//! The parser takes time by the square of the nesting and of the attributes of one tag, so a page of a megabyte could
//! keep it busy for hours. What a tag nests in is only known to the parser itself: comments, scripts and misplaced
//! end tags deceive any simpler count. So it is fed in parts, and the tree is measured after each. Attributes are
//! counted before, from every place that a tag could begin at.

use agentkit_core::Result;
use dom_query::{Document, NodeRef};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{ParseOpts, parse_document};

use super::limits::Budget;
use crate::chunk::floor_boundary;

/// Largest page in bytes; the tree of a page takes many times its size.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting; browsers stop here as well.
pub(super) const MAX_DEPTH: usize = 512;
/// Most attributes of one tag.
const MAX_ATTRIBUTES: u32 = 4096;
/// Bytes fed to the parser at a time at least: few enough for any nesting in them.
const PART_BYTES: usize = 32 << 10;
/// A part is at least one in this many of what went before, so that measuring the tree stays in proportion.
const PART_SHARE: usize = 64;

/// The tree of a page.
pub(super) fn parse(budget: &Budget, html: &str) -> Result<Document> {
    if html.len() > MAX_BYTES {
        let bytes = html.len();
        return Err(budget
            .exceeded(format_args!("a page of {bytes} bytes is over the limit of {MAX_BYTES}; split it")));
    }
    if let Some(at) = too_many_attributes(html.as_bytes()) {
        return Err(budget.exceeded(format_args!(
            "the tag at byte offset {at} has more attributes than the limit of {MAX_ATTRIBUTES}"
        )));
    }
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let options = ParseOpts { tree_builder, ..ParseOpts::default() };
    let mut parser = parse_document(Document::default(), options);
    let depth = budget.limits.depth.min(MAX_DEPTH);
    let mut rest = html;
    while !rest.is_empty() {
        let size = PART_BYTES.max((html.len() - rest.len()) / PART_SHARE);
        let (part, after) = rest.split_at(floor_boundary(rest, size));
        parser.process(StrTendril::from(part));
        rest = after;
        budget.check_time()?;
        if deeper_than(&parser.tokenizer.sink.sink, depth) {
            let at = html.len() - rest.len();
            return Err(budget.exceeded(format_args!(
                "elements are nested deeper than the limit of {depth} before byte offset {at}"
            )));
        }
    }
    Ok(parser.finish())
}

/// Whether some node has more than `limit` others above it; the contents of templates count too.
fn deeper_than(page: &Document, limit: usize) -> bool {
    let mut open: Vec<(NodeRef<'_>, usize)> = vec![(page.root(), 0)];
    while let Some((node, depth)) = open.pop() {
        if depth > limit {
            return true;
        }
        let template = node.element_ref().and_then(|element| element.template_contents);
        open.extend(node.next_sibling().map(|next| (next, depth)));
        open.extend(node.first_child().map(|child| (child, depth + 1)));
        open.extend(template.and_then(|id| page.tree.get(&id)).map(|content| (content, depth + 1)));
    }
    false
}

/// Where a tokenizer stands in a tag, by the states of the HTML standard (13.2.5).
#[derive(Clone, Copy)]
enum InTag {
    TagName,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    DoubleQuoted,
    SingleQuoted,
    Unquoted,
}

impl InTag {
    const ALL: [Self; 8] = [
        Self::TagName,
        Self::BeforeName,
        Self::Name,
        Self::AfterName,
        Self::BeforeValue,
        Self::DoubleQuoted,
        Self::SingleQuoted,
        Self::Unquoted,
    ];

    /// Where `byte` leads to, and whether an attribute begins with it; none if the tag ends.
    fn next(self, byte: u8) -> Option<(Self, bool)> {
        use InTag::{
            AfterName, BeforeName, BeforeValue, DoubleQuoted, Name, SingleQuoted, TagName, Unquoted,
        };
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0C');
        let to = match (self, byte) {
            (DoubleQuoted, b'"') | (SingleQuoted, b'\'') => BeforeName,
            (DoubleQuoted | SingleQuoted, _) => self,
            (_, b'>') => return None,
            (BeforeValue, b'"') => DoubleQuoted,
            (BeforeValue, b'\'') => SingleQuoted,
            (BeforeValue, _) => {
                if space {
                    BeforeValue
                } else {
                    Unquoted
                }
            }
            (Unquoted, _) => {
                if space {
                    BeforeName
                } else {
                    Unquoted
                }
            }
            (Name | AfterName, b'=') => BeforeValue,
            (Name | AfterName, _) if space => AfterName,
            (TagName | BeforeName, _) if space => BeforeName,
            (_, b'/') => BeforeName,
            (TagName, _) => TagName,
            (Name, _) => Name,
            (BeforeName | AfterName, _) => return Some((Name, true)),
        };
        Some((to, false))
    }
}

/// Where a tag could begin that has too many attributes.
///
/// Goes from the end to the start and keeps, for each state, the attributes up to the end of a tag that is in that
/// state here. So every `<` is looked at as the start of a tag, whether it is one or not, in one pass.
fn too_many_attributes(html: &[u8]) -> Option<usize> {
    let mut counts = [0_u32; 8];
    for (at, byte) in html.iter().enumerate().rev() {
        if *byte == b'<' && counts.first().is_some_and(|count| *count > MAX_ATTRIBUTES) {
            return Some(at);
        }
        counts = InTag::ALL.map(|state| match state.next(*byte) {
            None => 0,
            Some((to, begins)) => counts.get(to as usize).map_or(0, |count| count + u32::from(begins)),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::RawFile;
    use super::*;

    fn refused(html: &str) -> bool {
        let budget = Budget::start(&RawFile::new(DocumentId::new("page.html").unwrap(), b""));
        parse(&budget, html).err().is_some_and(|error| error.kind() == ErrorKind::ResourceExhausted)
    }

    #[test]
    fn nesting_is_bounded_however_it_is_disguised() {
        for (before, inner) in [
            ("", "<div>"),
            ("", "<div></no-such>"),
            ("", "<div><!--</div>-->"),
            ("", "<div><p title='</div>'>"),
            ("", "<div><script></div></script>"),
            ("", "<b><div></b>"),
            ("", "<template><div>"),
            ("<table>", "<div>"),
            ("", "<table><tr><td>"),
            ("<svg>", "<g>"),
        ] {
            assert!(refused(&format!("{before}{}", inner.repeat(60_000))), "{before}{inner}");
        }
    }

    #[test]
    fn wide_pages_are_taken() {
        let nested = MAX_DEPTH - 4;
        let deep = format!("{}tea{}", "<div>".repeat(nested), "</div>".repeat(nested));
        let quoted = format!("<p title='{}'>x", "a b ".repeat(10_000));
        for html in
            ["<p>one<li>two<tr><td>three<br>".repeat(9_000), "<img src=x>".repeat(9_000), deep, quoted]
        {
            assert!(!refused(&html), "{}", &html[..40]);
        }
    }

    #[test]
    fn attributes_of_a_tag_are_bounded_however_they_are_written() {
        let attributes =
            |form: &str| -> String { (0..5_000).map(|n| form.replace('N', &n.to_string())).collect() };
        for form in ["aN ", "aN=x ", "aN='>' ", "aN=\"<p>\"", "aN/", "aN = 'x'\n", "<pN "] {
            assert!(refused(&format!("text <p {}>x", attributes(form))), "{form}");
        }
        assert!(refused(&format!("<p {}", attributes("aN "))));
        assert!(!refused(&format!("<p title=\"{}\">x", attributes("aN "))));
        assert!(!refused(&attributes("<p aN>")));
    }
}
