//! How rankings become one: what each method makes of ranks and scores.

use serde::{Deserialize, Serialize};

/// The constant of Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods" (SIGIR 2009).
const RRF_K: f32 = 60.0;

/// How rankings are combined. What an input adds to a hit is its weight times the hit's share in the input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fusion {
    /// Reciprocal rank fusion: the share is `1 / (k + rank)`, ranks counted from 1. It knows nothing of scores, so a leg that
    /// is lost counts as much as one that is sure.
    Rrf {
        /// Damps the difference between the first ranks; 60 in the literature.
        #[serde(default = "rrf_k")]
        k: f32,
    },
    /// Scores relative to the best of the input, from the lowest score its method can give (Bruch, Gai and Ingber, "An Analysis of
    /// Fusion Functions for Hybrid Retrieval", TOIS 2023). An input whose hits all score about the same hardly orders
    /// anything, and vectors count by how well the model [knows the question's words](crate::Embedder::familiarity).
    Relative,
    /// Scores from the lowest to the highest of the input's candidates, as 0 to 1. It stretches differences that mean
    /// nothing.
    MinMax,
    /// Scores from three standard deviations below the mean of the input's candidates to three above, as 0 to 1.
    Distribution,
}

/// How scores become shares: a hit's is its score above `zero`, in units of `span`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The score that counts as nothing.
    pub zero: f32,
    /// The difference of scores that counts as 1.
    pub span: f32,
}

impl Scale {
    /// The share of a score.
    #[must_use]
    pub fn share(&self, score: f32) -> f32 {
        (score - self.zero) / self.span
    }
}

/// What fusion has to know of an input beyond its hits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputRange {
    /// The lowest score the input can give anything: -1 for cosines, 0 for BM25 and sums of shares.
    pub lowest: f32,
    /// Whether there is more than was taken, so that what is missing may score as much as the last.
    pub is_cut: bool,
    /// How much its scores mean, 0 to 1: how well the embedding model knows the question's words, and 1 for anything else.
    pub trust: f32,
}

impl Fusion {
    /// How the scores of an input, best first, become shares; `None` if ranks do.
    #[must_use]
    pub fn scale(&self, scores: &[f32], range: InputRange) -> Option<Scale> {
        let (best, last) = (*scores.first().unwrap_or(&0.0), *scores.last().unwrap_or(&0.0));
        let (zero, span) = match self {
            Self::Rrf { .. } => return None,
            Self::Relative => {
                let lowest = range.lowest.min(last);
                (if range.is_cut { last } else { lowest }, best - lowest)
            }
            Self::MinMax => (last, best - last),
            Self::Distribution => {
                let (mean, deviation) = mean_and_deviation(scores);
                (mean - 3.0 * deviation, 6.0 * deviation)
            }
        };
        if span > f32::EPSILON * best.abs().max(f32::MIN_POSITIVE) {
            return Some(Scale { zero, span });
        }
        // All score the same, which is the best there is.
        Some(Scale { zero: best - 1.0, span: 1.0 })
    }

    /// How much an input counts that is to count `weight`: what goes by scores counts by how much they mean.
    #[must_use]
    pub fn weight(&self, weight: f32, range: InputRange) -> f32 {
        if matches!(self, Self::Relative) { weight * range.trust } else { weight }
    }

    /// The share of a hit with this rank, counted from 1, and this score.
    #[must_use]
    pub fn share(&self, rank: usize, score: f32, scale: Option<Scale>) -> f32 {
        match (self, scale) {
            (Self::Rrf { k }, _) => 1.0 / (k + as_f32(rank)),
            (_, Some(scale)) => scale.share(score),
            (_, None) => 0.0,
        }
    }
}

fn mean_and_deviation(scores: &[f32]) -> (f32, f32) {
    let count = as_f32(scores.len().max(1));
    let mean = scores.iter().sum::<f32>() / count;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f32>() / count;
    (mean, variance.sqrt())
}

#[expect(clippy::cast_precision_loss, reason = "ranks and counts of candidates are at most 10,000")]
fn as_f32(count: usize) -> f32 {
    count as f32
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Rrf { k: RRF_K }
    }
}

fn rrf_k() -> f32 {
    RRF_K
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINES: InputRange = InputRange { lowest: -1.0, is_cut: true, trust: 1.0 };

    fn shares(fusion: Fusion, scores: &[f32], range: InputRange) -> Vec<f32> {
        let scale = fusion.scale(scores, range);
        let share =
            |(at, score): (usize, &f32)| (fusion.share(at + 1, *score, scale) * 1000.0).round() / 1000.0;
        scores.iter().enumerate().map(share).collect()
    }

    #[test]
    fn each_method_gives_the_shares_of_its_definition() {
        let sums = InputRange { lowest: 0.0, is_cut: false, trust: 1.0 };
        assert_eq!(shares(Fusion::default(), &[9.0, 1.0], COSINES), [0.016, 0.016]);
        assert_eq!(
            shares(Fusion::Relative, &[0.6, 0.2], COSINES),
            [0.25, 0.0],
            "the last may be missing elsewhere"
        );
        assert_eq!(shares(Fusion::Relative, &[8.0, 2.0], sums), [1.0, 0.25], "what is missing scores 0");
        assert_eq!(shares(Fusion::MinMax, &[8.0, 5.0, 2.0], sums), [1.0, 0.5, 0.0]);
        assert_eq!(shares(Fusion::Distribution, &[3.0, 2.0, 1.0], sums), [0.704, 0.5, 0.296]);
    }

    #[test]
    fn a_leg_that_is_lost_has_little_to_say_by_relative_scores_and_all_by_the_others() {
        let lost = [0.31, 0.3, 0.29];
        let spread = |fusion| shares(fusion, &lost, COSINES).first().copied().unwrap();
        assert!(spread(Fusion::Relative) < 0.02);
        assert!(spread(Fusion::MinMax) > 0.99);
    }

    #[test]
    fn equal_scores_and_no_scores_have_shares_all_the_same() {
        for fusion in [Fusion::Relative, Fusion::MinMax, Fusion::Distribution] {
            assert_eq!(
                shares(fusion, &[0.5, 0.5], InputRange { lowest: 0.5, is_cut: true, trust: 1.0 }),
                [1.0, 1.0]
            );
            assert!(shares(fusion, &[], COSINES).is_empty());
        }
    }
}
