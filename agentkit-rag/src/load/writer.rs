//! Text with the gaps that its structure asks for, and the headings' offsets.
//!
//! Gaps between words, cells, lines and paragraphs are noted when elements open and close and written only before the
//! next text; the widest one wins.

use crate::source::Heading;

/// A text and the headings in it.
#[derive(Debug, Default)]
pub(super) struct Extract {
    /// The text; no line ends in white space.
    pub(super) text: String,
    /// The headings, by offset in the text.
    pub(super) headings: Vec<Heading>,
}

/// What an element means for the text around and in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Inline,
    Hidden,
    Break,
    Block,
    Row,
    Cell,
    List,
    Item,
    Preformatted,
    /// With its level, 1 for the outermost.
    Heading(u8),
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

/// Writes text with the gaps that the elements ask for.
#[derive(Debug, Default)]
pub(super) struct Writer {
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
    /// Opens an element.
    pub(super) fn open(&mut self, role: Role) {
        match role {
            Role::Hidden | Role::Inline => {}
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
    }

    /// Closes an element that was opened.
    pub(super) fn close(&mut self, role: Role) {
        match role {
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

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.text.len()
    }

    /// Everything that was written.
    pub(super) fn finish(mut self) -> Extract {
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

    /// Writes text of the element that is open.
    pub(super) fn write(&mut self, text: &str) {
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
