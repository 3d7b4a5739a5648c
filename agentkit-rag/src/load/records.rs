//! Rows and records: which of their fields are id, title, text and metadata, and the documents made of them.

use std::collections::HashSet;
use std::fmt::Write;

use agentkit_core::{DocumentId, Mark, Metadata, Result, Scalar};

use super::RawFile;
use super::limits::Budget;
use crate::source::{SourceDocument, SourceKind};

/// Names that fields of this meaning usually have, the likelier first.
const ID_NAMES: [&str; 4] = ["_id", "id", "doc_id", "document_id"];
const TITLE_NAMES: [&str; 4] = ["title", "headline", "subject", "name"];
const TEXT_NAMES: [&str; 5] = ["text", "content", "contents", "body", "passage"];
/// Longer values are not kept as metadata unless they are asked for.
const MAX_METADATA_BYTES: usize = 1024;
/// Most fields kept as metadata unless they are asked for; the loader and the folder walk add some of their own.
const MAX_METADATA_FIELDS: usize = 48;

/// Which fields of a record are its id, title, text and metadata.
///
/// A field of a nested record is named with dots, as in `author.name`. Names are compared without regard to case.
///
/// # Examples
/// ```
/// use agentkit_rag::load::{JsonLoader, Loaders, RecordMapping};
/// use std::sync::Arc;
///
/// # fn main() -> agentkit_core::Result<()> {
/// let mapping = RecordMapping::new(["question", "answer"]).id("nr").title("topic").metadata(["year"]);
/// let loaders = Loaders::default().with(Arc::new(JsonLoader::default().mapping(mapping)));
/// let line = br#"{"nr": 7, "topic": "Tea", "question": "How hot?", "answer": "80 degrees.", "year": 2024}"#;
/// let documents = loaders.load_all_bytes("faq.jsonl", "jsonl", line)?;
/// assert_eq!(documents[0].id.as_str(), "faq.jsonl#7");
/// assert_eq!(documents[0].source_text, "How hot?\n\n80 degrees.");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMapping {
    /// The field whose value is added to the file's id after `#`; the row's number unless set.
    pub id: Option<String>,
    /// The field with the title.
    pub title: Option<String>,
    /// The fields that are the text, set apart by blank lines.
    pub text: Vec<String>,
    /// The fields to filter by.
    pub metadata: Vec<String>,
}

impl RecordMapping {
    /// Takes the text from these fields, in this order.
    #[must_use]
    pub fn new<S: Into<String>>(text: impl IntoIterator<Item = S>) -> Self {
        Self { text: text.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Names the field with the id.
    #[must_use]
    pub fn id(mut self, field: impl Into<String>) -> Self {
        self.id = Some(field.into());
        self
    }

    /// Names the field with the title.
    #[must_use]
    pub fn title(mut self, field: impl Into<String>) -> Self {
        self.title = Some(field.into());
        self
    }

    /// Names the fields to filter by.
    #[must_use]
    pub fn metadata<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.metadata = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The mapping by the usual names, if there is a field that is usually the text.
    fn guess(record: &Record) -> Option<Self> {
        let find =
            |names: &[&str]| names.iter().find_map(|name| record.field(name)).map(|field| field.name.clone());
        let text = find(&TEXT_NAMES)?;
        let (id, title) = (find(&ID_NAMES), find(&TITLE_NAMES));
        Some(Self { id, title, text: vec![text], metadata: Vec::new() })
    }
}

/// A value of a record, by the names that lead to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) text: String,
    /// The value for metadata, if it is a single one.
    pub(super) scalar: Option<Scalar>,
}

/// A row of a table, or a record of JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    /// Its row or line in the file, counted from 1.
    pub(super) row: u64,
    pub(super) fields: Vec<Field>,
}

impl Record {
    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Its fields with their names, as one line each, or in one line if `separator` says so.
    pub(super) fn describe(&self, separator: &str) -> String {
        let mut text = String::new();
        for field in self.fields.iter().filter(|field| !field.text.trim().is_empty()) {
            if !text.is_empty() {
                text.push_str(separator);
            }
            if !field.name.is_empty() {
                // Writing to a string does not fail.
                let _ = write!(text, "{}: ", field.name);
            }
            text.push_str(field.text.trim());
        }
        text
    }
}

/// How the records of a format are written when they are gathered into one document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) kind: SourceKind,
    /// Between the fields of a record.
    pub(super) separator: &'static str,
    /// Between records.
    pub(super) gap: &'static str,
}

/// Makes documents of the records of a file: of each one, if a mapping was asked for or the first record has a field that
/// is usually the text; else one of all.
pub(super) struct Collector<'a> {
    raw: &'a RawFile<'a>,
    layout: Layout,
    mapping: Option<&'a RecordMapping>,
    target: Option<Target<'a>>,
}

enum Target<'a> {
    One(Box<Gathered<'a>>),
    Each(Box<Each<'a>>),
}

impl<'a> Collector<'a> {
    pub(super) fn new(raw: &'a RawFile<'a>, layout: Layout, mapping: Option<&'a RecordMapping>) -> Self {
        Self { raw, layout, mapping, target: None }
    }

    pub(super) fn add(&mut self, record: &Record) -> Result<()> {
        let (raw, layout, mapping) = (self.raw, self.layout, self.mapping);
        let decide = || match mapping.cloned().or_else(|| RecordMapping::guess(record)) {
            Some(found) => Target::Each(Box::new(Each::new(raw, layout.kind, found, mapping.is_some()))),
            None => Target::One(Box::new(Gathered::new(raw, layout))),
        };
        match self.target.get_or_insert_with(decide) {
            Target::One(gathered) => gathered.add(record),
            Target::Each(each) => each.add(record),
        }
    }

    pub(super) fn finish(self) -> Result<Vec<SourceDocument>> {
        match self.target {
            Some(Target::Each(each)) => Ok(each.documents),
            Some(Target::One(gathered)) => gathered.finish().map(|document| vec![document]),
            None => Gathered::new(self.raw, self.layout).finish().map(|document| vec![document]),
        }
    }
}

/// Gathers the records of a file into one document.
pub(super) struct Gathered<'a> {
    raw: &'a RawFile<'a>,
    budget: Budget,
    layout: Layout,
    text: String,
    marks: Vec<Mark>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(raw: &'a RawFile<'a>, layout: Layout) -> Self {
        Self { raw, budget: Budget::start(raw), layout, text: String::new(), marks: Vec::new() }
    }

    /// Adds a record to the one document.
    pub(super) fn add(&mut self, record: &Record) -> Result<()> {
        let described = record.describe(self.layout.separator);
        if described.is_empty() {
            return Ok(());
        }
        if !self.text.is_empty() {
            self.text.push_str(self.layout.gap);
        }
        self.marks.push(Mark::row(self.text.len(), record.row));
        self.text.push_str(&described);
        self.budget.check_records(self.marks.len() as u64)?;
        self.budget.check_text(self.text.len())
    }

    /// The one document.
    pub(super) fn finish(self) -> Result<SourceDocument> {
        let mut document = self.raw.document(self.text)?;
        document.kind = self.layout.kind;
        document.marks = self.marks;
        Ok(document)
    }
}

/// Makes a document of each record.
struct Each<'a> {
    raw: &'a RawFile<'a>,
    budget: Budget,
    kind: SourceKind,
    mapping: RecordMapping,
    /// Whether the mapping was asked for, so that what it names has to be there.
    strict: bool,
    seen: HashSet<String>,
    bytes: usize,
    documents: Vec<SourceDocument>,
}

impl<'a> Each<'a> {
    fn new(raw: &'a RawFile<'a>, kind: SourceKind, mapping: RecordMapping, strict: bool) -> Self {
        let budget = Budget::start(raw);
        Self { raw, budget, kind, mapping, strict, seen: HashSet::new(), bytes: 0, documents: Vec::new() }
    }

    /// Adds the document of `record`; a record without text has none.
    fn add(&mut self, record: &Record) -> Result<()> {
        let Some(text) = self.text(record)? else { return Ok(()) };
        self.bytes += text.len();
        let mut document = SourceDocument::text(self.id(record)?, text)?;
        document.uri.clone_from(&self.raw.uri);
        document.kind = self.kind;
        document.title = Self::value(record, self.mapping.title.as_deref());
        document.marks = vec![Mark::row(0, record.row)];
        document.metadata = self.metadata(record);
        self.documents.push(document);
        self.budget.check_records(self.documents.len() as u64)?;
        self.budget.check_text(self.bytes)
    }

    fn text(&self, record: &Record) -> Result<Option<String>> {
        let named = self.mapping.text.iter().filter_map(|name| record.field(name));
        let mut texts: Vec<String> = named.map(|field| field.text.trim().to_owned()).collect();
        if texts.is_empty() && self.strict {
            let (row, wanted) = (record.row, self.mapping.text.join(", "));
            return Err(self.budget.malformed(format_args!("record {row} has none of the fields {wanted}")));
        }
        if !self.strict {
            let rest = record.fields.iter().filter(|field| !self.is_used(field) && !is_metadata(field));
            texts.push(Record { row: record.row, fields: rest.cloned().collect() }.describe("\n"));
        }
        texts.retain(|text| !text.is_empty());
        Ok((!texts.is_empty()).then(|| texts.join("\n\n")))
    }

    /// Whether a field is the id, the title or part of the text.
    fn is_used(&self, field: &Field) -> bool {
        let RecordMapping { id, title, text, .. } = &self.mapping;
        text.iter().chain(id).chain(title).any(|name| name.eq_ignore_ascii_case(&field.name))
    }

    /// The file's id with the record's own, or its row where it has none or one that came before.
    fn id(&mut self, record: &Record) -> Result<String> {
        let file = self.raw.id.as_str();
        let own = Self::value(record, self.mapping.id.as_deref());
        let own = own.map(|own| format!("{file}#{own}")).filter(|id| DocumentId::new(id.as_str()).is_ok());
        let id = own
            .filter(|id| self.seen.insert(id.clone()))
            .unwrap_or_else(|| format!("{file}#row-{}", record.row));
        DocumentId::new(id.as_str()).map_err(|error| {
            self.budget.malformed(format_args!("name its record {}", record.row)).with_source(error)
        })?;
        Ok(id)
    }

    fn value(record: &Record, name: Option<&str>) -> Option<String> {
        let text = record.field(name?)?.text.split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(text)
    }

    fn metadata(&self, record: &Record) -> Metadata {
        let mut metadata = Metadata::new();
        for field in &record.fields {
            let wanted = self.mapping.metadata.iter().any(|name| name.eq_ignore_ascii_case(&field.name));
            let guessed = !self.strict && !self.is_used(field) && is_metadata(field);
            if let Some(value) = field.scalar.clone().filter(|_| wanted || guessed) {
                let mut with = metadata.clone();
                with.insert(field.name.clone(), value);
                if with.validate().is_ok() && with.iter().count() <= MAX_METADATA_FIELDS {
                    metadata = with;
                }
            }
        }
        metadata
    }
}

/// Whether a field is one to filter by, if nobody says.
fn is_metadata(field: &Field) -> bool {
    field.scalar.is_some() && !field.name.is_empty() && field.text.len() <= MAX_METADATA_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(row: u64, fields: &[(&str, &str)]) -> Record {
        let field = |(name, text): &(&str, &str)| Field {
            name: (*name).into(),
            text: (*text).into(),
            scalar: Some(Scalar::from(*text)),
        };
        Record { row, fields: fields.iter().map(field).collect() }
    }

    fn raw() -> RawFile<'static> {
        RawFile::new(DocumentId::new("faq.csv").unwrap(), b"")
    }

    #[test]
    fn the_usual_names_are_guessed_and_the_rest_is_kept() {
        let first = record(2, &[("_ID", "q1"), ("Title", "Tea"), ("Text", "Hot water."), ("lang", "en")]);
        let mapping = RecordMapping::guess(&first).unwrap();
        let raw = raw();
        let mut each = Each::new(&raw, SourceKind::Table, mapping, false);
        let long = "x".repeat(MAX_METADATA_BYTES + 1);
        each.add(&first).unwrap();
        each.add(&record(3, &[("_id", "q1"), ("text", "Again."), ("notes", &long)])).unwrap();
        let [one, two] = &each.documents[..] else { panic!("{:?}", each.documents) };
        assert_eq!((one.id.as_str(), one.title.as_deref()), ("faq.csv#q1", Some("Tea")));
        assert_eq!(one.source_text, "Hot water.");
        assert_eq!(one.metadata.values("lang"), ["en".into()]);
        assert_eq!(one.locator(agentkit_core::Span::new(0, 3)).row, Some(2));
        assert_eq!(two.id.as_str(), "faq.csv#row-3", "an id that came before is not used again");
        assert_eq!(two.source_text, format!("Again.\n\nnotes: {long}"));
        assert_eq!(RecordMapping::guess(&record(1, &[("name", "x"), ("description", "y")])), None);
    }

    #[test]
    fn a_mapping_that_was_asked_for_is_kept_to() {
        let raw = raw();
        let mapping = RecordMapping::new(["q", "a"]).metadata(["year"]);
        let mut each = Each::new(&raw, SourceKind::Table, mapping, true);
        each.add(&record(5, &[("a", "yes"), ("q", "so?"), ("year", "2024"), ("lang", "en")])).unwrap();
        let document = &each.documents[0];
        assert_eq!((document.id.as_str(), document.source_text.as_str()), ("faq.csv#row-5", "so?\n\nyes"));
        assert_eq!(document.metadata.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["year"]);
        let error = each.add(&record(6, &[("x", "y")])).unwrap_err();
        assert!(error.is_invalid_input() && error.message().contains("record 6"), "{error}");
    }
}
