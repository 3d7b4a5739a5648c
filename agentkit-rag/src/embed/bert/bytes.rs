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
