//! A document as loaders hand it over: its source text, its structure, and where it came from.

use agentkit_core::{DocumentId, Locator, Mark, Metadata, Result, Span};
use serde::{Deserialize, Serialize};

/// What kind of text a document's source text is; decides how it is chunked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceKind {
    /// Prose without markup.
    #[default]
    Text,
    /// Markdown; the source text is the file itself.
    Markdown,
    /// The main text extracted from an HTML page.
    Html,
    /// The text extracted from a PDF file, page by page.
    Pdf,
    /// The text extracted from a DOCX file.
    Docx,
    /// The text extracted from an EPUB book.
    Epub,
    /// The rows of a table.
    Table,
    /// The records of a JSON or JSON Lines file.
    Json,
    /// Source code; the source text is the file itself.
    Code,
}

impl SourceKind {
    /// Whether the source text is the original itself, so that offsets in one are offsets in the other.
    #[must_use]
    pub fn is_original(self) -> bool {
        matches!(self, Self::Text | Self::Markdown | Self::Code)
    }
}

/// A heading of the source text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// Byte offset in the source text where the heading's section begins.
    pub offset: usize,
    /// 1 for the outermost.
    pub level: u8,
    /// The heading's text without markup.
    pub title: String,
}

/// A document to be indexed.
///
/// # Examples
/// ```
/// use agentkit_rag::SourceDocument;
///
/// # fn main() -> agentkit_core::Result<()> {
/// let document = SourceDocument::text("notes/1", "Tea is best at 80 degrees.")?.with_title("Tea");
/// assert_eq!(document.id.as_str(), "notes/1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SourceDocument {
    /// Unique within its tenant's collection; a document with the same id replaces this one.
    pub id: DocumentId,
    /// Shown with citations, embedded and searched with every chunk.
    pub title: Option<String>,
    /// Where the document came from, for example a file's path.
    pub uri: Option<String>,
    /// What kind of text it is.
    pub kind: SourceKind,
    /// The UTF-8 text that was extracted; every span refers to it.
    pub source_text: String,
    /// Bytes of the original before the source text, such as a byte order mark; of no meaning unless the kind says that
    /// the source text is the original itself.
    pub original_start: usize,
    /// The headings, by offset.
    pub headings: Vec<Heading>,
    /// Where pages and rows of the original begin, by offset.
    pub marks: Vec<Mark>,
    /// Fields to filter by.
    pub metadata: Metadata,
}

impl SourceDocument {
    /// A document of plain text.
    ///
    /// # Errors
    /// Invalid input, if the id is malformed.
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Result<Self> {
        Ok(Self {
            id: DocumentId::new(id)?,
            title: None,
            uri: None,
            kind: SourceKind::Text,
            source_text: text.into(),
            original_start: 0,
            headings: Vec::new(),
            marks: Vec::new(),
            metadata: Metadata::new(),
        })
    }

    /// Names the document.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says where the document came from.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Sets the fields to filter by.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Where `span` of the source text stands in the original.
    #[must_use]
    pub fn locator(&self, span: Span) -> Locator {
        let mut locator = self.place(span);
        locator.heading_path = self.heading_path(span.start);
        locator
    }

    /// The locator of `span` but for the headings.
    pub(crate) fn place(&self, span: Span) -> Locator {
        let mut locator = Locator::default();
        locator.bytes = self.kind.is_original().then(|| span.shifted(self.original_start));
        let passed = self.marks.partition_point(|mark| mark.offset <= span.start);
        if let Some(mark) = passed.checked_sub(1).and_then(|last| self.marks.get(last)) {
            (locator.page, locator.row) = (mark.page, mark.row);
        }
        let within = self.marks.iter().skip(passed).take_while(|mark| mark.offset < span.end);
        locator.marks = within.copied().collect();
        locator
    }

    /// The titles of the sections that `offset` lies in, outermost first.
    fn heading_path(&self, offset: usize) -> Vec<String> {
        let mut path: Vec<&Heading> = Vec::new();
        for heading in self.headings.iter().take_while(|heading| heading.offset <= offset) {
            path.retain(|outer| outer.level < heading.level);
            path.push(heading);
        }
        path.into_iter().map(|heading| heading.title.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_path_follows_the_levels() {
        let mut document = SourceDocument::text("d", "x".repeat(100)).unwrap();
        document.headings = [(0, 1, "A"), (10, 2, "B"), (20, 3, "C"), (30, 2, "D"), (40, 1, "E")]
            .map(|(offset, level, title)| Heading { offset, level, title: title.into() })
            .to_vec();
        for (at, path) in [(0, "A"), (15, "A/B"), (25, "A/B/C"), (35, "A/D"), (99, "E")] {
            assert_eq!(document.locator(Span::new(at, at)).heading_path.join("/"), path, "at {at}");
        }
    }

    #[test]
    fn pages_and_bytes_are_those_of_the_original() {
        let mut document = SourceDocument::text("d", "x".repeat(100)).unwrap();
        document.original_start = 3;
        document.marks = vec![Mark::page(0, 1), Mark::page(40, 2), Mark::page(60, 3)];
        let locator = document.locator(Span::new(30, 60));
        assert_eq!((locator.page, &locator.marks[..]), (Some(1), &[Mark::page(40, 2)][..]));
        assert_eq!(locator.bytes, Some(Span::new(33, 63)));
        document.kind = SourceKind::Pdf;
        let locator = document.locator(Span::new(60, 61));
        assert_eq!((locator.page, locator.bytes), (Some(3), None));
    }
}
