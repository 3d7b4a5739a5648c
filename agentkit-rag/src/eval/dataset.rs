//! A data set for retrieval: documents, queries, and which documents answer which query.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use serde::Deserialize;

use super::judgements::{Judgements, read_qrels};
use super::queries::{Query, read_queries};
use super::questions::{Question, read_questions};
use super::records::Records;
use super::scores::is_answerable;
use crate::source::SourceDocument;

/// The files of a folder in BEIR's form.
const CORPUS: &str = "corpus.jsonl";
const QUERIES: &str = "queries.jsonl";
const QUESTIONS: &str = "questions.jsonl";

/// Queries and judgements of a retrieval data set; its documents are read when needed.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::{Dataset, Judgements, Query};
///
/// let queries = vec![Query { id: "q1".into(), text: "how hot is green tea?".into() }];
/// let judged = Judgements::from([("tea".into(), 1)]);
/// let dataset = Dataset::new(queries, [("q1".into(), judged)]).unwrap();
/// assert_eq!(dataset.judged_queries().count(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct Dataset {
    corpus: Option<PathBuf>,
    queries: Vec<Query>,
    judgements: BTreeMap<String, Judgements>,
}

impl Dataset {
    /// A data set of these queries and judgements, without documents of its own.
    ///
    /// # Errors
    /// Invalid input, if a query occurs twice or judgements are about a query that is not there.
    pub fn new(
        queries: Vec<Query>,
        judgements: impl IntoIterator<Item = (String, Judgements)>,
    ) -> Result<Self> {
        let mut known = HashSet::new();
        if let Some(twice) = queries.iter().find(|query| !known.insert(query.id.as_str())) {
            return Err(Error::invalid_input(format!("query {:?} occurs twice", twice.id)));
        }
        let judgements: BTreeMap<_, _> = judgements.into_iter().collect();
        if let Some(unknown) = judgements.keys().find(|query| !known.contains(query.as_str())) {
            return Err(Error::invalid_input(format!(
                "query {unknown:?} is judged but not among the queries"
            )));
        }
        Ok(Self { corpus: None, queries, judgements })
    }

    /// Reads a folder in BEIR's form: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or `qrels/test.tsv`; without
    /// queries it is made of `questions.jsonl`. Reads files: call it where blocking is fine.
    ///
    /// # Errors
    /// Not found, or invalid input naming the file and line that is malformed.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let corpus = folder.join(CORPUS);
        if !corpus.is_file() {
            return Err(Error::not_found(format!(
                "{} is not there; a data set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv",
                corpus.display()
            )));
        }
        let dataset = if folder.join(QUERIES).is_file() || !folder.join(QUESTIONS).is_file() {
            Self::read(folder.join(QUERIES), Self::qrels(folder))?
        } else {
            Self::from_questions(&read_questions(folder.join(QUESTIONS))?)?
        };
        Ok(dataset.corpus(corpus))
    }

    /// Reads queries and judgements without documents, each in BEIR's or TREC's form; see
    /// [`read_queries`] and [`read_qrels`]. Reads files: call it where blocking is fine.
    ///
    /// Judgements in TREC's form, which often serve several sets of topics, may be about other queries as well.
    ///
    /// # Errors
    /// Not found, or invalid input naming the file and, of a malformed one, the line.
    pub fn read(queries: impl AsRef<Path>, qrels: impl AsRef<Path>) -> Result<Self> {
        let (queries, qrels) = (read_queries(queries)?, qrels.as_ref());
        let mut judgements = read_qrels(qrels)?;
        if !judgements.is_beir {
            let known: HashSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
            judgements.by_query.retain(|query, _| known.contains(query.as_str()));
        }
        Self::new(queries, judgements.by_query)
            .map_err(|error| Error::invalid_input(format!("{}: {}", qrels.display(), error.chain())))
    }

    /// A data set of questions, each answered by its own document if it is answerable.
    ///
    /// # Errors
    /// Invalid input, if a question occurs twice.
    pub fn from_questions(questions: &[Question]) -> Result<Self> {
        let queries =
            questions.iter().map(|asked| Query { id: asked.id.clone(), text: asked.question.clone() });
        let judged = questions.iter().filter(|asked| asked.answerable).filter_map(|asked| {
            let document = asked.context_id.clone()?;
            Some((asked.id.clone(), HashMap::from([(document, 1)])))
        });
        Self::new(queries.collect(), judged)
    }

    /// Its documents are in this file, one JSON object a line with `_id`, `title` and `text`.
    #[must_use]
    pub fn corpus(mut self, file: impl Into<PathBuf>) -> Self {
        self.corpus = Some(file.into());
        self
    }

    /// The file of judgements of a folder in BEIR's form, whether it is there or not.
    #[must_use]
    pub fn qrels(folder: impl AsRef<Path>) -> PathBuf {
        let (flat, test) =
            (folder.as_ref().join("qrels.tsv"), folder.as_ref().join("qrels").join("test.tsv"));
        if flat.is_file() || !test.is_file() { flat } else { test }
    }

    /// The queries with at least one relevant document, in the order of the file: those that are measured.
    pub fn judged_queries(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter().filter(|query| self.judgements.get(&query.id).is_some_and(is_answerable))
    }

    /// All queries, in the order of the file.
    #[must_use]
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// The judgements of each query that has any.
    #[must_use]
    pub fn judgements(&self) -> &BTreeMap<String, Judgements> {
        &self.judgements
    }

    /// The documents, read one after the other; none if the set has none of its own. A document without text has
    /// its title as text.
    ///
    /// # Errors
    /// Not found, if the file cannot be opened. An item is an error of invalid input, naming file and line, if
    /// the document is malformed.
    pub fn documents(&self) -> Result<Documents> {
        Ok(Documents { records: self.corpus.as_deref().map(Records::open).transpose()? })
    }
}

/// The documents of a data set; see [`Dataset::documents`].
#[derive(Debug)]
pub struct Documents {
    records: Option<Records>,
}

impl Iterator for Documents {
    type Item = Result<SourceDocument>;

    fn next(&mut self) -> Option<Self::Item> {
        let records = self.records.as_mut()?;
        let record = records.next_record::<DocumentRecord>()?;
        Some(record.and_then(|record| record.into_document().map_err(|error| records.wrong(&error))))
    }
}

#[derive(Deserialize)]
struct DocumentRecord {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

impl DocumentRecord {
    fn into_document(self) -> Result<SourceDocument> {
        let title = self.title.trim();
        let text = if self.text.trim().is_empty() { title.to_owned() } else { self.text };
        if text.is_empty() {
            return Err(Error::invalid_input("the document has neither text nor title"));
        }
        let document = SourceDocument::text(self.id, text)?;
        Ok(if title.is_empty() { document } else { document.with_title(title) })
    }
}
