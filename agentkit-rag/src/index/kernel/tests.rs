//! Every kernel of this CPU against the scalar twin.

use proptest::prelude::*;

use super::{LINE, Line, QueryCodes, available, scalar};

fn rows(lines: usize) -> impl Strategy<Value = Vec<Vec<Line>>> {
    let code = prop_oneof![Just(1_u8), Just(255), 1..=255_u8];
    let line = proptest::collection::vec(code, LINE).prop_map(|codes| Line(codes.try_into().unwrap()));
    proptest::collection::vec(proptest::collection::vec(line, lines), 1..9)
}

proptest! {
    #[test]
    fn floating_point_products_have_the_same_bits(
        a in proptest::collection::vec(-2.0_f32..2.0, 0..600), scale in -30..30_i32, cut in 0..64_usize
    ) {
        let b: Vec<f32> = a.iter().rev().skip(cut).map(|x| x * 2.0_f32.powi(scale)).collect();
        let expected = (scalar::KERNEL.dot)(&a, &b);
        let plain: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let sizes: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs()).sum();
        prop_assert!((f64::from(expected) - plain).abs() <= sizes * 600.0 * 2.0_f64.powi(-24) + 1e-30);
        for kernel in available() {
            prop_assert_eq!((kernel.dot)(&a, &b).to_bits(), expected.to_bits(), "{}", kernel.name);
        }
    }

    #[test]
    fn integer_products_are_exact(
        (lines, rows) in (1..8_usize).prop_flat_map(|lines| (Just(lines), rows(lines))),
        seed in proptest::collection::vec(any::<i16>(), LINE), extreme in any::<bool>()
    ) {
        let limit = i16::try_from(QueryCodes::limit(lines * LINE)).unwrap();
        let component = |n: usize| if extreme { limit } else { seed[n % LINE].clamp(-limit, limit) };
        let components: Vec<i16> = (0..lines * LINE - 3).map(component).collect();
        let query = QueryCodes::new(&components);
        let borrowed: Vec<&[Line]> = rows.iter().map(Vec::as_slice).chain([&[][..]]).collect();
        let codes = |row: &[Line]| row.iter().flat_map(|line| line.0).map(|c| i64::from(c) - 128).collect::<Vec<_>>();
        for kernel in available() {
            let mut out = vec![1; borrowed.len()];
            (kernel.dots)(&query, &borrowed, &mut out);
            for (row, out) in borrowed.iter().zip(&out) {
                let expected: i64 = codes(row).iter().zip(&components).map(|(c, q)| c * i64::from(*q)).sum();
                prop_assert_eq!(i64::from(*out), expected, "{}", kernel.name);
                let pair: i64 = codes(row).iter().zip(codes(borrowed[0])).map(|(a, b)| a * b).sum();
                prop_assert_eq!(i64::from((kernel.pair)(row, borrowed[0])), pair, "{}", kernel.name);
            }
            let whole = &borrowed[..rows.len()];
            let mut pairs = vec![1; whole.len()];
            (kernel.dots)(&QueryCodes::of_row(borrowed[0]), whole, &mut pairs);
            let expected: Vec<i32> = whole.iter().map(|row| (scalar::KERNEL.pair)(borrowed[0], row)).collect();
            prop_assert_eq!(pairs, expected, "{}", kernel.name);
            (kernel.prefetch)(borrowed[0]);
        }
    }
}
