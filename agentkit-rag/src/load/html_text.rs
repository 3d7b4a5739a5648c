//! The visible text of an HTML tree, with blank lines between paragraphs and the headings' offsets.
//!
//! The walk keeps no stack of its own, so the depth of a page costs nothing.

use dom_query::NodeRef;

use super::writer::{Extract, Role, Writer};

/// The visible text under `root`.
pub(super) fn render(root: &NodeRef<'_>) -> Extract {
    let mut writer = Writer::default();
    let mut node = *root;
    loop {
        if enter(&node, &mut writer)
            && let Some(child) = node.first_child()
        {
            node = child;
            continue;
        }
        loop {
            leave(&node, &mut writer);
            if node.id == root.id {
                return writer.finish();
            }
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else { return writer.finish() };
            node = parent;
        }
    }
}

/// Opens `node`; whether its children are to be visited.
fn enter(node: &NodeRef<'_>, writer: &mut Writer) -> bool {
    if node.is_text() {
        writer.write(&node.text());
        return false;
    }
    let role = role(node);
    writer.open(role);
    role != Role::Hidden
}

/// Closes `node`.
fn leave(node: &NodeRef<'_>, writer: &mut Writer) {
    if !node.is_text() {
        writer.close(role(node));
    }
}

/// The role of an element; hidden if its attributes say so.
fn role(node: &NodeRef<'_>) -> Role {
    let Some(name) = node.node_name() else {
        return if node.is_comment() || node.is_doctype() { Role::Hidden } else { Role::Inline };
    };
    let invisible =
        node.has_attr("hidden") || node.attr("aria-hidden").is_some_and(|value| &*value == "true");
    if invisible { Role::Hidden } else { named(&name) }
}

/// What an HTML element means.
fn named(name: &str) -> Role {
    match name {
        "script" | "style" | "noscript" | "template" | "head" | "nav" | "footer" | "aside" | "svg"
        | "canvas" | "iframe" | "object" | "embed" | "audio" | "video" | "map" | "button" | "select"
        | "input" | "textarea" | "datalist" | "dialog" => Role::Hidden,
        "br" => Role::Break,
        "address" | "article" | "blockquote" | "body" | "caption" | "center" | "details" | "div" | "dl"
        | "fieldset" | "figcaption" | "figure" | "form" | "header" | "hgroup" | "hr" | "legend" | "main"
        | "p" | "section" | "summary" | "table" => Role::Block,
        "tr" | "dt" | "dd" => Role::Row,
        "td" | "th" => Role::Cell,
        "ul" | "ol" | "menu" => Role::List,
        "li" => Role::Item,
        "pre" | "listing" | "xmp" => Role::Preformatted,
        "h1" => Role::Heading(1),
        "h2" => Role::Heading(2),
        "h3" => Role::Heading(3),
        "h4" => Role::Heading(4),
        "h5" => Role::Heading(5),
        "h6" => Role::Heading(6),
        _ => Role::Inline,
    }
}

#[cfg(test)]
mod tests {
    use dom_query::Document;

    use super::*;

    #[test]
    fn the_layout_of_blocks_lists_tables_and_code_is_kept() {
        for (html, text) in [
            ("<p>a<p>b", "a\n\nb"),
            ("<div><div><p>a</p></div></div>\n <div>b</div>", "a\n\nb"),
            ("a <b> b</b>c<i> d </i> e", "a bc d e"),
            ("a<br>b<br/><br>c", "a\nb\nc"),
            ("x<ul><li>a<li><p>b</p><ul><li>c</ul></ul>y", "x\n\n- a\n- b\n  - c\n\ny"),
            ("<table><tr><th>k<th><p>v</p><tr><td>a<td>b</table>z", "k | v\na | b\n\nz"),
            ("<table><tr><td>a<td><td>c<tr><td><td>e</table>", "a | c\ne"),
            ("<p>see<pre>fn a() {\n    b\n}\n\n</pre>end", "see\n\nfn a() {\n    b\n}\n\nend"),
            ("<dl><dt>k<dd>v</dl>", "k\nv"),
            ("a&nbsp;b\u{a0} c", "a b c"),
            ("<p hidden>x</p><span aria-hidden=true>y</span>z", "z"),
        ] {
            let page = Document::from(html);
            assert_eq!(render(&page.root()).text, text, "{html}");
        }
    }

    #[test]
    fn headings_begin_where_their_text_does() {
        let page = Document::from(
            "<p>é</p><h2>\n One <em>two</em>\n</h2><p>x</p><h3></h3><ul><li><h4>Four</h4>y</ul>",
        );
        let extract = render(&page.root());
        let found: Vec<_> = extract.headings.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(found, [(2, "One two"), (4, "Four")]);
        for heading in &extract.headings {
            assert!(extract.text[heading.offset..].starts_with(&heading.title), "{extract:?}");
        }
    }
}
