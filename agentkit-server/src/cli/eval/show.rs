//! What `eval` prints: tables for people, objects for programs.

use std::collections::BTreeMap;

use agentkit_rag::eval::{Metric, Miss, Report, RunReport};
use serde::{Serialize, Serializer};

use crate::cli::output::Output;

/// The means, their intervals and the time; and how the runs differ from the best.
pub(super) fn report(out: Output, report: &Report) {
    if report.runs().is_empty() {
        return;
    }
    out.object(&Means(report));
    let metrics = report.metrics();
    let width = report.runs().iter().map(|run| run.name.len()).max().unwrap_or(0);
    let head = cells(metrics.iter().map(Metric::to_string));
    out.line(format_args!("{:width$}{head}{:>10}", "", "p50 ms"));
    for run in report.runs() {
        let means =
            cells(metrics.iter().map(|metric| format!("{:.4}", run.mean(*metric).unwrap_or_default())));
        let time = run.latency.map_or_else(String::new, |latency| format!("{:.1}", latency.p50_ms));
        out.line(format_args!("{:width$}{means}{time:>10}", run.name));
    }
    if let Some(metric) = metrics.first() {
        compare(out, report, *metric, width);
    }
}

fn cells(cells: impl Iterator<Item = String>) -> String {
    cells.fold(String::new(), |line, cell| line + &format!(" {cell:>12}"))
}

fn compare(out: Output, report: &Report, metric: Metric, width: usize) {
    let Some(best) = report.best(metric) else { return };
    if let Some(interval) = best.metrics.get(&metric) {
        let (name, level) = (&best.name, report.resampling().level * 100.0);
        let (mean, low, high) = (interval.mean, interval.low, interval.high);
        out.line(format_args!(
            "\nbest {metric}: {name}, {mean:.4}, {level} % interval {low:.4} to {high:.4}"
        ));
    }
    for run in report.runs().iter().filter(|run| run.name != best.name) {
        if let Ok(test) = run.scores.compare(&best.scores, metric, &report.resampling()) {
            let (name, by) = (&run.name, test.difference.mean);
            let (better, worse) = (test.better, test.worse);
            out.line(format_args!(
                "{name:width$} {by:+.4} to it, p = {:.4}, better on {better} queries and worse on {worse}",
                test.p
            ));
        }
    }
}

/// Whether the gate is passed, and what was missed by how much.
pub(super) fn gate(out: Output, misses: &[Miss]) {
    out.object(&serde_json::json!({"gate": {"passed": misses.is_empty(), "misses": misses}}));
    if misses.is_empty() {
        out.line("the gate is passed");
    }
    for miss in misses {
        Output::complain(format_args!("the gate is missed: {miss}"));
    }
}

/// The means of every run by its name.
struct Means<'r>(&'r Report);

impl Serialize for Means<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let means = |run: &RunReport| -> BTreeMap<Metric, f64> {
            run.metrics.iter().map(|(metric, interval)| (*metric, interval.mean)).collect()
        };
        serializer.collect_map(self.0.runs().iter().map(|run| (&run.name, means(run))))
    }
}
