//! Searching 30,000 chunks: each leg, their fusion, and the graph's recall against the exact scan.
//!
//! Texts are made of a fixed vocabulary with a long tail and embedded by feature hashing, so that the figures
//! need no model and no network and are the same everywhere. Recall is measured against the plan that asks for the
//! exact scan, over the same snapshot.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stderr, reason = "recall is reported beside the times")]

use std::collections::HashSet;
use std::sync::Arc;

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{
    ChunkId, Filter, Metadata, Retriever, RunContext, SearchPlan, SearchRequest, SearchResponse, TenantScope,
};
use agentkit_rag::{Index, SourceDocument};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const DOCUMENTS: usize = 30_000;
const DIMENSION: usize = 384;
const BATCH: usize = 1000;
const QUERIES: usize = 200;

/// A linear congruential generator (Knuth's MMIX constants): the same texts on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    /// A word; low numbers are common, as in language.
    fn word(&mut self) -> String {
        let common = self.below(20_000) + 1;
        format!("w{}", self.below(common))
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

struct Corpus {
    runtime: Runtime,
    index: Index,
    queries: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Corpus {
    fn build() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let embedder = Arc::new(HashingEmbedder::with_dimension(DIMENSION));
        let index = runtime.block_on(Index::open(folder.path(), embedder)).expect("the index opens");
        let mut random = Random(7);
        for batch in 0..DOCUMENTS / BATCH {
            let documents = (0..BATCH).map(|n| {
                let metadata = Metadata::new().with("tenth", if n % 10 == 0 { "yes" } else { "no" });
                let text = random.text(80);
                SourceDocument::text(format!("d{batch}-{n}"), text)
                    .expect("a valid id")
                    .with_metadata(metadata)
            });
            let (scope, ctx) = (TenantScope::local(), RunContext::new());
            runtime.block_on(index.upsert(&scope, documents.collect(), &ctx)).expect("the batch is written");
        }
        let queries = (0..QUERIES).map(|_| random.text(8)).collect();
        Self { runtime, index, queries, _folder: folder }
    }

    fn search(&self, query: &str, plan: &SearchPlan, filter: Option<Filter>) -> SearchResponse {
        let mut request = SearchRequest::new(TenantScope::local(), query).plan(plan.clone());
        request.filter = filter;
        self.runtime.block_on(self.index.search(&request, &RunContext::new())).expect("the search succeeds")
    }

    fn ids(&self, plan: &SearchPlan) -> Vec<HashSet<ChunkId>> {
        let ids =
            |response: SearchResponse| response.hits.into_iter().map(|hit| hit.passage.chunk_id).collect();
        self.queries.iter().map(|query| ids(self.search(query, plan, None))).collect()
    }
}

fn dense_top_ten(exact: bool) -> SearchPlan {
    SearchPlan::Dense { candidates: 10, exact }
}

fn retrieval(criterion: &mut Criterion) {
    let corpus = Corpus::build();
    wait_for_graph(&corpus);
    report_recall(&corpus.ids(&dense_top_ten(true)), &corpus.ids(&dense_top_ten(false)));
    let mut group = criterion.benchmark_group("search");
    let mut measure = |name: &str, plan: SearchPlan, filter: Option<Filter>| {
        let mut queries = corpus.queries.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| corpus.search(queries.next().expect("a cycle never ends"), &plan, filter.clone()));
        });
    };
    measure("dense, exact scan", dense_top_ten(true), None);
    measure("dense, graph", dense_top_ten(false), None);
    measure("dense, a tenth matches", dense_top_ten(false), Some(Filter::eq("tenth", "yes")));
    measure("bm25", SearchPlan::lexical(), None);
    measure("hybrid, end to end without a model", SearchPlan::hybrid(), None);
    measure("hybrid, a tenth matches", SearchPlan::hybrid(), Some(Filter::eq("tenth", "yes")));
    group.finish();
}

/// The graph is built in the background; it is there once a statistic of the index says so.
fn wait_for_graph(corpus: &Corpus) {
    let ready = async {
        loop {
            let stats = corpus.index.stats(&TenantScope::local()).await.expect("statistics");
            if stats.graph_chunks > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    corpus.runtime.block_on(ready);
}

fn report_recall(exact: &[HashSet<ChunkId>], graph: &[HashSet<ChunkId>]) {
    let found: usize = exact.iter().zip(graph).map(|(exact, graph)| exact.intersection(graph).count()).sum();
    let wanted: usize = exact.iter().map(HashSet::len).sum();
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let recall = found as f64 / wanted as f64;
    eprintln!("recall@10 of the graph against the exact scan: {recall:.4} over {} queries", exact.len());
}

criterion_group!(benches, retrieval);
criterion_main!(benches);
