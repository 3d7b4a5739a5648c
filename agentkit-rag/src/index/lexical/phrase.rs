//! Which chunks hold the words of a query next to each other.

use tantivy::query::{EnableScoring, PhraseQuery, Query as _};
use tantivy::schema::Field;
use tantivy::{DocSet as _, TERMINATED, Term};

use super::Query;
use crate::index::filter::Bitmap;
use crate::index::ranking::LegSearch;

/// The allowed chunks that hold the phrase in one of the fields, in the way of any language of the collection. A single word
/// is no phrase and keeps them all.
pub(super) fn holding(leg: LegSearch<'_>, query: Query<'_>) -> tantivy::Result<Vec<Bitmap>> {
    let snapshot = leg.snapshot;
    let phrases = snapshot.fields.analysis().phrases(query.text, snapshot.languages()?);
    if phrases.iter().any(|phrase| phrase.len() == 1) {
        return Ok(leg.allowed.to_vec());
    }
    let readers = snapshot.searcher.segment_readers();
    let mut holding: Vec<Bitmap> = readers.iter().map(|reader| Bitmap::empty(reader.max_doc())).collect();
    let fields = [(snapshot.fields.text, query.boosts.text), (snapshot.fields.context, query.boosts.context)];
    for (field, _) in fields.into_iter().filter(|(_, boost)| *boost > 0.0) {
        for phrase in phrases.iter().filter(|phrase| !phrase.is_empty()) {
            add(leg, field, phrase, &mut holding)?;
        }
    }
    Ok(holding)
}

fn add(
    leg: LegSearch<'_>,
    field: Field,
    phrase: &[(usize, String)],
    holding: &mut [Bitmap],
) -> tantivy::Result<()> {
    let terms = phrase.iter().map(|(place, word)| (*place, Term::from_field_text(field, word)));
    let searcher = &leg.snapshot.searcher;
    let query = PhraseQuery::new_with_offset(terms.collect());
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    for ((reader, allowed), holding) in searcher.segment_readers().iter().zip(leg.allowed).zip(holding) {
        let mut found = weight.scorer(reader, 1.0)?;
        let mut doc = found.doc();
        while doc != TERMINATED {
            if allowed.contains(doc) {
                holding.insert(doc);
            }
            doc = found.advance();
        }
    }
    Ok(())
}
