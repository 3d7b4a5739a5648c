//! Vectors as int8 codes, and how far a dot product of codes can be from that of the vectors.
//!
//! A row `x` is kept as `x = s*c + r`: a scale `s`, codes `c` from -127 to 127, and what is left, `r`, of which only the
//! norm is kept. A query `q = t*d + p` is treated alike with 15 bits. Then
//!
//! ```text
//! q*x = q*r + q*(s*c) = q*r + p*(s*c) + t*s*(d*c)
//! |q*x - t*s*(d*c)| <= |q| |r| + |p| |s*c|
//! ```
//!
//! by the inequality of Cauchy and Schwarz. `d*c` is an integer and computed exactly. The score of a row is the dot
//! product *as computed* in single precision, which for n components lies within `n u / (1 - n u) * |q| |x|` of the
//! true one, `u = 2^-24` (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1), and turning
//! `d*c` into an estimate rounds a few times more. [`Query::slack`] covers both, and what products lose that underflow.
//!
//! So a row whose estimate plus error is below the k-th best of estimate minus error cannot be among the best k: k rows
//! have scores above all it can reach. That is how a scan over codes returns exactly what a scan over rows would.

use crate::index::kernel::{self, LINE, Line, QueryCodes};

/// Rows of a block.
pub(in crate::index) const BLOCK_ROWS: usize = 256;
/// The largest code.
const LEVELS: f32 = 127.0;
/// Half a unit in the last place of numbers near 1: the relative error of one operation.
const UNIT: f64 = 1.0 / 16_777_216.0;
/// Adding and taking away 1.5 * 2^23 rounds a small number to the nearest integer.
const ROUNDER: f32 = 12_582_912.0;
/// More than all the products of a row can lose by underflow, 2^-149 each.
const UNDERFLOW: f64 = 1e-35;
/// Largest components below this are too small to divide by.
const SMALLEST: f32 = 1e-30;

/// The codes of a block of rows, with holes.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    present: [u64; BLOCK_ROWS / 64],
    /// Lines of a row.
    width: usize,
    lines: Vec<Line>,
    rows: Vec<Scale>,
}

/// Rows that lie one after the other.
#[derive(Debug)]
pub(in crate::index) struct Run<'c> {
    lines: &'c [Line],
    width: usize,
    pub(in crate::index) scales: &'c [Scale],
}

impl<'c> Run<'c> {
    pub(in crate::index) fn rows(&self) -> impl Iterator<Item = &'c [Line]> {
        self.lines.chunks_exact(self.width.max(1))
    }
}

/// What turns a row's codes into an estimate, and the norm of what the codes leave out.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::index) struct Scale {
    pub(in crate::index) scale: f32,
    residual: f32,
}

/// The largest norms of many rows.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::index) struct Bound {
    /// Of the vectors the codes stand for.
    coded: f64,
    /// Of what the codes leave out.
    residual: f64,
}

impl Bound {
    pub(super) fn widen(&mut self, other: Self) {
        self.coded = self.coded.max(other.coded);
        self.residual = self.residual.max(other.residual);
    }
}

impl Codes {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            present: [0; BLOCK_ROWS / 64],
            width: dimension.div_ceil(LINE),
            lines: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn contains(&self, at: usize) -> bool {
        self.present.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Number of rows that are not holes.
    pub(super) fn count(&self) -> usize {
        self.present.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Appends holes up to row `at`, and the codes of `vector` there; returns its norms.
    pub(super) fn push(&mut self, at: usize, vector: &[f32]) -> Bound {
        if self.lines.is_empty() {
            self.lines.reserve_exact(BLOCK_ROWS * self.width);
            self.rows.reserve_exact(BLOCK_ROWS);
        }
        self.lines.resize(at * self.width, Line::ZERO);
        self.rows.resize(at, Scale::default());
        let (scale, coded, residual) = encode(vector, self.width, &mut self.lines);
        self.rows.push(Scale { scale, residual: round_up(residual) });
        if let Some(word) = self.present.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        Bound { coded, residual }
    }

    /// Makes row `at` a hole.
    pub(super) fn remove(&mut self, at: usize) {
        if let Some(word) = self.present.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
        if let Some(lines) = self.lines.get_mut(at * self.width..(at + 1) * self.width) {
            lines.fill(Line::ZERO);
        }
        if let Some(scale) = self.rows.get_mut(at) {
            *scale = Scale::default();
        }
    }

    /// The lines of row `at`; those of a hole are zero.
    #[inline]
    pub(super) fn row(&self, at: usize) -> &[Line] {
        self.lines.get(at * self.width..(at + 1) * self.width).unwrap_or_default()
    }

    /// Rows from `at` on, if none of them is a hole.
    pub(super) fn run(&self, at: usize, count: usize) -> Option<Run<'_>> {
        let whole = (at..at + count).all(|at| self.contains(at));
        let lines = self.lines.get(at * self.width..(at + count) * self.width).filter(|_| whole)?;
        Some(Run { lines, width: self.width, scales: self.rows.get(at..at + count)? })
    }

    #[inline]
    pub(super) fn scale(&self, at: usize) -> Scale {
        self.rows.get(at).copied().unwrap_or_default()
    }
}

/// Appends the codes of `vector`; returns the scale, the norm of what the codes stand for, and that of the rest.
fn encode(vector: &[f32], width: usize, lines: &mut Vec<Line>) -> (f32, f64, f64) {
    let largest = vector.iter().fold(0.0_f32, |largest, component| largest.max(component.abs()));
    let usable = largest.is_finite() && largest >= SMALLEST;
    let (scale, inverse) = if usable { (largest / LEVELS, LEVELS / largest) } else { (0.0, 0.0) };
    let (mut coded, mut residual) = (0.0_f64, 0.0_f64);
    for at in 0..width {
        let part = vector.get(at * LINE..vector.len().min((at + 1) * LINE)).unwrap_or_default();
        let mut line = Line::ZERO;
        for (code, component) in line.0.iter_mut().zip(part) {
            let rounded = (component * inverse + ROUNDER) - ROUNDER;
            *code = stored(rounded);
            let stands_for = f64::from(scale) * f64::from(rounded);
            let left = f64::from(*component) - stands_for;
            coded += stands_for * stands_for;
            residual += left * left;
        }
        lines.push(line);
    }
    // A little more than the rounding of the sums in double precision.
    (scale, coded.sqrt() * (1.0 + 1e-9), residual.sqrt() * (1.0 + 1e-9))
}

/// A whole number from -127 to 127 with the lines' bias of 128 added.
fn stored(code: f32) -> u8 {
    // The low byte of the number's bits is that of the integer, modulo 256.
    (code + ROUNDER).to_bits().to_le_bytes()[0].wrapping_add(128)
}

/// The next larger single.
#[expect(clippy::cast_possible_truncation, reason = "rounded up by the next step")]
fn round_up(value: f64) -> f32 {
    (value as f32).next_up()
}

/// A query in both precisions.
#[derive(Debug)]
pub(in crate::index) struct Query<'q> {
    pub(in crate::index) vector: &'q [f32],
    pub(in crate::index) codes: QueryCodes,
    scale: f32,
    norm: f64,
    /// The same or a little more.
    norm_up: f32,
    /// The norm of what the codes leave out.
    residual: f64,
}

/// Between which two numbers a row's score lies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::index) struct Interval {
    pub(in crate::index) low: f32,
    pub(in crate::index) high: f32,
}

impl<'q> Query<'q> {
    #[expect(clippy::cast_precision_loss, reason = "the limit is below 2^15")]
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers below the limit, which fits 16 bits")]
    pub(in crate::index) fn new(vector: &'q [f32]) -> Self {
        let limit = QueryCodes::limit(vector.len()) as f32;
        let largest = vector.iter().fold(0.0_f32, |largest, component| largest.max(component.abs()));
        let usable = largest.is_finite() && largest >= SMALLEST;
        let (scale, inverse) = if usable { (largest / limit, limit / largest) } else { (0.0, 0.0) };
        let (mut norm, mut residual) = (0.0_f64, 0.0_f64);
        let mut components = Vec::with_capacity(vector.len());
        for component in vector {
            let rounded = (component * inverse).round_ties_even().clamp(-limit, limit);
            let left = f64::from(*component) - f64::from(scale) * f64::from(rounded);
            norm += f64::from(*component) * f64::from(*component);
            residual += left * left;
            components.push(rounded as i16);
        }
        let grown = 1.0 + 1e-9;
        let (norm, residual) = (norm.sqrt() * grown, residual.sqrt() * grown);
        let codes = QueryCodes::new(&components);
        Self { vector, codes, scale, norm, norm_up: round_up(norm), residual }
    }

    /// The part of the error that is the same for all rows within `bound`.
    #[expect(clippy::cast_precision_loss, reason = "a dimension is far below 2^52")]
    pub(in crate::index) fn slack(&self, bound: Bound) -> f32 {
        let steps = (self.vector.len() + 64) as f64 * UNIT;
        let rounding = steps / (1.0 - steps) * (self.norm + self.residual) * (bound.coded + bound.residual);
        round_up(self.residual * bound.coded + 2.0 * rounding + UNDERFLOW)
    }

    /// Where the score of a row lies, given the [`scaled`] product of its codes and the query's.
    #[inline]
    pub(in crate::index) fn interval(&self, scaled: f32, row: Scale, slack: f32) -> Interval {
        let estimate = scaled * self.scale;
        let error = row.residual * self.norm_up + slack;
        Interval { low: estimate - error, high: estimate + error }
    }

    /// The score itself.
    pub(in crate::index) fn score(&self, row: &[f32]) -> f32 {
        kernel::dot(self.vector, row)
    }
}

/// The product of codes in the row's scale; for one query it orders rows as their estimated scores do.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "the bound covers the rounding")]
pub(in crate::index) fn scaled(product: i32, scale: f32) -> f32 {
    product as f32 * scale
}
