//! PDF: the text layer of each page, with the page's number on every passage.
//!
//! Pages without a text layer, such as scans, have no text here. The reader is a library that is not to be trusted with
//! what it is given, so it runs behind a guard, and what could fill the memory is measured before.

mod extract;
mod guard;
mod layout;
mod scan;

use agentkit_core::{Mark, Result};

use self::extract::{Extracted, extract};
use super::limits::Budget;
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// Loads PDF files.
///
/// The source text is that of the pages, which are set apart by blank lines; words parted at the end of a line are joined.
/// The title is that of the document's properties. A file that needs a password, and one without any text, is
/// refused.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct PdfLoader;

impl Loader for PdfLoader {
    fn extensions(&self) -> &[&str] {
        &["pdf"]
    }

    fn media_types(&self) -> &[&str] {
        &["application/pdf"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let budget = Budget::start(raw);
        let (bytes, account) = (raw.bytes.to_vec(), budget.clone());
        let extracted = guard::run(&budget, move || {
            scan::check(&bytes, &account)?;
            extract(bytes, account)
        })?;
        document(raw, extracted, &budget)
    }
}

/// Puts the pages together.
fn document(raw: &RawFile<'_>, extracted: Extracted, budget: &Budget) -> Result<SourceDocument> {
    let mut text = String::new();
    let mut marks = Vec::new();
    let pages = extracted.pages.len();
    for (page, number) in extracted.pages.iter().zip(1..).filter(|(page, _)| !page.is_empty()) {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        marks.push(Mark::page(text.len(), number));
        text.push_str(page);
    }
    if text.is_empty() {
        return Err(budget.malformed(format_args!(
            "there is no text on its {pages} pages; scanned pages have to be recognised first"
        )));
    }
    budget.check_text(text.len())?;
    let mut document = raw.document(text)?;
    document.kind = SourceKind::Pdf;
    document.title = extracted.title;
    document.marks = marks;
    Ok(document)
}

#[cfg(test)]
mod tests;
