//! Plain text: UTF-8 as it is, anything else refused with the reason.

use agentkit_core::{Error, ErrorKind, Result};

use super::{Loader, RawFile};
use crate::source::SourceDocument;

/// Byte order marks of encodings that are not read; the longer ones first, as UTF-32's begins like UTF-16's.
const FOREIGN_MARKS: [(&[u8], &str); 4] = [
    (&[0xFF, 0xFE, 0, 0], "UTF-32"),
    (&[0, 0, 0xFE, 0xFF], "UTF-32"),
    (&[0xFF, 0xFE], "UTF-16"),
    (&[0xFE, 0xFF], "UTF-16"),
];

/// Loads plain text and lightweight markup that reads well as plain text.
///
/// The source text is the file without its byte order mark, if it has one; spans refer to the source text.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TextLoader;

impl Loader for TextLoader {
    fn extensions(&self) -> &[&str] {
        &["txt", "text", "log", "rst", "org", "adoc"]
    }

    fn media_types(&self) -> &[&str] {
        &["text/plain", "text/x-rst", "text/org", "text/asciidoc"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        raw.original()
    }
}

/// The text of `bytes` without a byte order mark; `name` is for messages.
pub(super) fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    refuse_foreign(name, bytes)?;
    let bom = bytes.starts_with(b"\xEF\xBB\xBF");
    let body = if bom { bytes.get(3..).unwrap_or_default() } else { bytes };
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to() + if bom { 3 } else { 0 };
        Error::invalid_input(format!(
            "read {name} as UTF-8: malformed at byte offset {at}; convert the file to UTF-8"
        ))
        .with_source(error)
    })
}

/// Refuses encodings and binary content that only look like malformed UTF-8 or, worse, pass as text.
fn refuse_foreign(name: &str, bytes: &[u8]) -> Result<()> {
    if let Some((_, encoding)) = FOREIGN_MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("read {name} as UTF-8: its byte order mark says {encoding}; convert the file to UTF-8"),
        ));
    }
    match bytes.iter().position(|byte| *byte == 0) {
        None => Ok(()),
        Some(at) => Err(Error::invalid_input(format!(
            "read {name} as text: it looks binary, with a NUL byte at offset {at}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_left_out() {
        assert_eq!(decode("f", b"\xEF\xBB\xBFtea").unwrap(), "tea");
        assert_eq!(decode("f", b"\xEF\xBB\xBF").unwrap(), "");
    }

    #[test]
    fn refusals_name_the_file_the_reason_and_the_place() {
        let cases: [(&[u8], &str); 6] = [
            (b"tea\xFFcup", "notes.txt as UTF-8: malformed at byte offset 3"),
            (b"\xEF\xBB\xBFtea\xC3", "offset 6"),
            (b"te\0a", "looks binary, with a NUL byte at offset 2"),
            (b"\xFF\xFEt\0", "UTF-16"),
            (b"\xFE\xFF\0t", "UTF-16"),
            (b"\xFF\xFE\0\0t\0\0\0", "UTF-32"),
        ];
        for (bytes, expected) in cases {
            let error = decode("notes.txt", bytes).unwrap_err();
            assert!(error.message().contains(expected), "{error} does not say {expected}");
            assert!(error.message().contains("notes.txt"), "{error}");
        }
    }
}
