//! The local embedder in both precisions, on one thread and on two: a query, many short ones, and passages.
//!
//! `benches/peers/embedding.py` measures ONNX Runtime on the same texts and prints the ratios.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]

use std::num::NonZeroUsize;

use agentkit_core::{EmbedSide, Embedder, RunContext};
use agentkit_rag::embed::{BertEmbedder, BertOptions, Precision};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const QUERY: &str = "what is the capital of france and its population";
const SENTENCE: &str =
    "The quick brown fox jumps over the lazy dog near the river bank while the sun is setting. ";
const TOPICS: [&str; 8] =
    ["billing", "backups", "search", "login", "quotas", "exports", "tenants", "replication"];

/// The texts of each figure; the peer's script has the same.
fn cases() -> [(&'static str, Vec<String>); 4] {
    let short = (0..4).flat_map(|number| {
        TOPICS.map(|topic| format!("how do i configure {topic} for my team, step {number}"))
    });
    let passage = SENTENCE.repeat(10);
    [
        ("query of 10 tokens", vec![QUERY.into()]),
        ("32 queries of 10 to 20 tokens", short.collect()),
        ("1 passage of 200 tokens", vec![passage.clone()]),
        ("32 passages of 200 tokens", vec![passage; 32]),
    ]
}

fn embedding(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let ctx = RunContext::new();
    let store = ModelStore::from_env().expect("a folder for models");
    let spec = ModelSpec::minilm();
    let folder = runtime.block_on(store.fetch(&spec, &NoProgress, &ctx)).expect("the model can be had");
    for (name, precision) in [("fp32", Precision::Single), ("int8", Precision::Int8)] {
        for threads in [1, 2] {
            let options = BertOptions::default().precision(precision);
            let options = options.threads(NonZeroUsize::new(threads).expect("at least one"));
            let embedder = runtime.block_on(BertEmbedder::load_with(&folder, options)).expect("it loads");
            let mut group = criterion.benchmark_group(format!("embed {name} on {threads} threads"));
            group.sample_size(20);
            for (name, texts) in cases() {
                group.throughput(Throughput::Elements(texts.len() as u64));
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        let pass = embedder.embed(EmbedSide::Document, texts.clone(), &ctx);
                        runtime.block_on(pass).expect("embedding succeeds")
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, embedding);
criterion_main!(benches);
