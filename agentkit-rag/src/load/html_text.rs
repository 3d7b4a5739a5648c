//! The visible text of an HTML tree, with blank lines between paragraphs and the headings' offsets.
//!
//! The walk keeps no stack of its own, so the depth of a page costs nothing. Gaps between words, cells, lines and
//! paragraphs are noted when elements open and close and written only before the next text; the widest one wins.

use dom_query::NodeRef;

use crate::source::Heading;

/// The text of a tree and the headings in it.
#[derive(Debug, Default)]
pub(super) struct Extract {
    /// The text; no line ends in white space.
    pub(super) text: String,
    /// The headings, by offset in the text.
    pub(super) headings: Vec<Heading>,
}

/// The visible text under `root`.
pub(super) fn render(root: &NodeRef<'_>) -> Extract {
    let mut writer = Writer::default();
    let mut node = *root;
    loop {
        if writer.enter(&node)
            && let Some(child) = node.first_child()
        {
            node = child;
            continue;
        }
        loop {
            writer.leave(&node);
            if node.id == root.id {
                return writer.finish();
            }
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else { return writer.finish() };
            node = parent;
        }
    }
}

/// What stands between two pieces of text, from narrow to wide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Cell,
    Line,
    Paragraph,
}

/// What an element means for the text around and in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Inline,
    Hidden,
    Break,
    Block,
    Row,
    Cell,
    List,
    Item,
    Preformatted,
    Heading(u8),
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            "script" | "style" | "noscript" | "template" | "head" | "nav" | "footer" | "aside" | "svg"
            | "canvas" | "iframe" | "object" | "embed" | "audio" | "video" | "map" | "button" | "select"
            | "input" | "textarea" | "datalist" | "dialog" => Self::Hidden,
            "br" => Self::Break,
            "address" | "article" | "blockquote" | "body" | "caption" | "center" | "details" | "div"
            | "dl" | "fieldset" | "figcaption" | "figure" | "form" | "header" | "hgroup" | "hr"
            | "legend" | "main" | "p" | "section" | "summary" | "table" => Self::Block,
            "tr" | "dt" | "dd" => Self::Row,
            "td" | "th" => Self::Cell,
            "ul" | "ol" | "menu" => Self::List,
            "li" => Self::Item,
            "pre" | "listing" | "xmp" => Self::Preformatted,
            "h1" => Self::Heading(1),
            "h2" => Self::Heading(2),
            "h3" => Self::Heading(3),
            "h4" => Self::Heading(4),
            "h5" => Self::Heading(5),
            "h6" => Self::Heading(6),
            _ => Self::Inline,
        }
    }
}

/// Writes text with the gaps that the elements ask for.
#[derive(Debug, Default)]
struct Writer {
    out: Extract,
    gap: Gap,
    /// Whether nothing was written since a cell or item opened: blocks in it then ask for no gap of their own.
    fresh: bool,
    /// Whether the next text begins a list item.
    bullet: bool,
    lists: usize,
    preformatted: usize,
    /// The level of the heading that is open, and where its text begins once it has some.
    heading: Option<(u8, Option<usize>)>,
}

impl Writer {
    /// Opens `node`; whether its children are to be visited.
    fn enter(&mut self, node: &NodeRef<'_>) -> bool {
        if node.is_text() {
            self.write(&node.text());
            return false;
        }
        match role(node) {
            Role::Hidden => return false,
            Role::Inline => {}
            Role::Break => self.gap = self.gap.max(Gap::Line),
            Role::Block => self.ask(self.block_gap()),
            Role::Row => self.ask(Gap::Line),
            Role::Cell => self.open_cell(),
            Role::List => self.open_list(),
            Role::Item => self.open_item(),
            Role::Preformatted => {
                self.ask(Gap::Paragraph);
                self.preformatted += 1;
            }
            Role::Heading(level) => {
                self.ask(Gap::Paragraph);
                self.heading = Some((level, None));
            }
        }
        true
    }

    /// Closes `node`.
    fn leave(&mut self, node: &NodeRef<'_>) {
        if node.is_text() {
            return;
        }
        match role(node) {
            Role::Hidden | Role::Inline | Role::Break => {}
            Role::Block => self.ask(self.block_gap()),
            Role::Row => self.ask(Gap::Line),
            Role::Cell => self.close_cell(),
            Role::Item => self.close_item(),
            Role::List => {
                self.lists = self.lists.saturating_sub(1);
                self.ask(self.block_gap());
            }
            Role::Preformatted => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.ask(Gap::Paragraph);
            }
            Role::Heading(_) => self.close_heading(),
        }
    }

    fn finish(mut self) -> Extract {
        self.out.text.truncate(self.out.text.trim_end().len());
        self.out
    }

    /// Asks for a gap before the next text.
    fn ask(&mut self, gap: Gap) {
        if !self.fresh {
            self.gap = self.gap.max(gap);
        }
    }

    /// Blocks stand apart, but closer together in a list.
    fn block_gap(&self) -> Gap {
        if self.lists == 0 { Gap::Paragraph } else { Gap::Line }
    }

    /// The first cell of a row begins the line, the others follow after a bar.
    fn open_cell(&mut self) {
        if self.gap < Gap::Line && !self.fresh {
            self.gap = Gap::Cell;
        }
        self.fresh = true;
    }

    /// Gaps asked for in a cell end with it; one that was never written to leaves everything as it was.
    fn close_cell(&mut self) {
        if !std::mem::take(&mut self.fresh) {
            self.gap = Gap::None;
        }
    }

    fn open_list(&mut self) {
        self.ask(self.block_gap());
        self.lists += 1;
    }

    fn open_item(&mut self) {
        self.gap = self.gap.max(Gap::Line);
        self.fresh = true;
        self.bullet = true;
    }

    fn close_item(&mut self) {
        self.fresh = false;
        self.bullet = false;
        self.ask(Gap::Line);
    }

    fn close_heading(&mut self) {
        if let Some((level, Some(offset))) = self.heading.take() {
            let title = self.out.text.get(offset..).unwrap_or_default();
            let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
            self.out.headings.push(Heading { offset, level, title });
        }
        self.ask(Gap::Paragraph);
    }

    fn write(&mut self, text: &str) {
        if self.preformatted > 0 {
            if !text.trim().is_empty() {
                self.begin();
            }
            self.out.text.push_str(text);
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.gap = self.gap.max(Gap::Space);
        }
        for word in text.split_whitespace() {
            self.begin();
            self.out.text.push_str(word);
            self.gap = Gap::Space;
        }
        if !text.is_empty() && !text.ends_with(char::is_whitespace) && self.gap == Gap::Space {
            self.gap = Gap::None;
        }
    }

    /// Writes the gap that was asked for, and the bullet of an item; the next text follows at once.
    fn begin(&mut self) {
        let text = &mut self.out.text;
        if self.gap >= Gap::Line {
            text.truncate(text.trim_end().len());
        }
        if !text.is_empty() {
            text.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Cell => " | ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        if std::mem::take(&mut self.bullet) {
            text.push_str(&"  ".repeat(self.lists.saturating_sub(1)));
            text.push_str("- ");
        }
        if let Some((_, start @ None)) = &mut self.heading {
            *start = Some(text.len());
        }
        self.gap = Gap::None;
        self.fresh = false;
    }
}

/// The role of an element; hidden if its attributes say so.
fn role(node: &NodeRef<'_>) -> Role {
    let Some(name) = node.node_name() else {
        return if node.is_comment() || node.is_doctype() { Role::Hidden } else { Role::Inline };
    };
    let invisible =
        node.has_attr("hidden") || node.attr("aria-hidden").is_some_and(|value| &*value == "true");
    if invisible { Role::Hidden } else { Role::of(&name) }
}

#[cfg(test)]
mod tests {
    use dom_query::Document;

    use super::*;

    #[test]
    fn the_layout_of_blocks_lists_tables_and_code_is_kept() {
        for (html, text) in [
            ("<p>a<p>b", "a\n\nb"),
            ("<div><div><p>a</p></div></div>\n <div>b</div>", "a\n\nb"),
            ("a <b> b</b>c<i> d </i> e", "a bc d e"),
            ("a<br>b<br/><br>c", "a\nb\nc"),
            ("x<ul><li>a<li><p>b</p><ul><li>c</ul></ul>y", "x\n\n- a\n- b\n  - c\n\ny"),
            ("<table><tr><th>k<th><p>v</p><tr><td>a<td>b</table>z", "k | v\na | b\n\nz"),
            ("<table><tr><td>a<td><td>c<tr><td><td>e</table>", "a | c\ne"),
            ("<p>see<pre>fn a() {\n    b\n}\n\n</pre>end", "see\n\nfn a() {\n    b\n}\n\nend"),
            ("<dl><dt>k<dd>v</dl>", "k\nv"),
            ("a&nbsp;b\u{a0} c", "a b c"),
            ("<p hidden>x</p><span aria-hidden=true>y</span>z", "z"),
        ] {
            let page = Document::from(html);
            assert_eq!(render(&page.root()).text, text, "{html}");
        }
    }

    #[test]
    fn headings_begin_where_their_text_does() {
        let page = Document::from(
            "<p>é</p><h2>\n One <em>two</em>\n</h2><p>x</p><h3></h3><ul><li><h4>Four</h4>y</ul>",
        );
        let extract = render(&page.root());
        let found: Vec<_> = extract.headings.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(found, [(2, "One two"), (4, "Four")]);
        for heading in &extract.headings {
            assert!(extract.text[heading.offset..].starts_with(&heading.title), "{extract:?}");
        }
    }
}
