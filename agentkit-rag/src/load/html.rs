//! HTML: the main text of a page, found by a readability heuristic with the whole body as the fallback.

use agentkit_core::Result;
use dom_query::{Document, NodeRef};
use dom_smoothie::{Config, Readability};

use super::html_parse::parse;
use super::html_text::render;
use super::limits::Budget;
use super::writer::Extract;
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// Pages above this size are taken whole, because the heuristic goes over the tree many times.
const MAX_READABILITY_BYTES: usize = 2 << 20;
/// The heuristic's text is taken if it has at least one part in this many of the body's.
const MIN_SHARE: usize = 3;

/// Loads HTML pages.
///
/// The source text is the main text without markup, scripts, styles and navigation; paragraphs are set apart by
/// blank lines. The title is the page's, else its first heading.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct HtmlLoader;

impl Loader for HtmlLoader {
    fn extensions(&self) -> &[&str] {
        &["html", "htm", "xhtml"]
    }

    fn media_types(&self) -> &[&str] {
        &["text/html", "application/xhtml+xml"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let html = raw.utf8()?;
        let page = parse(&Budget::start(raw), html)?;
        let body = render(&page.body().unwrap_or_else(|| page.root()));
        let title = title(&page, &body);
        let main = if html.len() <= MAX_READABILITY_BYTES { main_text(page) } else { None };
        let extract = main.filter(|main| main.text.len() * MIN_SHARE >= body.text.len()).unwrap_or(body);
        let mut document = raw.document(extract.text)?;
        document.kind = SourceKind::Html;
        document.title = title;
        document.headings = extract.headings;
        Ok(document)
    }
}

/// The page's title element, else its first heading of the highest level.
fn title(page: &Document, body: &Extract) -> Option<String> {
    let named = tidy(&page.select_single("head > title").text());
    let heading = || body.headings.iter().min_by_key(|heading| heading.level).map(|h| h.title.clone());
    if named.is_empty() { heading() } else { Some(named) }
}

/// The text of what the readability heuristic takes for the main content.
fn main_text(page: Document) -> Option<Extract> {
    let config = Config { disable_json_ld: true, ..Config::default() };
    let article = Readability::with_document(page, None, Some(config)).ok()?.parse().ok()?;
    let content = Document::fragment(article.content);
    let root: NodeRef<'_> = content.root();
    Some(render(&root)).filter(|extract| !extract.text.is_empty())
}

/// `text` with every run of white space made one space.
fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::html_parse::MAX_BYTES;
    use super::*;

    fn load(html: &str) -> Result<SourceDocument> {
        HtmlLoader.load(&RawFile::new(DocumentId::new("page.html").unwrap(), html.as_bytes()))
    }

    #[test]
    fn only_the_text_of_the_page_remains() {
        let document = load(
            "<!doctype html><title> The \n page </title><style>p{color:red}</style><nav><a href=/>Home</a></nav>\
             <h1>Tea &amp; cups</h1><p>Steep <b>three</b> minutes.<script>alert('x')</script></p>\
             <noscript>enable it</noscript><!-- secret --><template>later</template>",
        )
        .unwrap();
        assert_eq!(document.title.as_deref(), Some("The page"));
        assert_eq!(document.source_text, "Tea & cups\n\nSteep three minutes.");
        assert_eq!(document.kind, SourceKind::Html);
        assert_eq!(document.headings[0].offset, 0);
    }

    #[test]
    fn an_article_is_told_from_what_surrounds_it() {
        let paragraph = "<p>Green tea is steeped at eighty degrees, for three minutes, never longer, or it turns bitter.</p>";
        let html = format!(
            "<html><head><title>Tea</title></head><body><div class=sidebar><ul><li><a href=/a>Buy now</a></ul></div>\
             <article><h2>Green</h2>{}<h2>Black</h2>{}</article><div class=comments>first!</div></body></html>",
            paragraph.repeat(6),
            paragraph.repeat(6),
        );
        let document = load(&html).unwrap();
        assert!(!document.source_text.contains("Buy now"), "{}", document.source_text);
        let titles: Vec<_> = document.headings.iter().map(|h| h.title.as_str()).collect();
        assert_eq!(titles, ["Green", "Black"]);
        for heading in &document.headings {
            assert!(document.source_text[heading.offset..].starts_with(&heading.title));
        }
    }

    #[test]
    fn a_page_without_content_is_empty_and_has_no_title() {
        for html in ["", "   ", "<html></html>", "<p></p>", "<!-- x -->", "<", "</", "<script>1</script>"] {
            let document = load(html).unwrap();
            assert_eq!(document.source_text.replace("&lt;", "<").trim_matches(['<', '/']), "", "{html}");
            assert_eq!(document.title, None, "{html}");
        }
    }

    #[test]
    fn a_page_over_the_size_limit_is_refused() {
        let error = load(&"x".repeat(MAX_BYTES + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    }
}
