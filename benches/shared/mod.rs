//! What the benchmark programs share: the data both sides read, an index over it, and figures of it.
#![expect(clippy::missing_errors_doc, reason = "every error is one of reading files or of the index")]

mod data;
mod timing;

pub use self::data::{Data, Query};
pub use self::timing::{Figures, peak_memory, timed};

use std::sync::Arc;

use agentkit_core::{Result, RunContext, Span, TenantScope};
use agentkit_rag::chunk::{Chunk, Chunker};
use agentkit_rag::{Index, SourceDocument};

/// Documents in one commit.
const BATCH: usize = 1000;

/// Whether the program is run to measure: `cargo bench` says so, `cargo test` does not.
#[must_use]
pub fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The number given on the command line as in `cargo bench --bench hybrid -- 20000`, or `usual`.
#[must_use]
pub fn size(usual: usize) -> usize {
    std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usual)
}

/// Makes every document one chunk, so that a passage and its vector stay together.
#[derive(Debug, Clone, Copy)]
pub struct Whole;

impl Chunker for Whole {
    fn chunk(&self, document: &SourceDocument, _: &dyn Fn(&str) -> usize) -> Result<Vec<Chunk>> {
        let span = Span::new(0, document.source_text.len());
        Ok(vec![Chunk::new(document, span)])
    }
}

/// Opens an index of one chunk a document and writes the passages, each under its number.
pub async fn build(folder: &std::path::Path, data: &Data) -> Result<Index> {
    let index = Index::open(folder, data.embedder.clone()).await?.with_chunker(Arc::new(Whole));
    let mut number = 0_usize;
    for batch in data.passages.chunks(BATCH) {
        let documents = batch.iter().map(|passage| {
            number += 1;
            SourceDocument::text((number - 1).to_string(), passage.as_str())
        });
        let documents = documents.collect::<Result<_>>()?;
        index.upsert(&TenantScope::local(), documents, &RunContext::new()).await?;
    }
    Ok(index)
}

/// Waits until the graph covers what the index lets it cover: three quarters or more, from 20,000 chunks on.
pub async fn graph(index: &Index) -> Result<u64> {
    loop {
        let stats = index.stats(&TenantScope::local()).await?;
        if stats.chunks < 20_000 || stats.graph_chunks >= stats.chunks - stats.chunks / 4 {
            return Ok(stats.graph_chunks);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
