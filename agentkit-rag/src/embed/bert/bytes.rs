//! Matrices of bytes with scales, for products in eight-bit integers.
//!
//! Why: a product of bytes reads a quarter of the memory and does four times the work an instruction. How: weights
//! get one scale a column and are symmetric around zero; activations get a scale and a zero point a row, computed
//! when the row is, because their range differs from text to text. Always true: the sums are exact integers, so
//! every kernel gives the same; a row is quantised alone, so no text depends on the others of its batch.

use agentkit_core::{Error, ErrorKind, Result};

use super::kernel::{self, Onto};
use super::kernel8::{self, GROUP, TILE_ROWS};
use super::panels::{Aligned, PANEL, RowsMut};

/// Longer rows could overflow a sum of 32 bits.
const MAX_DEPTH: usize = 1 << 16;
/// The largest weight; -128 is not used, so that the range is symmetric.
const LARGEST: f32 = 127.0;

/// The right-hand side of a product in bytes, cut into panels of [`PANEL`] columns.
///
/// Within a panel [`GROUP`] rows stand together: a byte of each for the first column, then for the next.
#[derive(Debug, Default)]
pub(super) struct BytePanels {
    data: Aligned<i8>,
    columns: Vec<Columns>,
    depth: usize,
    width: usize,
}

/// What makes numbers of the integer sums of a panel, a value a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// What a step of the weight is worth.
    pub(super) steps: [f32; PANEL],
    /// The sum of the column's weights: what each step of a row's zero point adds to a sum.
    pub(super) totals: [i32; PANEL],
    pub(super) bias: [f32; PANEL],
}

impl BytePanels {
    /// Quantises one column of `depth` values after the other; there is one bias a column.
    ///
    /// # Errors
    /// Unsupported, if a column is too long; corrupt, if a weight is not finite; internal, if sizes do not fit.
    pub(super) fn from_columns(columns: &[f32], depth: usize, bias: &[f32]) -> Result<Self> {
        let width = bias.len();
        if depth == 0 || columns.len() != depth * width {
            return Err(Error::internal(format!("{width} columns of {depth} weights cannot be laid out")));
        }
        if depth > MAX_DEPTH {
            let message =
                format!("a layer of {depth} inputs cannot be computed in int8; use single precision");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if columns.iter().any(|value| !value.is_finite()) {
            return Err(Error::corrupt("the model has weights that are not finite"));
        }
        let mut panels = Self { depth, width, ..Self::default() };
        panels.columns.resize(width.div_ceil(PANEL), Columns::default());
        panels.data.resize(panels.columns.len() * panels.panel());
        let groups = columns.chunks(PANEL * depth).zip(bias.chunks(PANEL));
        let places = panels.data.as_mut_slice().chunks_exact_mut(depth.next_multiple_of(GROUP) * PANEL);
        for ((group, bias), (panel, facts)) in groups.zip(places.zip(&mut panels.columns)) {
            for (at, (column, bias)) in group.chunks_exact(depth).zip(bias).enumerate() {
                facts.set(at, *bias, panel, column);
            }
        }
        Ok(panels)
    }

    /// Bytes of a panel.
    fn panel(&self) -> usize {
        self.depth.next_multiple_of(GROUP) * PANEL
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }
}

impl Columns {
    /// Quantises column `at` of `panel`.
    fn set(&mut self, at: usize, bias: f32, panel: &mut [i8], column: &[f32]) {
        let most = column.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = most / LARGEST;
        let steps = if step > 0.0 { step.recip() } else { 0.0 };
        let mut total = 0;
        for (group, values) in panel.chunks_exact_mut(GROUP * PANEL).zip(column.chunks(GROUP)) {
            let place = group.get_mut(at * GROUP..).unwrap_or_default();
            for (place, value) in place.iter_mut().zip(values) {
                #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the type")]
                let byte = (value * steps).round().clamp(-LARGEST, LARGEST) as i8;
                *place = byte;
                total += i32::from(byte);
            }
        }
        let places = self.steps.get_mut(at).zip(self.totals.get_mut(at)).zip(self.bias.get_mut(at));
        if let Some(((steps, totals), biases)) = places {
            (*steps, *totals, *biases) = (step, total, bias);
        }
    }
}

/// The left-hand side of a product in bytes.
#[derive(Debug, Default)]
pub(super) struct ByteRows {
    data: Aligned<u8>,
    scales: Vec<RowScale>,
    stride: usize,
}

/// A row's value is `(byte - zero) * step`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RowScale {
    pub(super) step: f32,
    /// From 0 to 255.
    pub(super) zero: i32,
}

impl ByteRows {
    /// Quantises every row of `depth` values.
    pub(super) fn set(&mut self, rows: &[f32], depth: usize) {
        let count = rows.len() / depth.max(1);
        self.stride = depth.next_multiple_of(GROUP).max(GROUP);
        self.data.resize(count * self.stride);
        self.scales.clear();
        self.scales.resize(count, RowScale::default());
        kernel::quantize(rows, depth, self.stride, self.data.as_mut_slice(), &mut self.scales);
    }
}

/// Multiplies all rows of `left` with `right` and writes or adds product and bias to `out`.
///
/// # Errors
/// Internal, if the sizes do not fit.
pub(super) fn multiply(left: &ByteRows, right: &BytePanels, out: &mut RowsMut<'_>, onto: Onto) -> Result<()> {
    let count = left.scales.len();
    out.hold(count, right.width)?;
    let stride = left.stride;
    if stride != right.depth.next_multiple_of(GROUP) {
        return Err(Error::internal(format!("rows of {stride} bytes meet columns of {}", right.depth)));
    }
    let tiles = count.div_ceil(kernel8::rows()).max(1);
    let height = count.div_ceil(tiles).max(1);
    let mut sums = [[0; PANEL]; TILE_ROWS];
    let panels = right.data.as_slice().chunks_exact(right.panel());
    for (number, (panel, columns)) in panels.zip(&right.columns).enumerate() {
        let from = number * PANEL;
        let width = PANEL.min(right.width - from);
        let lefts = left.data.as_slice().chunks(height * stride).zip(left.scales.chunks(height));
        let outs = out.data.chunks_mut(height * out.stride);
        for ((rows, scales), out_rows) in lefts.zip(outs) {
            let sums = sums.get_mut(..scales.len()).unwrap_or_default();
            kernel8::tile(rows, stride, panel, sums)?;
            let data = out_rows.get_mut(from..).unwrap_or_default();
            let mut target = Target { data, stride: out.stride, width, onto };
            kernel::scale(sums, scales, columns, &mut target);
        }
    }
    Ok(())
}

/// Where a tile's values go.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
    /// Columns that are written, at most [`PANEL`].
    pub(super) width: usize,
    pub(super) onto: Onto,
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A value is at most half a step off, a weight too; the bound adds both up over the depth.
        #[test]
        fn a_product_of_bytes_is_as_close_to_the_definition_as_its_steps_allow(
            rows in 0_usize..30,
            depth in 1_usize..50,
            width in 1_usize..70,
            values in vec(-9.0_f32..9.0, 30 * 50 + 70 * 50 + 70),
        ) {
            let (left, rest) = values.split_at(rows * depth);
            let (right, bias) = (&rest[..width * depth], &rest[width * depth..][..width]);
            let panels = BytePanels::from_columns(right, depth, bias).unwrap();
            let mut bytes = ByteRows::default();
            bytes.set(left, depth);
            let stride = width + 3;
            let mut out = vec![1.0; rows * stride];
            for onto in [Onto::Nothing, Onto::Sum] {
                multiply(&bytes, &panels, &mut RowsMut { data: &mut out, stride }, onto).unwrap();
            }
            for (row, out) in left.chunks(depth).zip(out.chunks(stride)) {
                for ((column, bias), found) in right.chunks(depth).zip(bias).zip(out) {
                    let sum: f32 = row.iter().zip(column).map(|(a, b)| a * b).sum();
                    let off = (0.5 * 18.0 / 255.0 + 0.5 * 9.0 / LARGEST) * 9.0 * f32::from(u16::try_from(depth).unwrap());
                    prop_assert!((found - 2.0 * (sum + bias)).abs() <= 2.2 * off + 1e-3);
                }
                prop_assert!(out[width..].iter().all(|padding| padding.to_bits() == 1_f32.to_bits()));
            }
        }
    }

    #[test]
    fn a_row_is_quantised_alone_and_zero_stays_zero() {
        let (mut both, mut one) = (ByteRows::default(), ByteRows::default());
        both.set(&[0.0, 0.0, 0.0, -1.0, 0.0, 3.0], 3);
        one.set(&[-1.0, 0.0, 3.0], 3);
        assert_eq!((both.scales[0], &both.data.as_slice()[..3]), (RowScale::default(), [0; 3].as_slice()));
        assert_eq!(both.scales[1], one.scales[0]);
        assert_eq!(both.data.as_slice()[4..7], one.data.as_slice()[..3]);
        assert_eq!(i32::from(one.data.as_slice()[1]), one.scales[0].zero);
    }

    #[test]
    fn weights_that_cannot_be_laid_out_are_refused() {
        let refused = |columns: &[f32], depth, bias: &[f32]| {
            BytePanels::from_columns(columns, depth, bias).unwrap_err().kind()
        };
        assert_eq!(refused(&[f32::NAN, 1.0], 2, &[0.0]), ErrorKind::Corrupt);
        assert_eq!(refused(&[1.0], 2, &[0.0]), ErrorKind::Internal);
        assert_eq!(refused(&vec![1.0; MAX_DEPTH + 1], MAX_DEPTH + 1, &[0.0]), ErrorKind::Unsupported);
    }
}
