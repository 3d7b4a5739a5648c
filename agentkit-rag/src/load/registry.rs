//! The registry of loaders: which one takes which extension or media type.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use agentkit_core::{DocumentId, Error, ErrorKind, Result};

use super::{HtmlLoader, Loader, MarkdownLoader, RawFile, TextLoader};
use crate::source::SourceDocument;

/// The loaders to choose from; the default has those for text, Markdown and HTML, and one for each feature of a format.
#[derive(Clone)]
pub struct Loaders(Vec<Arc<dyn Loader>>);

impl Default for Loaders {
    fn default() -> Self {
        Self(vec![
            Arc::new(TextLoader),
            Arc::new(MarkdownLoader),
            Arc::new(HtmlLoader),
            #[cfg(feature = "code")]
            Arc::new(super::CodeLoader),
            #[cfg(feature = "csv")]
            Arc::new(super::CsvLoader::default()),
            #[cfg(feature = "docx")]
            Arc::new(super::DocxLoader),
            #[cfg(feature = "epub")]
            Arc::new(super::EpubLoader),
            #[cfg(feature = "json")]
            Arc::new(super::JsonLoader::default()),
            #[cfg(feature = "pdf")]
            Arc::new(super::PdfLoader),
        ])
    }
}

impl fmt::Debug for Loaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaders").field(&self.extensions()).finish()
    }
}

impl Loaders {
    /// Adds a loader, which goes before those already there.
    #[must_use]
    pub fn with(mut self, loader: Arc<dyn Loader>) -> Self {
        self.0.push(loader);
        self
    }

    /// Every extension that is taken, sorted.
    #[must_use]
    pub fn extensions(&self) -> Vec<&str> {
        let mut all: Vec<&str> =
            self.0.iter().flat_map(|loader| loader.extensions().iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The loader for a file name extension or a media type: `md`, `.md` or `text/markdown; charset=utf-8`.
    #[must_use]
    pub fn for_format(&self, format: &str) -> Option<&dyn Loader> {
        let format = format.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let extension = format.strip_prefix('.').unwrap_or(&format);
        let takes = |loader: &&Arc<dyn Loader>| {
            loader.extensions().contains(&extension) || loader.media_types().contains(&format.as_str())
        };
        self.0.iter().rev().find(takes).map(AsRef::as_ref)
    }

    /// The loader for a file of this name.
    #[must_use]
    pub fn for_path(&self, path: &Path) -> Option<&dyn Loader> {
        self.for_format(path.extension()?.to_str()?)
    }

    /// Makes a document of bytes that did not come from a file, for example of an upload.
    ///
    /// # Errors
    /// Unsupported if no loader takes `format` or its charset is not UTF-8; else as the loader.
    pub fn load_bytes(&self, id: impl Into<String>, format: &str, bytes: &[u8]) -> Result<SourceDocument> {
        let raw = RawFile::new(DocumentId::new(id)?, bytes);
        self.taking(&raw, format)?.load(&raw)
    }

    /// Makes the documents that bytes hold; there are several where each record is one.
    ///
    /// # Errors
    /// As [`load_bytes`](Self::load_bytes).
    pub fn load_all_bytes(
        &self,
        id: impl Into<String>,
        format: &str,
        bytes: &[u8],
    ) -> Result<Vec<SourceDocument>> {
        let raw = RawFile::new(DocumentId::new(id)?, bytes);
        self.taking(&raw, format)?.load_all(&raw)
    }

    fn taking(&self, raw: &RawFile<'_>, format: &str) -> Result<&dyn Loader> {
        check_charset(raw.name(), format)?;
        self.for_format(format).ok_or_else(|| self.unsupported(raw.name(), format))
    }

    /// The error for a file that no loader takes.
    pub(super) fn unsupported(&self, name: &str, format: &str) -> Error {
        let known = self.extensions().join(", ");
        Error::new(
            ErrorKind::Unsupported,
            format!("load {name}: no loader takes the format {format:?}; supported extensions are {known}"),
        )
    }
}

/// Makes a document of bytes with the default [`Loaders`].
///
/// `format` is a file name extension or a media type.
///
/// # Errors
/// As [`Loaders::load_bytes`].
///
/// # Examples
/// ```
/// # fn main() -> agentkit_core::Result<()> {
/// let document = agentkit_rag::load::load_bytes("tea", "text/markdown", b"# Tea\n\nSteep three minutes.\n")?;
/// assert_eq!(document.title.as_deref(), Some("Tea"));
/// # Ok(())
/// # }
/// ```
pub fn load_bytes(id: impl Into<String>, format: &str, bytes: &[u8]) -> Result<SourceDocument> {
    Loaders::default().load_bytes(id, format, bytes)
}

/// Refuses a media type whose `charset` parameter is neither UTF-8 nor its subset ASCII.
fn check_charset(name: &str, format: &str) -> Result<()> {
    let charset = format.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("load {name}: the charset {other:?} is not read; convert the text to UTF-8"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_extension_and_media_type() {
        let loaders = Loaders::default();
        for (format, extension) in [
            ("md", "md"),
            (".MD", "md"),
            ("text/html; charset=UTF-8", "html"),
            ("Text/Plain", "txt"),
            ("application/xhtml+xml", "html"),
        ] {
            let loader = loaders.for_format(format);
            assert!(loader.is_some_and(|l| l.extensions().contains(&extension)), "{format}");
        }
        for unknown in ["", ".", "exe", "text/", "application/octet-stream", "md.exe"] {
            assert!(loaders.for_format(unknown).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn what_no_loader_takes_is_refused_with_the_choices() {
        let error = load_bytes("a.xyz", "application/x-xyz", b"%XYZ").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("a.xyz") && error.message().contains("markdown"), "{error}");
        let error = load_bytes("a", "text/plain; charset=\"latin1\"", b"x").unwrap_err();
        assert!(error.message().contains("latin1"), "{error}");
    }
}
