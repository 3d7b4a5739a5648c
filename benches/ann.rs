//! The dense leg alone: building the graph, searching it, and scanning exactly, beside hnswlib and numpy.
//!
//! Real vectors are read from the folder that `AGENTKIT_VECTORS` names, in the files that the example `vectors` writes and
//! `benches/peers/ann.py` reads as well; without it, vectors are made up around a few centres. With
//! `AGENTKIT_BENCH_PYTHON` too, the peers run on the same files and ratios are printed. Queries of each figure run
//! one after the other, and the median of several rounds counts. Figures of one thread are of its CPU time where the
//! system tells it, so that they mean something on a machine that does other things too.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, or has nothing to measure"
)]
#![expect(clippy::cast_precision_loss, reason = "small counts")]
#![expect(clippy::indexing_slicing, reason = "pairs of figures, by number of threads")]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Instant;

use agentkit_rag::bench_support::DenseBench;
use serde_json::Value;

/// Names a folder with `base.f32` and `queries.f32`, row-major.
const FOLDER: &str = "AGENTKIT_VECTORS";
/// Names the Python that has the peers.
const PYTHON: &str = "AGENTKIT_BENCH_PYTHON";
/// Set to anything: the graph is built by `hnsw_rs` too.
const BOTH_BUILDERS: &str = "AGENTKIT_BENCH_HNSW_RS";
const DIMENSION: usize = 384;
const LIMIT: usize = 10;
const ROUNDS: usize = 5;
const BREADTHS: [usize; 8] = [16, 24, 32, 48, 64, 96, 128, 256];
/// Made up if there are no real ones.
const VECTORS: usize = 35_000;
const QUERIES: usize = 1000;
const CENTRES: usize = 500;

struct Data {
    base: Vec<f32>,
    queries: Vec<Vec<f32>>,
}

/// What both sides measure, on one thread and on two.
#[derive(Debug, Default)]
struct Figures {
    /// Seconds.
    build: [f64; 2],
    /// Queries per second: ours as an index searches, those of the peer at that recall or a little more.
    search: [f64; 2],
    recall: f64,
    /// Queries per second.
    scan: [f64; 2],
}

fn main() {
    if !benches::is_measuring() {
        return;
    }
    let data = data();
    let mut bench = DenseBench::new(&data.base, DIMENSION);
    println!("kernel {}", DenseBench::kernel());
    if std::env::var_os(BOTH_BUILDERS).is_some() {
        let took = seconds(|| bench.build_by_hnsw_rs().expect("the graph is built"));
        println!("build by hnsw_rs, 1 thread: {took:.1} s");
        println!("effort {:?} times the usual", bench.calibrate().expect("a graph"));
        measure(&bench, &data, &mut Figures::default());
    }
    let mut ours = Figures::default();
    for threads in [2, 1] {
        let count = NonZeroUsize::new(threads).expect("at least one");
        let start = Instant::now();
        let took = seconds(|| bench.build(count).expect("the graph is built"));
        ours.build[threads - 1] = if threads == 1 { took } else { start.elapsed().as_secs_f64() };
        println!("build, {threads} threads: {:.1} s", ours.build[threads - 1]);
    }
    println!("effort {:?} times the usual", bench.calibrate().expect("a graph"));
    measure(&bench, &data, &mut ours);
    let (Some(python), Some(folder)) = (std::env::var_os(PYTHON), std::env::var_os(FOLDER)) else {
        return println!("no peers: they need {FOLDER} and {PYTHON}");
    };
    compare(&ours, &theirs(&python, &folder, ours.recall));
}

fn measure(bench: &DenseBench, data: &Data, ours: &mut Figures) {
    let exact: Vec<_> =
        data.queries.iter().map(|query| bench.scan(query, LIMIT).expect("a scan").0).collect();
    let planned: Vec<_> = data.queries.iter().map(|q| bench.planned(q, LIMIT).expect("a search")).collect();
    let cost: u64 = planned.iter().map(|(_, cost)| cost).sum();
    let planned: Vec<_> = planned.into_iter().map(|(found, _)| found).collect();
    ours.recall = recall(&exact, &planned);
    println!(
        "as an index searches: recall@10 {:.4}, {:.0} distances a query",
        ours.recall,
        cost as f64 / planned.len() as f64
    );
    for threads in [1, 2] {
        let search = |query: &Vec<f32>| bench.planned(query, LIMIT).expect("a search").0;
        let scan = |query: &Vec<f32>| bench.scan(query, LIMIT).expect("a scan").0;
        let few = data.queries.get(..200).unwrap_or(&data.queries);
        let (searched, scanned) = (rate(&data.queries, threads, &search), rate(few, threads, &scan));
        (ours.search[threads - 1], ours.scan[threads - 1]) = (searched, scanned);
        println!("as an index searches, {threads} threads: {searched:.0} q/s; exact scan {scanned:.0} q/s");
    }
    for breadth in BREADTHS {
        let search = |query: &Vec<f32>| bench.search(query, breadth, LIMIT).expect("a search");
        let (found, costs): (Vec<_>, Vec<_>) = data.queries.iter().map(search).unzip();
        println!(
            "graph, 1 thread, ef {breadth}: recall@10 {:.4}, {:.0} q/s, {:.0} distances a query",
            recall(&exact, &found),
            rate(&data.queries, 1, &|query| search(query).0),
            costs.iter().sum::<u64>() as f64 / data.queries.len() as f64,
        );
    }
}

/// Runs the peers' script and reads what it reports.
fn theirs(python: &OsStr, folder: &OsStr, recall: f64) -> Figures {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/ann.py");
    let recall = recall.to_string();
    let arguments =
        [script.as_ref(), folder, "--hnswlib-only".as_ref(), "--recall".as_ref(), recall.as_ref()];
    let output = Command::new(python).args(arguments).output();
    let output = output.expect("the peers run").stdout;
    print!("{}", String::from_utf8_lossy(&output));
    let report = output.split(|byte| *byte == b'\n').rfind(|line| line.starts_with(b"{"));
    let report: Value = serde_json::from_slice(report.expect("a report")).expect("the report is JSON");
    let pair = |name: &str| {
        [0, 1].map(|at| report.get(name).and_then(|pair| pair.get(at)?.as_f64()).expect("a figure"))
    };
    Figures { build: pair("build"), search: pair("search"), scan: pair("scan"), recall: 0.0 }
}

fn compare(ours: &Figures, theirs: &Figures) {
    for at in [0, 1] {
        println!(
            "{} threads, agentkit / peer: search at the same recall {:.2} x hnswlib, build {:.2} x its time, exact scan {:.2} x numpy f32",
            at + 1,
            ours.search[at] / theirs.search[at],
            ours.build[at] / theirs.build[at],
            ours.scan[at] / theirs.scan[at],
        );
    }
}

/// Queries per second over all threads, the median of the rounds.
fn rate(queries: &[Vec<f32>], threads: usize, search: &(impl Fn(&Vec<f32>) -> Vec<u32> + Sync)) -> f64 {
    let pass = || queries.iter().for_each(|query| drop(std::hint::black_box(search(query))));
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            if threads == 1 {
                return queries.len() as f64 / seconds(pass);
            }
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(pass);
                }
            });
            (queries.len() * threads) as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.get(ROUNDS / 2).copied().unwrap_or_default()
}

/// The seconds of CPU time that work on this thread takes, or of the clock where that is not known.
fn seconds(work: impl FnOnce()) -> f64 {
    let cpu = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (start, before) = (Instant::now(), cpu());
    work();
    match (before, cpu()) {
        (Some(before), Some(after)) => (after - before) as f64 / 1e9,
        _ => start.elapsed().as_secs_f64(),
    }
}

fn recall(exact: &[Vec<u32>], found: &[Vec<u32>]) -> f64 {
    let common = |(exact, found): (&Vec<u32>, &Vec<u32>)| {
        let exact: HashSet<_> = exact.iter().collect();
        found.iter().filter(|slot| exact.contains(slot)).count()
    };
    let hits: usize = exact.iter().zip(found).map(common).sum();
    hits as f64 / (exact.len() * LIMIT) as f64
}

fn data() -> Data {
    let Some(folder) = std::env::var_os(FOLDER) else { return made_up() };
    let read = |name: &str| {
        let path = std::path::Path::new(&folder).join(name);
        let bytes = std::fs::read(&path).expect("the file of vectors can be read");
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>()
    };
    let (base, queries) = (read("base.f32"), read("queries.f32"));
    println!("{} vectors and {} queries from files", base.len() / DIMENSION, queries.len() / DIMENSION);
    Data { base, queries: queries.chunks_exact(DIMENSION).map(<[f32]>::to_vec).collect() }
}

/// Vectors around centres, by a linear congruential generator (Knuth's MMIX constants).
fn made_up() -> Data {
    println!("{VECTORS} vectors made up around {CENTRES} centres; figures of real ones differ");
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap_or_default()) / 65_536.0 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| (0..DIMENSION).map(|_| random()).collect()).collect();
    let mut rows = centres.iter().cycle().map(|centre| {
        let row: Vec<f32> = centre.iter().map(|component| component + random()).collect();
        let norm = row.iter().map(|component| component * component).sum::<f32>().sqrt();
        row.into_iter().map(|component| component / norm).collect::<Vec<f32>>()
    });
    let base = rows.by_ref().take(VECTORS).flatten().collect();
    Data { base, queries: rows.take(QUERIES).collect() }
}
