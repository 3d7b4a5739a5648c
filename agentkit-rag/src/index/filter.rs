//! Filters over the index: metadata as exact terms, and a filter as a bitmap of chunks.
//!
//! Every value of a field becomes one term: the field's name, a NUL (names hold no control characters), a letter
//! for the type, and the value. Numbers are written so that the order of the terms is the order of the numbers.
//! Each condition is then a range of the sorted term dictionary, and its meaning is that of
//! [`Filter::matches`](agentkit_core::Filter::matches) exactly.

use std::ops::Bound;

use agentkit_core::{Filter, Metadata, Range, Scalar};
use tantivy::postings::Postings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{SegmentReader, TERMINATED};

/// A set of a segment's records.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(super) fn empty(size: u32) -> Self {
        Self { words: vec![0; (size as usize).div_ceil(64)] }
    }

    pub(super) fn insert(&mut self, doc: u32) {
        if let Some(word) = self.words.get_mut(doc as usize / 64) {
            *word |= 1 << (doc % 64);
        }
    }

    pub(super) fn remove(&mut self, doc: u32) {
        if let Some(word) = self.words.get_mut(doc as usize / 64) {
            *word &= !(1 << (doc % 64));
        }
    }

    pub(super) fn contains(&self, doc: u32) -> bool {
        self.words.get(doc as usize / 64).is_some_and(|word| word & (1 << (doc % 64)) != 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Its members as bits, 64 a word.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of members below `end`.
    pub(super) fn count_below(&self, end: u32) -> u64 {
        let (whole, rest) = (end as usize / 64, end % 64);
        let last = self.words.get(whole).map_or(0, |word| (word & ((1 << rest) - 1)).count_ones());
        self.words.iter().take(whole).map(|word| u64::from(word.count_ones())).sum::<u64>() + u64::from(last)
    }

    /// The members in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.iter_from(0)
    }

    /// The members from `first` on in ascending order.
    pub(super) fn iter_from(&self, first: u32) -> impl Iterator<Item = u32> {
        let start = first as usize / 64;
        self.words.iter().enumerate().skip(start).flat_map(move |(at, &word)| {
            let base = u32::try_from(at * 64).unwrap_or(u32::MAX);
            let word = if at == start { word & (u64::MAX << (first % 64)) } else { word };
            std::iter::successors((word != 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| base + rest.trailing_zeros())
        })
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word = with(*word, *other);
        }
    }
}

/// The terms of a document's metadata.
pub(super) fn terms(metadata: &Metadata) -> impl Iterator<Item = String> {
    metadata.iter().flat_map(|(field, values)| values.iter().map(move |value| term(field, value)))
}

fn term(field: &str, value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => format!("{field}\0b{}", u8::from(*value)),
        Scalar::Number(value) => format!("{field}\0n{:016x}", order_preserving(*value)),
        Scalar::String(value) => format!("{field}\0s{value}"),
    }
}

/// Maps doubles to integers of the same order: IEEE 754 bits with the sign flipped, negatives inverted.
fn order_preserving(number: f64) -> u64 {
    // Adding zero makes negative zero positive, which it equals.
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | (1 << 63) } else { !bits }
}

/// Which of `live` match `filter`.
pub(super) fn evaluate(
    filter: &Filter,
    live: &Bitmap,
    segment: &SegmentReader,
    field: Field,
) -> tantivy::Result<Bitmap> {
    let ranges = |ranges: &[TermRange]| union_of(ranges, live, segment, field);
    Ok(match filter {
        Filter::Eq { field, value } => ranges(&[TermRange::exactly(term(field, value))])?,
        Filter::In { field, values } => {
            ranges(&values.iter().map(|value| TermRange::exactly(term(field, value))).collect::<Vec<_>>())?
        }
        Filter::Range(range) => ranges(&term_range(range).into_iter().collect::<Vec<_>>())?,
        Filter::Prefix { field, value } => ranges(&[TermRange::starting(format!("{field}\0s{value}"))])?,
        Filter::Exists { field } => ranges(&[TermRange::starting(format!("{field}\0"))])?,
        Filter::And(filters) => {
            let mut all = live.clone();
            for filter in filters {
                all.combine(&evaluate(filter, live, segment, field)?, |a, b| a & b);
            }
            all
        }
        Filter::Or(filters) => {
            let mut any = Bitmap { words: vec![0; live.words.len()] };
            for filter in filters {
                any.combine(&evaluate(filter, live, segment, field)?, |a, b| a | b);
            }
            any
        }
        Filter::Not(filter) => {
            let mut rest = live.clone();
            rest.combine(&evaluate(filter, live, segment, field)?, |a, b| a & !b);
            rest
        }
        _ => return Err(tantivy::TantivyError::InvalidArgument("unknown filter".into())),
    })
}

/// A contiguous part of the term dictionary.
struct TermRange {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl TermRange {
    fn exactly(term: String) -> Self {
        let term = term.into_bytes();
        Self { from: Bound::Included(term.clone()), to: Bound::Included(term) }
    }

    fn starting(prefix: String) -> Self {
        let mut end = prefix.clone().into_bytes();
        // The last byte of UTF-8 text is never 0xFF, so it can be raised by one.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { from: Bound::Included(prefix.into_bytes()), to: Bound::Excluded(end) }
    }
}

/// The terms between the bounds of `range`; none if the bounds are of different types.
fn term_range(range: &Range) -> Option<TermRange> {
    let of_type =
        |bound: &Scalar| term(&range.field, bound).split_once('\0').and_then(|(_, v)| v.chars().next());
    let kind = of_type(range.bounds().next()?)?;
    if range.bounds().any(|bound| of_type(bound) != Some(kind)) {
        return None;
    }
    let whole = TermRange::starting(format!("{}\0{kind}", range.field));
    let key = |bound: &Scalar| term(&range.field, bound).into_bytes();
    // Of two lower bounds the later one is the tighter; an excluded one is tighter than the same included.
    let from = match (&range.gt, &range.gte) {
        (Some(gt), Some(gte)) if key(gte) > key(gt) => Bound::Included(key(gte)),
        (Some(gt), _) => Bound::Excluded(key(gt)),
        (None, Some(gte)) => Bound::Included(key(gte)),
        (None, None) => whole.from,
    };
    let to = match (&range.lt, &range.lte) {
        (Some(lt), Some(lte)) if key(lte) < key(lt) => Bound::Included(key(lte)),
        (Some(lt), _) => Bound::Excluded(key(lt)),
        (None, Some(lte)) => Bound::Included(key(lte)),
        (None, None) => whole.to,
    };
    Some(TermRange { from, to })
}

fn union_of(
    ranges: &[TermRange],
    live: &Bitmap,
    segment: &SegmentReader,
    field: Field,
) -> tantivy::Result<Bitmap> {
    let index = segment.inverted_index(field)?;
    let mut found = Bitmap { words: vec![0; live.words.len()] };
    for range in ranges {
        let mut terms = index.terms().range();
        terms = match &range.from {
            Bound::Included(from) => terms.ge(from),
            Bound::Excluded(from) => terms.gt(from),
            Bound::Unbounded => terms,
        };
        terms = match &range.to {
            Bound::Included(to) => terms.le(to),
            Bound::Excluded(to) => terms.lt(to),
            Bound::Unbounded => terms,
        };
        let mut terms = terms.into_stream()?;
        while terms.advance() {
            let mut postings = index.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
            insert_all(&mut postings, &mut found);
        }
    }
    found.combine(live, |a, b| a & b);
    Ok(found)
}

fn insert_all(postings: &mut impl Postings, found: &mut Bitmap) {
    let mut doc = postings.doc();
    while doc != TERMINATED {
        found.insert(doc);
        doc = postings.advance();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_terms_are_ordered_as_the_numbers_are() {
        let numbers = [f64::MIN, -1e9, -2.5, -1.0, -0.0, 0.0, 1e-300, 1.0, 2.5, 1e9, f64::MAX];
        for pair in numbers.windows(2) {
            let terms = pair.iter().map(|n| term("f", &Scalar::Number(*n))).collect::<Vec<_>>();
            assert_eq!(terms[0].cmp(&terms[1]), pair[0].partial_cmp(&pair[1]).unwrap(), "{pair:?}");
        }
    }

    #[test]
    fn a_bitmap_lists_its_members_in_order() {
        let mut bitmap = Bitmap::empty(200);
        for doc in [199, 0, 63, 64, 65] {
            bitmap.insert(doc);
        }
        assert_eq!(bitmap.iter().collect::<Vec<_>>(), [0, 63, 64, 65, 199]);
        assert_eq!(bitmap.count(), 5);
        assert!(!bitmap.contains(1) && !bitmap.contains(10_000));
    }
}
