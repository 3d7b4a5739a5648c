//! Retrieval metrics as `trec_eval` defines them.

use serde::{Deserialize, Serialize};

use super::dataset::Judgements;

/// The figures of one ranking, or their means over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Normalised discounted cumulative gain of the first 10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Share of the relevant documents among the first 10.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// Share of the relevant documents among the first 100.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// One over the rank of the first relevant document.
    pub mrr: f64,
}

impl Scores {
    /// Scores one ranking of documents, best first.
    #[must_use]
    pub fn of<D: AsRef<str>>(ranking: &[D], judged: &Judgements) -> Self {
        Self {
            ndcg_at_10: ndcg(ranking, judged, 10),
            recall_at_10: recall(ranking, judged, 10),
            recall_at_100: recall(ranking, judged, 100),
            mrr: reciprocal_rank(ranking, judged),
        }
    }

    /// The means of several rankings' scores; 0 if there are none.
    #[must_use]
    pub fn mean(scores: impl IntoIterator<Item = Self>) -> Self {
        let (mut sum, mut count) = (Self::default(), 0_u32);
        for scores in scores {
            count += 1;
            sum = sum.zip(scores, |a, b| a + b);
        }
        sum.zip(sum, |a, _| a / f64::from(count.max(1)))
    }

    fn zip(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            ndcg_at_10: combine(self.ndcg_at_10, other.ndcg_at_10),
            recall_at_10: combine(self.recall_at_10, other.recall_at_10),
            recall_at_100: combine(self.recall_at_100, other.recall_at_100),
            mrr: combine(self.mrr, other.mrr),
        }
    }
}

/// Normalised discounted cumulative gain of the first `k` (Järvelin and Kekäläinen 2002), with the judgement
/// itself as gain and `log2(rank + 1)` as discount, as `ndcg_cut` of `trec_eval`.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::{Judgements, ndcg};
///
/// let judged = Judgements::from([("a".into(), 1)]);
/// assert_eq!(ndcg(&["a", "b"], &judged, 10), 1.0);
/// assert_eq!(ndcg(&["b", "x", "a"], &judged, 10), 0.5);
/// ```
#[must_use]
pub fn ndcg<D: AsRef<str>>(ranking: &[D], judged: &Judgements, k: usize) -> f64 {
    let found = ranking.iter().map(|id| gain(judged, id.as_ref()));
    let mut ideal: Vec<f64> = judged.keys().map(|id| gain(judged, id)).collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best = discounted(ideal.into_iter(), k);
    if best > 0.0 { discounted(found, k) / best } else { 0.0 }
}

/// Share of the relevant documents among the first `k`; 0 if none is relevant.
#[must_use]
pub fn recall<D: AsRef<str>>(ranking: &[D], judged: &Judgements, k: usize) -> f64 {
    let relevant = judged.values().filter(|gain| **gain > 0).count();
    let found = ranking.iter().take(k).filter(|id| gain(judged, id.as_ref()) > 0.0).count();
    ratio(found, relevant)
}

/// One over the rank of the first relevant document; 0 if there is none.
#[must_use]
pub fn reciprocal_rank<D: AsRef<str>>(ranking: &[D], judged: &Judgements) -> f64 {
    ranking.iter().position(|id| gain(judged, id.as_ref()) > 0.0).map_or(0.0, |at| ratio(1, at + 1))
}

fn gain(judged: &Judgements, id: &str) -> f64 {
    judged.get(id).map_or(0.0, |gain| f64::from(*gain).max(0.0))
}

fn discounted(gains: impl Iterator<Item = f64>, k: usize) -> f64 {
    gains.take(k).zip(2_u32..).map(|(gain, rank)| gain / f64::from(rank).log2()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "ranks and counts stay far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
