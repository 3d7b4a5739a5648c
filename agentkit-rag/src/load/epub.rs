//! EPUB: the chapters of a book in reading order, each read like a page of HTML.

use std::collections::HashMap;

use agentkit_core::Result;

use super::archive::{Archive, resolve};
use super::html_parse::parse;
use super::html_text::render;
use super::writer::Extract;
use super::xml::{Element, Node, first_text, walk};
use super::{Loader, RawFile};
use crate::source::{Heading, SourceDocument, SourceKind};

/// Where a book says which part describes it.
const CONTAINER: &str = "META-INF/container.xml";
/// Where it says what is encrypted.
const ENCRYPTION: &str = "META-INF/encryption.xml";
/// Ways of only making fonts unusable outside of the book.
const FONT_OBFUSCATION: [&str; 2] = ["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"];
/// Elements that HTML ends by itself.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];

/// Loads EPUB books.
///
/// The source text is the chapters' text in reading order. A chapter without a heading is a section by its title. The
/// metadata has the book's `author`.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EpubLoader;

impl Loader for EpubLoader {
    fn extensions(&self) -> &[&str] {
        &["epub"]
    }

    fn media_types(&self) -> &[&str] {
        &["application/epub+zip"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut archive = Archive::open(raw)?;
        refuse_encrypted(&mut archive)?;
        let package = package(&mut archive)?;
        let xml = archive.required(&package)?;
        let title = first_text(&xml, &package, "title", &archive.budget)?;
        let author = first_text(&xml, &package, "creator", &archive.budget)?;
        let mut book = Extract::default();
        for chapter in chapters(&xml, &package, &archive)? {
            if let Some(html) = archive.text(&chapter)? {
                add(&mut book, &html, title.as_deref(), &archive)?;
            }
        }
        let mut document = raw.document(book.text)?;
        document.kind = SourceKind::Epub;
        document.title = title;
        document.headings = book.headings;
        if let Some(author) = author {
            document.metadata.insert("author", author);
        }
        Ok(document)
    }
}

fn refuse_encrypted(archive: &mut Archive<'_>) -> Result<()> {
    let Some(xml) = archive.text(ENCRYPTION)? else { return Ok(()) };
    let mut encrypted = false;
    walk(&xml, ENCRYPTION, &archive.budget, &mut |node| {
        if let Node::Open(element) = node
            && element.name() == "EncryptionMethod"
        {
            let algorithm = element.attribute("Algorithm").unwrap_or_default();
            encrypted |= !FONT_OBFUSCATION.contains(&algorithm.as_str());
        }
        Ok(())
    })?;
    if encrypted { Err(archive.budget.unsupported("the book is encrypted")) } else { Ok(()) }
}

/// The part that describes the book.
fn package(archive: &mut Archive<'_>) -> Result<String> {
    let xml = archive.required(CONTAINER)?;
    let mut found = None;
    walk(&xml, CONTAINER, &archive.budget, &mut |node| {
        if let Node::Open(element) = node
            && element.name() == "rootfile"
            && found.is_none()
        {
            found = element.attribute("full-path");
        }
        Ok(())
    })?;
    found.ok_or_else(|| {
        archive.budget.malformed(format_args!("its {CONTAINER} names no description of the book"))
    })
}

/// The parts of the chapters in reading order.
fn chapters(xml: &str, package: &str, archive: &Archive<'_>) -> Result<Vec<String>> {
    let mut items: HashMap<String, String> = HashMap::new();
    let mut spine = Vec::new();
    walk(xml, package, &archive.budget, &mut |node| {
        if let Node::Open(element) = node {
            match element.name() {
                "item" => items.extend(item(element, package)),
                "itemref" => spine.extend(element.attribute("idref")),
                _ => {}
            }
        }
        Ok(())
    })?;
    archive.budget.check_parts("chapters", spine.len())?;
    Ok(spine.into_iter().filter_map(|id| items.get(&id).cloned()).collect())
}

/// The id and the part of an item of the book, if it is a page.
fn item(element: &Element<'_>, package: &str) -> Option<(String, String)> {
    let media = element.attribute("media-type")?;
    let is_page = media.contains("html");
    let href = element.attribute("href").filter(|_| is_page)?;
    Some((element.attribute("id")?, resolve(package, &percent_decoded(&href))))
}

/// Adds a chapter to the book.
fn add(book: &mut Extract, html: &str, title: Option<&str>, archive: &Archive<'_>) -> Result<()> {
    let page = parse(&archive.budget, &with_end_tags(html))?;
    let chapter = render(&page.body().unwrap_or_else(|| page.root()));
    if chapter.text.is_empty() {
        return Ok(());
    }
    if !book.text.is_empty() {
        book.text.push_str("\n\n");
    }
    let offset = book.text.len();
    let named = page.select_single("head > title").text();
    let named = named.split_whitespace().collect::<Vec<_>>().join(" ");
    if chapter.headings.is_empty() && !named.is_empty() && title != Some(named.as_str()) {
        book.headings.push(Heading { offset, level: 1, title: named });
    }
    book.text.push_str(&chapter.text);
    let shifted = |heading: Heading| Heading { offset: heading.offset + offset, ..heading };
    book.headings.extend(chapter.headings.into_iter().map(shifted));
    archive.budget.check_text(book.text.len())
}

/// `xhtml` with `<a/>` written as `<a></a>`, because an HTML parser overlooks the slash.
fn with_end_tags(xhtml: &str) -> String {
    let mut html = String::with_capacity(xhtml.len());
    let mut rest = xhtml;
    while let Some((before, after)) = rest.split_once("/>") {
        html.push_str(before);
        let tag = before.rsplit_once('<').map_or("", |(_, tag)| tag);
        let name = tag.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
        let is_tag = name.starts_with(|c: char| c.is_ascii_alphabetic()) && !tag.contains('>');
        if is_tag && !VOID.contains(&name) {
            html.push_str("></");
            html.push_str(name);
            html.push('>');
        } else {
            html.push_str("/>");
        }
        rest = after;
    }
    html.push_str(rest);
    html
}

/// `href` with `%20` and the like as the bytes they stand for.
fn percent_decoded(href: &str) -> String {
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
