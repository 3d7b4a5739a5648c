//! What `bench scale` prints.

use std::path::PathBuf;

use serde::Serialize;

use super::super::output::Output;
use super::build::Built;
use super::measure::{Plans, Searched};
use super::memory::Memory;
use super::recall::Recall;
use super::reopen::Reopened;
use crate::synthetic::DIMENSION;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) chunks: u64,
    pub(super) queries: u64,
    /// Whether the vectors are real ones perturbed; else they are generated.
    pub(super) real_vectors: bool,
    pub(super) built: Built,
    /// In the process that built the index.
    pub(super) searched: Searched,
    pub(super) recall: Recall,
    /// In a fresh process.
    pub(super) reopened: Reopened,
    /// Where the index was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<PathBuf>,
}

impl Report {
    pub(super) fn show(&self, out: Output) {
        out.object(self);
        let vectors = if self.real_vectors { "real ones perturbed" } else { "generated, not real" };
        out.line(format_args!(
            "{} chunks of {DIMENSION} dimensions, {} queries; vectors: {vectors}\n",
            self.chunks, self.queries
        ));
        self.show_building(out);
        out.line("\nsearching in the process that built it");
        searched(out, &self.searched);
        self.show_reopened(out);
        if let Some(folder) = &self.folder {
            out.line(format_args!("\nthe index is in {}", folder.display()));
        }
    }

    fn show_building(&self, out: Output) {
        let built = &self.built;
        out.line("building");
        row(out, "durable and searchable after", format_args!("{:.1} s", built.seconds));
        row(out, "rate", format_args!("{:.0} chunks/s", built.chunks_per_second));
        row(out, "with the graph after", format_args!("{:.1} s", built.seconds_with_graph));
        row(out, "chunks in the graph", format_args!("{}", built.graph_chunks));
        row(out, "on disk", format_args!("{:.1} MB", megabytes(built.disk_bytes)));
        if let Some(peak) = built.peak_anonymous_bytes {
            row(out, "peak of anonymous memory", format_args!("{:.1} MB", megabytes(peak)));
        }
        if let Some(memory) = built.memory {
            row(out, "peak with mapped files", format_args!("{:.1} MB", megabytes(memory.peak)));
        }
        let recall = self.recall;
        let what = format!("recall@10 ({} queries)", recall.queries);
        row(out, &what, format_args!("{:.4}", recall.at_10));
    }

    fn show_reopened(&self, out: Output) {
        let reopened = &self.reopened;
        out.line("\nopened in a fresh process");
        row(out, "open after", format_args!("{:.1} ms", reopened.opening_ms));
        row(out, "with the graph after", format_args!("{:.1} ms", reopened.opening_with_graph_ms));
        row(out, "chunks in the graph", format_args!("{}", reopened.graph_chunks));
        row(out, "first search", format_args!("{:.2} ms", reopened.first_search_ms));
        searched(out, &reopened.searched);
        if let Some(memory) = reopened.memory {
            serving_memory(out, memory);
        }
    }
}

fn serving_memory(out: Output, memory: Memory) {
    row(out, "anonymous memory", format_args!("{:.1} MB", megabytes(memory.anonymous)));
    row(out, "mapped files in memory", format_args!("{:.1} MB", megabytes(memory.mapped)));
    row(out, "peak of both", format_args!("{:.1} MB", megabytes(memory.peak)));
}

fn searched(out: Output, searched: &Searched) {
    out.line(format_args!(
        "  {:<22} {:>8} {:>8} {:>8} {:>9}",
        "top 10", "p50 ms", "p95 ms", "p99 ms", "per s"
    ));
    plans(out, "one client", &searched.one_client);
    plans(out, "two clients", &searched.two_clients);
}

fn plans(out: Output, clients: &str, plans: &Plans) {
    for (name, latency) in [("hybrid", plans.hybrid), ("dense", plans.dense), ("bm25", plans.bm25)] {
        out.line(format_args!(
            "  {:<22} {:>8.2} {:>8.2} {:>8.2} {:>9.0}",
            format!("{name}, {clients}"),
            latency.p50_ms,
            latency.p95_ms,
            latency.p99_ms,
            latency.per_second
        ));
    }
}

fn row(out: Output, what: &str, value: std::fmt::Arguments<'_>) {
    out.line(format_args!("  {what:<30} {value}"));
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
