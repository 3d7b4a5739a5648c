//! The text of a DOCX part: paragraphs, lists, tables and text boxes.

use agentkit_core::Result;

use super::super::limits::Budget;
use super::super::writer::{Role, Writer};
use super::super::xml::{Element, Node};
use super::styles::{Styles, outline_level};

/// Writes the text of the part that is walked over.
pub(super) struct Body<'a> {
    styles: &'a Styles,
    budget: &'a Budget,
    writer: &'a mut Writer,
    /// The paragraphs that are open: a text box has its own within one.
    paragraphs: Vec<Paragraph>,
    /// How many elements deep the part is in what is left out.
    skipped: usize,
    runs: usize,
    texts: usize,
    cells: usize,
    title: Option<String>,
}

/// A paragraph that is open.
#[derive(Default)]
struct Paragraph {
    heading: Option<u8>,
    is_title: bool,
    is_item: bool,
    /// What it was opened as; nothing before its first text.
    opened: Option<Role>,
}

impl<'a> Body<'a> {
    pub(super) fn new(styles: &'a Styles, budget: &'a Budget, writer: &'a mut Writer) -> Self {
        Self {
            styles,
            budget,
            writer,
            paragraphs: Vec::new(),
            skipped: 0,
            runs: 0,
            texts: 0,
            cells: 0,
            title: None,
        }
    }

    /// The text of the first paragraph of style Title.
    pub(super) fn title(&mut self) -> Option<String> {
        let title = self.title.take()?.split_whitespace().collect::<Vec<_>>().join(" ");
        (!title.is_empty()).then_some(title)
    }

    pub(super) fn visit(&mut self, node: &Node<'_, '_>) -> Result<()> {
        match node {
            Node::Open(element) if self.skipped > 0 || is_left_out(element.name()) => self.skipped += 1,
            Node::Close(_) if self.skipped > 0 => self.skipped -= 1,
            Node::Open(element) => self.open(element),
            Node::Close(name) => {
                self.close(name);
                self.budget.check_text(self.writer.len())?;
            }
            Node::Text(text) => {
                if self.texts > 0 && self.skipped == 0 {
                    self.write(text);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            "p" => self.paragraphs.push(Paragraph::default()),
            "r" => self.runs += 1,
            "t" => self.texts += 1,
            "tab" | "ptab" if self.runs > 0 => self.write(" "),
            "br" | "cr" if self.runs > 0 => self.writer.open(Role::Break),
            "noBreakHyphen" => self.write("-"),
            "tbl" => self.writer.open(self.table()),
            "tr" => self.writer.open(Role::Row),
            "tc" => {
                self.writer.open(Role::Cell);
                self.cells += 1;
            }
            name => self.property(name, element),
        }
    }

    /// Takes what the properties of a paragraph say of it.
    fn property(&mut self, name: &str, element: &Element<'_>) {
        let Some(paragraph) = self.paragraphs.last_mut() else { return };
        match name {
            "pStyle" => {
                let style = element.attribute("val").unwrap_or_default();
                paragraph.heading = paragraph.heading.or(self.styles.level(&style));
                paragraph.is_title = self.styles.is_title(&style);
            }
            "outlineLvl" => {
                let level = element.attribute("val");
                paragraph.heading = level.and_then(|level| outline_level(&level)).or(paragraph.heading);
            }
            "numPr" => paragraph.is_item = true,
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "p" => {
                if let Some(role) = self.paragraphs.pop().and_then(|paragraph| paragraph.opened) {
                    self.writer.close(role);
                }
            }
            "r" => self.runs = self.runs.saturating_sub(1),
            "t" => self.texts = self.texts.saturating_sub(1),
            "tbl" => self.writer.close(self.table()),
            "tr" => self.writer.close(Role::Row),
            "tc" => {
                self.cells = self.cells.saturating_sub(1);
                self.writer.close(Role::Cell);
            }
            _ => {}
        }
    }

    /// A table in a cell stays on lines of its own in it.
    fn table(&self) -> Role {
        if self.cells > 0 { Role::Row } else { Role::Block }
    }

    fn write(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            if paragraph.opened.is_none() && !text.trim().is_empty() {
                let role = paragraph.role(self.cells > 0);
                paragraph.opened = Some(role);
                self.writer.open(role);
            }
            if paragraph.is_title && self.paragraphs.len() == 1 {
                self.title.get_or_insert_default().push_str(text);
            }
        }
        self.writer.write(text);
    }
}

impl Paragraph {
    fn role(&self, in_cell: bool) -> Role {
        match self.heading {
            _ if in_cell => Role::Row,
            Some(level) => Role::Heading(level),
            None if self.is_title => Role::Heading(1),
            None if self.is_item => Role::Item,
            None => Role::Block,
        }
    }
}

/// What is not read: text for older programs that repeats the present one, and what changes have moved away.
fn is_left_out(name: &str) -> bool {
    matches!(name, "Fallback" | "moveFrom" | "del")
}
