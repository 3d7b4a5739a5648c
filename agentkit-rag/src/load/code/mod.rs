//! Source code: the file is the source text, and every function, type and class is a section of it.
//!
//! Definitions are found by how their lines begin, and what they stand in by their indentation. That needs no parser for each
//! language and works on files that do not compile; code whose indentation says nothing has fewer sections.

mod language;
mod outline;

use agentkit_core::Result;

use self::language::Language;
use self::outline::outline;
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// Loads source code of the common languages.
///
/// The headings are the definitions, such as `impl Parser` or `def parse`; each begins with the comments and
/// attributes right above it. The title is the file's name.
///
/// # Examples
/// ```
/// # fn main() -> agentkit_core::Result<()> {
/// let code = b"/// Adds.\nfn add(a: u8, b: u8) -> u8 {\n    a + b\n}\n";
/// let document = agentkit_rag::load::load_bytes("src/add.rs", "rs", code)?;
/// assert_eq!((document.headings[0].offset, document.headings[0].title.as_str()), (0, "fn add"));
/// assert_eq!(document.title.as_deref(), Some("add.rs"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct CodeLoader;

impl Loader for CodeLoader {
    fn extensions(&self) -> &[&str] {
        language::EXTENSIONS
    }

    fn media_types(&self) -> &[&str] {
        &["text/x-rust", "text/x-python", "text/javascript", "text/x-java-source", "text/x-go", "text/x-c"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut document = raw.original()?;
        let name = raw.name().rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        document.headings = outline(&document.source_text, Language::of(extension));
        document.kind = SourceKind::Code;
        document.title = Some(name).filter(|name| !name.is_empty());
        Ok(document)
    }
}

#[cfg(test)]
mod tests;
