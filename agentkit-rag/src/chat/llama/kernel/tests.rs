//! Every kernel of this machine against its scalar twin, and sizes that do not fit.

use proptest::collection::vec;
use proptest::prelude::*;

use super::twins::panel_products;
use super::*;

proptest! {
    /// Extremes are drawn often, because a kernel that saturates or overflows errs there only.
    #[test]
    fn every_kernel_of_this_machine_equals_its_scalar_twin(
        rows in 0_usize..=TILE,
        bytes in vec(prop_oneof![Just(0_u8), Just(127), Just(128), Just(255), any::<u8>()], 0..5 * 784),
        step in 0.0_f32..2.0,
    ) {
        prop_assert_eq!(panel_products(rows, step, &bytes), Ok(()));
    }
}

#[test]
fn sizes_that_do_not_fit_are_an_error() {
    let cell = Four { bits: [0; 256], steps: [f16::ZERO; PANEL], least: [f16::ZERO; PANEL] };
    let (panel, left) = ([cell; 2], [Block::default(); 2 * (TILE + 1)]);
    let mut out = [[0.0; PANEL]; TILE + 1];
    assert!(four(&panel, &left[..4], &mut out[..2]).is_ok());
    assert!(four(&panel, &left[..3], &mut out[..2]).is_err(), "a block is missing");
    assert!(four(&panel, &left, &mut out).is_err(), "too many rows");
}
