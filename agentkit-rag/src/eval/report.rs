//! The figures of an evaluation, to be printed, written as a file and compared.

use std::collections::BTreeMap;
use std::time::Duration;

use agentkit_core::{Error, Result, SearchPlan};
use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::run::Run;
use super::scores::Scores;
use super::stats::{Interval, PairedTest, Resampling, quantile};

/// What an evaluation found, run by run. As JSON it can be stored and compared with later.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    resampling: Resampling,
    runs: Vec<RunReport>,
}

/// The figures of one run: what one plan, retriever or file of rankings reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// Its name, unique in the report.
    pub name: String,
    /// The plan that was followed, if it was measured here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<SearchPlan>,
    /// How long searches took, if they were measured here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Means over the queries with a relevant document, and how far they can be trusted.
    #[serde(default)]
    pub metrics: BTreeMap<Metric, Interval>,
    /// Each query's values.
    pub scores: Scores,
    /// The rankings.
    #[serde(skip)]
    pub run: Run,
}

/// How long a search takes, embedding included, with as many in flight as the options say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Latency {
    /// Median in milliseconds.
    pub p50_ms: f64,
    /// The time in milliseconds that 95 of 100 searches keep.
    pub p95_ms: f64,
}

impl Report {
    /// A report without runs, whose intervals will be computed like this.
    #[must_use]
    pub fn new(resampling: Resampling) -> Self {
        Self { resampling, runs: Vec::new() }
    }

    /// Adds a run and computes its intervals.
    ///
    /// # Errors
    /// Invalid input, if there is a run of this name.
    pub fn add(&mut self, mut run: RunReport) -> Result<()> {
        if self.run(&run.name).is_some() {
            return Err(Error::invalid_input(format!("two runs are called {:?}", run.name)));
        }
        let interval = |metric| Some((metric, run.scores.interval(metric, &self.resampling)?));
        run.metrics = run.scores.metrics().filter_map(interval).collect();
        self.runs.push(run);
        Ok(())
    }

    /// The run of this name, if there is one.
    #[must_use]
    pub fn run(&self, name: &str) -> Option<&RunReport> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// The runs, in the order they were measured.
    #[must_use]
    pub fn runs(&self) -> &[RunReport] {
        &self.runs
    }

    /// The metrics that every run has, in the order of tables.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let everywhere = |metric: &Metric| self.runs.iter().all(|run| run.metrics.contains_key(metric));
        first.metrics.keys().copied().filter(everywhere).collect()
    }

    /// How intervals and tests are computed.
    #[must_use]
    pub fn resampling(&self) -> Resampling {
        self.resampling
    }

    /// The run with the greatest mean, the first of equals.
    #[must_use]
    pub fn best(&self, metric: Metric) -> Option<&RunReport> {
        let better = |best: &RunReport, run: &RunReport| run.mean(metric) > best.mean(metric);
        self.runs.iter().reduce(|best, run| if better(best, run) { run } else { best })
    }

    /// How many queries were measured.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.runs.first().map_or(0, |run| run.scores.queries().len())
    }

    /// Compares each metric that two runs share, the first against the second.
    ///
    /// # Errors
    /// Invalid input, if they were not measured on the same queries.
    pub fn compare(&self, run: &RunReport, baseline: &RunReport) -> Result<BTreeMap<Metric, PairedTest>> {
        let shared = run.scores.metrics().filter(|metric| baseline.scores.values(*metric).is_some());
        shared
            .map(|metric| Ok((metric, run.scores.compare(&baseline.scores, metric, &self.resampling)?)))
            .collect()
    }
}

impl RunReport {
    /// The report of a run with these scores.
    #[must_use]
    pub fn new(name: impl Into<String>, scores: Scores) -> Self {
        let (plan, latency, metrics) = (None, None, BTreeMap::new());
        Self { name: name.into(), plan, latency, metrics, scores, run: Run::default() }
    }

    /// It followed this plan.
    #[must_use]
    pub fn plan(mut self, plan: SearchPlan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// It ranked like this.
    #[must_use]
    pub fn run(mut self, run: Run) -> Self {
        self.run = run;
        self
    }

    /// Its searches took so long.
    #[must_use]
    pub fn latencies(mut self, latencies: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<f64> =
            latencies.into_iter().map(|latency| latency.as_secs_f64() * 1000.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        self.latency = (!sorted.is_empty())
            .then(|| Latency { p50_ms: quantile(&sorted, 0.5), p95_ms: quantile(&sorted, 0.95) });
        self
    }

    /// The mean of a metric, if it was measured.
    #[must_use]
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        self.scores.mean(metric)
    }
}
