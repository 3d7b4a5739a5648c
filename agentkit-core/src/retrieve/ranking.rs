//! Rankings of anything that has a key, and the nodes of a plan that need no more: fusion, threshold, limit.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::explain::{Derivation, FusedPart, Leg, LegExplanation};
use super::plan::{Fusion, InputRange};

/// Something found, with how its score came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked<K> {
    /// What was found; orders equal scores.
    pub key: K,
    /// Its score.
    pub score: f32,
    /// What the legs thought of it.
    pub legs: Vec<LegExplanation>,
    /// How the score came about.
    pub derivation: Derivation,
}

/// What was found, best first, equal scores in the order of keys. For retrievers that carry out plans themselves.
///
/// # Examples
/// ```
/// use agentkit_core::{Fusion, Leg, Ranking};
///
/// let words = Ranking::of_leg(Leg::Lexical, [("b", 9.0), ("a", 3.0)], 100);
/// let vectors = Ranking::of_leg(Leg::Dense, [("a", 0.9), ("c", 0.1)], 100);
/// let fused = Ranking::fuse(Fusion::Rrf { k: 60.0 }, &[], vec![words, vectors]);
/// let order: Vec<&str> = fused.entries.iter().map(|found| found.key).collect();
/// assert_eq!(order, ["a", "b", "c"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking<K> {
    /// What was found.
    pub entries: Vec<Ranked<K>>,
    /// What its scores can be.
    pub range: InputRange,
}

impl<K: Ord + Clone> Ranking<K> {
    /// What a leg found, best first, if it looked for `candidates`.
    pub fn of_leg(leg: Leg, found: impl IntoIterator<Item = (K, f32)>, candidates: usize) -> Self {
        let entry = |((key, score), rank)| Ranked {
            key,
            score,
            legs: vec![LegExplanation { leg, rank, score, contribution: score }],
            derivation: Derivation::Found { leg, rank, score },
        };
        let entries: Vec<Ranked<K>> = found.into_iter().zip(1..).map(entry).collect();
        let range = InputRange { lowest: lowest(leg), is_cut: entries.len() >= candidates, trust: 1.0 };
        Self { entries, range }
    }

    /// The same, whose scores mean this much: see [`InputRange::trust`].
    #[must_use]
    pub fn trusted(mut self, trust: f32) -> Self {
        self.range.trust = if trust > 0.0 { trust.min(1.0) } else { 0.0 };
        self
    }

    /// Combines rankings; `weights` says how much each counts, or is empty.
    ///
    /// A leg's contribution is scaled so that the contributions of an entry add up to its score.
    #[must_use]
    pub fn fuse(method: Fusion, weights: &[f32], inputs: Vec<Self>) -> Self {
        let mut fused: BTreeMap<K, (Vec<LegExplanation>, Vec<FusedPart>)> = BTreeMap::new();
        for (input, ranking) in inputs.into_iter().enumerate() {
            let weight = method.weight(weights.get(input).copied().unwrap_or(1.0), ranking.range);
            let scores: Vec<f32> = ranking.entries.iter().map(|entry| entry.score).collect();
            let scale = method.scale(&scores, ranking.range);
            for (entry, rank) in ranking.entries.into_iter().zip(1..) {
                let part = FusedPart { input, rank, weight, scale, from: entry.derivation };
                let (legs, parts) = fused.entry(entry.key).or_default();
                legs.extend(scaled(entry.legs, entry.score, part.value(method)));
                parts.push(part);
            }
        }
        let entries = fused.into_iter().map(|(key, (legs, parts))| {
            let derivation = Derivation::Fused { method, parts };
            Ranked { key, score: derivation.value(), legs, derivation }
        });
        let mut entries: Vec<Ranked<K>> = entries.collect();
        sort(&mut entries);
        Self { entries, range: InputRange { lowest: 0.0, is_cut: false, trust: 1.0 } }
    }

    /// Drops what scores below `score`.
    #[must_use]
    pub fn threshold(mut self, score: f32) -> Self {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.score >= score);
        self.range.is_cut |= self.entries.len() < before;
        self
    }

    /// Keeps the first.
    #[must_use]
    pub fn limit(mut self, most: usize) -> Self {
        self.range.is_cut |= self.entries.len() > most;
        self.entries.truncate(most);
        self
    }
}

/// The lowest score a leg can give.
pub(super) fn lowest(leg: Leg) -> f32 {
    match leg {
        Leg::Dense => -1.0,
        Leg::Lexical => 0.0,
    }
}

/// Best first, equal scores in the order of keys.
pub(super) fn sort<K: Ord>(entries: &mut [Ranked<K>]) {
    entries.sort_unstable_by(|a, b| best_first((a.score, &a.key), (b.score, &b.key)));
}

fn best_first<K: Ord>(a: (f32, &K), b: (f32, &K)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1))
}

/// The legs' contributions to a score, as their contributions to another that was made of it.
pub(super) fn scaled(mut legs: Vec<LegExplanation>, from: f32, to: f32) -> Vec<LegExplanation> {
    let count = legs.iter().fold(0.0, |count, _| count + 1.0);
    for leg in &mut legs {
        let part = leg.contribution / from;
        leg.contribution = if part.is_finite() { to * part } else { to / count };
    }
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    const RRF: Fusion = Fusion::Rrf { k: 60.0 };

    fn leg(leg: Leg, keys: &[u32]) -> Ranking<u32> {
        let score = |(at, key): (u8, &u32)| (*key, 9.0 - f32::from(at));
        Ranking::of_leg(leg, (0_u8..).zip(keys).map(score), 100)
    }

    fn keys(ranking: &Ranking<u32>) -> Vec<u32> {
        ranking.entries.iter().map(|entry| entry.key).collect()
    }

    fn explains_itself(ranking: &Ranking<u32>) {
        for entry in &ranking.entries {
            let sum: f32 = entry.legs.iter().map(|leg| leg.contribution).sum();
            assert!((sum - entry.score).abs() < 1e-6, "{entry:?}");
            assert!((entry.derivation.value() - entry.score).abs() < 1e-6, "{entry:?}");
        }
    }

    #[test]
    fn rrf_adds_reciprocal_ranks_and_breaks_ties_by_key() {
        let fused = Ranking::fuse(RRF, &[], vec![leg(Leg::Dense, &[3, 1, 2]), leg(Leg::Lexical, &[2, 1, 3])]);
        assert_eq!(keys(&fused), [2, 3, 1], "2 and 3 tie and 2 has the lower key");
        let best = fused.entries.first().map(|entry| entry.score);
        assert_eq!(best, Some(1.0 / 61.0 + 1.0 / 63.0));
        explains_itself(&fused);
    }

    #[test]
    fn weights_decide_between_inputs() {
        let fused = |weights: &[f32]| {
            Ranking::fuse(RRF, weights, vec![leg(Leg::Dense, &[1, 2]), leg(Leg::Lexical, &[2, 1])])
        };
        assert_eq!(keys(&fused(&[1.0, 2.0])), [2, 1]);
        assert_eq!(keys(&fused(&[2.0, 1.0])), [1, 2]);
        explains_itself(&fused(&[2.0, 0.0]));
    }

    #[test]
    fn what_means_little_counts_little_by_relative_scores_and_as_much_as_ever_by_rank() {
        let order = |method, trust| {
            let dense = leg(Leg::Dense, &[1, 2]).trusted(trust);
            let fused = Ranking::fuse(method, &[3.0, 1.0], vec![dense, leg(Leg::Lexical, &[2, 1])]);
            explains_itself(&fused);
            keys(&fused)
        };
        assert_eq!((order(Fusion::Relative, 1.0), order(Fusion::Relative, 0.1)), (vec![1, 2], vec![2, 1]));
        assert_eq!(order(Fusion::Relative, f32::NAN), [2, 1], "what is no number is no trust");
        assert_eq!(order(RRF, 0.1), [1, 2]);
    }

    #[test]
    fn fusions_of_fusions_explain_themselves_too() {
        for method in [RRF, Fusion::Relative, Fusion::MinMax, Fusion::Distribution] {
            let inner =
                Ranking::fuse(method, &[0.3, 0.7], vec![leg(Leg::Dense, &[1, 2]), leg(Leg::Lexical, &[2])]);
            let outer =
                Ranking::fuse(method, &[], vec![inner.limit(2), leg(Leg::Lexical, &[1]).threshold(1.0)]);
            explains_itself(&outer);
        }
    }

    #[test]
    fn what_was_dropped_is_remembered_as_a_cut() {
        assert!(leg(Leg::Dense, &[1, 2]).limit(1).range.is_cut);
        assert!(leg(Leg::Dense, &[1, 2]).threshold(8.5).range.is_cut);
        assert!(!leg(Leg::Dense, &[1, 2]).limit(2).threshold(1.0).range.is_cut);
    }
}
