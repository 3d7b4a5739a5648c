//! JSON and JSON Lines: records with the names of their fields, in one document or in one each.

use agentkit_core::{Error, Result};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::error::Category;

use super::json_fields::{Fields, RecordSeed};
use super::limits::Budget;
use super::records::{Collector, Gathered, Layout, Record, RecordMapping};
use super::{Loader, RawFile};
use crate::source::{SourceDocument, SourceKind};

/// A field is a line, a record a paragraph.
const LAYOUT: Layout = Layout { kind: SourceKind::Json, separator: "\n", gap: "\n\n" };
/// The parser itself goes no deeper.
const MAX_DEPTH: usize = 127;

/// Loads JSON files, whose outermost list holds the records, and JSON Lines, of which each line is one.
///
/// Each field is a line of the source text after the names that lead to it; records are set apart by blank lines. With a
/// [`RecordMapping`], or if the first record has a field called `text`, `content`, `contents`, `body` or `passage`, each
/// record is a document of its own. Records are counted from 1: by lines in JSON Lines, by place in the list otherwise.
///
/// # Examples
/// ```
/// # fn main() -> agentkit_core::Result<()> {
/// let json = br#"[{"drink": "tea", "steps": ["boil", "steep"]}, {"drink": "milk", "cow": {"name": "Berta"}}]"#;
/// let document = agentkit_rag::load::load_bytes("drinks", "json", json)?;
/// assert_eq!(document.source_text, "drink: tea\nsteps: boil, steep\n\ndrink: milk\ncow.name: Berta");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct JsonLoader {
    mapping: Option<RecordMapping>,
}

impl JsonLoader {
    /// Says which fields are id, title, text and metadata.
    #[must_use]
    pub fn mapping(mut self, mapping: RecordMapping) -> Self {
        self.mapping = Some(mapping);
        self
    }
}

impl Loader for JsonLoader {
    fn extensions(&self) -> &[&str] {
        &["json", "jsonl", "ndjson"]
    }

    fn media_types(&self) -> &[&str] {
        &["application/json", "application/x-ndjson", "application/jsonl"]
    }

    fn load(&self, raw: &RawFile<'_>) -> Result<SourceDocument> {
        let mut gathered = Gathered::new(raw, LAYOUT);
        records(raw, &mut |record| gathered.add(record))?;
        gathered.finish()
    }

    fn load_all(&self, raw: &RawFile<'_>) -> Result<Vec<SourceDocument>> {
        let mut collector = Collector::new(raw, LAYOUT, self.mapping.as_ref());
        records(raw, &mut |record| collector.add(record))?;
        collector.finish()
    }
}

/// Visits the records of a file.
fn records(raw: &RawFile<'_>, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
    let text = raw.utf8()?;
    let mut budget = Budget::start(raw);
    budget.limits.depth = budget.limits.depth.min(MAX_DEPTH);
    budget.check_depth(depth(text))?;
    let has_lines = has_lines(text);
    let mut records = Records { budget: &budget, visit, failure: None };
    if has_lines {
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        return lines.into_iter().try_for_each(|(line, row)| records.single(line, row));
    }
    if text.trim_start().starts_with('[') { records.list(text) } else { records.single(text, 1) }
}

/// Whether the first value ends before the text does.
fn has_lines(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let first = values.next();
    let after = text.get(values.byte_offset()..).unwrap_or_default();
    matches!(first, Some(Ok(_))) && !after.trim().is_empty()
}

/// Visits records one by one, so that never more than one is in memory.
struct Records<'a, 'v> {
    budget: &'a Budget,
    visit: &'v mut dyn FnMut(&Record) -> Result<()>,
    /// Why the parser was stopped.
    failure: Option<Error>,
}

impl Records<'_, '_> {
    /// Visits the record that `text` is, which begins on line `row`.
    fn single(&mut self, text: &str, row: u64) -> Result<()> {
        let mut values = serde_json::Deserializer::from_str(text);
        let mut fields = Fields::new(self.budget);
        let read = RecordSeed(&mut fields).deserialize(&mut values).and_then(|()| values.end());
        read.map_err(|error| failed(self.budget, row, fields.failure.take(), error))?;
        (self.visit)(&Record { row, fields: fields.found })
    }

    /// Visits the records of the list that `text` is.
    fn list(&mut self, text: &str) -> Result<()> {
        let mut values = serde_json::Deserializer::from_str(text);
        let read = values.deserialize_seq(&mut *self).and_then(|()| values.end());
        read.map_err(|error| failed(self.budget, 1, self.failure.take(), error))
    }

    /// Visits the next record of a list; says whether there was one.
    fn next<'de, A: SeqAccess<'de>>(
        &mut self,
        row: u64,
        list: &mut A,
    ) -> std::result::Result<bool, A::Error> {
        let mut fields = Fields::new(self.budget);
        let read = list.next_element_seed(RecordSeed(&mut fields));
        self.failure = fields.failure.take();
        if read?.is_none() {
            return Ok(false);
        }
        let visited = (self.visit)(&Record { row, fields: fields.found });
        visited.map(|()| true).map_err(|error| {
            self.failure = Some(error);
            serde::de::Error::custom("the visit failed")
        })
    }
}

impl<'de> Visitor<'de> for &mut Records<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut row = 1;
        while self.next(row, &mut list)? {
            row += 1;
        }
        Ok(())
    }
}

/// Translates an error of the parser in a text that begins on line `first`; one of our own that it carried goes before.
fn failed(budget: &Budget, first: u64, own: Option<Error>, error: serde_json::Error) -> Error {
    let (line, column) = (first + (error.line() as u64).saturating_sub(1), error.column());
    let what = match error.classify() {
        Category::Eof => "it is cut off",
        _ => "it is no JSON",
    };
    own.unwrap_or_else(|| {
        budget.malformed(format_args!("{what} at line {line}, column {column}")).with_source(error)
    })
}

/// How deep the brackets nest that stand outside of strings.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use agentkit_core::{DocumentId, ErrorKind};

    use super::super::LoadLimits;
    use super::*;

    fn raw(text: &str) -> RawFile<'_> {
        RawFile::new(DocumentId::new("r.json").unwrap(), text.as_bytes())
    }

    fn loaded(text: &str) -> (String, Vec<Option<u64>>) {
        let document = JsonLoader::default().load(&raw(text)).unwrap();
        (document.source_text, document.marks.iter().map(|mark| mark.row).collect())
    }

    #[test]
    fn lists_lines_and_single_values_are_records() {
        for (json, text, rows) in [
            ("[{\"a\":1},{\"a\":[true,null,\"x\"]}]", "a: 1\n\na: true, x", &[Some(1), Some(2)][..]),
            ("{\"a\":1}\n\n{\"a\":2}\n", "a: 1\n\na: 2", &[Some(1), Some(3)]),
            ("{\"b\": {\"c\": -1.5, \"d\": {}}}", "b.c: -1.5", &[Some(1)]),
            ("{\"p\": [{\"q\": 1}, {\"q\": 2}]}", "p.q: 1\np.q: 2", &[Some(1)]),
            ("[1, 2]", "1\n\n2", &[Some(1), Some(2)]),
            ("\"text\"", "text", &[Some(1)]),
            ("[]", "", &[]),
            ("{}", "", &[]),
        ] {
            assert_eq!(loaded(json), (text.to_owned(), rows.to_vec()), "{json}");
        }
    }

    #[test]
    fn records_with_a_text_are_documents() {
        let lines = "{\"_id\":\"a\",\"title\":\"Tea\",\"text\":\"Hot.\",\"n\":3}\n{\"_id\":\"b\",\"text\":\"Cold.\"}\n";
        let documents = JsonLoader::default().load_all(&raw(lines)).unwrap();
        let ids: Vec<_> = documents.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids, ["r.json#a", "r.json#b"]);
        assert_eq!((documents[0].title.as_deref(), documents[0].source_text.as_str()), (Some("Tea"), "Hot."));
        assert_eq!(documents[0].metadata.values("n"), [3.into()]);
        assert_eq!(documents[1].marks[0].row, Some(2));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (json, said) in [
            ("{\"a\": 1", "it is cut off at line 1"),
            ("{\"a\": 1}\n{\"a\" 2}", "no JSON at line 2, column 6"),
            ("[1,\n2,\nx]", "no JSON at line 3"),
            ("", "cut off"),
            ("nonsense", "no JSON"),
        ] {
            let error = JsonLoader::default().load(&raw(json)).unwrap_err();
            assert!(error.is_invalid_input() && error.message().contains(said), "{json}: {error}");
            assert!(error.message().contains("r.json"));
        }
    }

    #[test]
    fn depth_records_and_text_are_bounded() {
        let deep = "[".repeat(100_000);
        let many = format!("[{}0]", "0,".repeat(5_000));
        let wide = format!("{{\"a\": [{}0]}}", "0,".repeat(5_000));
        let limits = LoadLimits { records: 1_000, text_bytes: 4_000, ..LoadLimits::default() };
        for (json, limit) in [(deep, "127"), (many, "1000"), (wide, "4000 bytes")] {
            let error = JsonLoader::default().load(&raw(&json).with_limits(limits.clone())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
            assert!(error.message().contains(limit), "{error}");
        }
        assert_eq!(depth("[\"[[[\", \"\\\"[\", {\"a\": []}]"), 3);
    }
}
