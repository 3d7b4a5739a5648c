//! Which documents answer which query: judgements in BEIR's form and in that of TREC.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use agentkit_core::{Error, Result};

use super::records::Records;

/// The first line of a file of judgements in BEIR's form.
const HEADER: &str = "query-id\tcorpus-id\tscore";

/// The judged documents of a query: document id to grade; documents of grade 0 or less are not relevant.
pub type Judgements = HashMap<String, i32>;

/// What a file of judgements says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Qrels {
    /// The judgements of each query.
    pub by_query: BTreeMap<String, Judgements>,
    /// Whether the file has BEIR's form, where every query belongs to the set.
    pub is_beir: bool,
}

/// Reads judgements: a file with the header `query-id corpus-id score` and tabs between, or lines
/// of `query iteration document grade` as TREC has them. Reads the file: call it where blocking is fine.
///
/// # Errors
/// Not found, or invalid input naming the file and line that is malformed or judges a document again.
pub fn read_qrels(path: impl AsRef<Path>) -> Result<Qrels> {
    let mut records = Records::open(path.as_ref())?;
    let Some(first) = records.next_line().transpose()? else { return Ok(Qrels::default()) };
    let is_beir = first == HEADER;
    let parse = if is_beir { beir } else { trec };
    let mut by_query = BTreeMap::new();
    let mut next = if is_beir { records.next_line() } else { Some(Ok(first)) };
    while let Some(line) = next {
        let line = line?;
        let added = parse(&line).and_then(|judged| add(&mut by_query, judged));
        added.map_err(|error| records.wrong(&error))?;
        next = records.next_line();
    }
    Ok(Qrels { by_query, is_beir })
}

fn add(
    judgements: &mut BTreeMap<String, Judgements>,
    (query, document, grade): (&str, &str, i32),
) -> Result<()> {
    match judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), grade) {
        None => Ok(()),
        Some(_) => Err(Error::invalid_input(format!("query {query:?} judges {document:?} twice"))),
    }
}

fn beir(line: &str) -> Result<(&str, &str, i32)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [query, document, grade] = fields.as_slice() else {
        return Err(wrong("query id, document id and score with tabs between", line));
    };
    Ok((query, document, whole(grade, line)?))
}

fn trec(line: &str) -> Result<(&str, &str, i32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [query, _, document, grade] = fields.as_slice() else {
        return Err(wrong(&format!("the header {HEADER:?}, or query, iteration, document and grade"), line));
    };
    Ok((query, document, whole(grade, line)?))
}

fn whole(grade: &str, line: &str) -> Result<i32> {
    grade.trim().parse().map_err(|error| wrong("a whole number as grade", line).with_source(error))
}

fn wrong(expected: &str, line: &str) -> Error {
    Error::invalid_input(format!("expected {expected}, got {line:?}"))
}
