//! What a report has to reach, and by how much it fails to.

use std::fmt;
use std::str::FromStr;

use agentkit_core::{Error, Result};
use serde::Serialize;

use super::metric::Metric;
use super::report::{Report, RunReport};

/// How much worse than the baseline a mean may be unless told otherwise: what another processor's rounding can do.
const MAX_DROP: f64 = 0.005;

/// Conditions that the means of a report must meet, for a build that must fail when retrieval gets worse.
///
/// # Examples
/// ```
/// use agentkit_rag::eval::{Gate, Metric, Judgements, Report, Resampling, Run, RunReport, Ranked, Scores};
///
/// let judgements = [("q1".to_string(), Judgements::from([("a".into(), 1)]))].into();
/// let mut run = Run::default();
/// run.insert("q1", [("b", 0.9), ("a", 0.8)].map(|(id, score)| Ranked { document: id.into(), score }));
/// let mut report = Report::new(Resampling::default());
/// report.add(RunReport::new("mine", Scores::of(&run, &judgements, &Metric::usual()))).unwrap();
///
/// let misses = Gate::new("mine").minimum("mrr=0.7".parse().unwrap()).check(&report).unwrap();
/// assert_eq!(misses[0].to_string(), "mine mrr is 0.5000, 0.2000 below the minimum of 0.7000");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    run: String,
    minimums: Vec<Minimum>,
    baseline: Option<Report>,
    max_drop: f64,
}

/// The least that the mean of a metric must be. As text `ndcg@10=0.7`, or `dense:ndcg@10=0.7` for a certain run.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The run, if not the one that the gate is about.
    pub run: Option<String>,
    /// The metric.
    pub metric: Metric,
    /// The least mean.
    pub value: f64,
}

/// A condition that was not met. Its text says which and by how much.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Miss {
    /// The run.
    pub run: String,
    /// The metric.
    pub metric: Metric,
    /// Its mean.
    pub reached: f64,
    /// What it should have been at least.
    pub wanted: f64,
    /// The baseline's mean and the test against it, if it is a baseline that was missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Dropped>,
}

/// How a mean fell below the baseline's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Dropped {
    /// The baseline's mean.
    pub mean: f64,
    /// How probable a difference this large would be by chance, by the paired randomisation test.
    pub p: f64,
}

impl Gate {
    /// A gate without conditions, about the run of this name.
    #[must_use]
    pub fn new(run: impl Into<String>) -> Self {
        Self { run: run.into(), minimums: Vec::new(), baseline: None, max_drop: MAX_DROP }
    }

    /// Asks for at least this.
    #[must_use]
    pub fn minimum(mut self, minimum: Minimum) -> Self {
        self.minimums.push(minimum);
        self
    }

    /// Asks each run to be about as good as the run of the same name in this report, by every metric both have.
    #[must_use]
    pub fn baseline(mut self, report: Report) -> Self {
        self.baseline = Some(report);
        self
    }

    /// How much worse than the baseline's a mean may be; 0.005 by default, which is room for the rounding of another
    /// processor.
    #[must_use]
    pub fn max_drop(mut self, drop: f64) -> Self {
        self.max_drop = drop;
        self
    }

    /// The conditions that `report` does not meet.
    ///
    /// # Errors
    /// Invalid input, if a condition is about a run or metric that was not measured, the baseline is of other
    /// queries or has no run or metric in common with the report, or the greatest drop is no number from 0 up.
    pub fn check(&self, report: &Report) -> Result<Vec<Miss>> {
        if !(self.max_drop.is_finite() && self.max_drop >= 0.0) {
            let wrong = format!("the greatest drop must be a number from 0 up, got {}", self.max_drop);
            return Err(Error::invalid_input(wrong));
        }
        let mut misses = Vec::new();
        for minimum in &self.minimums {
            misses.extend(self.below_minimum(report, minimum)?);
        }
        if let Some(baseline) = &self.baseline {
            misses.extend(self.below_baseline(report, baseline)?);
        }
        Ok(misses)
    }

    fn below_minimum(&self, report: &Report, minimum: &Minimum) -> Result<Option<Miss>> {
        let Minimum { metric, value, .. } = *minimum;
        let name = minimum.run.as_ref().unwrap_or(&self.run);
        let reached = report.run(name).and_then(|run| run.mean(metric)).ok_or_else(|| {
            let runs: Vec<&str> = report.runs().iter().map(|run| run.name.as_str()).collect();
            Error::invalid_input(format!(
                "{metric} of {name:?} was not measured; there are {}",
                runs.join(", ")
            ))
        })?;
        let miss = Miss { run: name.clone(), metric, reached, wanted: value, baseline: None };
        Ok((reached < value).then_some(miss))
    }

    fn below_baseline(&self, report: &Report, baseline: &Report) -> Result<Vec<Miss>> {
        let pairs: Vec<(&RunReport, &RunReport)> =
            report.runs().iter().filter_map(|run| Some((run, baseline.run(&run.name)?))).collect();
        if pairs.is_empty() {
            return Err(Error::invalid_input("the baseline has no run of a name that was measured"));
        }
        let mut misses = Vec::new();
        for (run, before) in pairs {
            misses.extend(self.dropped(report, run, before)?);
        }
        Ok(misses)
    }

    fn dropped(&self, report: &Report, run: &RunReport, before: &RunReport) -> Result<Vec<Miss>> {
        let miss = |(metric, test): (Metric, super::stats::PairedTest)| {
            let (reached, mean) = (run.mean(metric)?, before.mean(metric)?);
            let baseline = Some(Dropped { mean, p: test.p });
            let wanted = mean - self.max_drop;
            (reached < wanted).then(|| Miss { run: run.name.clone(), metric, reached, wanted, baseline })
        };
        let shared = report.compare(run, before)?;
        if shared.is_empty() {
            return Err(Error::invalid_input(format!(
                "the baseline's {} has no metric that was measured",
                run.name
            )));
        }
        Ok(shared.into_iter().filter_map(miss).collect())
    }
}

impl FromStr for Minimum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid_input(format!("{text:?} is no minimum; write one as ndcg@10=0.7"));
        let (what, value) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (run, metric) = what.rsplit_once(':').map_or((None, what), |(run, metric)| (Some(run), metric));
        let value = value.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(wrong)?;
        Ok(Self { run: run.map(str::to_owned), metric: metric.parse()?, value })
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, metric, reached, wanted, baseline } = self;
        write!(
            f,
            "{run} {metric} is {reached:.4}, {:.4} below ",
            baseline.map_or(*wanted, |b| b.mean) - reached
        )?;
        match baseline {
            None => write!(f, "the minimum of {wanted:.4}"),
            Some(Dropped { mean, p }) => {
                write!(f, "the baseline's {mean:.4}, allowed are {:.4} (p = {p:.3})", mean - wanted)
            }
        }
    }
}
