//! Dot products on the widest instructions this CPU has, chosen when the process runs.
//!
//! Three operations, each in one kernel for AVX-512 with VNNI, AVX2, NEON and plain Rust:
//!
//! - [`dot`]: the inner product of `f32` slices. All kernels add in the same order, 32 partial sums and then a fixed
//!   tree, and none fuses multiplication and addition, so a score has the same bits on every CPU.
//! - [`dots`]: a query of 15 bits a component against rows of [`Line`]s, the first pass of a scan and the steps of a
//!   graph search.
//! - [`pair`]: two rows of lines, for building graphs.
//!
//! The integer results are exact, so they too are the same everywhere.
//!
//! Always true: a kernel is called only after its instructions were found on this CPU; the scalar twin in
//! [`scalar`] says what every other kernel must return, and a property test holds them to it.

#[cfg(target_arch = "aarch64")]
mod neon;
pub(super) mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

/// Codes of a line.
pub(super) const LINE: usize = 64;
/// What is added to a code so that it is stored without a sign.
const BIAS: i32 = 128;
/// The low part of a query's component holds this many steps.
const HIGH_STEP: i32 = 128;

/// 64 codes of a row, each from -127 to 127 and stored with 128 added, on a cache line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u8; LINE]);

impl Line {
    /// Codes that are all zero.
    pub(super) const ZERO: Self = Self([128; LINE]);
}

/// A query's components as integers, in the shapes the kernels read.
#[derive(Debug)]
pub(super) struct QueryCodes {
    /// Components, filled up with zeros to whole lines.
    wide: Vec<i16>,
    /// The components' multiples of [`HIGH_STEP`], as signed bytes; empty if all are zero.
    high: Vec<Line>,
    /// What is left of them, -64 to 63, as signed bytes.
    low: Vec<Line>,
    /// What the rows' bias adds to every dot product, modulo 2^32.
    bias: i32,
}

impl QueryCodes {
    /// The largest magnitude of a component: 127 * 128, or less if dot products of `dimension` components with
    /// codes up to 127 could leave the range of `i32`.
    pub(super) fn limit(dimension: usize) -> i32 {
        let components = i32::try_from(dimension.max(1)).unwrap_or(i32::MAX);
        (i32::MAX / 127 / components).min(127 * HIGH_STEP)
    }

    /// Takes components whose magnitude is at most the limit.
    pub(super) fn new(components: &[i16]) -> Self {
        let mut wide = components.to_vec();
        wide.resize(components.len().div_ceil(LINE) * LINE, 0);
        let (mut high, mut low) = (Vec::new(), Vec::new());
        for line in wide.as_chunks::<LINE>().0 {
            let parts = line.map(|component| {
                let component = i32::from(component);
                let high = (component + HIGH_STEP / 2).div_euclid(HIGH_STEP);
                (signed(high), signed(component - high * HIGH_STEP))
            });
            high.push(Line(parts.map(|(high, _)| high)));
            low.push(Line(parts.map(|(_, low)| low)));
        }
        Self { bias: bias(&wide), wide, high, low }
    }

    /// Takes the codes of a row.
    pub(super) fn of_row(row: &[Line]) -> Self {
        let unbiased = |code: &u8| i16::from(*code) - 128;
        let wide: Vec<i16> = row.iter().flat_map(|line| &line.0).map(unbiased).collect();
        let low = row.iter().map(|line| Line(line.0.map(|code| code ^ 0x80))).collect();
        Self { bias: bias(&wide), wide, high: Vec::new(), low }
    }
}

/// What the rows' bias adds to a product with the components.
fn bias(components: &[i16]) -> i32 {
    let sum = components.iter().fold(0_i32, |sum, component| sum.wrapping_add(i32::from(*component)));
    sum.wrapping_mul(BIAS)
}

/// The byte whose bits are those of `value` as a signed byte.
fn signed(value: i32) -> u8 {
    value.to_le_bytes()[0]
}

/// One set of instructions.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) dot: fn(&[f32], &[f32]) -> f32,
    pub(super) dots: fn(&QueryCodes, &[&[Line]], &mut [i32]),
    pub(super) pair: fn(&[Line], &[Line]) -> i32,
    prefetch: fn(&[Line]),
}

/// The kernels this CPU can run, fastest first; the scalar one is always there.
pub(super) fn available() -> Vec<&'static Kernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    kernels.extend(x86::available());
    #[cfg(target_arch = "aarch64")]
    kernels.extend(neon::available());
    kernels.push(&scalar::KERNEL);
    kernels
}

fn kernel() -> &'static Kernel {
    static CHOSEN: OnceLock<&'static Kernel> = OnceLock::new();
    CHOSEN.get_or_init(|| available().into_iter().next().unwrap_or(&scalar::KERNEL))
}

/// The name of the kernel in use.
pub(super) fn name() -> &'static str {
    kernel().name
}

/// The inner product of the common length; the cosine if both have norm 1.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    (kernel().dot)(a, b)
}

/// The inner products of the query's components with the codes of each row, into `out`; an empty row gives the
/// product with nothing, 0.
pub(super) fn dots(query: &QueryCodes, rows: &[&[Line]], out: &mut [i32]) {
    (kernel().dots)(query, rows, out);
}

/// The inner product of two rows' codes.
pub(super) fn pair(a: &[Line], b: &[Line]) -> i32 {
    (kernel().pair)(a, b)
}

/// Asks the CPU to bring a row near, without waiting.
pub(super) fn prefetch(row: &[Line]) {
    (kernel().prefetch)(row);
}

/// Lanes of the partial sums of [`dot`].
const LANES: usize = 32;

/// Adds 16 sums pairwise, halves at a time: the one order in which every kernel ends.
fn fold(sums: [f32; 16]) -> f32 {
    let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = sums;
    let [c0, c1, c2, c3] =
        [(a0 + b0) + (a4 + b4), (a1 + b1) + (a5 + b5), (a2 + b2) + (a6 + b6), (a3 + b3) + (a7 + b7)];
    (c0 + c2) + (c1 + c3)
}

/// The products of what is left after whole groups of lanes.
fn rest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).fold(0.0, |sum, product| sum + product)
}
