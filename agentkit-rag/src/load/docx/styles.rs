//! Which paragraph styles of a DOCX file are headings, and of which level.

use std::collections::HashMap;

use agentkit_core::Result;

use super::super::limits::Budget;
use super::super::xml::{Element, Node, walk};

/// A style is looked up through so many others that it is based on.
const MAX_ANCESTORS: usize = 16;
/// Levels beyond are body text.
const MAX_LEVEL: u8 = 9;

/// The paragraph styles of a document.
#[derive(Debug, Default)]
pub(super) struct Styles(HashMap<String, Style>);

#[derive(Debug, Default)]
struct Style {
    is_title: bool,
    level: Option<u8>,
    based_on: Option<String>,
}

impl Styles {
    /// Reads the part that defines them.
    pub(super) fn read(xml: &str, part: &str, budget: &Budget) -> Result<Self> {
        let mut styles = HashMap::new();
        let mut open: Option<(String, Style)> = None;
        walk(xml, part, budget, &mut |node| {
            match node {
                Node::Open(element) if element.name() == "style" => {
                    open = element.attribute("styleId").map(|id| (id, Style::default()));
                }
                Node::Open(element) => {
                    if let Some((_, style)) = &mut open {
                        style.take(element);
                    }
                }
                Node::Close("style") => styles.extend(open.take()),
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self(styles))
    }

    /// The level of a heading of this style, 1 for the outermost.
    pub(super) fn level(&self, style: &str) -> Option<u8> {
        let mut id = style;
        for _ in 0..MAX_ANCESTORS {
            let Some(style) = self.0.get(id) else { break };
            if style.level.is_some() {
                return style.level;
            }
            id = style.based_on.as_deref()?;
        }
        // Without definitions the usual names say it.
        self.0.is_empty().then(|| named_level(style)).flatten()
    }

    /// Whether paragraphs of this style are the document's title.
    pub(super) fn is_title(&self, style: &str) -> bool {
        self.0.get(style).map_or(style == "Title", |style| style.is_title)
    }
}

impl Style {
    fn take(&mut self, element: &Element<'_>) {
        let value = || element.attribute("val").unwrap_or_default();
        match element.name() {
            "name" => {
                let name = value();
                self.is_title = name.eq_ignore_ascii_case("title");
                self.level = self.level.or_else(|| named_level(&name));
            }
            "basedOn" => self.based_on = Some(value()),
            "outlineLvl" => self.level = outline_level(&value()).or(self.level),
            _ => {}
        }
    }
}

/// The level in a name such as `heading 2` or `Heading2`.
fn named_level(name: &str) -> Option<u8> {
    let lower = name.to_ascii_lowercase();
    let level = lower.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=MAX_LEVEL).contains(&level).then_some(level)
}

/// The level that an outline level counted from 0 is.
pub(super) fn outline_level(value: &str) -> Option<u8> {
    let level = value.parse::<u8>().ok()?.checked_add(1)?;
    (level <= MAX_LEVEL).then_some(level)
}
