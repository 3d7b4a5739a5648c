//! A report as tables in Markdown.

use std::fmt::Write as _;

use super::metric::Metric;
use super::report::{Report, RunReport};

impl Report {
    /// The report as Markdown: a table of means with their intervals, and how each run differs from the best.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let metrics = self.metrics();
        let level = self.resampling().level * 100.0;
        let mut text = format!("{} queries; {level} % intervals in brackets.\n\n", self.queries());
        let names: Vec<String> = metrics.iter().map(Metric::to_string).collect();
        let (names, line) = (names.join(" | "), "---:|".repeat(metrics.len()));
        let _ = writeln!(text, "| run | {names} | p50 ms | p95 ms |\n|---|{line}---:|---:|");
        for run in self.runs() {
            let _ = writeln!(text, "{}", row(run, &metrics));
        }
        text.push_str(&self.differences(&metrics).unwrap_or_default());
        text
    }

    /// How the runs differ from the one that is best by the first metric, if there are several.
    fn differences(&self, metrics: &[Metric]) -> Option<String> {
        let first = *metrics.first()?;
        let best = self.best(first).filter(|_| self.runs().len() > 1)?;
        let mut text = format!(
            "\nDifference to {} by {first}, p of the paired randomisation test, queries better and worse:\n\n\
             | run | difference | p | better | worse |\n|---|---:|---:|---:|---:|\n",
            cell(&best.name)
        );
        for run in self.runs().iter().filter(|run| run.name != best.name) {
            let pairs = run.scores.compare(&best.scores, first, &self.resampling()).ok()?;
            let (name, by) = (cell(&run.name), pairs.difference);
            let _ = writeln!(
                text,
                "| {name} | {:+.4} [{:+.4}, {:+.4}] | {:.4} | {} | {} |",
                by.mean, by.low, by.high, pairs.p, pairs.better, pairs.worse
            );
        }
        Some(text)
    }
}

fn row(run: &RunReport, metrics: &[Metric]) -> String {
    let mut text = format!("| {} |", cell(&run.name));
    for value in metrics.iter().filter_map(|metric| run.metrics.get(metric)) {
        let _ = write!(text, " {:.4} [{:.3}, {:.3}] |", value.mean, value.low, value.high);
    }
    match run.latency {
        Some(latency) => {
            let _ = write!(text, " {:.1} | {:.1} |", latency.p50_ms, latency.p95_ms);
        }
        None => text.push_str(" – | – |"),
    }
    text
}

/// A text that cannot end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
