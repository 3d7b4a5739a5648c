//! Vectors in memory: holes, mapped rows, and what snapshots share.

use std::sync::Arc;

use proptest::prelude::*;
use tantivy::directory::OwnedBytes;

use super::codes::{BLOCK_ROWS, Query, scaled};
use super::{Rows, Vectors};
use crate::index::kernel;

const DIMENSION: usize = 3;
/// Bytes of a record before its components.
const HEAD: usize = 8;

fn row(slot: u32) -> Vec<f32> {
    let slot = f32::from(u16::try_from(slot).unwrap());
    vec![slot, -slot / 2.0, 1.0]
}

/// A file of records like a log's, and where their components are.
fn file(slots: &[u32], shift: usize) -> (OwnedBytes, Vec<(u32, u64)>) {
    let (mut bytes, mut records) = (vec![0_u8; 16 + shift], Vec::new());
    for slot in slots {
        bytes.extend([0; HEAD]);
        records.push((*slot, bytes.len() as u64));
        bytes.extend(row(*slot).iter().flat_map(|component| component.to_le_bytes()));
    }
    (OwnedBytes::new(bytes), records)
}

fn mapped_blocks(vectors: &Vectors) -> Vec<bool> {
    vectors.blocks.iter().map(|b| b.as_ref().is_some_and(|b| matches!(b.rows, Rows::Mapped { .. }))).collect()
}

fn assert_holds(vectors: &Vectors, slots: &[u32]) {
    assert_eq!(vectors.present(), slots.len());
    assert_eq!(vectors.len(), slots.last().map_or(0, |last| *last as usize + 1));
    for slot in 0..u32::try_from(vectors.len()).unwrap() + 300 {
        let expected = if slots.contains(&slot) { row(slot) } else { Vec::new() };
        assert_eq!(vectors.row(slot), expected, "slot {slot}");
        assert_eq!(vectors.codes(slot).is_some(), slots.contains(&slot), "slot {slot}");
    }
}

#[test]
fn whole_blocks_are_read_from_the_file_and_the_last_one_can_grow() {
    let slots: Vec<u32> = (0..600).chain(2000..2100).collect();
    let (file, records) = file(&slots, 0);
    let mut vectors = Vectors::new(DIMENSION);
    vectors.attach(&file, records).unwrap();
    assert_holds(&vectors, &slots);
    assert_eq!(mapped_blocks(&vectors), [true, true, true, false, false, false, false, true, false]);
    let before = vectors.clone();
    vectors.push(&row(2100));
    vectors.skip_to(2103);
    vectors.push(&row(2103));
    assert_holds(&vectors, &[&slots[..], &[2100, 2103]].concat());
    assert_holds(&before, &slots);
}

#[test]
fn rows_that_were_pushed_are_given_up_for_those_of_a_file() {
    let slots: Vec<u32> = (0..300).filter(|slot| slot % 3 != 1).chain([700]).collect();
    let mut vectors = Vectors::new(DIMENSION);
    for slot in &slots {
        vectors.skip_to(*slot as usize);
        vectors.push(&row(*slot));
    }
    assert_holds(&vectors, &slots);
    assert!(vectors.blocks[1].is_some() && vectors.blocks.len() == 3);
    let codes = vectors.blocks[0].as_ref().unwrap().codes.clone();
    let (file, records) = file(&slots, 0);
    vectors.attach(&file, records).unwrap();
    assert_holds(&vectors, &slots);
    assert_eq!(mapped_blocks(&vectors), [true, true, false]);
    assert!(Arc::ptr_eq(&codes, &vectors.blocks[0].as_ref().unwrap().codes));
}

#[test]
fn misaligned_rows_are_copied_and_rows_outside_the_file_are_refused() {
    let slots: Vec<u32> = (0..300).collect();
    let (file, mut records) = file(&slots, 1);
    let mut vectors = Vectors::new(DIMENSION);
    vectors.attach(&file, records.clone()).unwrap();
    assert_holds(&vectors, &slots);
    records.push((300, file.len() as u64 - 4));
    let error = Vectors::new(DIMENSION).attach(&file, records).unwrap_err();
    assert_eq!(error.kind(), agentkit_core::ErrorKind::Corrupt);
}

#[test]
fn a_block_of_holes_costs_nothing() {
    let mut vectors = Vectors::new(DIMENSION);
    vectors.skip_to(10 * BLOCK_ROWS + 7);
    vectors.push(&row(0));
    assert_eq!(vectors.blocks.iter().flatten().count(), 1);
    assert_eq!(vectors.len(), 10 * BLOCK_ROWS + 8);
}

/// Vectors of several kinds: smooth, with tiny components, with one large one, tiny altogether, zero.
fn vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
    let component = prop_oneof![
        4 => -1.0_f32..1.0,
        1 => -1e-6_f32..1e-6,
        1 => (-1e-38_f32..1e-38).prop_map(|x| x / 3.0),
        1 => Just(0.0),
        1 => Just(50.0),
    ];
    let scale = prop_oneof![4 => Just(1.0_f32), 1 => Just(1e-20), 1 => Just(1e12)];
    (proptest::collection::vec(component, dimension), scale)
        .prop_map(|(vector, scale)| vector.into_iter().map(|component| component * scale).collect())
}

proptest! {
    #[test]
    fn a_score_lies_in_its_interval(
        (rows, query) in (1..200_usize).prop_flat_map(|dimension| {
            (proptest::collection::vec(vector(dimension), 1..20), vector(dimension))
        })
    ) {
        let mut vectors = Vectors::new(query.len());
        for row in &rows {
            vectors.push(row);
        }
        let query = Query::new(&query);
        let slack = query.slack(vectors.bound());
        for (slot, row) in (0..).zip(&rows) {
            let (lines, scale) = vectors.codes(slot).unwrap();
            let mut product = [0];
            kernel::dots(&query.codes, &[lines], &mut product);
            let interval = query.interval(scaled(product[0], scale.scale), scale, slack);
            let score = query.score(row);
            prop_assert!(interval.low <= score && score <= interval.high, "{score} is not in {interval:?}");
        }
    }
}
