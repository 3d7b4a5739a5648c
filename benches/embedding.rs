//! The local embedder: one query's latency, and passages per second.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]

use agentkit_core::{EmbedSide, Embedder, RunContext};
use agentkit_rag::embed::BertEmbedder;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Ten tokens with the special ones.
const QUERY: &str = "what is the capital of france and its population";
const SENTENCE: &str =
    "The quick brown fox jumps over the lazy dog near the river bank while the sun is setting. ";
/// Passages embedded in one call.
const PASSAGES: usize = 32;

fn embedding(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let embedder = runtime.block_on(BertEmbedder::minilm()).expect("the model can be had");
    let ctx = RunContext::new();
    let embed =
        |side, texts| runtime.block_on(embedder.embed(side, texts, &ctx)).expect("embedding succeeds");
    let mut group = criterion.benchmark_group("embed");
    group.sample_size(20);
    group.bench_function("query of 10 tokens", |bencher| {
        bencher.iter(|| embed(EmbedSide::Query, vec![QUERY.into()]));
    });
    let passage = SENTENCE.repeat(10);
    group.throughput(Throughput::Elements(PASSAGES as u64));
    group.sample_size(10);
    group.bench_function(
        format!("{PASSAGES} passages of {} tokens", embedder.count_tokens(&passage)),
        |bencher| {
            bencher.iter(|| embed(EmbedSide::Document, vec![passage.clone(); PASSAGES]));
        },
    );
    group.finish();
}

criterion_group!(benches, embedding);
criterion_main!(benches);
