//! Every kernel of this machine against its scalar twin, and the twin against the definition in numbers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn halves(bytes: &[u8]) -> [f16; PANEL] {
    std::array::from_fn(|at| f16::from_f32((f32::from(bytes[at]) - 100.0) / 64.0))
}

fn fours(bytes: &[u8], count: usize) -> Vec<Four> {
    let cells = bytes.chunks_exact(288).take(count);
    let four = |bytes: &[u8]| Four {
        bits: bytes[..256].try_into().unwrap(),
        steps: halves(&bytes[256..272]),
        least: halves(&bytes[272..]),
    };
    cells.map(four).collect()
}

fn eights(bytes: &[u8], count: usize) -> Vec<Eight> {
    let cells = bytes.chunks_exact(528).take(count);
    cells
        .map(|bytes| Eight { bits: bytes[..512].try_into().unwrap(), steps: halves(&bytes[512..]) })
        .collect()
}

fn bits(out: &[[f32; PANEL]]) -> Vec<u32> {
    out.iter().flatten().map(|value| value.to_bits()).collect()
}

proptest! {
    /// Extremes are drawn often, because a kernel that saturates or overflows errs there only.
    #[test]
    fn every_kernel_of_this_machine_equals_its_scalar_twin(
        blocks in 1_usize..6,
        rows in 0_usize..=TILE,
        bytes in vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 6 * 528),
        values in vec(prop_oneof![Just(-127_i8), Just(127), -127..=127_i8], 6 * TILE * BLOCK),
        step in 0.0_f32..2.0,
    ) {
        let block = |values: &[i8; BLOCK]| {
            let sum = values.iter().map(|value| i16::from(*value)).sum();
            Block { values: *values, step, sum, total: step * f32::from(sum) }
        };
        let left: Vec<Block> = values.as_chunks().0.iter().map(block).take(blocks * rows).collect();
        let (four, eight) = (fours(&bytes, blocks), eights(&bytes, blocks));
        let (mut expected, mut found) = ([[0.5; PANEL]; TILE], [[0.25; PANEL]; TILE]);
        for level in Level::found() {
            portable(&four, &left, &mut expected[..rows]);
            four_at(level, &four, &left, &mut found[..rows]).unwrap();
            prop_assert_eq!(bits(&found[..rows]), bits(&expected[..rows]), "four bits, {:?}", level);
            portable(&eight, &left, &mut expected[..rows]);
            eight_at(level, &eight, &left, &mut found[..rows]).unwrap();
            prop_assert_eq!(bits(&found[..rows]), bits(&expected[..rows]), "eight bits, {:?}", level);
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_an_error() {
    let (panel, left) = (fours(&[0; 576], 2), [Block::default(); 2 * (TILE + 1)]);
    let mut out = [[0.0; PANEL]; TILE + 1];
    assert!(four(&panel, &left[..4], &mut out[..2]).is_ok());
    assert!(four(&panel, &left[..3], &mut out[..2]).is_err(), "a block is missing");
    assert!(four(&panel, &left, &mut out).is_err(), "too many rows");
}
