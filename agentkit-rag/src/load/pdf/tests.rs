//! What is read from PDF files of a few objects.

use std::fmt::Write;
use std::time::Duration;

use agentkit_core::{DocumentId, ErrorKind, Span};

use super::super::LoadLimits;
use super::*;

/// A file of these objects, the first of which is its root, with a table of where they are.
fn file(objects: &[String], trailer: &str) -> Vec<u8> {
    let mut pdf = String::from("%PDF-1.7\n");
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (object, number) in objects.iter().zip(1..) {
        writeln!(table, "{:010} 00000 n ", pdf.len()).unwrap();
        write!(pdf, "{number} 0 obj\n{object}\nendobj\n").unwrap();
    }
    let at = pdf.len();
    let size = objects.len() + 1;
    write!(pdf, "{table}trailer\n<</Size {size} /Root 1 0 R {trailer}>>\nstartxref\n{at}\n%%EOF\n").unwrap();
    pdf.into_bytes()
}

fn stream(content: &str) -> String {
    format!("<</Length {}>>\nstream\n{content}\nendstream", content.len())
}

/// A file whose pages have these contents.
fn pdf(pages: &[String], trailer: &str, more: &[String]) -> Vec<u8> {
    let kids: Vec<_> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let kids = kids.join(" ");
    let mut objects = vec![
        "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
        format!("<</Type /Pages /Count {} /Kids [{kids}]>>", pages.len()),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_owned(),
    ];
    for (content, page) in pages.iter().zip(0..) {
        objects.push(format!(
            "<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R /Resources <</Font <</F1 3 0 R>>>>>>",
            5 + 2 * page
        ));
        objects.push(stream(content));
    }
    objects.extend_from_slice(more);
    file(&objects, trailer)
}

fn lines(lines: &[&str]) -> String {
    let shown: Vec<String> = lines.iter().map(|line| format!("({line}) Tj T*")).collect();
    format!("BT /F1 12 Tf 14 TL 72 720 Td {} ET", shown.join(" "))
}

fn load(bytes: &[u8], limits: LoadLimits) -> Result<SourceDocument> {
    PdfLoader.load(&RawFile::new(DocumentId::new("a.pdf").unwrap(), bytes).with_limits(limits))
}

#[test]
fn every_passage_knows_its_page() {
    let pages =
        [lines(&["Green tea is steeped", "at eighty degrees."]), String::new(), lines(&["Black tea boils."])];
    let info = "<</Title (On tea)>>".to_owned();
    let document = load(&pdf(&pages, "/Info 10 0 R", &[info]), LoadLimits::default()).unwrap();
    assert_eq!(document.source_text, "Green tea is steeped\nat eighty degrees.\n\nBlack tea boils.");
    assert_eq!((document.title.as_deref(), document.kind), (Some("On tea"), SourceKind::Pdf));
    let at = document.source_text.find("Black").unwrap();
    assert_eq!(document.locator(Span::new(at, at + 5)).page, Some(3));
    let all = document.locator(Span::new(0, document.source_text.len()));
    assert_eq!((all.page, all.bytes), (Some(1), None));
    assert_eq!(all.marks, [Mark::page(at, 3)]);
}

#[test]
fn a_file_without_its_table_is_read_all_the_same() {
    let mut bytes = pdf(&[lines(&["Rescued."])], "", &[]);
    let at = bytes.windows(4).position(|bytes| bytes == b"xref").unwrap();
    bytes.truncate(at);
    assert_eq!(load(&bytes, LoadLimits::default()).unwrap().source_text, "Rescued.");
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let locked = "/Encrypt <</Filter /Standard /V 1 /R 2 /P -4 /O (12345678901234567890123456789012) \
                  /U (12345678901234567890123456789012)>> /ID [(a) (b)]";
    for (bytes, kind, said) in [
        (b"%PDF-1.7 nothing".to_vec(), ErrorKind::InvalidInput, "no PDF file"),
        (Vec::new(), ErrorKind::InvalidInput, "no PDF file"),
        (pdf(&[String::new()], "", &[]), ErrorKind::InvalidInput, "no text on its 1 pages"),
        (pdf(&[lines(&["Secret."])], locked, &[]), ErrorKind::Unsupported, "password"),
    ] {
        let error = load(&bytes, LoadLimits::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains("a.pdf") && error.message().contains(said), "{error}");
    }
}

/// A file of forms each of which draws the next one twice, more often in the end than anybody can wait for.
fn endless() -> Vec<u8> {
    let xobject = |number: usize| format!("/Resources <</XObject <</X {number} 0 R>>>>");
    let mut objects = vec![
        "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
        "<</Type /Pages /Count 1 /Kids [3 0 R]>>".to_owned(),
        format!("<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R {}>>", xobject(5)),
        stream("/X Do"),
    ];
    for next in 6..46 {
        let content = "q /X Do Q q /X Do Q";
        objects.push(format!(
            "<</Type /XObject /Subtype /Form /BBox [0 0 9 9] {} /Length {}>>\nstream\n{content}\nendstream",
            xobject(next),
            content.len()
        ));
    }
    objects
        .push("<</Type /XObject /Subtype /Form /BBox [0 0 9 9] /Length 0>>\nstream\n\nendstream".to_owned());
    file(&objects, "")
}

#[test]
fn endless_files_end_at_their_limits() {
    let many: Vec<String> = (0..20).map(|_| lines(&["Page."])).collect();
    let long = lines(&vec!["tea tea tea tea"; 5_000]);
    let drawn = "0 0 1 1 re f ".repeat(200_000);
    let endless = endless();
    let limits = LoadLimits::default;
    for (bytes, limits, said) in [
        (pdf(&many, "", &[]), LoadLimits { parts: 19, ..limits() }, "20 pages are over the limit of 19"),
        (pdf(&[long], "", &[]), LoadLimits { text_bytes: 10_000, ..limits() }, "limit of 10000 bytes"),
        (pdf(&[drawn], "", &[]), LoadLimits { time: Duration::from_millis(1), ..limits() }, "limit of 1ms"),
        (endless, LoadLimits { time: Duration::from_millis(300), ..limits() }, "limit of 300ms"),
    ] {
        let error = load(&bytes, limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        assert!(error.message().contains("a.pdf") && error.message().contains(said), "{error}");
    }
}
