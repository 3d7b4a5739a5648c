//! The lexical leg: BM25 over text and context, exact in its order.
//!
//! Tantivy's block-max WAND finds the candidates; the filter is applied inside the collector, so pruning stays
//! on. WAND adds the terms of a score in no fixed order, so candidates are collected with some slack and then
//! scored again term by term: equal chunks get equal scores, and the order is deterministic.
//!
//! The formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
//! (2009), with Lucene's idf, `k1` = 1.2 and `b` = 0.75.

use agentkit_core::Result;
use tantivy::postings::Postings;
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::{TextAnalyzer, TokenStream};
use tantivy::{DocAddress, DocSet, Term};

use super::ranking::{Best, LegSearch, Scored, keep_best};
use super::snapshot::{Snapshot, text_index_failed};

const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Weight of a word in title and headings relative to one in the text: they count alike.
const CONTEXT_BOOST: f32 = 1.0;
/// Most distinct words of a query that are looked at; a message may be pasted text.
const MAX_TERMS: usize = 256;
/// Relative difference that the order of additions may make to a score.
const SLACK: f32 = 1e-4;

/// The best `limit` of the `allowed` chunks by BM25; chunks without any word of the query are not found.
pub(super) fn search(leg: LegSearch<'_>, analyzer: &TextAnalyzer, text: &str) -> Result<Vec<Scored>> {
    let snapshot = leg.snapshot;
    let terms = query_terms(snapshot, analyzer, text);
    if terms.is_empty() || snapshot.chunks() == 0 {
        return Ok(Vec::new());
    }
    let candidates = candidates(leg, &terms).map_err(text_index_failed)?;
    leg.ctx.check()?;
    let scored = rescore(snapshot, &terms, candidates).map_err(text_index_failed)?;
    Ok(keep_best(scored, leg.limit))
}

/// A term to look up and how much it counts.
struct QueryTerm {
    term: Term,
    boost: f32,
}

/// The distinct words of the query in both fields, in the order of the text.
fn query_terms(snapshot: &Snapshot, analyzer: &TextAnalyzer, text: &str) -> Vec<QueryTerm> {
    let mut analyzer = analyzer.clone();
    let mut words: Vec<String> = Vec::new();
    let mut tokens = analyzer.token_stream(text);
    while words.len() < MAX_TERMS && tokens.advance() {
        if !words.contains(&tokens.token().text) {
            words.push(tokens.token().text.clone());
        }
    }
    let fields = &snapshot.fields;
    let both = |word: &String| {
        [(fields.text, 1.0), (fields.context, CONTEXT_BOOST)]
            .map(|(field, boost)| QueryTerm { term: Term::from_field_text(field, word), boost })
    };
    words.iter().flat_map(both).collect()
}

fn candidates(leg: LegSearch<'_>, terms: &[QueryTerm]) -> tantivy::Result<Vec<DocAddress>> {
    let LegSearch { snapshot, allowed, limit, ctx } = leg;
    let clauses = terms.iter().map(|QueryTerm { term, boost }| {
        let query = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
        (Occur::Should, Box::new(BoostQuery::new(Box::new(query), *boost)) as Box<dyn Query>)
    });
    let query = BooleanQuery::new(clauses.collect());
    let scoring = EnableScoring::enabled_from_statistics_provider(snapshot, &snapshot.searcher);
    let weight = query.weight(scoring)?;
    let mut best = Best::new(limit, SLACK);
    for (ordinal, (reader, allowed)) in (0..).zip(snapshot.searcher.segment_readers().iter().zip(allowed)) {
        if ctx.check().is_err() {
            break;
        }
        weight.for_each_pruning(best.threshold(), reader, &mut |doc, score| {
            if allowed.contains(doc) {
                best.add(score, DocAddress::new(ordinal, doc))
            } else {
                best.threshold()
            }
        })?;
    }
    Ok(best.into_items().into_iter().map(|(_, address)| address).collect())
}

/// Scores the candidates anew, every score added up in the order of the query's terms.
fn rescore(
    snapshot: &Snapshot,
    terms: &[QueryTerm],
    mut candidates: Vec<DocAddress>,
) -> tantivy::Result<Vec<Scored>> {
    candidates.sort_unstable();
    let mut scored: Vec<Scored> = candidates
        .into_iter()
        .map(|address| Scored { address, key: key_of(snapshot, address), score: 0.0 })
        .collect();
    let text_average = average_words(snapshot, snapshot.fields.text)?;
    let context_average = average_words(snapshot, snapshot.fields.context)?;
    for QueryTerm { term, boost } in terms {
        let average = if term.field() == snapshot.fields.text { text_average } else { context_average };
        let weight = idf(snapshot.doc_freq(term)?, snapshot.chunks()) * (1.0 + K1) * boost;
        for group in scored.chunk_by_mut(|a, b| a.address.segment_ord == b.address.segment_ord) {
            add_term(snapshot, term, weight, average, group)?;
        }
    }
    Ok(scored)
}

/// Adds one term's part to the scores of candidates of one segment, which are in ascending order.
fn add_term(
    snapshot: &Snapshot,
    term: &Term,
    weight: f32,
    average: f32,
    group: &mut [Scored],
) -> tantivy::Result<()> {
    let Some(first) = group.first() else { return Ok(()) };
    let reader = snapshot.searcher.segment_reader(first.address.segment_ord);
    let index = reader.inverted_index(term.field())?;
    let Some(mut postings) = index.read_postings(term, IndexRecordOption::WithFreqs)? else { return Ok(()) };
    let norms = reader.get_fieldnorms_reader(term.field())?;
    for candidate in group {
        let doc = candidate.address.doc_id;
        if postings.doc() < doc {
            postings.seek(doc);
        }
        if postings.doc() == doc {
            let frequency = f32_of(u64::from(postings.term_freq()));
            let length = f32_of(u64::from(norms.fieldnorm(doc)));
            let norm = K1 * (1.0 - B + B * length / average);
            candidate.score += weight * frequency / (frequency + norm);
        }
    }
    Ok(())
}

fn average_words(snapshot: &Snapshot, field: Field) -> tantivy::Result<f32> {
    let words = snapshot.total_num_tokens(field)?.max(1);
    Ok(f32_of(words) / f32_of(snapshot.chunks().max(1)))
}

fn idf(containing: u64, all: u64) -> f32 {
    let containing = containing.min(all);
    (1.0 + (f32_of(all - containing) + 0.5) / (f32_of(containing) + 0.5)).ln()
}

#[expect(clippy::cast_precision_loss, reason = "counts are statistics, where seven digits are plenty")]
fn f32_of(count: u64) -> f32 {
    count as f32
}

fn key_of(snapshot: &Snapshot, address: DocAddress) -> u64 {
    let view = snapshot.segments.get(address.segment_ord as usize);
    view.and_then(|view| view.keys.get(address.doc_id as usize)).copied().unwrap_or_default()
}
