//! Hybrid top 10 over 100,000 passages without embedding, beside the peers in the same run.
//!
//! With `AGENTKIT_BENCH_DATA` the passages, vectors and queries are those that `benches/peers/prepare.py` wrote,
//! else they are made up. With `AGENTKIT_BENCH_PYTHON` too, the peers run on the same files and ratios are printed.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::process::Command;
use std::time::Instant;

use agentkit_core::{Fusion, Retriever as _, RunContext, SearchPlan, SearchRequest, TenantScope};
use agentkit_rag::Index;
use benches::{Data, Figures, build, graph, is_measuring, peak_memory, size, timed};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Candidates of each leg, as the peers take.
const CANDIDATES: usize = 50;
/// Queries before any is measured.
const WARM_UP: usize = 20;
const PEERS: [&str; 2] = ["qdrant-edge", "glued"];

/// What one side has measured.
struct Measured {
    build: f64,
    clients: [Figures; 2],
    found: f64,
    peak: f64,
    anonymous: f64,
}

fn main() {
    if !is_measuring() {
        return;
    }
    let size = size(100_000);
    let data = Data::load(size).expect("the data are there");
    let ours = ours(&data);
    show("agentkit", &ours);
    let (Some(python), Some(folder)) = (std::env::var_os("AGENTKIT_BENCH_PYTHON"), &data.folder) else {
        return println!("no peers: they need AGENTKIT_BENCH_DATA and AGENTKIT_BENCH_PYTHON");
    };
    for peer in PEERS {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/hybrid.py");
        let output = Command::new(&python)
            .args([script.as_ref(), peer.as_ref(), folder.as_os_str()])
            .arg(size.to_string())
            .output();
        let theirs = theirs(&output.expect("the peer runs").stdout);
        show(peer, &theirs);
        compare(peer, &ours, &theirs);
    }
}

fn ours(data: &Data) -> Measured {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (index, build) = timed(|| {
        runtime.block_on(async {
            let index = build(folder.path(), data).await?;
            graph(&index).await.map(|_| index)
        })
    });
    let index = index.expect("the index is built");
    let (peak, anonymous) = peak_memory().unwrap_or_default();
    let one = |clients| runtime.block_on(search(&index, data, clients));
    one(1);
    let ((first, found), (second, _)) = (one(1), one(2));
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let (peak, anonymous) = (peak as f64, anonymous as f64);
    runtime.block_on(index.close()).expect("the index closes");
    Measured { build: build.as_secs_f64(), clients: [first, second], found, peak, anonymous }
}

/// The figures of all queries, and the share of them that find their source.
async fn search(index: &Index, data: &Data, clients: usize) -> (Figures, f64) {
    for query in data.queries.iter().take(WARM_UP) {
        let _ = index.search(&request(&query.text), &RunContext::new()).await.expect("the search succeeds");
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (index, queries) = (index.clone(), data.queries.clone());
        tasks.spawn(async move {
            let (mut times, mut found) = (Vec::new(), 0_u32);
            for query in queries.iter().skip(client).step_by(clients) {
                let request = request(&query.text);
                let started = Instant::now();
                let response = index.search(&request, &RunContext::new()).await;
                times.push(started.elapsed());
                let source = query.source.to_string();
                let hits = response.expect("the search succeeds").hits;
                found += u32::from(hits.iter().any(|hit| hit.passage.document_id.as_str() == source));
            }
            (times, found)
        });
    }
    let done = tasks.join_all().await;
    let elapsed = started.elapsed();
    let found: u32 = done.iter().map(|(_, found)| found).sum();
    let times: Vec<_> = done.into_iter().flat_map(|(times, _)| times).collect();
    let all = u32::try_from(times.len()).unwrap_or(u32::MAX);
    (Figures::new(times, elapsed), f64::from(found) / f64::from(all))
}

fn request(text: &str) -> SearchRequest {
    let inputs = vec![
        SearchPlan::Dense { candidates: CANDIDATES, exact: false },
        SearchPlan::lexical().candidates(CANDIDATES),
    ];
    let plan = SearchPlan::fuse(Fusion::Rrf { k: 60.0 }, inputs);
    SearchRequest::new(TenantScope::local(), text).plan(plan).top_k(10)
}

/// Reads what a peer printed.
fn theirs(output: &[u8]) -> Measured {
    let report: Value = serde_json::from_slice(output).expect("the peer reports");
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).expect("a number");
    let figures = |clients: &str| {
        let of = report.get(clients).expect("figures of the clients");
        Figures {
            p50: number(of, "p50_ms"),
            p95: number(of, "p95_ms"),
            p99: number(of, "p99_ms"),
            per_second: number(of, "per_second"),
        }
    };
    Measured {
        build: number(&report, "build_s"),
        clients: [figures("one_client"), figures("two_clients")],
        found: number(&report, "source_found"),
        peak: number(&report, "peak_mb"),
        anonymous: number(&report, "anonymous_mb"),
    }
}

fn show(name: &str, measured: &Measured) {
    let Measured { build, clients: [one, two], found, peak, anonymous } = measured;
    println!("{name}: built in {build:.1} s, peak {peak:.0} MB, then {anonymous:.0} MB anonymous");
    println!("{name}: one client {one}; finds the source {found:.3}");
    println!("{name}: two clients {two}");
}

fn compare(peer: &str, ours: &Measured, theirs: &Measured) {
    println!(
        "agentkit / {peer}: build {:.2}, peak {:.2}",
        ours.build / theirs.build,
        ours.peak / theirs.peak
    );
    for (name, ours, theirs) in [
        ("one client", ours.clients[0], theirs.clients[0]),
        ("two clients", ours.clients[1], theirs.clients[1]),
    ] {
        let ratio = |of: fn(&Figures) -> f64| of(&ours) / of(&theirs);
        println!(
            "agentkit / {peer}, {name}: p50 {:.2}, p95 {:.2}, p99 {:.2}, per second {:.2}",
            ratio(|figures| figures.p50),
            ratio(|figures| figures.p95),
            ratio(|figures| figures.p99),
            ratio(|figures| figures.per_second)
        );
    }
}
