//! DOCX: paragraphs, lists, tables and notes of a word processor's document, in reading order.
//!
//! The paragraphs' styles say which are headings. What was deleted or moved away while changes were tracked is left out,
//! as are headers, footers and comments.

mod body;
mod styles;

use agentkit_core::Result;

use self::body::Body;
use self::styles::Styles;
use super::archive::{Archive, resolve};
use super::writer::Writer;
use super::xml::{Node, first_text, walk};
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// Where a package says which part is the document.
const PACKAGE_RELATIONS: &str = "_rels/.rels";
/// The document's part, if the package does not say.
const DOCUMENT: &str = "word/document.xml";
/// The part with title and author.
const PROPERTIES: &str = "docProps/core.xml";

/// Loads DOCX files, the text format of Microsoft Word since 2007.
///
/// The source text is that of the body, then footnotes and endnotes. The title is that of the document's properties, else its
/// first paragraph of style Title, else its first heading.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct DocxLoader;

impl Loader for DocxLoader {
    fn extensions(&self) -> &[&str] {
        &["docx", "docm", "dotx"]
    }

    fn media_types(&self) -> &[&str] {
        &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut package = Package::open(raw)?;
        let styles = package.styles()?;
        let mut writer = Writer::default();
        let mut title = None;
        for part in package.text_parts()? {
            let xml = package.archive.required(&part)?;
            let budget = &package.archive.budget;
            let mut body = Body::new(&styles, budget, &mut writer);
            walk(&xml, &part, budget, &mut |node| body.visit(&node))?;
            title = title.or_else(|| body.title());
        }
        let extract = writer.finish();
        package.archive.budget.check_text(extract.text.len())?;
        let first = || extract.headings.first().map(|heading| heading.title.clone());
        let title = package.title()?.or(title).or_else(first);
        let mut document = raw.document(extract.text)?;
        document.kind = SourceKind::Docx;
        document.title = title;
        document.headings = extract.headings;
        Ok(document)
    }
}

/// The archive of a DOCX file, and what its document refers to.
struct Package<'a> {
    archive: Archive<'a>,
    document: String,
    relations: Vec<Relation>,
}

/// A reference from one part to another.
struct Relation {
    /// The last name of its type, such as `styles`.
    kind: String,
    target: String,
}

impl<'a> Package<'a> {
    fn open(raw: &RawFile<'a>) -> Result<Self> {
        let mut archive = Archive::open(raw)?;
        let roots = relations(&mut archive, "", PACKAGE_RELATIONS)?;
        let main = roots.into_iter().find(|relation| relation.kind == "officeDocument");
        let document = main.map_or_else(|| DOCUMENT.to_owned(), |relation| relation.target);
        let (folder, name) = document.rsplit_once('/').unwrap_or(("", &document));
        let listed = format!("{folder}/_rels/{name}.rels");
        let relations = relations(&mut archive, &document, listed.trim_start_matches('/'))?;
        Ok(Self { archive, document, relations })
    }

    fn styles(&mut self) -> Result<Styles> {
        let Some(part) = self.target("styles") else { return Ok(Styles::default()) };
        let Some(xml) = self.archive.text(&part)? else { return Ok(Styles::default()) };
        Styles::read(&xml, &part, &self.archive.budget)
    }

    /// The parts whose text is the document's, in reading order.
    fn text_parts(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.document.clone()];
        for notes in ["footnotes", "endnotes"] {
            if let Some(part) = self.target(notes)
                && self.archive.text(&part)?.is_some()
            {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn title(&mut self) -> Result<Option<String>> {
        let Some(xml) = self.archive.text(PROPERTIES)? else { return Ok(None) };
        first_text(&xml, PROPERTIES, "title", &self.archive.budget)
    }

    fn target(&self, kind: &str) -> Option<String> {
        self.relations.iter().find(|relation| relation.kind == kind).map(|relation| relation.target.clone())
    }
}

/// The references from the part `base`, which are listed in the part `listed`.
fn relations(archive: &mut Archive<'_>, base: &str, listed: &str) -> Result<Vec<Relation>> {
    let Some(xml) = archive.text(listed)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    walk(&xml, listed, &archive.budget, &mut |node| {
        if let Node::Open(element) = node
            && let (Some(kind), Some(target)) = (element.attribute("Type"), element.attribute("Target"))
        {
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            found.push(Relation { kind, target: resolve(base, &target) });
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
