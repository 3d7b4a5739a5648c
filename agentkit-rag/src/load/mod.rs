//! Loading: turning the bytes of a file into a document with its source text, title and headings.
//!
//! A [`Loader`] knows one family of formats and is pure over bytes. [`Loaders`] picks the right one, and
//! [`walk`] finds the files of a folder and hands them over one by one, so that a large tree is never in memory.

mod directory;
mod html;
mod html_parse;
mod html_text;
mod markdown;
mod registry;
mod text;

use agentkit_core::{DocumentId, Result};

use crate::source::SourceDocument;

pub use directory::{FileOutcome, LoadEvent, LoadOptions, Walk, load_path, walk};
pub use html::HtmlLoader;
pub use markdown::MarkdownLoader;
pub use registry::{Loaders, load_bytes};
pub use text::TextLoader;

/// Turns the bytes of one family of formats into documents.
///
/// # Contract for implementers
/// - The result depends on the bytes and the name alone: no file, network or clock is touched.
/// - The document keeps the id and the uri of the raw file; its headings come in order of their offsets.
/// - Any bytes are accepted or refused with an error that names the file; none make it panic.
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
}

impl<'a> RawFile<'a> {
    /// A file without a place of origin.
    #[must_use]
    pub fn new(id: DocumentId, bytes: &'a [u8]) -> Self {
        Self { id, uri: None, bytes }
    }

    /// Says where the file came from.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
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

    /// A document of plain text with this file's id and uri.
    fn document(&self, text: impl Into<String>) -> Result<SourceDocument> {
        let mut document = SourceDocument::text(self.id.as_str(), text)?;
        document.uri.clone_from(&self.uri);
        Ok(document)
    }
}
