//! Planner and scan against brute force: the same results, and not more distances than needed.

use std::sync::OnceLock;

use agentkit_core::RunContext;
use proptest::prelude::*;

use super::planner::{Dense, Outcome, Planner};
use super::scan::Scan;
use super::{calibrated, planned};
use crate::index::filter::Bitmap;
use crate::index::graph::Graph;
use crate::index::kernel::dot;
use crate::index::vectors::Vectors;
use crate::index::vectors::codes::Query;

const DIMENSION: usize = 48;
const COUNT: u32 = 12_000;
const LIMIT: usize = 10;
const QUERIES: usize = 160;

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u16 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from(self.0 >> 48).unwrap()
    }

    fn below(&mut self, limit: u32) -> u32 {
        (u32::from(self.next()) << 16 | u32::from(self.next())) % limit
    }

    /// About normally distributed.
    fn component(&mut self) -> f32 {
        (0..4).map(|_| f32::from(self.next()) / 65_536.0 - 0.5).sum()
    }
}

fn unit(row: &[f32]) -> Vec<f32> {
    let norm = dot(row, row).sqrt();
    row.iter().map(|component| component / norm).collect()
}

struct Data {
    vectors: Vectors,
    graph: Graph,
    queries: Vec<Vec<f32>>,
    deleted: Bitmap,
}

/// Vectors around centres, every tenth deleted, some of them equal; built once. Half of the queries lie as they do, half
/// close to one of them. The planner's constants come from the first.
fn data(seed: usize) -> &'static Data {
    static DATA: [OnceLock<Data>; 2] = [OnceLock::new(), OnceLock::new()];
    DATA[seed].get_or_init(|| {
        let mut random = Random([3, 1234][seed]);
        let centres: Vec<Vec<f32>> =
            (0..60).map(|_| (0..DIMENSION).map(|_| random.component()).collect()).collect();
        let near = |random: &mut Random, row: &[f32], spread: f32| {
            unit(&row.iter().map(|component| component + spread * random.component()).collect::<Vec<_>>())
        };
        let row = |random: &mut Random| {
            let centre = &centres[random.below(60) as usize];
            near(random, centre, 0.9)
        };
        let (mut vectors, mut deleted) = (Vectors::new(DIMENSION), Bitmap::empty(COUNT));
        for slot in 0..COUNT {
            let vector = if slot % 50 == 49 { vectors.row(slot - 20).to_vec() } else { row(&mut random) };
            vectors.push(&vector);
            if random.below(10) == 0 {
                deleted.insert(slot);
            }
        }
        let mut queries: Vec<Vec<f32>> = (0..QUERIES / 2).map(|_| row(&mut random)).collect();
        for _ in 0..QUERIES / 2 {
            let slot = random.below(COUNT);
            queries.push(near(&mut random, vectors.row(slot), 0.12));
        }
        let graph = Graph::build(&vectors, &RunContext::new()).unwrap();
        let graph = calibrated(graph, &vectors, &RunContext::new()).unwrap();
        Data { vectors, graph, queries, deleted }
    })
}

/// All slots that match, best first.
fn brute_force(vectors: &Vectors, query: &[f32], allowed: &Bitmap) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = allowed.iter().map(|slot| (slot, dot(query, vectors.row(slot)))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// How the matches lie.
#[derive(Debug, Clone, Copy)]
enum Lie {
    Anywhere,
    NearTheQuery,
    FarFromTheQuery,
}

/// One in `share` of the live slots.
fn matches(data: &Data, query: &[f32], share: usize, how: Lie) -> Bitmap {
    let mut live = Bitmap::empty(COUNT);
    (0..COUNT).filter(|slot| !data.deleted.contains(*slot)).for_each(|slot| live.insert(slot));
    let mut order: Vec<u32> =
        brute_force(&data.vectors, query, &live).into_iter().map(|(slot, _)| slot).collect();
    let mut random = Random(11);
    match how {
        Lie::Anywhere => order.sort_by_cached_key(|_| random.below(1 << 30)),
        Lie::NearTheQuery => {}
        Lie::FarFromTheQuery => order.reverse(),
    }
    let mut chosen = Bitmap::empty(COUNT);
    let count = order.len().div_ceil(share);
    order.into_iter().take(count).for_each(|slot| chosen.insert(slot));
    chosen
}

fn search(data: &Data, planner: &Planner, query: &[f32], allowed: &Bitmap, exact: bool) -> Outcome {
    let (query, ctx) = (Query::new(query), RunContext::new());
    let graph = (!exact).then_some(&data.graph);
    let dense = Dense { vectors: &data.vectors, graph, query: &query, limit: LIMIT, hidden: None, ctx: &ctx };
    planner.search(&dense, allowed).unwrap()
}

/// Recall and distances a query, over all queries.
fn measure(data: &Data, planner: &Planner, cases: &[(&Vec<f32>, Bitmap)], exact: bool) -> (f64, f64) {
    let (mut found, mut wanted, mut evaluations) = (0, 0, 0);
    for (query, allowed) in cases {
        let best = brute_force(&data.vectors, query, allowed);
        let best = &best[..best.len().min(LIMIT)];
        let mut outcome = search(data, planner, query, allowed, exact);
        outcome.scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        outcome.scored.truncate(LIMIT);
        assert_eq!(outcome.scored.len(), best.len(), "as many as match, or as were asked for");
        found += best.iter().filter(|hit| outcome.scored.contains(hit)).count();
        wanted += best.len();
        evaluations += outcome.evaluations;
    }
    let number = |count: u64| f64::from(u32::try_from(count).unwrap());
    (number(found as u64) / number(wanted as u64), number(evaluations) / number(cases.len() as u64))
}

fn a_planned_search_is_complete_and_costs_little_more_than_the_cheapest_way(seed: usize) {
    let data = data(seed);
    let (_, planner) = planned(Some(&data.graph));
    for lie in [Lie::Anywhere, Lie::NearTheQuery, Lie::FarFromTheQuery] {
        for share in [1, 2, 4, 8, 16, 100, 1000, 10_000] {
            let cases: Vec<_> =
                data.queries.iter().map(|query| (query, matches(data, query, share, lie))).collect();
            let (recall, cost) = measure(data, &planner, &cases, false);
            let (_, scan) = measure(data, &planner, &cases, true);
            let walks = [10, 12, 14, 17, 20, 24, 28, 34, 40, 64, 112, 224, 320].into_iter();
            let mut walks = walks.map(|breadth| measure(data, &Planner::always(breadth), &cases, false));
            let walk = walks.find(|(recall, _)| *recall >= 0.98).map_or(f64::INFINITY, |(_, cost)| cost);
            eprintln!(
                "{lie:?}, 1/{share}: recall {recall:.4}, {cost:.0} distances of {scan:.0} and {walk:.0}"
            );
            assert!(recall >= 0.98, "{lie:?}, 1/{share}: recall {recall}");
            assert!(cost <= 1.3 * scan.min(walk), "{lie:?}, 1/{share}: {cost} of {scan} and {walk}");
        }
    }
}

#[test]
fn a_planned_search_is_complete_and_cheap_on_the_data_its_constants_come_from() {
    a_planned_search_is_complete_and_costs_little_more_than_the_cheapest_way(0);
}

#[test]
fn a_planned_search_is_complete_and_cheap_on_other_data() {
    a_planned_search_is_complete_and_costs_little_more_than_the_cheapest_way(1);
}

#[test]
fn a_search_through_the_graph_stops_with_its_context() {
    let (data, ctx) = (data(0), RunContext::new());
    ctx.cancel();
    let query = Query::new(&data.queries[0]);
    let mut all = Bitmap::empty(COUNT);
    (0..COUNT).for_each(|slot| all.insert(slot));
    let dense = Dense {
        vectors: &data.vectors,
        graph: Some(&data.graph),
        query: &query,
        limit: LIMIT,
        hidden: None,
        ctx: &ctx,
    };
    assert!(Planner::always(2000).search(&dense, &all).unwrap_err().is_stopped());
}

/// Vectors that are spread, in clusters, or equal, some with one large component and many tiny ones.
fn rows() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<f32>)> {
    (1..80_usize, 1..400_usize, 0..4_u8, any::<u64>()).prop_map(|(dimension, count, kind, seed)| {
        let mut random = Random(seed);
        let centre: Vec<f32> = (0..dimension).map(|_| random.component()).collect();
        let mut row = |_| {
            let spread = [1.0, 0.01, 0.0, 1e-6][usize::from(kind)];
            let mut row: Vec<f32> =
                centre.iter().map(|component| component + spread * random.component()).collect();
            if kind == 3 {
                row.iter_mut().skip(1).for_each(|component| *component *= 1e-5);
                row[0] = 1.0;
            }
            row.push(1e-3);
            unit(&row)
        };
        let query = row(0);
        ((0..count).map(row).collect(), query)
    })
}

proptest! {
    #[test]
    fn a_scan_is_the_brute_force_bit_for_bit((rows, query) in rows(), limit in 1..50_usize) {
        let mut vectors = Vectors::new(query.len());
        for row in &rows {
            vectors.push(row);
        }
        let slots: Vec<u32> = (0..u32::try_from(rows.len()).unwrap()).collect();
        let prepared = Query::new(&query);
        let mut scan = Scan::new(&vectors, &prepared, limit);
        scan.offer(&slots);
        let (mut found, _) = scan.finish();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut all = Bitmap::empty(u32::try_from(slots.len()).unwrap());
        for slot in &slots {
            all.insert(*slot);
        }
        let expected = brute_force(&vectors, &query, &all);
        let count = limit.min(expected.len());
        prop_assert!(found.len() >= count);
        for (found, expected) in found.iter().zip(&expected).take(count) {
            prop_assert_eq!((found.0, found.1.to_bits()), (expected.0, expected.1.to_bits()));
        }
        let tied = expected.iter().take_while(|(_, score)| *score >= expected[count - 1].1).count();
        prop_assert_eq!(found.len(), tied);
    }
}
