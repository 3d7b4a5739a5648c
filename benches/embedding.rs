//! The local embedder in both precisions, on one thread and on two: a query, many short ones, and passages.
//!
//! With `AGENTKIT_BENCH_PYTHON` and `AGENTKIT_BENCH_ONNX`, which `benches/peers/export_onnx.py` writes, ONNX Runtime is measured on
//! the same texts by `benches/peers/embedding.py` and ratios are printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentkit_core::{EmbedSide, Embedder, RunContext};
use agentkit_rag::embed::{BertEmbedder, BertOptions, Precision};
use agentkit_rag::models::{ModelSpec, ModelStore, NoProgress};
use criterion::{Criterion, Throughput};
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

fn main() {
    if !benches::is_measuring() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let folder = embedding(&mut criterion);
    criterion.final_summary();
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(python), Some(onnx)) = (variable("AGENTKIT_BENCH_PYTHON"), variable("AGENTKIT_BENCH_ONNX"))
    else {
        return println!("no peer: it needs AGENTKIT_BENCH_PYTHON and AGENTKIT_BENCH_ONNX");
    };
    for threads in ["1", "2"] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/embedding.py");
        let mut peer = Command::new(&python);
        peer.arg(script).arg(&onnx).arg(folder.join("tokenizer.json"));
        peer.args(["--threads", threads, "--criterion"]).arg(figures());
        assert!(peer.status().expect("the peer runs").success(), "the peer failed");
    }
}

/// Where criterion keeps its figures.
fn figures() -> PathBuf {
    if let Some(folder) = std::env::var_os("CRITERION_HOME") {
        return folder.into();
    }
    let program = std::env::current_exe().expect("the benchmark's own path");
    // TARGET/release/deps/PROGRAM
    program.ancestors().nth(3).unwrap_or(Path::new("target")).join("criterion")
}

/// Measures, and gives the model's folder.
fn embedding(criterion: &mut Criterion) -> PathBuf {
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
    folder
}
