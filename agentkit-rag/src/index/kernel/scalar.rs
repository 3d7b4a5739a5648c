//! The kernel in plain Rust, for CPUs with nothing better and as what the others must equal.

use super::{BIAS, Kernel, LANES, Line, QueryCodes, fold, rest};

pub(in crate::index) static KERNEL: Kernel = Kernel { name: "scalar", dot, dots, pair, prefetch: |_| {} };

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (a.get(..length).unwrap_or_default(), b.get(..length).unwrap_or_default());
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let (mut low, mut high) = ([0.0_f32; 16], [0.0_f32; 16]);
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
        if let ([a_low, a_high], [b_low, b_high]) = (a, b) {
            add_products(&mut low, a_low, b_low);
            add_products(&mut high, a_high, b_high);
        }
    }
    for (low, high) in low.iter_mut().zip(high) {
        *low += high;
    }
    fold(low) + rest(a_rest, b_rest)
}

fn add_products(sums: &mut [f32; 16], a: &[f32; 16], b: &[f32; 16]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

fn dots(query: &QueryCodes, rows: &[&[Line]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        *out = if row.is_empty() { 0 } else { dot_codes(&query.wide, row).wrapping_sub(query.bias) };
    }
}

fn dot_codes(query: &[i16], row: &[Line]) -> i32 {
    let mut sum = 0_i32;
    for (query, line) in query.as_chunks::<64>().0.iter().zip(row) {
        let products = query.iter().zip(&line.0).map(|(query, code)| i32::from(*query) * i32::from(*code));
        sum = products.fold(sum, i32::wrapping_add);
    }
    sum
}

fn pair(a: &[Line], b: &[Line]) -> i32 {
    let mut sum = 0;
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.0.iter().zip(&b.0) {
            sum += (i32::from(*a) - BIAS) * (i32::from(*b) - BIAS);
        }
    }
    sum
}
