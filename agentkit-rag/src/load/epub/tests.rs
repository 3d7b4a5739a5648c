//! What is read from books made of a few chapters.

use std::fmt::Write as _;

use agentkit_core::{DocumentId, ErrorKind};

use super::super::archive::zipped;
use super::*;

const CONTAINER_XML: &str =
    "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/></rootfiles></container>";

fn book(chapters: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    let mut items = String::from("<item id='css' href='a.css' media-type='text/css'/>");
    let mut spine = String::from("<itemref idref='css'/><itemref idref='missing'/>");
    for (at, (name, _)) in chapters.iter().enumerate() {
        let href = name.replace(' ', "%20");
        write!(items, "<item id='c{at}' href='{href}' media-type='application/xhtml+xml'/>").unwrap();
        write!(spine, "<itemref idref='c{at}'/>").unwrap();
    }
    let opf = format!(
        "<package xmlns:dc='d'><metadata><dc:title>On tea</dc:title><dc:creator>A. Leaf</dc:creator></metadata>\
         <manifest>{items}</manifest><spine>{spine}</spine></package>"
    );
    let paths: Vec<String> = chapters.iter().map(|(name, _)| format!("OEBPS/{name}")).collect();
    let mut parts = vec![(CONTAINER, CONTAINER_XML), ("OEBPS/book.opf", opf.as_str())];
    parts.extend(paths.iter().map(String::as_str).zip(chapters.iter().map(|(_, html)| *html)));
    parts.extend(more);
    zipped(&parts)
}

fn load(bytes: &[u8]) -> Result<SourceDocument> {
    EpubLoader.load(&RawFile::new(DocumentId::new("b.epub").unwrap(), bytes))
}

#[test]
fn chapters_come_in_reading_order_as_sections() {
    let bytes = book(
        &[
            ("cover page.xhtml", "<html><head><title/></head><body><img src='x'/></body></html>"),
            (
                "z.xhtml",
                "<html><head><title>One</title></head><body><a id='top'/><p>First.</p></body></html>",
            ),
            (
                "a.xhtml",
                "<html><head><title>On tea</title></head><body><h1>Two</h1><p>Second.</p><h2>Green</h2></body></html>",
            ),
        ],
        &[],
    );
    let document = load(&bytes).unwrap();
    assert_eq!(document.source_text, "First.\n\nTwo\n\nSecond.\n\nGreen");
    let found: Vec<_> = document.headings.iter().map(|h| (h.offset, h.level, h.title.as_str())).collect();
    assert_eq!(found, [(0, 1, "One"), (8, 1, "Two"), (22, 2, "Green")]);
    assert_eq!((document.title.as_deref(), document.kind), (Some("On tea"), SourceKind::Epub));
    assert_eq!(document.metadata.values("author"), ["A. Leaf".into()]);
    let at = agentkit_core::Span::new(22, 27);
    assert_eq!(document.locator(at).heading_path, ["Two", "Green"]);
}

#[test]
fn empty_elements_end_where_they_begin() {
    for (xhtml, html) in [
        ("<a id='x'/>y", "<a id='x'></a>y"),
        ("<br/><img src='a/b' />", "<br/><img src='a/b' />"),
        ("a /> b", "a /> b"),
        ("<p>1 < 2 /></p>", "<p>1 < 2 /></p>"),
        ("</>", "</>"),
    ] {
        assert_eq!(with_end_tags(xhtml), html);
    }
    assert_eq!(percent_decoded("a%20b%C3%A9%zz%4"), "a bé%zz%4");
}

#[test]
fn encrypted_and_incomplete_books_are_refused_by_name() {
    let algorithm = |name: &str| {
        format!(
            "<encryption><EncryptedData><EncryptionMethod Algorithm='{name}'/></EncryptedData></encryption>"
        )
    };
    let chapter = [("a.xhtml", "<p>Text.</p>")];
    let locked = algorithm("http://www.w3.org/2001/04/xmlenc#aes128-cbc");
    let error = load(&book(&chapter, &[(ENCRYPTION, &locked)])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("b.epub") && error.message().contains("encrypted"), "{error}");
    let fonts = algorithm(FONT_OBFUSCATION[0]);
    assert_eq!(load(&book(&chapter, &[(ENCRYPTION, &fonts)])).unwrap().source_text, "Text.");
    for parts in [
        &[("mimetype", "application/epub+zip")][..],
        &[(CONTAINER, "<container/>")],
        &[(CONTAINER, CONTAINER_XML)],
    ] {
        let error = load(&zipped(parts)).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("b.epub"), "{error}");
    }
}

#[test]
fn a_chapter_that_nests_too_deeply_ends_the_book() {
    let deep = "<div>".repeat(60_000);
    let error = load(&book(&[("a.xhtml", &deep)], &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}
