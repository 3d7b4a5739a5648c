//! A walk over the elements and texts of an XML part, within the limits of its file.

use agentkit_core::Result;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::limits::Budget;

/// After so many events the time is looked at.
const EVENTS_PER_LOOK: u32 = 4096;

/// What a walk comes by.
pub(super) enum Node<'n, 'x> {
    /// An element begins; one without content ends at once.
    Open(&'n Element<'x>),
    /// The element of this local name ends.
    Close(&'n str),
    /// Text, of which an element may have several pieces.
    Text(&'n str),
}

/// The start of an element.
pub(super) struct Element<'x> {
    start: BytesStart<'x>,
}

impl Element<'_> {
    /// Its name without the namespace.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// The value of the attribute of this local name, if it has one that can be read.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let mut found = attributes.with_checks(false).filter_map(std::result::Result::ok);
        let attribute = found.find(|attribute| attribute.key.local_name().into_inner() == name)?;
        attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
    }
}

/// Visits everything in `xml`, which is the part called `part`. Entities that a document defines itself are left out.
pub(super) fn walk(
    xml: &str,
    part: &str,
    budget: &Budget,
    visit: &mut dyn FnMut(Node<'_, '_>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let (mut depth, mut events) = (0_usize, 0_u32);
    loop {
        events = events.wrapping_add(1);
        if events.is_multiple_of(EVENTS_PER_LOOK) {
            budget.check_time()?;
        }
        let event = reader.read_event().map_err(|error| {
            let at = reader.error_position();
            budget.malformed(format_args!("its {part} is malformed at byte offset {at}")).with_source(error)
        })?;
        match event {
            Event::Start(start) => {
                depth += 1;
                budget.check_depth(depth)?;
                visit(Node::Open(&Element { start }))?;
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                visit(Node::Close(end.local_name().into_inner()))?;
            }
            Event::Text(text) => visit(Node::Text(&text.xml10_content()))?,
            Event::CData(text) => visit(Node::Text(&text.xml10_content()))?,
            Event::GeneralRef(reference) => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    visit(Node::Text(character.encode_utf8(&mut [0; 4])))?;
                } else if let Some(text) = resolve_predefined_entity(&reference) {
                    visit(Node::Text(text))?;
                }
            }
            Event::Eof if depth > 0 => {
                return Err(budget.malformed(format_args!("its {part} is cut off")));
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The text of the first element of this local name.
pub(super) fn first_text(xml: &str, part: &str, name: &str, budget: &Budget) -> Result<Option<String>> {
    let (mut found, mut inside) = (None::<String>, false);
    walk(xml, part, budget, &mut |node| {
        match node {
            Node::Open(element) if element.name() == name && found.is_none() => inside = true,
            Node::Close(closed) if closed == name => inside = false,
            Node::Text(text) if inside => found.get_or_insert_default().push_str(text),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::{LoadLimits, RawFile};
    use super::*;

    fn budget(limits: LoadLimits) -> Budget {
        Budget::start(&RawFile::new(DocumentId::new("a.docx").unwrap(), b"").with_limits(limits))
    }

    fn texts(xml: &str, limits: LoadLimits) -> Result<String> {
        let mut all = String::new();
        walk(xml, "word/document.xml", &budget(limits), &mut |node| {
            if let Node::Text(text) = node {
                all.push_str(text);
            }
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn references_become_characters_and_own_entities_expand_to_nothing() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"boom\"><!ENTITY c \"&b;&b;\">]>";
        let xml = format!("{bomb}<a>x &lt;&#233;&#x41;&c;<![CDATA[<y>]]></a>");
        assert_eq!(texts(&xml, LoadLimits::default()).unwrap(), "x <éA<y>");
    }

    #[test]
    fn depth_time_and_damage_are_named() {
        let deep = LoadLimits { depth: 3, ..LoadLimits::default() };
        let error = texts("<a><b><c><d/></c></b></a>", deep).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        let late = LoadLimits { time: Duration::ZERO, ..LoadLimits::default() };
        let long = format!("<a>{}</a>", "<b/>".repeat(4096));
        assert_eq!(texts(&long, late).unwrap_err().kind(), ErrorKind::ResourceExhausted);
        for damaged in ["<a><b></a>", "<a>", "<a", "<a>&x</a>"] {
            let error = texts(damaged, LoadLimits::default()).unwrap_err();
            assert!(error.is_invalid_input() && error.message().contains("a.docx"), "{damaged}: {error}");
        }
    }

    #[test]
    fn the_first_text_of_a_name_is_found() {
        let xml = "<p:a xmlns:p='x'><p:t> One\n two </p:t><p:t>three</p:t></p:a>";
        let found = first_text(xml, "core.xml", "t", &budget(LoadLimits::default())).unwrap();
        assert_eq!(found.as_deref(), Some("One two"));
    }
}
