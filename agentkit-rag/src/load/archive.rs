//! Parts of a zip archive that nobody vouches for, unpacked within the limits of its file.

use std::io::{Cursor, Read};

use agentkit_core::Result;
use zip::ZipArchive;
use zip::result::ZipError;

use super::RawFile;
use super::limits::Budget;

/// What the files of encrypted Office documents begin with, as do the formats before the present ones.
const COMPOUND_FILE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

/// The archive that a file is.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    pub(super) budget: Budget,
}

impl<'a> Archive<'a> {
    /// Opens `raw`, and begins the account of it.
    pub(super) fn open(raw: &RawFile<'a>) -> Result<Self> {
        let budget = Budget::start(raw);
        if raw.bytes.starts_with(COMPOUND_FILE) {
            return Err(
                budget.unsupported("it is encrypted, or of a format before 2007; save it unprotected")
            );
        }
        let zip = ZipArchive::new(Cursor::new(raw.bytes)).map_err(|error| {
            budget.malformed("it is damaged, or no file of its kind: no zip archive").with_source(error)
        })?;
        budget.check_parts("archived files", zip.len())?;
        Ok(Self { zip, budget })
    }

    /// The text of the part called `name`, if there is one.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let text = super::text::decode(&format!("{name} of {}", self.budget.name()), &bytes)?;
        Ok(Some(text.to_owned()))
    }

    /// The text of a part that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String> {
        let found = self.text(name)?;
        found.ok_or_else(|| self.budget.malformed(format_args!("it is incomplete: there is no {name} in it")))
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let entry = match self.zip.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => {
                return Err(self.budget.malformed(format_args!("open its {name}")).with_source(error));
            }
        };
        let packed = entry.compressed_size();
        let mut bytes = Vec::new();
        // One byte more than is allowed tells that there is more.
        let read = entry.take(self.budget.allowance(packed).saturating_add(1)).read_to_end(&mut bytes);
        self.budget.unpack(bytes.len() as u64, packed)?;
        read.map_err(|error| self.budget.malformed(format_args!("unpack its {name}")).with_source(error))?;
        Ok(Some(bytes))
    }
}

/// `target` as it is meant in the part called `base`, without `.` and `..`; what leads out of the archive ends in it.
pub(super) fn resolve(base: &str, target: &str) -> String {
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from = if target.starts_with('/') { "" } else { folder };
    let mut names: Vec<&str> = Vec::new();
    for name in from.split('/').chain(target.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

/// An archive of these parts, for tests.
#[cfg(test)]
pub(super) fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;

    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[cfg(test)]
mod tests {
    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::LoadLimits;
    use super::*;

    fn open(bytes: &[u8], limits: LoadLimits) -> Result<Archive<'_>> {
        Archive::open(&RawFile::new(DocumentId::new("a.docx").unwrap(), bytes).with_limits(limits))
    }

    #[test]
    fn a_bomb_is_stopped_by_its_size_and_by_its_ratio() {
        let bomb = zipped(&[("a", &"x".repeat(4 << 20)), ("b", "fine")]);
        assert!(bomb.len() < 10_000);
        let mut archive = open(&bomb, LoadLimits::default()).unwrap();
        let error = archive.text("a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.message().contains("a.docx") && error.message().contains("200 times"), "{error}");
        let limits = LoadLimits { ratio: 1 << 20, unpacked_bytes: 1 << 20, ..LoadLimits::default() };
        let mut archive = open(&bomb, limits).unwrap();
        assert_eq!(archive.text("b").unwrap().as_deref(), Some("fine"));
        assert!(archive.text("a").unwrap_err().message().contains("limit of 1048576 bytes"));
    }

    #[test]
    fn what_is_no_archive_is_refused_by_name() {
        let whole = zipped(&[("a", &"text of some length ".repeat(40))]);
        let limits = LoadLimits { parts: 0, ..LoadLimits::default() };
        assert_eq!(open(&whole, limits).err().map(|e| e.kind()), Some(ErrorKind::ResourceExhausted));
        let mut damaged = whole.clone();
        damaged[45] ^= 0x55;
        let read = open(&damaged, LoadLimits::default()).and_then(|mut archive| archive.text("a"));
        assert!(read.unwrap_err().message().contains("a.docx"));
        for (bytes, kind) in [
            (&b""[..], ErrorKind::InvalidInput),
            (b"PK\x03\x04", ErrorKind::InvalidInput),
            (&whole[..whole.len() - 30], ErrorKind::InvalidInput),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 encrypted", ErrorKind::Unsupported),
        ] {
            let error = open(bytes, LoadLimits::default()).err().unwrap();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains("a.docx"), "{error}");
        }
    }

    #[test]
    fn targets_are_found_from_where_they_are_named() {
        for (base, target, path) in [
            ("word/document.xml", "footnotes.xml", "word/footnotes.xml"),
            ("OEBPS/content.opf", "../text/one.xhtml", "text/one.xhtml"),
            ("a/b/c.xml", "/word/./document.xml", "word/document.xml"),
            ("content.opf", "../../../etc/passwd", "etc/passwd"),
        ] {
            assert_eq!(resolve(base, target), path);
        }
    }
}
