//! The kernels of this machine beside the definition of what they compute, for tests and fuzz targets.

use std::array;

use half::f16;

use super::{BLOCK, Block, Eight, Four, Level, PANEL, TILE, eight_at, four_at, portable};

/// Bytes that a block of sixteen rows is made of.
const CELL: usize = 528;

/// Multiplies `rows` rows (at most eight) with a panel, all made of `bytes`; `step` is what a step of a value is worth.
/// Gives the first difference between a kernel and its scalar twin, to the bit.
///
/// # Errors
/// The difference.
pub fn panel_products(rows: usize, step: f32, bytes: &[u8]) -> Result<(), String> {
    let rows = rows.min(TILE);
    let blocks = bytes.len() / (CELL + rows * BLOCK);
    let (cells, values) = bytes.split_at(blocks * CELL);
    let cells = cells.as_chunks::<CELL>().0;
    let (fours, eights): (Vec<Four>, Vec<Eight>) = cells.iter().map(|cell| (four(cell), eight(cell))).unzip();
    let left = values.as_chunks().0.iter().take(blocks * rows).map(|values| block(values, step));
    let left: Vec<Block> = left.collect();
    for level in Level::found() {
        agree(level, rows, |out| portable(&fours, &left, out), |out| four_at(level, &fours, &left, out))?;
        agree(level, rows, |out| portable(&eights, &left, out), |out| eight_at(level, &eights, &left, out))?;
    }
    Ok(())
}

type Rows = [[f32; PANEL]];

fn agree(
    level: Level,
    rows: usize,
    twin: impl Fn(&mut Rows),
    kernel: impl Fn(&mut Rows) -> agentkit_core::Result<()>,
) -> Result<(), String> {
    let (mut expected, mut found) = (vec![[0.5; PANEL]; rows], vec![[0.25; PANEL]; rows]);
    twin(&mut expected);
    kernel(&mut found).map_err(|error| error.chain())?;
    let bits = |rows: &Rows| rows.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
    if bits(&found) == bits(&expected) {
        return Ok(());
    }
    Err(format!("{level:?} gives {found:?}, not {expected:?}"))
}

fn four(cell: &[u8; CELL]) -> Four {
    let (bits, scales) = cell.split_at(256);
    let (steps, least) = scales.split_at(PANEL);
    Four { bits: take(bits), steps: halves(steps), least: halves(least) }
}

fn eight(cell: &[u8; CELL]) -> Eight {
    let (bits, steps) = cell.split_at(512);
    Eight { bits: take(bits), steps: halves(steps) }
}

fn take<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// Scales as models have them, of both signs.
fn halves(bytes: &[u8]) -> [f16; PANEL] {
    let bytes: [u8; PANEL] = take(bytes);
    array::from_fn(|at| f16::from_f32((f32::from(bytes.get(at).copied().unwrap_or_default()) - 100.0) / 64.0))
}

fn block(bytes: &[u8; BLOCK], step: f32) -> Block {
    let values = bytes.map(|byte| byte.cast_signed().max(-127));
    let sum = values.iter().map(|value| i16::from(*value)).sum();
    Block { values, step, sum, total: step * f32::from(sum) }
}
