//! Rankings of documents for queries, in the TREC run format.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, Write};

use agentkit_core::{Error, Result};

/// A document and its score in a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The document's id.
    pub document: String,
    /// Its score; higher is better.
    pub score: f32,
}

impl AsRef<str> for Ranked {
    fn as_ref(&self) -> &str {
        &self.document
    }
}

/// For each query, documents best first: by score, equal scores as `trec_eval` orders them, the greater id first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    rankings: BTreeMap<String, Vec<Ranked>>,
}

impl Run {
    /// Ranks `documents` for `query`; of a document that occurs several times the best score counts.
    pub fn insert(&mut self, query: impl Into<String>, documents: impl IntoIterator<Item = Ranked>) {
        let mut best: HashMap<String, f32> = HashMap::new();
        for Ranked { document, score } in documents {
            let kept = best.entry(document).or_insert(score);
            *kept = kept.max(score);
        }
        let mut ranking: Vec<Ranked> =
            best.into_iter().map(|(document, score)| Ranked { document, score }).collect();
        ranking.sort_by(in_order);
        self.rankings.insert(query.into(), ranking);
    }

    /// The ranking of `query`, best first; empty if there is none.
    #[must_use]
    pub fn ranking(&self, query: &str) -> &[Ranked] {
        self.rankings.get(query).map(Vec::as_slice).unwrap_or_default()
    }

    /// Ranks `documents` for `query` in the order given; of a document that occurs several times the first counts.
    ///
    /// A score that contradicts the order, as equal ones do, is lowered to the next number below the score before
    /// it, so that every tool that sorts by score sees the same order.
    pub fn insert_in_order(&mut self, query: impl Into<String>, documents: impl IntoIterator<Item = Ranked>) {
        let mut seen = HashSet::new();
        let mut last = f32::MAX.next_up();
        let mut lowered = |ranked: Ranked| {
            let below = last.next_down();
            last = if ranked.score.is_finite() { ranked.score.min(below) } else { below };
            Ranked { score: last, ..ranked }
        };
        let first = documents.into_iter().filter(|ranked| seen.insert(ranked.document.clone()));
        let ranking = first.map(&mut lowered).collect();
        self.rankings.insert(query.into(), ranking);
    }

    /// The ranked queries, in the order of their ids.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.rankings.keys().map(String::as_str)
    }

    /// Writes the run as `query Q0 document rank score tag`, one line a document.
    ///
    /// White space, `%` and control characters in ids are written as `%` and two hexadecimal digits a byte.
    ///
    /// # Errors
    /// Invalid input, if the tag has white space, or what the writer returns.
    pub fn write_trec(&self, tag: &str, out: &mut dyn Write) -> Result<()> {
        if tag.is_empty() || tag.contains(char::is_whitespace) {
            return Err(Error::invalid_input(format!("the tag of a run must be one word, got {tag:?}")));
        }
        for (query, ranking) in &self.rankings {
            for (rank, ranked) in (1..).zip(ranking) {
                let (query, document) = (escape(query), escape(&ranked.document));
                writeln!(out, "{query} Q0 {document} {rank} {} {tag}", ranked.score)
                    .map_err(|error| Error::io("write the run", error))?;
            }
        }
        Ok(())
    }

    /// Reads a run in the TREC format; ranks are ignored, as `trec_eval` does.
    ///
    /// # Errors
    /// Invalid input, naming the line that is malformed, or what the reader returns.
    pub fn read_trec(input: impl BufRead) -> Result<Self> {
        let mut found: BTreeMap<String, Vec<Ranked>> = BTreeMap::new();
        for (number, line) in (1..).zip(input.lines()) {
            let line = line.map_err(|error| Error::io(format!("read line {number} of the run"), error))?;
            if line.trim().is_empty() {
                continue;
            }
            let (query, ranked) = parse(&line).ok_or_else(|| {
                Error::invalid_input(format!(
                    "line {number} of the run is not `query Q0 document rank score tag`: {line:?}"
                ))
            })?;
            found.entry(query).or_default().push(ranked);
        }
        let mut run = Self::default();
        for (query, documents) in found {
            run.insert(query, documents);
        }
        Ok(run)
    }
}

fn in_order(a: &Ranked, b: &Ranked) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| b.document.cmp(&a.document))
}

fn parse(line: &str) -> Option<(String, Ranked)> {
    let mut fields = line.split_whitespace();
    let (query, _, document, _) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let score = parse_score(fields.next()?)?;
    let _tag = fields.next()?;
    let ranked = Ranked { document: unescape(document)?, score };
    fields.next().is_none().then_some((unescape(query)?, ranked))
}

/// A score as `trec_eval` keeps it: read in double, held in single precision.
#[expect(clippy::cast_possible_truncation, reason = "scores that differ only beyond single precision tie")]
fn parse_score(text: &str) -> Option<f32> {
    let score = text.parse::<f64>().ok()? as f32;
    score.is_finite().then_some(score)
}

fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for c in id.chars() {
        if c.is_whitespace() || c.is_control() || c == '%' {
            let mut bytes = [0; 4];
            escaped.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Undoes [`escape`]; a `%` of another tool's run that begins no escape stays.
fn unescape(id: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}
