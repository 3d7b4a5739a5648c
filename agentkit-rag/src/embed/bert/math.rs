//! Elementwise mathematics of a transformer, written so that the compiler turns it into vector instructions.
//!
//! Functions are generic over `FMA`, whether the machine multiplies and adds in one instruction: without it
//! `mul_add` is a call into the C library. Sums run in lanes, because the compiler may not reorder
//! floating-point additions itself. Every row is computed alone, so no row depends on its neighbours.
//! `kernel` compiles them once for each instruction set.
#![expect(
    clippy::inline_always,
    reason = "the caller's instruction set only reaches what is inlined into it"
)]

use super::bytes::{Columns, RowScale, Target};
use super::kernel::Onto;
use super::panels::PANEL;

/// A vector of AVX-512.
const LANES: usize = 16;
/// Vectors that a sum runs in, times their lanes.
const WIDE: usize = 4 * LANES;
/// 1.5 · 2²³: adding it rounds to an integer, kept in the low bits.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Where the error function is 1 in single precision.
const ERF_LIMIT: f32 = 3.92;

/// `erf(x) / x` as a polynomial in `2 (x / ERF_LIMIT)² - 1`, highest power first.
///
/// Fitted for this file by iteratively reweighted least squares (Lawson 1961) on Chebyshev nodes, with the
/// error of `erf` itself as the weight; largest error in single precision 3.1e-7.
const ERF: [f32; 15] = [
    1.740_739_2e-3,
    -4.373_676e-3,
    3.078_327e-3,
    -3.468_722_3e-3,
    1.274_704_1e-2,
    -2.298_692_8e-2,
    3.060_681_7e-2,
    -4.229_822_8e-2,
    5.810_848_3e-2,
    -7.424_118e-2,
    9.063_98e-2,
    -1.091_603_56e-1,
    1.340_822e-1,
    -1.801_090_8e-1,
    3.607_368_5e-1,
];

/// The error function, with an absolute error below 1e-6.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let inside = x.clamp(-ERF_LIMIT, ERF_LIMIT);
    let t = fma::<FMA>(inside * inside, 2.0 / (ERF_LIMIT * ERF_LIMIT), -1.0);
    let mut sum = 0.0;
    for coefficient in ERF {
        sum = fma::<FMA>(sum, t, coefficient);
    }
    if x.abs() >= ERF_LIMIT { 1_f32.copysign(x) } else { sum * inside }
}

/// The exponential function for `x <= 0`, with a relative error below 1e-6; zero below -87.
///
/// Range reduction by Cody and Waite (1980), then the Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = x.max(-87.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = fma::<FMA>(sum, r, coefficient);
    }
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x <= -87.0 { 0.0 } else { sum * scale }
}

/// Exact GELU (Hendrycks and Gimpel 2016) in place.
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        let half = 0.5 * *value;
        *value = fma::<FMA>(half, erf::<FMA>(*value * std::f32::consts::FRAC_1_SQRT_2), half);
    }
}

/// GELU by its tanh approximation, in place.
#[inline(always)]
pub(super) fn gelu_tanh<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        let x = *value;
        let inner = 0.797_884_6 * fma::<FMA>(0.044_715 * x * x, x, x);
        let shrunk = exp::<FMA>(-2.0 * inner.abs());
        let tanh = ((1.0 - shrunk) / (1.0 + shrunk)).copysign(inner);
        *value = 0.5 * fma::<FMA>(x, tanh, x);
    }
}

/// Softmax of the first `length` values of every row of `stride`, in place; the others become zero.
#[inline(always)]
pub(super) fn softmax<const FMA: bool>(rows: &mut [f32], stride: usize, length: usize) {
    for row in rows.chunks_exact_mut(stride.max(1)) {
        // Whole rows keep to whole vectors, which a row up to `length` would not.
        row.get_mut(length..).unwrap_or_default().fill(f32::NEG_INFINITY);
        let most = fold(row, f32::NEG_INFINITY, larger);
        for value in &mut *row {
            *value = exp::<FMA>(*value - most);
        }
        let scale = fold(row, 0.0, |a, b| a + b).recip();
        for value in row {
            *value *= scale;
        }
    }
}

/// Layer normalisation (Ba, Kiros and Hinton 2016) of every row in place.
#[inline(always)]
pub(super) fn layer_norm<const FMA: bool>(rows: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let size = gain.len();
    #[expect(clippy::cast_precision_loss, reason = "layers are far smaller than 2^24")]
    let share = (size as f32).recip();
    for row in rows.chunks_exact_mut(size.max(1)) {
        let mean = fold(row, 0.0, |a, b| a + b) * share;
        for value in &mut *row {
            *value -= mean;
        }
        let variance = squares::<FMA>(row) * share;
        let scale = (variance + epsilon).sqrt().recip();
        for ((value, gain), bias) in row.iter_mut().zip(gain).zip(bias) {
            *value = fma::<FMA>(*value * scale, *gain, *bias);
        }
    }
}

/// Quantises every row of `depth` values to bytes, `stride` apart, and says how.
#[inline(always)]
pub(super) fn quantize<const FMA: bool>(
    rows: &[f32],
    depth: usize,
    stride: usize,
    out: &mut [u8],
    scales: &mut [RowScale],
) {
    const STEPS: f32 = 255.0;
    let outs = out.chunks_exact_mut(stride.max(1)).zip(scales);
    for (row, (out, scale)) in rows.chunks_exact(depth.max(1)).zip(outs) {
        // Zero has to be a step, because the padding of a column meets it.
        let least = fold(row, 0.0, smaller);
        let range = fold(row, 0.0, larger) - least;
        let steps = if range > 0.0 { STEPS / range } else { 0.0 };
        let zero = ROUND - least * steps - ROUND;
        let shift = ROUND + zero;
        for (byte, value) in out.iter_mut().zip(row) {
            let shifted = fma::<FMA>(*value, steps, shift).clamp(ROUND, ROUND + STEPS);
            *byte = shifted.to_bits().to_le_bytes()[0];
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number up to 255")]
        let zero = zero as i32;
        *scale = RowScale { step: range / STEPS, zero };
    }
}

/// Makes numbers of the sums of a product of bytes and adds the bias.
#[inline(always)]
pub(super) fn scale<const FMA: bool>(
    sums: &[[i32; PANEL]],
    rows: &[RowScale],
    columns: &Columns,
    target: &mut Target<'_>,
) {
    let outs = target.data.chunks_mut(target.stride.max(1));
    for ((sums, row), out) in sums.iter().zip(rows).zip(outs) {
        let number = |at: usize| {
            #[expect(clippy::cast_precision_loss, reason = "far finer than the steps")]
            #[expect(clippy::indexing_slicing, reason = "all are arrays of this length")]
            let (sum, step, bias) = (
                sums[at].wrapping_sub(row.zero.wrapping_mul(columns.totals[at])) as f32,
                columns.steps[at],
                columns.bias[at],
            );
            fma::<FMA>(sum * row.step, step, bias)
        };
        // A fixed number of columns is what the compiler turns into whole vectors.
        match (out.first_chunk_mut::<PANEL>().filter(|_| target.width == PANEL), target.onto) {
            (Some(out), Onto::Nothing) => out.iter_mut().enumerate().for_each(|(at, out)| *out = number(at)),
            (Some(out), Onto::Sum) => out.iter_mut().enumerate().for_each(|(at, out)| *out += number(at)),
            (None, onto) => {
                for (at, out) in out.iter_mut().take(target.width).enumerate() {
                    *out = if onto == Onto::Sum { *out } else { 0.0 } + number(at);
                }
            }
        }
    }
}

/// The larger of two numbers; unlike `f32::max` a single instruction, and not defined for NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// As [`larger`].
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Folds `values` in lanes, then the lanes in halves.
#[inline(always)]
fn fold(values: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32 + Copy) -> f32 {
    reduce(values, start, fold, fold)
}

#[inline(always)]
fn squares<const FMA: bool>(values: &[f32]) -> f32 {
    reduce(values, 0.0, |sum, value| fma::<FMA>(value, value, sum), |a, b| a + b)
}

/// Takes `values` into lanes with `take` and joins the lanes with `join`. There are several vectors of lanes, because
/// one would wait for its own last result each time.
#[inline(always)]
fn reduce(
    values: &[f32],
    start: f32,
    take: impl Fn(f32, f32) -> f32 + Copy,
    join: impl Fn(f32, f32) -> f32 + Copy,
) -> f32 {
    let mut lanes = [start; WIDE];
    let (chunks, rest) = values.as_chunks::<WIDE>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = take(*lane, *value);
        }
    }
    let (chunks, rest) = rest.as_chunks::<LANES>();
    for (lanes, chunk) in lanes.as_chunks_mut::<LANES>().0.iter_mut().zip(chunks) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = take(*lane, *value);
        }
    }
    let mut width = WIDE / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low = join(*low, *high);
        }
        width /= 2;
    }
    let [total, ..] = lanes;
    rest.iter().fold(total, |total, value| take(total, *value))
}

/// Scales `row` to Euclidean norm 1; a zero row stays zero.
pub(super) fn normalize(row: &mut [f32]) {
    let norm = squares::<false>(row).sqrt().max(1e-12);
    for value in row {
        *value /= norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error function by its Taylor series in double precision, good to 1e-12 on [-5, 5].
    fn erf_reference(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn grid(from: i16, to: i16) -> impl Iterator<Item = f32> {
        (from..=to).map(|step| f32::from(step) / 1000.0)
    }

    #[test]
    fn erf_is_exact_to_a_millionth() {
        for x in grid(-4500, 4500) {
            let expected = erf_reference(f64::from(x));
            assert!((f64::from(erf::<true>(x)) - expected).abs() < 1e-6, "{x}");
            assert!((f64::from(erf::<false>(x)) - expected).abs() < 1e-6, "{x}");
        }
        assert_eq!((erf::<true>(50.0), erf::<true>(-50.0)), (1.0, -1.0));
    }

    #[test]
    fn exp_is_exact_to_a_millionth() {
        for x in grid(-32000, 0).map(|x| x * 2.7) {
            let expected = f64::from(x).exp();
            for found in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(found) / expected - 1.0).abs() < 1e-6, "{x}: {found} {expected}");
            }
        }
        assert_eq!((exp::<true>(-200.0), exp::<true>(f32::NEG_INFINITY)), (0.0, 0.0));
    }

    #[test]
    fn softmax_sums_to_one_and_clears_the_padding() {
        let mut rows: Vec<f32> = grid(0, 79).map(|x| x * 100.0).collect();
        softmax::<true>(&mut rows, 40, 37);
        for row in rows.chunks_exact(40) {
            assert!((row[..37].iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row[..37].is_sorted());
        }
        assert_eq!(rows[37..40], [0.0; 3]);
    }

    #[test]
    fn layer_norm_centres_and_scales() {
        let mut row: Vec<f32> = grid(0, 49).collect();
        layer_norm::<true>(&mut row, &[1.0; 50], &[0.0; 50], 1e-12);
        assert!(row.iter().sum::<f32>().abs() < 1e-4);
        assert!((row.iter().map(|x| x * x).sum::<f32>() / 50.0 - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_two_gelus_agree_to_a_thousandth_and_a_zero_row_stays() {
        let mut exact: Vec<f32> = grid(-6000, 6000).collect();
        let mut approximate = exact.clone();
        gelu::<true>(&mut exact);
        gelu_tanh::<true>(&mut approximate);
        assert!(exact.iter().zip(&approximate).all(|(a, b)| (a - b).abs() < 1e-3));
        let mut zero = [0.0; 4];
        normalize(&mut zero);
        assert!(zero.iter().all(|value| value.to_bits() == 0));
    }
}
