//! Where a passage stands: its span in the source text, and its place in the original.

use serde::{Deserialize, Serialize};

/// A byte range of a text, on character boundaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to `end`.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The text at this span, or `None` if it lies outside or splits a character.
    #[must_use]
    pub fn slice<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.get(self.start..self.end)
    }

    /// This span, given relative to one that starts at `offset`, in absolute terms.
    #[must_use]
    pub fn shifted(&self, offset: usize) -> Self {
        Self::new(self.start + offset, self.end + offset)
    }
}

/// Where a page or a row of the original begins in the source text.
///
/// # Examples
/// ```
/// let mark = agentkit_core::Mark::page(120, 2);
/// assert_eq!((mark.offset, mark.page, mark.row), (120, Some(2), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Mark {
    /// Byte offset in the source text.
    pub offset: usize,
    /// The page that begins here or goes on, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The row that begins here, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
}

impl Mark {
    /// The start of a page, counted from 1.
    #[must_use]
    pub fn page(offset: usize, page: u32) -> Self {
        Self { offset, page: Some(page), row: None }
    }

    /// The start of a row, counted from 1.
    #[must_use]
    pub fn row(offset: usize, row: u64) -> Self {
        Self { offset, page: None, row: Some(row) }
    }
}

/// Where a passage stands in the original file, which may not be text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Locator {
    /// Headings above the passage, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heading_path: Vec<String>,
    /// Byte range in the original, if the original is UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Span>,
    /// Page on which it begins, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Row of a table, or record of a file, in which it begins, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The pages and rows that begin within it, by offset in the document's source text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

impl Locator {
    /// The locator of `part`, where `self` is that of `whole`; both are spans of the same source text, one in the other.
    ///
    /// So a quotation of a few words is found on its own page, whatever page its passage begins on.
    ///
    /// # Examples
    /// ```
    /// use agentkit_core::{Locator, Mark, Span};
    ///
    /// let mut passage = Locator::default();
    /// passage.page = Some(3);
    /// passage.marks = vec![Mark::page(150, 4)];
    /// let quote = passage.narrowed(Span::new(100, 200), Span::new(160, 180));
    /// assert_eq!(quote.page, Some(4));
    /// ```
    #[must_use]
    pub fn narrowed(&self, whole: Span, part: Span) -> Self {
        let mut narrowed = self.clone();
        narrowed.bytes = self.bytes.map(|bytes| {
            let start = bytes.start + part.start.saturating_sub(whole.start);
            Span::new(start, start + part.end.saturating_sub(part.start))
        });
        let passed = self.marks.partition_point(|mark| mark.offset <= part.start);
        if let Some(mark) = passed.checked_sub(1).and_then(|last| self.marks.get(last)) {
            (narrowed.page, narrowed.row) = (mark.page, mark.row);
        }
        narrowed.marks.retain(|mark| part.start < mark.offset && mark.offset < part.end);
        narrowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_the_last_mark_before_it() {
        let mut whole = Locator { row: Some(1), bytes: Some(Span::new(13, 43)), ..Locator::default() };
        whole.marks = vec![Mark::row(20, 2), Mark::row(30, 3)];
        let span = Span::new(10, 40);
        for (part, row, marks) in [((10, 40), 1, 2), ((12, 19), 1, 0), ((20, 31), 2, 1), ((35, 40), 3, 0)] {
            let part = Span::new(part.0, part.1);
            let narrowed = whole.narrowed(span, part);
            assert_eq!((narrowed.row, narrowed.marks.len()), (Some(row), marks), "{part:?}");
            assert_eq!(narrowed.bytes, Some(part.shifted(3)));
        }
    }

    #[test]
    fn a_locator_without_marks_reads_as_it_always_did() {
        let json = "{\"heading_path\":[\"A\"],\"page\":2}";
        let locator: Locator = serde_json::from_str(json).unwrap();
        assert_eq!(locator.page, Some(2));
        assert_eq!(serde_json::to_string(&locator).unwrap(), json);
    }
}
