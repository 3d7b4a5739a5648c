//! Markdown: the file is the source text; headings and title are found by a `CommonMark` parser.

use agentkit_core::Result;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{Loader, RawFile};
use crate::source::{Heading, SourceDocument, SourceKind};

/// Longest front matter in bytes; a `---` line without an end so near is a thematic break.
const MAX_FRONT_MATTER: usize = 64 * 1024;

/// Loads Markdown.
///
/// The source text is the file without its byte order mark, if it has one. The title is that of the front matter,
/// else the first heading of level 1. Only headings of the document itself count, none in quotes, lists or code.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct MarkdownLoader;

impl Loader for MarkdownLoader {
    fn extensions(&self) -> &[&str] {
        &["md", "markdown", "mdx"]
    }

    fn media_types(&self) -> &[&str] {
        &["text/markdown", "text/x-markdown"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut document = raw.original()?;
        let text = &document.source_text;
        let (front_matter, body_start) = front_matter(text);
        let headings = headings(text, body_start);
        let first = || headings.iter().find(|heading| heading.level == 1).map(|h| h.title.clone());
        let title = front_matter.and_then(title_field).or_else(first);
        document.kind = SourceKind::Markdown;
        document.title = title;
        document.headings = headings;
        Ok(document)
    }
}

/// The front matter at the very start, without its fences, and where the body begins.
fn front_matter(text: &str) -> (Option<&str>, usize) {
    const NONE: (Option<&str>, usize) = (None, 0);
    let Some(fence) = ["---", "+++"].into_iter().find(|fence| text.starts_with(fence)) else { return NONE };
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == fence) else { return NONE };
    let mut at = first.len();
    for line in lines {
        if line.trim_end() == fence || (fence == "---" && line.trim_end() == "...") {
            return (text.get(first.len()..at), at + line.len());
        }
        at += line.len();
        if at > MAX_FRONT_MATTER {
            break;
        }
    }
    NONE
}

/// The `title` of YAML or TOML front matter, if it is a plain or quoted scalar on one line.
fn title_field(front_matter: &str) -> Option<String> {
    let value = front_matter.lines().find_map(|line| {
        let rest = line.strip_prefix("title")?.trim_start();
        rest.strip_prefix([':', '=']).map(str::trim)
    })?;
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let title = quoted('"').or_else(|| quoted('\'')).unwrap_or(value).trim();
    (!title.is_empty() && !title.starts_with(['|', '>', '[', '{'])).then(|| title.to_owned())
}

/// The headings of the document itself, by offset; those without text are left out.
fn headings(text: &str, body_start: usize) -> Vec<Heading> {
    let mut found = Vec::new();
    let mut open: Option<Heading> = None;
    let mut depth = 0_usize;
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_HEADING_ATTRIBUTES;
    let body = text.get(body_start..).unwrap_or_default();
    for (event, range) in Parser::new_ext(body, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if let (0, Tag::Heading { level, .. }) = (depth, tag) {
                    let (offset, level) = (body_start + range.start, level as u8);
                    open = Some(Heading { offset, level, title: String::new() });
                }
                depth += 1;
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && matches!(end, TagEnd::Heading(_)) {
                    found.extend(open.take().and_then(finished));
                }
            }
            event => add_text(open.as_mut(), &event),
        }
    }
    found
}

/// Adds what a reader sees of `event` to the heading that is open.
fn add_text(heading: Option<&mut Heading>, event: &Event<'_>) {
    let Some(heading) = heading else { return };
    match event {
        Event::Text(text) | Event::Code(text) => heading.title.push_str(text),
        Event::SoftBreak | Event::HardBreak => heading.title.push(' '),
        _ => {}
    }
}

/// `heading` with its white space tidied, unless nothing is left.
fn finished(mut heading: Heading) -> Option<Heading> {
    heading.title = heading.title.split_whitespace().collect::<Vec<_>>().join(" ");
    (!heading.title.is_empty()).then_some(heading)
}

#[cfg(test)]
mod tests {
    use agentkit_core::DocumentId;

    use super::*;

    fn load(text: &str) -> SourceDocument {
        let raw = RawFile::new(DocumentId::new("d.md").unwrap(), text.as_bytes());
        MarkdownLoader.load(&raw).unwrap()
    }

    fn outline(document: &SourceDocument) -> Vec<(u8, &str, &str)> {
        let line = |h: &Heading| document.source_text[h.offset..].lines().next().unwrap();
        document.headings.iter().map(|h| (h.level, h.title.as_str(), line(h))).collect()
    }

    #[test]
    fn headings_of_both_styles_are_found_where_they_stand() {
        let document =
            load("Größe\n=====\n\ntext\n\n## `code` and *stress* ##\n\nLow\nlines\n---\n\n### Attr {#id}\n");
        assert_eq!(
            outline(&document),
            [
                (1, "Größe", "Größe"),
                (2, "code and stress", "## `code` and *stress* ##"),
                (2, "Low lines", "Low"),
                (3, "Attr", "### Attr {#id}"),
            ]
        );
        assert_eq!(document.title.as_deref(), Some("Größe"));
    }

    #[test]
    fn what_only_looks_like_a_heading_is_none() {
        let document = load(
            "```\n# in a fence\n```\n\n    # indented\n\n> # quoted\n\n- # listed\n\n#no space\n\n#\n\n<pre>\n# html\n</pre>\n",
        );
        assert_eq!(outline(&document), []);
        assert_eq!(document.title, None);
    }

    #[test]
    fn front_matter_gives_the_title_and_is_no_heading() {
        for (front, title) in [
            ("---\ntitle: Plain text\nlayout: x\n---\n", Some("Plain text")),
            ("---\r\ntitle: 'Quoted: yes'\r\n---\r\n", Some("Quoted: yes")),
            ("---\nlayout: x\n...\n", Some("Body")),
            ("+++\ntitle = \"Toml\"\n+++\n", Some("Toml")),
            ("---\ntitle: >\n  folded\n---\n", Some("Body")),
        ] {
            let document = load(&format!("{front}# Body\n"));
            assert_eq!(document.title.as_deref(), title, "{front:?}");
            assert_eq!(outline(&document), [(1, "Body", "# Body")], "{front:?}");
        }
    }

    #[test]
    fn a_break_in_the_middle_is_no_front_matter() {
        assert_eq!(outline(&load("text\n\n---\nFoo\n---\n")), [(2, "Foo", "Foo")]);
        assert_eq!(outline(&load("---\n\n# Foo\n")), [(1, "Foo", "# Foo")]);
    }
}
