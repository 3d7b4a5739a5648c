//! Matrices of quantised weights, laid out for the kernels.
//!
//! Four-bit and plain eight-bit weights keep the very numbers of the file and its size in memory; they only move, so
//! that sixteen rows stand together. Every other format is read as numbers and cut into eight-bit blocks.

use agentkit_core::{Error, ErrorKind, Result};
use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;

use super::kernel::{self, BLOCK, Block, Eight, Four, PANEL, TILE};

/// Bytes of a block in the file.
const Q4_0: usize = 18;
const Q4_1: usize = 20;
const Q8_0: usize = 34;

/// A matrix of `width` rows by `depth` weights, to be multiplied with rows of `depth` values.
#[derive(Debug)]
pub(super) struct Matrix {
    cells: Cells,
    width: usize,
    depth: usize,
}

#[derive(Debug)]
enum Cells {
    Four(Vec<Four>),
    Eight(Vec<Eight>),
}

impl Matrix {
    /// Lays out a tensor whose rows are outputs.
    ///
    /// # Errors
    /// Corrupt, if a weight is not finite; unsupported, if rows cannot be cut into blocks; internal.
    pub(super) fn new(tensor: &QTensor) -> Result<Self> {
        let (width, depth) = tensor.shape().dims2().map_err(|error| unreadable().with_source(error))?;
        if depth % BLOCK != 0 || depth == 0 {
            let message = format!("a layer of {depth} inputs is not made of blocks of {BLOCK}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let data = |tensor: &QTensor| tensor.data().map(std::borrow::Cow::into_owned);
        let shape = (width, depth / BLOCK);
        let cells = match tensor.dtype() {
            GgmlDType::Q4_0 => {
                Cells::Four(panels(&data(tensor).map_err(engine)?, shape, Four::take_symmetric)?)
            }
            GgmlDType::Q4_1 => Cells::Four(panels(&data(tensor).map_err(engine)?, shape, Four::take)?),
            GgmlDType::Q8_0 => Cells::Eight(panels(&data(tensor).map_err(engine)?, shape, Eight::take)?),
            _ => Cells::Eight(panels(&requantized(tensor)?, shape, Eight::take)?),
        };
        let matrix = Self { cells, width, depth };
        if matrix.is_finite() {
            Ok(matrix)
        } else {
            Err(Error::corrupt("the model has weights that are not finite"))
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Bytes it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        match &self.cells {
            Cells::Four(cells) => size_of_val(cells.as_slice()),
            Cells::Eight(cells) => size_of_val(cells.as_slice()),
        }
    }

    /// Multiplies every row of `left`; `out` gets as many rows of [`Matrix::width`] values.
    ///
    /// # Errors
    /// Internal, if the sizes do not fit.
    pub(super) fn multiply(&self, left: &ByteRows, out: &mut Vec<f32>) -> Result<()> {
        let blocks = self.depth / BLOCK;
        if left.blocks != blocks {
            let (got, want) = (left.blocks * BLOCK, self.depth);
            return Err(Error::internal(format!("rows of {got} values meet a matrix of {want}")));
        }
        out.resize(left.data.len() / blocks * self.width, 0.0);
        match &self.cells {
            Cells::Four(cells) => self.product(cells, kernel::four, &left.data, out),
            Cells::Eight(cells) => self.product(cells, kernel::eight, &left.data, out),
        }
    }

    fn product<C>(&self, cells: &[C], kernel: Kernel<C>, left: &[Block], out: &mut [f32]) -> Result<()> {
        let blocks = self.depth / BLOCK;
        let mut sums = [[0.0; PANEL]; TILE];
        for (number, panel) in cells.chunks_exact(blocks).enumerate() {
            let tiles = left.chunks(TILE * blocks).zip(out.chunks_mut(TILE * self.width));
            for (left, out) in tiles {
                let sums = sums.get_mut(..left.len() / blocks).unwrap_or_default();
                kernel(panel, left, sums)?;
                for (sums, out) in sums.iter().zip(out.chunks_exact_mut(self.width)) {
                    for (out, sum) in out.iter_mut().skip(number * PANEL).zip(sums) {
                        *out = *sum;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the weights of row `row` to `out`; nothing if there is no such row.
    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let blocks = self.depth / BLOCK;
        let (panel, row) = (row / PANEL * blocks, row % PANEL);
        let places = out.as_chunks_mut::<BLOCK>().0.iter_mut();
        match &self.cells {
            Cells::Four(cells) => {
                places.zip(cells.iter().skip(panel)).for_each(|(out, cell)| cell.read(row, out));
            }
            Cells::Eight(cells) => {
                places.zip(cells.iter().skip(panel)).for_each(|(out, cell)| cell.read(row, out));
            }
        }
    }

    fn is_finite(&self) -> bool {
        let finite = |values: &[f16]| values.iter().all(|value| value.is_finite());
        match &self.cells {
            Cells::Four(cells) => cells.iter().all(|cell| finite(&cell.steps) && finite(&cell.least)),
            Cells::Eight(cells) => cells.iter().all(|cell| finite(&cell.steps)),
        }
    }
}

type Kernel<C> = fn(&[C], &[Block], &mut [[f32; PANEL]]) -> Result<()>;

/// Moves the blocks of sixteen rows into cells; rows that are missing in the last panel stay zero.
fn panels<C: Clone + Default, const SIZE: usize>(
    data: &[u8],
    (width, blocks): (usize, usize),
    take: fn(&mut C, usize, &[u8; SIZE]),
) -> Result<Vec<C>> {
    let (found, rest) = data.as_chunks::<SIZE>();
    if found.len() != width * blocks || !rest.is_empty() {
        return Err(unreadable());
    }
    let mut cells = vec![C::default(); width.div_ceil(PANEL) * blocks];
    for (rows, cells) in found.chunks(PANEL * blocks).zip(cells.chunks_exact_mut(blocks)) {
        for (row, found) in rows.chunks_exact(blocks).enumerate() {
            for (cell, block) in cells.iter_mut().zip(found) {
                take(cell, row, block);
            }
        }
    }
    Ok(cells)
}

/// The weights as eight-bit blocks, as they would stand in a file.
fn requantized(tensor: &QTensor) -> Result<Vec<u8>> {
    let numbers = tensor.dequantize(&Device::Cpu).map_err(engine)?;
    if numbers
        .flatten_all()
        .and_then(|all| all.to_vec1::<f32>())
        .map_err(engine)?
        .iter()
        .any(|v| !v.is_finite())
    {
        return Err(Error::corrupt("the model has weights that are not finite"));
    }
    let eight = QTensor::quantize(&numbers, GgmlDType::Q8_0).map_err(engine)?;
    Ok(eight.data().map_err(engine)?.into_owned())
}

impl Default for Four {
    fn default() -> Self {
        Self { bits: [0; 256], steps: [f16::ZERO; PANEL], least: [f16::ZERO; PANEL] }
    }
}

impl Default for Eight {
    fn default() -> Self {
        Self { bits: [128; 512], steps: [f16::ZERO; PANEL] }
    }
}

impl Four {
    /// Takes row `row` of a block of format `Q4_1`: step, least weight, and sixteen bytes of two weights.
    fn take(&mut self, row: usize, block: &[u8; Q4_1]) {
        let [a, b, c, d, bits @ ..] = block;
        self.set(row, [f16::from_le_bytes([*a, *b]), f16::from_le_bytes([*c, *d])], bits);
    }

    /// Takes row `row` of a block of format `Q4_0`, whose weights are counted from -8.
    fn take_symmetric(&mut self, row: usize, block: &[u8; Q4_0]) {
        let [a, b, bits @ ..] = block;
        let step = f16::from_le_bytes([*a, *b]);
        // Exact but for steps beyond 8188, which no model has.
        self.set(row, [step, f16::from_f32(-8.0 * step.to_f32())], bits);
    }

    fn set(&mut self, row: usize, [step, least]: [f16; 2], bits: &[u8; BLOCK / 2]) {
        let groups = self.bits.as_chunks_mut::<4>().0.iter_mut().skip(row).step_by(PANEL);
        groups.zip(bits.as_chunks::<4>().0).for_each(|(place, four)| *place = *four);
        place(&mut self.steps, row, step);
        place(&mut self.least, row, least);
    }

    fn read(&self, row: usize, out: &mut [f32; BLOCK]) {
        let (step, least) = (number(&self.steps, row), number(&self.least, row));
        let bytes = self.bits.as_chunks::<4>().0.iter().skip(row).step_by(PANEL).flatten();
        let (low, high) = out.split_at_mut(BLOCK / 2);
        for (byte, (low, high)) in bytes.zip(low.iter_mut().zip(high)) {
            *low = f32::from(byte & 15) * step + least;
            *high = f32::from(byte >> 4) * step + least;
        }
    }
}

impl Eight {
    /// Takes row `row` of a block of format `Q8_0`: step and 32 signed bytes.
    fn take(&mut self, row: usize, block: &[u8; Q8_0]) {
        let [a, b, bits @ ..] = block;
        let groups = self.bits.as_chunks_mut::<4>().0.iter_mut().skip(row).step_by(PANEL);
        groups.zip(bits.as_chunks::<4>().0).for_each(|(place, four)| *place = four.map(|byte| byte ^ 128));
        place(&mut self.steps, row, f16::from_le_bytes([*a, *b]));
    }

    fn read(&self, row: usize, out: &mut [f32; BLOCK]) {
        let step = number(&self.steps, row);
        let bytes = self.bits.as_chunks::<4>().0.iter().skip(row).step_by(PANEL).flatten();
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = (f32::from(*byte) - 128.0) * step;
        }
    }
}

fn place(values: &mut [f16; PANEL], row: usize, value: f16) {
    if let Some(place) = values.get_mut(row) {
        *place = value;
    }
}

fn number(values: &[f16; PANEL], row: usize) -> f32 {
    values.get(row).copied().unwrap_or_default().to_f32()
}

/// Rows of values, cut into blocks of bytes.
#[derive(Debug, Default)]
pub(super) struct ByteRows {
    data: Vec<Block>,
    blocks: usize,
}

impl ByteRows {
    /// Quantises every row of `depth` values.
    pub(super) fn set(&mut self, rows: &[f32], depth: usize) {
        self.blocks = depth / BLOCK;
        self.data.resize(rows.len() / BLOCK, Block::default());
        kernel::quantize(rows, &mut self.data);
    }
}

fn unreadable() -> Error {
    Error::corrupt("a tensor of the model has another size than it says")
}

fn engine(error: candle_core::Error) -> Error {
    Error::internal("read a tensor").with_source(error)
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The product by the definition, of the numbers that candle reads from the same tensor.
    fn expected(tensor: &QTensor, left: &[f32]) -> Vec<f32> {
        let (_, depth) = tensor.shape().dims2().unwrap();
        let weights = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        let product = |row: &[f32], weights: &[f32]| row.iter().zip(weights).map(|(a, b)| a * b).sum();
        left.chunks(depth).flat_map(|row| weights.iter().map(move |weights| product(row, weights))).collect()
    }

    proptest! {
        /// A value is at most half a step off; the bound adds that up over the depth.
        #[test]
        fn a_product_is_as_close_to_the_numbers_as_the_steps_of_the_values_allow(
            rows in 0_usize..11,
            blocks in 1_usize..4,
            width in 1_usize..40,
            kind in prop_oneof![Just(GgmlDType::Q4_0), Just(GgmlDType::Q4_1), Just(GgmlDType::Q8_0), Just(GgmlDType::F16)],
            numbers in vec(-3.0_f32..3.0, 40 * 96 + 11 * 96),
        ) {
            let depth = blocks * BLOCK;
            let (weights, rest) = numbers.split_at(width * depth);
            let left = &rest[..rows * depth];
            let tensor = Tensor::from_slice(weights, (width, depth), &Device::Cpu).unwrap();
            let tensor = QTensor::quantize(&tensor, kind).unwrap();
            let matrix = Matrix::new(&tensor).unwrap();
            let (mut bytes, mut out) = (ByteRows::default(), Vec::new());
            bytes.set(left, depth);
            matrix.multiply(&bytes, &mut out).unwrap();
            prop_assert_eq!(out.len(), rows * width);
            let off = 3.2 * (3.0 / 127.0) * f32::from(u16::try_from(depth).unwrap());
            for (found, expected) in out.iter().zip(expected(&tensor, left)) {
                prop_assert!((found - expected).abs() <= off, "{found} {expected}");
            }
            let numbers = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for (row, expected) in numbers.iter().enumerate() {
                let mut found = vec![9.0; depth];
                matrix.row(row, &mut found);
                let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02);
                prop_assert!(close, "{row} {found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_corrupt() {
        for kind in [GgmlDType::F32, GgmlDType::F16] {
            let tensor = Tensor::full(f32::NAN, (1, 32), &Device::Cpu).unwrap();
            let matrix = Matrix::new(&QTensor::quantize(&tensor, kind).unwrap());
            assert_eq!(matrix.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let odd = Tensor::zeros((1, 33), candle_core::DType::F32, &Device::Cpu).unwrap();
        let odd = Matrix::new(&QTensor::quantize(&odd, GgmlDType::F32).unwrap());
        assert_eq!(odd.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
