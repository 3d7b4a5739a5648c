//! What a run scores: one value for each query and metric, their means and intervals.

use std::collections::BTreeMap;

use agentkit_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::judgements::Judgements;
use super::metric::Metric;
use super::run::Run;
use super::stats::{Interval, PairedTest, Resampling};

/// The values of a run by query, for several metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    queries: Vec<String>,
    values: BTreeMap<Metric, Vec<f64>>,
}

impl Scores {
    /// Scores `run` on every query with a relevant document; a query without a ranking scores 0.
    #[must_use]
    pub fn of(run: &Run, judgements: &BTreeMap<String, Judgements>, metrics: &[Metric]) -> Self {
        let judged: Vec<_> = judgements.iter().filter(|(_, judged)| is_answerable(judged)).collect();
        let score = |metric: Metric| {
            judged.iter().map(move |(query, judged)| metric.score(run.ranking(query), judged))
        };
        Self {
            queries: judged.iter().map(|(query, _)| (*query).clone()).collect(),
            values: metrics.iter().map(|metric| (*metric, score(*metric).collect())).collect(),
        }
    }

    /// The queries that were scored, in the order of the values.
    #[must_use]
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// The metrics.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> {
        self.values.keys().copied()
    }

    /// A metric's value for each query.
    #[must_use]
    pub fn values(&self, metric: Metric) -> Option<&[f64]> {
        self.values.get(&metric).map(Vec::as_slice)
    }

    /// A metric's mean over the queries; 0 if there are none.
    #[must_use]
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        self.values(metric).map(mean)
    }

    /// A metric's mean and how far it can be trusted.
    #[must_use]
    pub fn interval(&self, metric: Metric, resampling: &Resampling) -> Option<Interval> {
        self.values(metric).map(|values| resampling.interval(values))
    }

    /// Compares a metric with that of another run over the same queries.
    ///
    /// # Errors
    /// Invalid input, if either does not have the metric or the queries differ.
    pub fn compare(&self, baseline: &Self, metric: Metric, resampling: &Resampling) -> Result<PairedTest> {
        if self.queries != baseline.queries {
            return Err(Error::invalid_input(format!(
                "compare runs over {} and {} queries, which are not the same; measure both on one data set",
                self.queries.len(),
                baseline.queries.len()
            )));
        }
        match (self.values(metric), baseline.values(metric)) {
            (Some(values), Some(before)) => resampling.paired(values, before),
            _ => Err(Error::invalid_input(format!("compare two runs by {metric}, which both must have"))),
        }
    }
}

/// Whether a query has a relevant document.
pub(super) fn is_answerable(judged: &Judgements) -> bool {
    judged.values().any(|grade| *grade > 0)
}

/// The mean; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of queries stay far below 2^52")]
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}
