//! The lexical leg: BM25 over text and context, exact in its order.
//!
//! Every word is looked up in every segment first. Tantivy's block-max WAND then finds the candidates; the filter is
//! applied inside the collector, so pruning stays on. WAND adds the terms of a score in no fixed order, so candidates
//! are collected with some slack and then scored again term by term: equal chunks get equal scores, and the order
//! is deterministic.
//!
//! A word may have several forms, and forms like it or beginning with it ([`words`]). A phrase is a filter: which chunks
//! hold it is found first ([`phrase`]).
//!
//! The formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
//! (2009), with Lucene's idf, `k1` = 1.2 and `b` = 0.75.

mod phrase;
mod words;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use agentkit_core::{Boosts, Matching, Result};
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings as _, SegmentPostings, TermInfo};
use tantivy::query::{
    Bm25StatisticsProvider, BooleanWeight, EnableScoring, Explanation, Occur, Query as _, Scorer,
    SumCombiner, TermQuery, Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, DocSet, InvertedIndexReader, Score, SegmentReader, TERMINATED, Term};

use self::words::{Form, Words};
use super::ranking::{LegSearch, Scored, keep_best};
use super::snapshot::{Snapshot, text_index_failed};

const K1: Score = 1.2;
const B: Score = 0.75;
/// Relative difference that the order of additions may make to a score.
const SLACK: f32 = 1e-4;

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Query<'q> {
    pub(super) text: &'q str,
    pub(super) matching: Matching,
    pub(super) boosts: Boosts,
}

/// The best `limit` of the `allowed` chunks by BM25; chunks without any word of the query are not found.
pub(super) fn search(leg: LegSearch<'_>, query: Query<'_>) -> Result<Vec<Scored>> {
    if query.matching == Matching::Phrase {
        let allowed = phrase::holding(leg, query).map_err(text_index_failed)?;
        return scored(LegSearch { allowed: &allowed, ..leg }, query);
    }
    scored(leg, query)
}

fn scored(leg: LegSearch<'_>, query: Query<'_>) -> Result<Vec<Scored>> {
    let words = words::words(leg.snapshot, query).map_err(text_index_failed)?;
    if words.forms.is_empty() || leg.snapshot.chunks() == 0 {
        return Ok(Vec::new());
    }
    let segments = look_up(leg.snapshot, &words.forms).map_err(text_index_failed)?;
    let terms = terms(leg.snapshot, &segments, &words, query.boosts).map_err(text_index_failed)?;
    leg.ctx.check()?;
    let candidates = candidates(leg, &segments, &terms).map_err(text_index_failed)?;
    leg.ctx.check()?;
    let scored = rescore(leg.snapshot, &segments, &terms, candidates).map_err(text_index_failed)?;
    Ok(keep_best(scored, leg.limit))
}

/// The forms of the query's words in one field of a segment.
struct FieldTerms {
    field: Field,
    index: Arc<InvertedIndexReader>,
    /// Where the postings of each form are, in the order of the forms.
    found: Vec<Option<TermInfo>>,
}

impl FieldTerms {
    fn new(reader: &SegmentReader, field: Field, forms: &[Form]) -> tantivy::Result<Self> {
        let index = reader.inverted_index(field)?;
        let dictionary = index.terms();
        let found = if dictionary.num_terms() == 0 {
            vec![None; forms.len()]
        } else {
            forms.iter().map(|form| dictionary.get(&form.text)).collect::<Result<_, _>>()?
        };
        Ok(Self { field, index, found })
    }

    /// Live chunks that hold the form.
    fn live(&self, form: usize, reader: &SegmentReader, deleted: &[u32]) -> tantivy::Result<u64> {
        let Some(Some(info)) = self.found.get(form) else { return Ok(0) };
        if deleted.is_empty() {
            return Ok(info.doc_freq.into());
        }
        let mut postings = self.index.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
        let mut gone = 0_u64;
        if deleted.len() < info.doc_freq as usize {
            for doc in deleted {
                if postings.doc() < *doc {
                    postings.seek(*doc);
                }
                gone += u64::from(postings.doc() == *doc);
            }
        } else {
            while postings.doc() != TERMINATED {
                gone += u64::from(reader.is_deleted(postings.doc()));
                postings.advance();
            }
        }
        Ok(u64::from(info.doc_freq) - gone)
    }

    fn has(&self, form: usize) -> bool {
        matches!(self.found.get(form), Some(Some(_)))
    }
}

/// The words in both fields of a segment; a word in title and headings counts like one in the text.
type SegmentTerms = [FieldTerms; 2];

/// Looks every form up in every segment.
fn look_up(snapshot: &Snapshot, forms: &[Form]) -> tantivy::Result<Vec<SegmentTerms>> {
    let fields = &snapshot.fields;
    let both = |reader: &SegmentReader| {
        Ok([FieldTerms::new(reader, fields.text, forms)?, FieldTerms::new(reader, fields.context, forms)?])
    };
    snapshot.searcher.segment_readers().iter().map(both).collect()
}

/// A form of a word in one field, as it counts over the live chunks of all segments.
struct QueryTerm {
    /// Which of the forms.
    form: usize,
    /// Which field of a segment's.
    field: usize,
    /// How much it counts beside others.
    boost: Score,
    /// Its part of a score for the frequencies, the more the rarer the word.
    worth: Score,
    /// Average length of a chunk in this field.
    average: Score,
    /// Finds candidates.
    weight: Arc<dyn Weight>,
}

/// Weighs the words by how many live chunks hold them in any form; forms that none holds are left out.
fn terms(
    snapshot: &Snapshot,
    segments: &[SegmentTerms],
    words: &Words,
    boosts: Boosts,
) -> tantivy::Result<Vec<QueryTerm>> {
    let fields = [(snapshot.fields.text, boosts.text), (snapshot.fields.context, boosts.context)];
    let deleted: Vec<Vec<u32>> = snapshot.searcher.segment_readers().iter().map(deleted).collect();
    let mut terms = Vec::new();
    for word in &words.words {
        for (field, (of, boost)) in fields.into_iter().enumerate().filter(|(_, (_, boost))| *boost > 0.0) {
            let counts =
                word.clone().map(|form| Ok((form, containing(snapshot, segments, &deleted, (field, form))?)));
            let counts = counts.collect::<tantivy::Result<Vec<(usize, u64)>>>()?;
            let containing = counts.iter().map(|(_, count)| count).sum();
            let statistics = Statistics { snapshot, containing };
            for (form, _) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let Some(looked_up) = words.forms.get(form) else { continue };
                let boost = boost * looked_up.counts;
                let term = Term::from_field_text(of, &looked_up.text);
                let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
                let scoring =
                    EnableScoring::enabled_from_statistics_provider(&statistics, &snapshot.searcher);
                terms.push(QueryTerm {
                    form,
                    field,
                    boost,
                    worth: boost * idf(containing, snapshot.chunks()) * (1.0 + K1),
                    average: score_of(snapshot.total_num_tokens(of)?.max(1))
                        / score_of(snapshot.chunks().max(1)),
                    weight: query.weight(scoring)?.into(),
                });
            }
        }
    }
    Ok(terms)
}

/// Live chunks that hold a form in a field.
fn containing(
    snapshot: &Snapshot,
    segments: &[SegmentTerms],
    deleted: &[Vec<u32>],
    (field, form): (usize, usize),
) -> tantivy::Result<u64> {
    let mut containing = 0;
    for ((terms, reader), deleted) in segments.iter().zip(snapshot.searcher.segment_readers()).zip(deleted) {
        let Some(terms) = terms.get(field) else { continue };
        containing += terms.live(form, reader, deleted)?;
    }
    Ok(containing)
}

/// The statistics of one term, which has been counted already.
struct Statistics<'s> {
    snapshot: &'s Snapshot,
    containing: u64,
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.snapshot.total_num_tokens(field)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.snapshot.chunks().max(self.containing))
    }

    fn doc_freq(&self, _: &Term) -> tantivy::Result<u64> {
        Ok(self.containing)
    }
}

/// The deleted records of a segment in ascending order.
fn deleted(reader: &SegmentReader) -> Vec<u32> {
    let Some(alive) = reader.alive_bitset().filter(|_| reader.has_deletes()) else { return Vec::new() };
    (0..reader.max_doc()).filter(|doc| !alive.is_alive(*doc)).collect()
}

fn idf(containing: u64, all: u64) -> Score {
    let containing = containing.min(all);
    (1.0 + (score_of(all - containing) + 0.5) / (score_of(containing) + 0.5)).ln()
}

#[expect(clippy::cast_precision_loss, reason = "counts are statistics, where seven digits are plenty")]
fn score_of(count: u64) -> Score {
    count as Score
}

fn candidates(
    leg: LegSearch<'_>,
    segments: &[SegmentTerms],
    terms: &[QueryTerm],
) -> tantivy::Result<Vec<DocAddress>> {
    let LegSearch { snapshot, allowed, limit, ctx } = leg;
    let mut best = Candidates::new(limit);
    let readers = snapshot.searcher.segment_readers().iter();
    for (ordinal, ((reader, allowed), segment)) in (0..).zip(readers.zip(allowed).zip(segments)) {
        if ctx.check().is_err() {
            break;
        }
        let present = terms.iter().filter(|term| segment.get(term.field).is_some_and(|at| at.has(term.form)));
        let clauses: Vec<(Occur, Box<dyn Weight>)> = present
            .map(|term| (Occur::Should, Box::new(Shared(term.weight.clone(), term.boost)) as _))
            .collect();
        if clauses.is_empty() {
            continue;
        }
        // With no clause required any number may match, and a single one is not taken for an intersection.
        let union =
            BooleanWeight::with_minimum_number_should_match(clauses, 0, true, Box::new(SumCombiner::default));
        union.for_each_pruning(best.threshold, reader, &mut |doc, score| {
            if allowed.contains(doc) {
                best.add(score, DocAddress::new(ordinal, doc));
            }
            best.threshold
        })?;
    }
    Ok(best.into_addresses())
}

/// A weight that several segments share, and how much it counts.
struct Shared(Arc<dyn Weight>, Score);

impl Weight for Shared {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        self.0.scorer(reader, boost * self.1)
    }

    fn explain(&self, reader: &SegmentReader, doc: u32) -> tantivy::Result<Explanation> {
        self.0.explain(reader, doc)
    }
}

/// The best chunks so far, and the score below which a chunk can no longer be one of them.
struct Candidates {
    limit: usize,
    /// The last of the best scores less the slack.
    threshold: Score,
    /// The best scores, the lowest on top.
    best: BinaryHeap<Reverse<Ordered>>,
    /// All chunks that were not below the threshold when they came.
    found: Vec<(Score, DocAddress)>,
}

/// A score by its total order.
#[derive(PartialEq)]
struct Ordered(Score);

impl Eq for Ordered {}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Candidates {
    fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { limit, threshold: Score::NEG_INFINITY, best: BinaryHeap::new(), found: Vec::new() }
    }

    fn add(&mut self, score: Score, address: DocAddress) {
        if score < self.threshold {
            return;
        }
        self.found.push((score, address));
        if self.best.len() == self.limit {
            if self.best.peek().is_some_and(|Reverse(Ordered(last))| *last >= score) {
                return;
            }
            self.best.pop();
        }
        self.best.push(Reverse(Ordered(score)));
        if self.best.len() == self.limit
            && let Some(Reverse(Ordered(last))) = self.best.peek()
        {
            self.threshold = last - last.abs() * SLACK;
        }
    }

    /// The best `limit` and what scores within the slack of the last.
    fn into_addresses(self) -> Vec<DocAddress> {
        let good = self.found.into_iter().filter(|(score, _)| *score >= self.threshold);
        good.map(|(_, address)| address).collect()
    }
}

/// Scores the candidates anew, every score added up in the order of the query's terms.
fn rescore(
    snapshot: &Snapshot,
    segments: &[SegmentTerms],
    terms: &[QueryTerm],
    mut candidates: Vec<DocAddress>,
) -> tantivy::Result<Vec<Scored>> {
    candidates.sort_unstable();
    let mut scored: Vec<Scored> = candidates
        .into_iter()
        .map(|address| Scored { address, key: key_of(snapshot, address), score: 0.0 })
        .collect();
    for group in scored.chunk_by_mut(|a, b| a.address.segment_ord == b.address.segment_ord) {
        let Some(ordinal) = group.first().map(|first| first.address.segment_ord) else { continue };
        let Some(segment) = segments.get(ordinal as usize) else { continue };
        let reader = snapshot.searcher.segment_reader(ordinal);
        for term in terms {
            let Some(field) = segment.get(term.field) else { continue };
            let Some(Some(info)) = field.found.get(term.form) else { continue };
            let postings = field.index.read_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
            add_scores(term, postings, &reader.get_fieldnorms_reader(field.field)?, group);
        }
    }
    Ok(scored)
}

/// Adds one term's part to the scores of candidates of one segment, which are in ascending order.
fn add_scores(
    term: &QueryTerm,
    mut postings: SegmentPostings,
    norms: &FieldNormReader,
    candidates: &mut [Scored],
) {
    for candidate in candidates {
        let doc = candidate.address.doc_id;
        if postings.doc() < doc {
            postings.seek(doc);
        }
        if postings.doc() == doc {
            let frequency = score_of(postings.term_freq().into());
            let length = score_of(norms.fieldnorm(doc).into());
            let norm = K1 * (1.0 - B + B * length / term.average);
            candidate.score += term.worth * frequency / (frequency + norm);
        }
    }
}

fn key_of(snapshot: &Snapshot, address: DocAddress) -> u64 {
    let view = snapshot.segments.get(address.segment_ord as usize);
    view.and_then(|view| view.keys.get(address.doc_id as usize)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_the_best_with_the_ties_of_the_last() {
        let mut best = Candidates::new(3);
        for n in 0..1000_u32 {
            best.add([5.0, 4.0, 1.0][n.min(2) as usize], DocAddress::new(0, n));
        }
        assert_eq!(best.into_addresses().len(), 1000, "all the ones tie with the third");
        let mut best = Candidates::new(3);
        for n in 0..1000_u16 {
            best.add(f32::from(n), DocAddress::new(0, n.into()));
        }
        let kept: Vec<u32> = best.into_addresses().into_iter().map(|address| address.doc_id).collect();
        assert_eq!(kept, [997, 998, 999]);
    }
}
