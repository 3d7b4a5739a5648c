//! Files of every format, and the parts of packed ones.

use std::io::{Cursor, Write as _};

use agentkit_core::ErrorKind;
use agentkit_rag::SourceDocument;
use agentkit_rag::chunk::{Chunker, StructureChunker};
use agentkit_rag::load::load_bytes;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const FORMATS: [&str; 12] =
    ["txt", "md", "html", "csv", "tsv", "json", "jsonl", "rs", "py", "pdf", "docx", "epub"];
const RELATIONS: &str = "<Relationships><Relationship Type='http://x/officeDocument' Target='word/document.xml'/></Relationships>";
const CONTAINER: &str = "<container><rootfiles><rootfile full-path='b.opf'/></rootfiles></container>";
const PACKAGE: &str = "<package><manifest><item id='a' href='a.xhtml' media-type='application/xhtml+xml'/></manifest>\
    <spine><itemref idref='a'/></spine></package>";

/// By its first byte the input is a file of a format, the text of a DOCX file, or the package or a chapter of a book.
pub fn load(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match usize::from(*kind) % (FORMATS.len() + 3) {
        12 => loaded("docx", &packed(&[("_rels/.rels", RELATIONS.as_bytes()), ("word/document.xml", rest)])),
        13 => loaded("epub", &book(rest, b"<html><body><p>x</p></body></html>")),
        14 => loaded("epub", &book(PACKAGE.as_bytes(), rest)),
        format => loaded(FORMATS[format], rest),
    }
}

/// A file is loaded or refused by its author's fault, and what is loaded can be cut and quoted.
fn loaded(format: &str, bytes: &[u8]) {
    let document = match load_bytes("file", format, bytes) {
        Ok(document) => document,
        Err(error) => {
            let kinds = [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::ResourceExhausted];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            return;
        }
    };
    let text = &document.source_text;
    let offsets = document.headings.iter().map(|heading| heading.offset);
    let offsets: Vec<usize> = offsets.chain(document.marks.iter().map(|mark| mark.offset)).collect();
    assert!(offsets.iter().all(|at| text.is_char_boundary(*at)), "{offsets:?} in {} bytes", text.len());
    assert!(document.headings.is_sorted_by_key(|heading| heading.offset));
    assert!(document.marks.is_sorted_by_key(|mark| mark.offset));
    cut(&document);
}

fn cut(document: &SourceDocument) {
    let words = |text: &str| text.split_whitespace().count();
    let Ok(chunks) = StructureChunker::default().chunk(document, &words) else { return };
    for chunk in chunks {
        let quoted = document.source_text.get(chunk.span.start..chunk.span.end);
        assert!(quoted.is_some_and(|quoted| !quoted.trim().is_empty()), "{:?}", chunk.span);
    }
}

fn book(package: &[u8], chapter: &[u8]) -> Vec<u8> {
    packed(&[("META-INF/container.xml", CONTAINER.as_bytes()), ("b.opf", package), ("a.xhtml", chapter)])
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("a name");
        zip.write_all(bytes).expect("room");
    }
    zip.finish().expect("an archive").into_inner()
}
