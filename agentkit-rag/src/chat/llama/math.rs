//! Mathematics of a llama layer outside of its products, written so that the compiler turns it into vector
//! instructions.
//!
//! Sums run in lanes, because the compiler may not reorder floating-point additions itself, and nothing is fused, so
//! that every machine computes the same bits. `kernel` compiles the functions once for each instruction set.
#![expect(
    clippy::inline_always,
    reason = "the caller's instruction set only reaches what is inlined into it"
)]

use super::kernel::{BLOCK, Block};

/// A vector of AVX-512.
const LANES: usize = 16;
/// 1.5 · 2²³: adding it rounds to an integer, kept in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The queries that share a head of keys and values, and what they attend to.
#[derive(Debug)]
pub(super) struct Heads<'a> {
    /// One after the other, `size` values each.
    pub(super) queries: &'a [f32],
    /// Of every position, oldest first, `size` values each.
    pub(super) keys: &'a [f32],
    /// As the keys.
    pub(super) values: &'a [f32],
    /// Values of a head.
    pub(super) size: usize,
}

/// Scaled dot-product attention (Vaswani et al. 2017) of every query of `heads` over all positions.
#[inline(always)]
pub(super) fn attend(heads: &Heads<'_>, scores: &mut Vec<f32>, out: &mut [f32]) {
    let size = heads.size.max(1);
    #[expect(clippy::cast_precision_loss, reason = "heads are far smaller than 2^24")]
    let scale = (size as f32).sqrt().recip();
    for (query, out) in heads.queries.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        scores.resize(heads.keys.len() / size, 0.0);
        // A loop, because the closure of an adapter would not be compiled for the instruction set.
        for (score, key) in scores.iter_mut().zip(heads.keys.chunks_exact(size)) {
            *score = dot(query, key) * scale;
        }
        softmax(scores);
        out.fill(0.0);
        for (score, value) in scores.iter().zip(heads.values.chunks_exact(size)) {
            for (out, value) in out.iter_mut().zip(value) {
                *out += score * value;
            }
        }
    }
}

/// Cuts a row into blocks of bytes.
#[inline(always)]
pub(super) fn quantize(row: &[f32], blocks: &mut [Block]) {
    for (values, block) in row.as_chunks::<BLOCK>().0.iter().zip(blocks) {
        let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = most / 127.0;
        let steps = if step > 0.0 { step.recip() } else { 0.0 };
        let mut sum = 0;
        for (place, value) in block.values.iter_mut().zip(values) {
            // Rounds to the nearest; the largest magnitude becomes 127, so it fits.
            #[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
            let byte = (value * steps + ROUND).to_bits() as i8;
            *place = byte;
            sum += i16::from(byte);
        }
        block.step = step;
        block.sum = sum;
        block.total = step * f32::from(sum);
    }
}

/// Root mean square normalisation (Zhang and Sennrich 2019).
#[inline(always)]
pub(super) fn rms_norm(row: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]) {
    #[expect(clippy::cast_precision_loss, reason = "rows are far smaller than 2^24")]
    let mean = dot(row, row) / row.len() as f32;
    let scale = (mean + epsilon).sqrt().recip();
    for ((out, value), gain) in out.iter_mut().zip(row).zip(gain) {
        *out = value * scale * gain;
    }
}

/// `silu(gate) * up` in place of `gate` (Shazeer 2020).
#[inline(always)]
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        let shrunk = exp(-gate.abs());
        let share = if *gate >= 0.0 { 1.0 / (1.0 + shrunk) } else { shrunk / (1.0 + shrunk) };
        *gate *= share * up;
    }
}

#[inline(always)]
fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in &mut *row {
        *value = exp(*value - most);
    }
    let scale = sum(row).recip();
    for value in row {
        *value *= scale;
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (wide_a, rest_a) = a.as_chunks::<LANES>();
    let (wide_b, rest_b) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in wide_a.iter().zip(wide_b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    rest_a.iter().zip(rest_b).fold(folded(lanes), |sum, (a, b)| sum + a * b)
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (wide, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for values in wide {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    rest.iter().fold(folded(lanes), |sum, value| sum + value)
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn folded(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    let [sum, ..] = lanes;
    sum
}

/// The exponential function for `x <= 0`, with a relative error below 1e-6; zero below -87.
///
/// Range reduction by Cody and Waite (1980), then the Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
#[inline(always)]
fn exp(x: f32) -> f32 {
    let bounded = x.max(-87.0);
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (bounded - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x <= -87.0 { 0.0 } else { sum * scale }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn attention_is_close_to_its_definition_for_any_size_and_number_of_positions(
            half in 1_usize..50,
            positions in 1_usize..40,
            numbers in vec(-2.0_f32..2.0, 100 * (2 * 40 + 3)),
        ) {
            let size = 2 * half;
            let (queries, rest) = numbers.split_at(3 * size);
            let (keys, values) = rest.split_at(40 * size);
            let (mut out, mut scores) = (vec![9.0; 3 * size], Vec::new());
            let heads = Heads { queries, keys: &keys[..positions * size], values: &values[..positions * size], size };
            attend(&heads, &mut scores, &mut out);
            for (query, out) in queries.chunks(size).zip(out.chunks(size)) {
                let score = |key: &[f32]| query.iter().zip(key).map(|(a, b)| f64::from(a * b)).sum::<f64>();
                let scale = f64::from(u16::try_from(size).unwrap()).sqrt();
                let shares: Vec<f64> =
                    keys.chunks(size).take(positions).map(|key| (score(key) / scale).exp()).collect();
                let all: f64 = shares.iter().sum();
                for (at, out) in out.iter().enumerate() {
                    let mixed = shares.iter().zip(values.chunks(size)).map(|(share, value)| share * f64::from(value[at]));
                    prop_assert!((f64::from(*out) - mixed.sum::<f64>() / all).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn the_exponential_is_close_over_its_whole_range() {
        for step in 0..=60_000_u16 {
            let x = -f32::from(step) / 1000.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) - expected).abs() <= 1.5e-6 * expected + 1e-37, "{x}");
        }
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
    }
}
