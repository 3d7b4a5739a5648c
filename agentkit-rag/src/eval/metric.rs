//! Retrieval metrics as `trec_eval` defines them, by their usual names.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use agentkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::judgements::Judgements;

/// What a metric looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), with the judgement itself as gain and
    /// `log2(rank + 1)` as discount: `ndcg` and `ndcg_cut` of `trec_eval`.
    Ndcg,
    /// Share of the relevant documents that were found: `recall`, without a cut-off `set_recall`.
    Recall,
    /// One over the rank of the first relevant document: `recip_rank`. Its mean is the MRR.
    ReciprocalRank,
    /// The precision at each relevant document, summed and divided by the number of relevant documents: `map` and
    /// `map_cut`. Its mean is the MAP.
    AveragePrecision,
    /// Share of what was found that is relevant, missing ranks counted as not: `P`, without a cut-off `set_P`.
    Precision,
    /// 1 if any relevant document was found: `success`. Its mean is the hit rate.
    Hit,
}

impl Measure {
    const ALL: [Self; 6] =
        [Self::Ndcg, Self::Recall, Self::ReciprocalRank, Self::AveragePrecision, Self::Precision, Self::Hit];

    fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::ReciprocalRank => "mrr",
            Self::AveragePrecision => "map",
            Self::Precision => "precision",
            Self::Hit => "hit",
        }
    }
}

/// A measure over the first documents of a ranking, or over all of it.
///
/// As text a name and perhaps a cut-off: `ndcg@10`, `recall@100`, `mrr`, `map`, `precision@5`, `hit@3`.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::{Judgements, Measure, Metric};
///
/// let judged = Judgements::from([("a".into(), 1)]);
/// let ndcg: Metric = "ndcg@10".parse().unwrap();
/// assert_eq!(ndcg, Metric::at(Measure::Ndcg, 10));
/// assert_eq!(ndcg.score(&["a", "b"], &judged), 1.0);
/// assert_eq!(ndcg.score(&["b", "x", "a"], &judged), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Metric {
    measure: Measure,
    cutoff: Option<NonZeroUsize>,
}

impl Metric {
    /// Over the whole ranking.
    #[must_use]
    pub fn new(measure: Measure) -> Self {
        Self { measure, cutoff: None }
    }

    /// Over the first `k` documents, at least 1.
    #[must_use]
    pub fn at(measure: Measure, k: usize) -> Self {
        Self { measure, cutoff: Some(NonZeroUsize::new(k).unwrap_or(NonZeroUsize::MIN)) }
    }

    /// What reports show unless told otherwise: nDCG, recall, precision and hits among the first 10, recall among
    /// the first 100, MRR and MAP.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        vec![
            Self::at(Measure::Ndcg, 10),
            Self::at(Measure::Recall, 10),
            Self::at(Measure::Recall, 100),
            Self::new(Measure::ReciprocalRank),
            Self::new(Measure::AveragePrecision),
            Self::at(Measure::Precision, 10),
            Self::at(Measure::Hit, 10),
        ]
    }

    /// The measure.
    #[must_use]
    pub fn measure(self) -> Measure {
        self.measure
    }

    /// How many documents it looks at, if not all.
    #[must_use]
    pub fn cutoff(self) -> Option<usize> {
        self.cutoff.map(NonZeroUsize::get)
    }

    /// Scores one ranking of documents, best first and each once; 0 if none is relevant.
    #[must_use]
    pub fn score<D: AsRef<str>>(self, ranking: &[D], judged: &Judgements) -> f64 {
        let seen = ranking.get(..self.cutoff().unwrap_or(ranking.len())).unwrap_or(ranking);
        let gains: Vec<u32> = seen.iter().map(|id| gain(judged, id.as_ref())).collect();
        let found = gains.iter().filter(|gain| **gain > 0).count();
        let relevant = judged.values().filter(|grade| **grade > 0).count();
        match self.measure {
            Measure::Ndcg => normalised_gain(&gains, judged, self.cutoff()),
            Measure::Recall => ratio(found, relevant),
            Measure::ReciprocalRank => first(&gains).map_or(0.0, |rank| ratio(1, rank)),
            Measure::AveragePrecision => average_precision(&gains, relevant),
            Measure::Precision => ratio(found, self.cutoff().unwrap_or(gains.len())),
            Measure::Hit => ratio(found.min(1), 1),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.measure.name())?;
        self.cutoff.map_or(Ok(()), |k| write!(f, "@{k}"))
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, cutoff) = text.split_once('@').map_or((text, None), |(name, k)| (name, Some(k)));
        let measure = Measure::ALL.into_iter().find(|measure| measure.name() == name);
        let cutoff = cutoff.map(str::parse).transpose().ok();
        match (measure, cutoff) {
            (Some(measure), Some(cutoff)) => Ok(Self { measure, cutoff }),
            _ => Err(Error::invalid_input(format!(
                "{text:?} is not a metric; it is ndcg, recall, mrr, map, precision or hit, and perhaps a cut-off such \
                 as in ndcg@10"
            ))),
        }
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

fn gain(judged: &Judgements, id: &str) -> u32 {
    judged.get(id).map_or(0, |grade| u32::try_from(*grade).unwrap_or(0))
}

fn normalised_gain(gains: &[u32], judged: &Judgements, cutoff: Option<usize>) -> f64 {
    let mut ideal: Vec<u32> = judged.keys().map(|id| gain(judged, id)).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    ideal.truncate(cutoff.unwrap_or(usize::MAX));
    let best = discounted(&ideal);
    if best > 0.0 { discounted(gains) / best } else { 0.0 }
}

fn discounted(gains: &[u32]) -> f64 {
    sum(gains.iter().zip(2_u32..).map(|(gain, rank)| f64::from(*gain) / f64::from(rank).log2()))
}

fn average_precision(gains: &[u32], relevant: usize) -> f64 {
    let relevant_ranks = gains.iter().zip(1..).filter(|(gain, _)| **gain > 0).map(|(_, rank)| rank);
    sum(relevant_ranks.zip(1..).map(|(rank, found)| ratio(found, rank))) * ratio(1, relevant)
}

/// The sum; of nothing it is 0 and not the -0 of the standard library's.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// The rank of the first relevant document.
fn first(gains: &[u32]) -> Option<usize> {
    gains.iter().position(|gain| *gain > 0).map(|at| at + 1)
}

#[expect(clippy::cast_precision_loss, reason = "ranks and counts stay far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_wrong_ones_are_refused() {
        for name in ["ndcg", "ndcg@10", "recall@100", "mrr", "mrr@10", "map@5", "precision@1", "hit@3"] {
            assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
            let json = format!("{name:?}");
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Metric>(&json).unwrap()).unwrap(), json);
        }
        for wrong in ["", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@ 10", "NDCG@10", "ndcg@10@10", "bleu"] {
            assert!(wrong.parse::<Metric>().unwrap_err().is_invalid_input(), "{wrong}");
        }
    }

    #[test]
    fn nothing_found_and_nothing_to_find_score_zero() {
        let judged = Judgements::from([("a".into(), 1)]);
        for metric in Metric::usual().into_iter().chain(Measure::ALL.map(Metric::new)) {
            assert_eq!(metric.score::<&str>(&[], &judged).to_bits(), 0, "{metric}");
            assert_eq!(metric.score(&["a"], &Judgements::new()).to_bits(), 0, "{metric}");
            let not_relevant = Judgements::from([("a".into(), 0), ("b".into(), -3)]);
            assert_eq!(metric.score(&["a", "b"], &not_relevant).to_bits(), 0, "{metric}");
        }
    }
}
