//! What is read from DOCX files made of a few parts.

use agentkit_core::{DocumentId, ErrorKind};

use super::super::LoadLimits;
use super::super::archive::zipped;
use super::*;

const STYLES: &str = "<w:styles xmlns:w='w'>\
    <w:style w:styleId='H1'><w:name w:val='heading 1'/></w:style>\
    <w:style w:styleId='Own'><w:name w:val='Chapter part'/><w:basedOn w:val='H2'/></w:style>\
    <w:style w:styleId='H2'><w:name w:val='Überschrift'/><w:pPr><w:outlineLvl w:val='1'/></w:pPr></w:style>\
    <w:style w:styleId='T'><w:name w:val='Title'/></w:style></w:styles>";
const RELATIONS: &str = "<Relationships><Relationship Type='http://x/styles' Target='styles.xml'/>\
    <Relationship Type='http://x/footnotes' Target='/word/notes.xml'/></Relationships>";
const ROOT: &str = "<Relationships><Relationship Type='http://x/officeDocument' Target='word/document.xml'/></Relationships>";

fn docx(body: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let document = format!("<w:document xmlns:w='w'><w:body>{body}</w:body></w:document>");
    let mut parts = vec![
        ("_rels/.rels", ROOT),
        ("word/document.xml", document.as_str()),
        ("word/_rels/document.xml.rels", RELATIONS),
        ("word/styles.xml", STYLES),
    ];
    parts.extend(more);
    zipped(&parts)
}

fn load(bytes: &[u8]) -> Result<SourceDocument> {
    DocxLoader.load(&RawFile::new(DocumentId::new("a.docx").unwrap(), bytes))
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

#[test]
fn headings_come_from_styles_and_what_they_are_based_on() {
    let body = [
        paragraph("<w:pStyle w:val='T'/>", "The guide"),
        paragraph("<w:pStyle w:val='H1'/>", "Tea"),
        paragraph("", "Hot."),
        paragraph("<w:pStyle w:val='Own'/>", "Green"),
        paragraph("<w:outlineLvl w:val='2'/>", "Sencha"),
    ];
    let document = load(&docx(&body.concat(), &[])).unwrap();
    let found: Vec<_> = document.headings.iter().map(|h| (h.level, h.title.as_str())).collect();
    assert_eq!(found, [(1, "The guide"), (1, "Tea"), (2, "Green"), (3, "Sencha")]);
    assert_eq!(document.source_text, "The guide\n\nTea\n\nHot.\n\nGreen\n\nSencha");
    assert_eq!(document.title.as_deref(), Some("The guide"));
    for heading in &document.headings {
        assert!(document.source_text[heading.offset..].starts_with(&heading.title));
    }
}

#[test]
fn lists_tables_breaks_and_notes_are_kept() {
    let cell = |text: &str| format!("<w:tc>{}{}</w:tc>", paragraph("", text), paragraph("", ""));
    let table = format!(
        "<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>",
        cell("k"),
        cell("v"),
        cell("a"),
        cell("b")
    );
    let item = paragraph("<w:tabs><w:tab w:val='left'/></w:tabs><w:numPr/>", "one");
    let lines =
        "<w:p><w:r><w:t>x</w:t><w:br/><w:t>y</w:t><w:tab/><w:t xml:space='preserve'>z </w:t></w:r></w:p>";
    let body = format!("{item}{item}{table}{lines}");
    let notes = format!(
        "<w:footnotes xmlns:w='w'><w:footnote>{}</w:footnote></w:footnotes>",
        paragraph("", "A note.")
    );
    let document = load(&docx(&body, &[("word/notes.xml", &notes)])).unwrap();
    assert_eq!(document.source_text, "- one\n- one\n\nk | v\na | b\n\nx\ny z\n\nA note.");
}

#[test]
fn text_is_neither_doubled_nor_brought_back() {
    let body = "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>\
        <w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:r><w:instrText>PAGE</w:instrText></w:r>\
        <mc:AlternateContent xmlns:mc='m'><mc:Choice><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></mc:Choice>\
        <mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:p>";
    let document = load(&docx(body, &[])).unwrap();
    assert_eq!(document.source_text, "new\n\nbox");
}

#[test]
fn the_title_of_the_properties_goes_first() {
    let core = "<cp:coreProperties xmlns:dc='d'><dc:title>Of the\n properties</dc:title></cp:coreProperties>";
    let body = paragraph("<w:pStyle w:val='H1'/>", "Of the text");
    let title = |more: &[(&str, &str)]| load(&docx(&body, more)).unwrap().title;
    assert_eq!(title(&[("docProps/core.xml", core)]).as_deref(), Some("Of the properties"));
    assert_eq!(title(&[]).as_deref(), Some("Of the text"));
}

#[test]
fn broken_and_hostile_files_are_refused_by_name() {
    let deep = format!("{}{}", "<w:p>".repeat(5_000), "</w:p>".repeat(5_000));
    let long = paragraph("", &"tea ".repeat(600_000));
    let limits = LoadLimits { text_bytes: 1 << 20, ratio: u64::MAX, ..LoadLimits::default() };
    for (bytes, kind, said) in [
        (zipped(&[("x", "y")]), ErrorKind::InvalidInput, "word/document.xml"),
        (docx("<w:p>", &[]), ErrorKind::InvalidInput, "malformed"),
        (docx(&deep, &[]), ErrorKind::ResourceExhausted, "limit of 512"),
        (docx(&long, &[]), ErrorKind::ResourceExhausted, "limit of 1048576 bytes"),
    ] {
        let raw = RawFile::new(DocumentId::new("a.docx").unwrap(), &bytes).with_limits(limits.clone());
        let error = DocxLoader.load(&raw).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(said) && error.message().contains("a.docx"), "{error}");
    }
}
