//! The queries of a data set: JSON Lines as BEIR has them, or topics as TREC has them.

use std::collections::HashSet;
use std::path::Path;

use agentkit_core::{Error, Result};
use serde::Deserialize;

use super::records::Records;

/// A question of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id, unique in the set.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// Reads queries: one JSON object a line with `_id` and `text`, TREC topics, whose title is the query, or an id and
/// a text with a tab between on each line. Reads the file: call it where blocking is fine.
///
/// # Errors
/// Not found, or invalid input naming the file and line of a malformed query, one without text or one that
/// occurs twice.
pub fn read_queries(path: impl AsRef<Path>) -> Result<Vec<Query>> {
    let mut reader = Reader::new(Records::open(path.as_ref())?);
    let Some(first) = reader.records.next_line().transpose()? else { return Ok(Vec::new()) };
    match first.trim_start().chars().next() {
        Some('<') => reader.topics(first)?,
        Some('{') => reader.lines(first, json)?,
        _ => reader.lines(first, tabbed)?,
    }
    Ok(reader.queries)
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

struct Reader {
    records: Records,
    seen: HashSet<String>,
    queries: Vec<Query>,
}

impl Reader {
    fn new(records: Records) -> Self {
        Self { records, seen: HashSet::new(), queries: Vec::new() }
    }

    fn lines(&mut self, first: String, parse: fn(&str) -> Result<Record>) -> Result<()> {
        let mut next = Some(Ok(first));
        while let Some(line) = next {
            let Record { id, text } = parse(&line?).map_err(|error| self.records.wrong(&error))?;
            self.add(id, text)?;
            next = self.records.next_line();
        }
        Ok(())
    }

    /// `<top>`, `<num> Number: 301`, `<title> words`, and other fields up to `</top>`; fields need no closing tag, and
    /// their text may go on over lines.
    fn topics(&mut self, first: String) -> Result<()> {
        let mut topic = Topic::default();
        let mut next = Some(Ok(first));
        while let Some(line) = next {
            for piece in pieces(&line?) {
                match piece {
                    Piece::Text(text) => topic.text(text),
                    Piece::Tag("/top") => {
                        let Topic { number, title, .. } = std::mem::take(&mut topic);
                        self.add(without_label(&number, "Number:"), without_label(&title, "Topic:"))?;
                    }
                    Piece::Tag(tag) => topic.open(tag),
                }
            }
            next = self.records.next_line();
        }
        if topic.is_begun() {
            return Err(self.wrong("the last topic has no end, </top>"));
        }
        Ok(())
    }

    fn add(&mut self, id: String, text: String) -> Result<()> {
        if id.is_empty() {
            return Err(self.wrong("a query has no id"));
        }
        if text.trim().is_empty() {
            return Err(self.wrong(format!("query {id:?} has no text")));
        }
        if !self.seen.insert(id.clone()) {
            return Err(self.wrong(format!("query {id:?} occurs twice")));
        }
        self.queries.push(Query { id, text });
        Ok(())
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        self.records.wrong(&Error::invalid_input(message))
    }
}

fn json(line: &str) -> Result<Record> {
    let record = serde_json::from_str(line);
    record.map_err(|error| Error::invalid_input("the line is not a record of the set").with_source(error))
}

fn tabbed(line: &str) -> Result<Record> {
    let (id, text) = line.split_once('\t').ok_or_else(|| {
        Error::invalid_input(format!(
            "expected a JSON object, a topic, or id and text with a tab between, got {line:?}"
        ))
    })?;
    Ok(Record { id: id.to_owned(), text: text.to_owned() })
}

/// A topic being read.
#[derive(Default)]
struct Topic {
    field: String,
    number: String,
    title: String,
}

impl Topic {
    fn open(&mut self, tag: &str) {
        tag.clone_into(&mut self.field);
    }

    fn text(&mut self, text: &str) {
        let field = match self.field.as_str() {
            "num" => &mut self.number,
            "title" => &mut self.title,
            _ => return,
        };
        for word in text.split_whitespace() {
            if !field.is_empty() {
                field.push(' ');
            }
            field.push_str(word);
        }
    }

    fn is_begun(&self) -> bool {
        !self.number.is_empty() || !self.title.is_empty()
    }
}

enum Piece<'l> {
    Tag(&'l str),
    Text(&'l str),
}

/// Tags and what stands between them; a `<` that begins no tag is text.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let mut text_end = 0;
    while let Some(open) = rest.get(text_end..).and_then(|tail| tail.find('<')).map(|at| at + text_end) {
        let tag = rest.get(open + 1..).and_then(|tail| tail.split_once('>')).map(|(tag, _)| tag);
        let Some(tag) = tag.filter(|tag| is_tag(tag)) else {
            text_end = open + 1;
            continue;
        };
        pieces.push(Piece::Text(rest.get(..open).unwrap_or_default()));
        pieces.push(Piece::Tag(tag));
        rest = rest.get(open + tag.len() + 2..).unwrap_or_default();
        text_end = 0;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn is_tag(tag: &str) -> bool {
    let name = tag.strip_prefix('/').unwrap_or(tag);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Older topics say in words what the field is.
fn without_label(text: &str, label: &str) -> String {
    text.strip_prefix(label).unwrap_or(text).trim().to_owned()
}
