//! Writing: acknowledged documents per second by batch size, and by writers that share commits.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentkit_core::testing::HashingEmbedder;
use agentkit_core::{RunContext, TenantScope};
use agentkit_rag::{Index, SourceDocument};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn documents(next: &AtomicUsize, count: usize) -> Vec<SourceDocument> {
    let one = |_| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let text = format!("document {n} about subject {} in some forty words. ", n % 97).repeat(5);
        SourceDocument::text(format!("d{n}"), text).expect("a valid id")
    };
    (0..count).map(one).collect()
}

fn ingest(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let embedder = Arc::new(HashingEmbedder::with_dimension(384));
    let index = runtime.block_on(Index::open(folder.path(), embedder)).expect("the index opens");
    let next = AtomicUsize::new(0);
    let write = |index: Index, documents| async move {
        index
            .upsert(&TenantScope::local(), documents, &RunContext::new())
            .await
            .expect("the batch is written")
    };
    let mut group = criterion.benchmark_group("upsert");
    group.sample_size(10);
    for batch in [1_usize, 10, 100] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batches of {batch}"), |bencher| {
            bencher.iter(|| runtime.block_on(write(index.clone(), documents(&next, batch))));
        });
    }
    for writers in [10_usize, 100] {
        group.throughput(Throughput::Elements(writers as u64));
        group.bench_function(format!("{writers} writers of one each"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let writes = (0..writers).map(|_| write(index.clone(), documents(&next, 1)));
                    writes.collect::<JoinSet<_>>().join_all().await
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
