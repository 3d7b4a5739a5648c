//! The words of a query as they are looked up: their forms, and terms of the collection that are like them.

use std::collections::BTreeSet;
use std::ops::Range;

use agentkit_core::Matching;
use tantivy::Term;
use tantivy::query::Bm25StatisticsProvider as _;
use tantivy::query::FuzzyTermQuery;
use tantivy::schema::Field;
use tantivy::termdict::TermDictionary;

use super::Query;
use crate::index::analysis::QueryWord;
use crate::index::snapshot::Snapshot;

/// Most forms of the words of a query that are looked up; a message may be pasted text.
const MAX_FORMS: usize = 256;
/// Most terms of the collection that one word is taken for; the most frequent are.
const MAX_LIKE: usize = 64;
/// Most terms of a segment that are looked at for one word.
const MAX_SEEN: usize = 4096;
/// How much a term counts that is only like a word of the query.
const LIKE: f32 = 0.5;
/// Words of fewer letters are too like everything.
const MIN_FUZZY: usize = 5;

/// A term that is looked up.
pub(super) struct Form {
    pub(super) text: String,
    /// How much it counts, 0 to 1.
    pub(super) counts: f32,
}

/// The words of a query.
pub(super) struct Words {
    /// The forms of all words, one after the other, in the order of the text.
    pub(super) forms: Vec<Form>,
    /// Which forms are those of one word.
    pub(super) words: Vec<Range<usize>>,
}

/// The distinct words of the query, as the collection's languages treat them.
pub(super) fn words(snapshot: &Snapshot, query: Query<'_>) -> tantivy::Result<Words> {
    let (mut forms, mut words): (Vec<Form>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    let found = snapshot.fields.analysis().query(query.text, snapshot.languages()?);
    let last = found.len().saturating_sub(1);
    for (at, word) in found.into_iter().enumerate() {
        if forms.len() >= MAX_FORMS {
            break;
        }
        let like = like(snapshot, &word, query.matching, at == last)?;
        let first = forms.len();
        forms.extend(word.forms.into_iter().map(|text| Form { text, counts: 1.0 }));
        let new = like.into_iter().filter(|text| !forms.iter().any(|form| form.text == *text));
        let new: Vec<Form> = new.map(|text| Form { text, counts: LIKE }).collect();
        forms.extend(new);
        words.push(first..forms.len());
    }
    Ok(Words { forms, words })
}

/// Terms of the collection that are like a word.
fn like(
    snapshot: &Snapshot,
    word: &QueryWord,
    matching: Matching,
    is_last: bool,
) -> tantivy::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    if word.is_letter() || (matching == Matching::Prefix && is_last) {
        in_dictionaries(snapshot, |_, dictionary| beginning_with(dictionary, &word.written, &mut found))?;
    }
    if let Matching::Fuzzy { edits } = matching {
        let is_long = word.written.chars().count() >= MIN_FUZZY;
        for form in word.forms.iter().filter(|_| is_long) {
            in_dictionaries(snapshot, |field, dictionary| {
                near(dictionary, field, (form, edits), &mut found)
            })?;
        }
    }
    most_frequent(snapshot, found)
}

fn in_dictionaries(
    snapshot: &Snapshot,
    mut read: impl FnMut(Field, &TermDictionary) -> tantivy::Result<()>,
) -> tantivy::Result<()> {
    for reader in snapshot.searcher.segment_readers() {
        for field in [snapshot.fields.text, snapshot.fields.context] {
            let index = reader.inverted_index(field)?;
            if index.terms().num_terms() > 0 {
                read(field, index.terms())?;
            }
        }
    }
    Ok(())
}

fn beginning_with(
    dictionary: &TermDictionary,
    prefix: &str,
    found: &mut BTreeSet<String>,
) -> tantivy::Result<()> {
    let mut terms = dictionary.range().ge(prefix).into_stream()?;
    let mut seen = 0;
    while seen < MAX_SEEN && terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
        found.extend(String::from_utf8(terms.key().to_vec()));
        seen += 1;
    }
    Ok(())
}

fn near(
    dictionary: &TermDictionary,
    field: Field,
    (form, edits): (&str, u8),
    found: &mut BTreeSet<String>,
) -> tantivy::Result<()> {
    let automaton = FuzzyTermQuery::new(Term::from_field_text(field, form), edits, true).automaton()?;
    let mut terms = dictionary.search(automaton).into_stream()?;
    let mut seen = 0;
    while seen < MAX_SEEN && terms.advance() {
        found.extend(String::from_utf8(terms.key().to_vec()));
        seen += 1;
    }
    Ok(())
}

/// The terms that most live chunks hold, of equals the first; those that none holds are left out.
fn most_frequent(snapshot: &Snapshot, found: BTreeSet<String>) -> tantivy::Result<Vec<String>> {
    let mut counted = Vec::with_capacity(found.len());
    for text in found {
        let mut count = 0;
        for field in [snapshot.fields.text, snapshot.fields.context] {
            count += snapshot.doc_freq(&Term::from_field_text(field, &text))?;
        }
        if count > 0 {
            counted.push((count, text));
        }
    }
    counted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    counted.truncate(MAX_LIKE);
    Ok(counted.into_iter().map(|(_, text)| text).collect())
}
