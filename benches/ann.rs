//! The dense leg alone: building the graph, searching it at several breadths, and scanning exactly.
//!
//! Real vectors are read from the folder that the variable names, in the files that the example `vectors` writes and
//! `benches/peers/ann.py` reads as well; without it, vectors are made up around a few centres. Queries of each figure run
//! one after the other, and the median of several rounds counts.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, or has nothing to measure"
)]
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use std::collections::HashSet;
use std::time::Instant;

use agentkit_rag::bench_support::DenseBench;

/// Names a folder with `base.f32` and `queries.f32`, row-major.
const FOLDER: &str = "AGENTKIT_VECTORS";
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

fn main() {
    let data = data();
    let mut bench = DenseBench::new(&data.base, DIMENSION);
    println!("kernel {}", DenseBench::kernel());
    let start = Instant::now();
    bench.build().expect("the graph is built");
    println!("build, one thread: {:.1} s", start.elapsed().as_secs_f64());
    let exact: Vec<_> =
        data.queries.iter().map(|query| bench.scan(query, LIMIT).expect("a scan").0).collect();
    let planned: Vec<_> = data.queries.iter().map(|q| bench.planned(q, LIMIT).expect("a search")).collect();
    let cost: u64 = planned.iter().map(|(_, cost)| cost).sum();
    let planned: Vec<_> = planned.into_iter().map(|(found, _)| found).collect();
    println!(
        "as an index searches: recall@10 {:.4}, {:.0} distances a query",
        recall(&exact, &planned),
        cost as f64 / planned.len() as f64
    );
    for threads in [1, 2] {
        let search = |query: &Vec<f32>| bench.planned(query, LIMIT).expect("a search").0;
        println!("as an index searches, {threads} threads: {:.0} q/s", rate(&data.queries, threads, &search));
        let scan = |query: &Vec<f32>| bench.scan(query, LIMIT).expect("a scan").0;
        let few = data.queries.get(..200).unwrap_or(&data.queries);
        println!("exact scan, {threads} threads: {:.0} q/s", rate(few, threads, &scan));
        for breadth in BREADTHS {
            let search = |query: &Vec<f32>| bench.search(query, breadth, LIMIT).expect("a search").0;
            let found: Vec<_> = data.queries.iter().map(search).collect();
            let cost: u64 =
                data.queries.iter().map(|q| bench.search(q, breadth, LIMIT).expect("a search").1).sum();
            println!(
                "graph, {threads} threads, ef {breadth}: recall@10 {:.4}, {:.0} q/s, {:.0} distances a query",
                recall(&exact, &found),
                rate(&data.queries, threads, &search),
                cost as f64 / data.queries.len() as f64,
            );
        }
    }
}

/// Queries per second over all threads, the median of the rounds.
fn rate(queries: &[Vec<f32>], threads: usize, search: &(impl Fn(&Vec<f32>) -> Vec<u32> + Sync)) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope
                        .spawn(|| queries.iter().for_each(|query| drop(std::hint::black_box(search(query)))));
                }
            });
            (queries.len() * threads) as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.get(ROUNDS / 2).copied().unwrap_or_default()
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
