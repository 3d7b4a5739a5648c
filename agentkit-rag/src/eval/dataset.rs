//! Reading a data set in BEIR form: `corpus.jsonl`, `queries.jsonl`, `qrels.tsv`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};

use agentkit_core::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::source::SourceDocument;

/// The first line of a file of judgements.
const QRELS_HEADER: &str = "query-id\tcorpus-id\tscore";

/// The judged documents of a query: document id to gain; documents of gain 0 or less are not relevant.
pub type Judgements = HashMap<String, i32>;

/// A question of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id, unique in the set.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// Queries and judgements of a retrieval data set; its documents are read when needed.
#[derive(Debug, Clone)]
pub struct Dataset {
    corpus: PathBuf,
    queries: Vec<Query>,
    judgements: BTreeMap<String, Judgements>,
}

impl Dataset {
    /// Reads the folder's `queries.jsonl`, and `qrels.tsv` or `qrels/test.tsv`. Reads files: call it where
    /// blocking is fine.
    ///
    /// # Errors
    /// Not found, or invalid input naming the file and line that is malformed.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let corpus = folder.join("corpus.jsonl");
        if !corpus.is_file() {
            return Err(Error::not_found(format!(
                "{} is not there; a data set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv",
                corpus.display()
            )));
        }
        let queries = read_queries(&folder.join("queries.jsonl"))?;
        let flat = folder.join("qrels.tsv");
        let qrels = if flat.is_file() { flat } else { folder.join("qrels").join("test.tsv") };
        let judgements = read_judgements(&qrels, &queries)?;
        Ok(Self { corpus, queries, judgements })
    }

    /// The queries with at least one relevant document, in the order of the file: those that are measured.
    pub fn judged_queries(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter().filter(|query| {
            self.judgements.get(&query.id).is_some_and(|judged| judged.values().any(|gain| *gain > 0))
        })
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

    /// The documents, read one after the other. A document without text has its title as text.
    ///
    /// # Errors
    /// Not found, if the file cannot be opened. An item is an error of invalid input, naming file and line, if
    /// the document is malformed.
    pub fn documents(&self) -> Result<Documents> {
        Ok(Documents { records: Records::open(&self.corpus)? })
    }
}

/// The documents of a data set; see [`Dataset::documents`].
#[derive(Debug)]
pub struct Documents {
    records: Records,
}

impl Iterator for Documents {
    type Item = Result<SourceDocument>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next_record::<DocumentRecord>()?;
        Some(record.and_then(|record| record.into_document().map_err(|error| self.records.wrong(&error))))
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

#[derive(Deserialize)]
struct QueryRecord {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

fn read_queries(path: &Path) -> Result<Vec<Query>> {
    let mut records = Records::open(path)?;
    let mut seen = HashSet::new();
    let mut queries = Vec::new();
    while let Some(record) = records.next_record::<QueryRecord>() {
        let QueryRecord { id, text } = record?;
        if text.trim().is_empty() {
            return Err(records.wrong(&Error::invalid_input(format!("query {id:?} has no text"))));
        }
        if !seen.insert(id.clone()) {
            return Err(records.wrong(&Error::invalid_input(format!("query {id:?} occurs twice"))));
        }
        queries.push(Query { id, text });
    }
    Ok(queries)
}

fn read_judgements(path: &Path, queries: &[Query]) -> Result<BTreeMap<String, Judgements>> {
    let known: HashSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    let mut records = Records::open(path)?;
    let mut judgements: BTreeMap<String, Judgements> = BTreeMap::new();
    let header = records.next_line().transpose()?.unwrap_or_default();
    if header != QRELS_HEADER {
        let wrong = format!("the header must be {QRELS_HEADER:?}, got {header:?}");
        return Err(records.wrong(&Error::invalid_input(wrong)));
    }
    while let Some(line) = records.next_line() {
        let line = line?;
        let judged = parse_judgement(&line).and_then(|(query, document, gain)| {
            if !known.contains(query) {
                return Err(Error::invalid_input(format!("query {query:?} is not in queries.jsonl")));
            }
            match judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), gain) {
                None => Ok(()),
                Some(_) => Err(Error::invalid_input(format!("query {query:?} judges {document:?} twice"))),
            }
        });
        judged.map_err(|error| records.wrong(&error))?;
    }
    Ok(judgements)
}

fn parse_judgement(line: &str) -> Result<(&str, &str, i32)> {
    let wrong = || Error::invalid_input(format!("expected query id, document id and score, got {line:?}"));
    let mut fields = line.split('\t');
    let (Some(query), Some(document), Some(gain), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(wrong());
    };
    let gain = gain.trim().parse().map_err(|error| wrong().with_source(error))?;
    Ok((query, document, gain))
}

/// The lines of a file that are not blank, with the number of the last one for messages.
#[derive(Debug)]
struct Records {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    number: usize,
}

impl Records {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file).lines(), number: 0 })
    }

    fn next_line(&mut self) -> Option<Result<String>> {
        loop {
            self.number += 1;
            match self.lines.next()? {
                Err(error) => {
                    return Some(Err(
                        self.wrong(&Error::invalid_input("the line cannot be read").with_source(error))
                    ));
                }
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Some(Ok(line)),
            }
        }
    }

    fn next_record<T: DeserializeOwned>(&mut self) -> Option<Result<T>> {
        let line = self.next_line()?;
        Some(line.and_then(|line| {
            serde_json::from_str(&line).map_err(|error| {
                self.wrong(&Error::invalid_input("the line is not a record of the set").with_source(error))
            })
        }))
    }

    /// Puts the file and line in front of an error.
    fn wrong(&self, error: &Error) -> Error {
        Error::invalid_input(format!("{}:{}: {}", self.path.display(), self.number, error.chain()))
    }
}
