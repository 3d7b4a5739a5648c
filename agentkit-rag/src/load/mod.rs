//! Loading: turning the bytes of a file into a document with its source text, title and headings.
//!
//! A [`Loader`] knows one family of formats and is pure over bytes. [`Loaders`] picks the right one, and
//! [`walk`] finds the files of a folder and hands them over one by one, so that a large tree is never in memory.

#[cfg(any(feature = "docx", feature = "epub"))]
mod archive;
#[cfg(feature = "code")]
mod code;
mod directory;
#[cfg(feature = "docx")]
mod docx;
#[cfg(feature = "epub")]
mod epub;
mod html;
mod html_parse;
mod html_text;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod json_fields;
mod limits;
mod markdown;
#[cfg(feature = "pdf")]
mod pdf;
#[cfg(any(feature = "csv", feature = "json"))]
mod records;
mod registry;
#[cfg(feature = "csv")]
mod table;
mod text;
mod writer;
#[cfg(any(feature = "docx", feature = "epub"))]
mod xml;

use agentkit_core::{DocumentId, Result};

use crate::source::SourceDocument;

#[cfg(feature = "code")]
pub use code::CodeLoader;
pub use directory::{FileOutcome, LoadEvent, LoadOptions, Walk, load_path, walk};
#[cfg(feature = "docx")]
pub use docx::DocxLoader;
#[cfg(feature = "epub")]
pub use epub::EpubLoader;
pub use html::HtmlLoader;
#[cfg(feature = "json")]
pub use json::JsonLoader;
pub use limits::LoadLimits;
pub use markdown::MarkdownLoader;
#[cfg(feature = "pdf")]
pub use pdf::PdfLoader;
#[cfg(any(feature = "csv", feature = "json"))]
pub use records::RecordMapping;
pub use registry::{Loaders, load_bytes};
#[cfg(feature = "csv")]
pub use table::{CsvLoader, Header};
pub use text::TextLoader;

/// Turns the bytes of one family of formats into documents.
///
/// # Contract for implementers
/// - The result depends on the bytes, the name and the limits alone: no file or network is touched, and the clock only to
///   stop in time.
/// - The document keeps the id and the uri of the raw file; its headings come in order of their offsets.
/// - Any bytes are accepted or refused with an error that names the file; none make it panic, and what is beyond
///   the limits of the raw file is refused as resource exhausted.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use agentkit_core::Result;
/// use agentkit_rag::SourceDocument;
/// use agentkit_rag::load::{Loader, Loaders, RawFile};
///
/// /// Subtitles: the spoken lines without numbers and times.
/// struct SubtitleLoader;
///
/// impl Loader for SubtitleLoader {
///     fn extensions(&self) -> &[&str] {
///         &["srt"]
///     }
///     fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
///         let spoken = |line: &&str| line.contains(char::is_alphabetic);
///         let lines: Vec<&str> = raw.utf8()?.lines().filter(spoken).collect();
///         SourceDocument::text(raw.id.as_str(), lines.join("\n"))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let loaders = Loaders::default().with(Arc::new(SubtitleLoader));
/// let document = loaders.load_bytes("film.srt", "srt", b"1\n00:01 --> 00:02\nHello.\n")?;
/// assert_eq!(document.source_text, "Hello.");
/// # Ok(())
/// # }
/// ```
pub trait Loader: Send + Sync {
    /// The file name extensions it takes, in lower case and without the dot.
    fn extensions(&self) -> &[&str];

    /// The media types it takes, in lower case and without parameters.
    fn media_types(&self) -> &[&str] {
        &[]
    }

    /// Makes a document of `raw`.
    ///
    /// # Errors
    /// Invalid input or unsupported, naming the file and what is wrong with it.
    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument>;

    /// Makes the documents that `raw` holds: one, unless the format is one of records that are documents of their own.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_all(&self, raw: &RawFile<'_>) -> Result<Vec<SourceDocument>> {
        self.load(raw).map(|document| vec![document])
    }
}

/// A file as it came, before anything is known about its content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RawFile<'a> {
    /// The id that the document gets.
    pub id: DocumentId,
    /// Where the file came from.
    pub uri: Option<String>,
    /// Its content.
    pub bytes: &'a [u8],
    /// What reading it may cost.
    pub limits: LoadLimits,
}

impl<'a> RawFile<'a> {
    /// A file without a place of origin.
    #[must_use]
    pub fn new(id: DocumentId, bytes: &'a [u8]) -> Self {
        Self { id, uri: None, bytes, limits: LoadLimits::default() }
    }

    /// Says where the file came from.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Sets what reading it may cost.
    #[must_use]
    pub fn with_limits(mut self, limits: LoadLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The name to use in messages: where it came from if that is known, else its id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.uri.as_deref().unwrap_or(self.id.as_str())
    }

    /// The content as text, without a byte order mark.
    ///
    /// # Errors
    /// Unsupported for UTF-16 and UTF-32; invalid input for binary content and for malformed UTF-8, with the
    /// offset of the first bad byte.
    pub fn utf8(&self) -> Result<&'a str> {
        text::decode(self.name(), self.bytes)
    }

    /// A document whose source text is this file itself.
    fn original(&self) -> Result<SourceDocument> {
        let text = self.utf8()?;
        let mut document = self.document(text)?;
        document.original_start = self.bytes.len() - text.len();
        Ok(document)
    }

    /// A document of plain text with this file's id and uri.
    fn document(&self, text: impl Into<String>) -> Result<SourceDocument> {
        let mut document = SourceDocument::text(self.id.as_str(), text)?;
        document.uri.clone_from(&self.uri);
        Ok(document)
    }
}
