//! The kernels for products of quantised weights with rows of bytes, a panel of sixteen weight rows at a time.
//!
//! Why: compilers do not find the instructions that multiply four bytes and add them up. How: the weights of sixteen
//! rows stand together, so that a vector holds a weight of each and nothing has to be added up across a vector; one
//! function for each instruction set, the best of which is chosen at run time, and a scalar twin for every other
//! machine. Always true: all of them give the same bits, because the integers are exact and the floating-point steps
//! are the same fused ones in the same order; sizes are checked before the first pointer is made.
#![expect(unsafe_code, reason = "vector instructions need it; each use states its argument")]

use std::sync::LazyLock;

use agentkit_core::{Error, Result};
use half::f16;

/// Weight rows of a panel.
pub(super) const PANEL: usize = 16;
/// Weights that share a scale.
pub(super) const BLOCK: usize = 32;
/// Most rows of bytes that are multiplied at a time.
pub(super) const TILE: usize = 8;

/// A block of a row of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Block {
    /// From -127 to 127.
    pub(super) values: [i8; BLOCK],
    /// What a step of a value is worth.
    pub(super) step: f32,
    /// The sum of the values.
    pub(super) sum: i16,
    /// What the sum is worth.
    pub(super) total: f32,
}

/// A block of sixteen weight rows in four bits: a weight is `step * bits + least`.
///
/// Byte `64 j + 4 r + i` holds the weights `4 j + i` (low) and `16 + 4 j + i` (high) of row `r`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Four {
    pub(super) bits: [u8; 256],
    pub(super) steps: [f16; PANEL],
    pub(super) least: [f16; PANEL],
}

/// A block of sixteen weight rows in eight bits: a weight is `step * (bits - 128)`.
///
/// Byte `64 j + 4 r + i` holds the weight `4 j + i` of row `r`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Eight {
    pub(super) bits: [u8; 512],
    pub(super) steps: [f16; PANEL],
}

static LEVEL: LazyLock<Level> = LazyLock::new(|| Level::found().first().copied().unwrap_or(Level::Portable));

/// An instruction set with kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// All this machine has, the fastest first.
    fn found() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if wide && is_x86_feature_detected!("avx512vnni") {
                found.push(Self::Avx512);
            }
            let fused = is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            if fused && is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }
}

/// Multiplies `out.len()` rows of blocks, which follow each other in `left`, with a panel of four-bit weights.
///
/// # Errors
/// Internal, if the sizes do not fit.
pub(super) fn four(panel: &[Four], left: &[Block], out: &mut [[f32; PANEL]]) -> Result<()> {
    four_at(*LEVEL, panel, left, out)
}

/// The same for eight-bit weights.
///
/// # Errors
/// Internal, if the sizes do not fit.
pub(super) fn eight(panel: &[Eight], left: &[Block], out: &mut [[f32; PANEL]]) -> Result<()> {
    eight_at(*LEVEL, panel, left, out)
}

fn four_at(level: Level, panel: &[Four], left: &[Block], out: &mut [[f32; PANEL]]) -> Result<()> {
    fits(panel.len(), left, out)?;
    match level {
        // SAFETY: the level is only found where the instructions are, and `left` has just been found to hold the
        // blocks of all rows; the same goes for the other kernels.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::four512(panel, left, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::four256(panel, left, out) },
        Level::Portable => portable(panel, left, out),
    }
    Ok(())
}

fn eight_at(level: Level, panel: &[Eight], left: &[Block], out: &mut [[f32; PANEL]]) -> Result<()> {
    fits(panel.len(), left, out)?;
    match level {
        // SAFETY: as in `four_at`.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::eight512(panel, left, out) },
        // SAFETY: as in `four_at`.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::eight256(panel, left, out) },
        Level::Portable => portable(panel, left, out),
    }
    Ok(())
}

fn fits(blocks: usize, left: &[Block], out: &[[f32; PANEL]]) -> Result<()> {
    if out.len() > TILE || left.len() != blocks * out.len() {
        return Err(Error::internal(format!(
            "{} rows of {blocks} blocks are not {} blocks",
            out.len(),
            left.len()
        )));
    }
    Ok(())
}

/// A block of sixteen weight rows, as the definition of a product needs it.
trait Cell {
    /// The exact sum of the products of row `row` with `block`, with the row's step and least weight.
    fn product(&self, row: usize, block: &Block) -> Option<(i32, f16, f16)>;
}

impl Cell for Four {
    fn product(&self, row: usize, block: &Block) -> Option<(i32, f16, f16)> {
        let (low, high) = block.values.split_at(BLOCK / 2);
        let rows = self.bits.chunks_exact(4).skip(row).step_by(PANEL);
        let bytes = rows.flatten().zip(low.iter().zip(high));
        let products = bytes.map(|(byte, (low, high))| {
            i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high)
        });
        Some((products.sum(), *self.steps.get(row)?, *self.least.get(row)?))
    }
}

impl Cell for Eight {
    fn product(&self, row: usize, block: &Block) -> Option<(i32, f16, f16)> {
        let rows = self.bits.chunks_exact(4).skip(row).step_by(PANEL);
        let products = rows
            .flatten()
            .zip(&block.values)
            .map(|(byte, value)| (i32::from(*byte) - 128) * i32::from(*value));
        Some((products.sum(), *self.steps.get(row)?, f16::ZERO))
    }
}

/// The definition, which every other kernel has to equal.
fn portable<C: Cell>(panel: &[C], left: &[Block], out: &mut [[f32; PANEL]]) {
    for (number, out) in out.iter_mut().enumerate() {
        let blocks = left.iter().skip(number * panel.len());
        for (row, out) in out.iter_mut().enumerate() {
            let (mut product, mut offset) = (0.0_f32, 0.0_f32);
            for (cell, block) in panel.iter().zip(blocks.clone()) {
                let Some((sum, step, least)) = cell.product(row, block) else { continue };
                #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
                let sum = sum as f32;
                product = sum.mul_add(step.to_f32() * block.step, product);
                offset = least.to_f32().mul_add(block.total, offset);
            }
            *out = product + offset;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The kernels for the instruction sets of x86-64.
    //!
    //! Wrapping arithmetic on pointers makes no promises by itself and spares the checked builds their checks in
    //! the innermost loop.
    use std::arch::x86_64::{
        __m256, __m512, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_abs_epi8, _mm256_add_epi16,
        _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtph_ps,
        _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
        _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256,
        _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16,
        _mm512_storeu_ps,
    };

    use half::f16;

    use super::{Block, Eight, Four, PANEL};

    /// How far ahead of its use the panel is asked for, in bytes.
    const AHEAD: usize = 2048;

    /// Four values as one number.
    ///
    /// # Safety
    /// They must be readable.
    #[inline]
    unsafe fn quad(values: *const i8) -> i32 {
        // SAFETY: the caller promises it; an array of bytes may stand anywhere.
        i32::from_le_bytes(unsafe { values.cast::<[u8; 4]>().read() })
    }

    /// Calls a kernel whose number of rows is a constant.
    macro_rules! by_rows {
        ($name:ident, $panel:ident, $left:ident, $out:ident, $($rows:literal)*) => {
            match $out.len() {
                $($rows => if let Some(out) = $out.first_chunk_mut::<$rows>() {
                    $name::<$rows>($panel, $left.as_ptr(), out);
                })*
                _ => {}
            }
        };
    }

    /// Makes a kernel for up to eight rows of one for a constant number of rows.
    macro_rules! kernel {
        ($name:ident, $fixed:ident, $cell:ty, $features:literal) => {
            /// # Safety
            /// The instructions must be there, and `left` must hold as many blocks as `panel` for each row of `out`.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(panel: &[$cell], left: &[Block], out: &mut [[f32; PANEL]]) {
                // SAFETY: the caller promises the same.
                unsafe { by_rows!($fixed, panel, left, out, 1 2 3 4 5 6 7 8) }
            }
        };
    }

    kernel!(four512, four512_rows, Four, "avx512f,avx512bw,avx512vnni");
    kernel!(eight512, eight512_rows, Eight, "avx512f,avx512bw,avx512vnni");
    kernel!(four256, four256_rows, Four, "avx2,fma,f16c");
    kernel!(eight256, eight256_rows, Eight, "avx2,fma,f16c");

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn wide(halves: &[f16; PANEL]) -> __m512 {
        // SAFETY: sixteen halves are one such vector.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
    }

    /// # Safety
    /// As for `four512` with `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn four512_rows<const R: usize>(panel: &[Four], left: *const Block, out: &mut [[f32; PANEL]; R]) {
        let nibble = _mm512_set1_epi8(15);
        let mut products = [_mm512_setzero_ps(); R];
        let mut offsets = [_mm512_setzero_ps(); R];
        for (number, cell) in panel.iter().enumerate() {
            let bits = cell.bits.as_ptr();
            let mut low = [_mm512_setzero_si512(); 4];
            let mut high = low;
            for (j, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
                // SAFETY: a cell has four vectors of bits; a prefetch may name any address.
                let both = unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(bits.wrapping_add(AHEAD + 64 * j).cast());
                    _mm512_loadu_si512(bits.wrapping_add(64 * j).cast())
                };
                *low = _mm512_and_si512(both, nibble);
                *high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
            }
            let (steps, least) = (wide(&cell.steps), wide(&cell.least));
            for (row, (product, offset)) in products.iter_mut().zip(&mut offsets).enumerate() {
                // SAFETY: the caller promises the blocks of every row.
                let block = unsafe { &*left.wrapping_add(row * panel.len() + number) };
                let values = block.values.as_ptr();
                let (mut first, mut second) = (_mm512_setzero_si512(), _mm512_setzero_si512());
                for (j, (low, high)) in low.iter().zip(&high).enumerate() {
                    // SAFETY: a block has 32 values.
                    let (a, b) =
                        unsafe { (quad(values.wrapping_add(4 * j)), quad(values.wrapping_add(16 + 4 * j))) };
                    first = _mm512_dpbusd_epi32(first, *low, _mm512_set1_epi32(a));
                    second = _mm512_dpbusd_epi32(second, *high, _mm512_set1_epi32(b));
                }
                let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
                let scale = _mm512_mul_ps(steps, _mm512_set1_ps(block.step));
                *product = _mm512_fmadd_ps(sums, scale, *product);
                *offset = _mm512_fmadd_ps(least, _mm512_set1_ps(block.total), *offset);
            }
        }
        for (out, (product, offset)) in out.iter_mut().zip(products.iter().zip(&offsets)) {
            // SAFETY: a row of the result is one vector.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(*product, *offset)) }
        }
    }

    /// # Safety
    /// As for `eight512` with `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn eight512_rows<const R: usize>(
        panel: &[Eight],
        left: *const Block,
        out: &mut [[f32; PANEL]; R],
    ) {
        let mut products = [_mm512_setzero_ps(); R];
        for (number, cell) in panel.iter().enumerate() {
            let bits = cell.bits.as_ptr();
            let mut weights = [_mm512_setzero_si512(); 8];
            for (j, weights) in weights.iter_mut().enumerate() {
                // SAFETY: a cell has eight vectors of bits; a prefetch may name any address.
                *weights = unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(bits.wrapping_add(AHEAD + 64 * j).cast());
                    _mm512_loadu_si512(bits.wrapping_add(64 * j).cast())
                };
            }
            let steps = wide(&cell.steps);
            for (row, product) in products.iter_mut().enumerate() {
                // SAFETY: the caller promises the blocks of every row.
                let block = unsafe { &*left.wrapping_add(row * panel.len() + number) };
                let values = block.values.as_ptr();
                // The bits are 128 too large, which multiplied with all values is 128 times their sum.
                let mut sums = [_mm512_set1_epi32(-128 * i32::from(block.sum)), _mm512_setzero_si512()];
                for (j, pair) in weights.as_chunks::<2>().0.iter().enumerate() {
                    for (i, (sum, weights)) in sums.iter_mut().zip(pair).enumerate() {
                        // SAFETY: a block has 32 values.
                        let four = unsafe { quad(values.wrapping_add(8 * j + 4 * i)) };
                        *sum = _mm512_dpbusd_epi32(*sum, *weights, _mm512_set1_epi32(four));
                    }
                }
                let [first, second] = sums;
                let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
                *product = _mm512_fmadd_ps(sums, _mm512_mul_ps(steps, _mm512_set1_ps(block.step)), *product);
            }
        }
        for (out, product) in out.iter_mut().zip(&products) {
            // SAFETY: a row of the result is one vector.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(*product, _mm512_setzero_ps())) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn halves(of: &[f16; PANEL], half: usize) -> __m256 {
        // SAFETY: `half` is 0 or 1, and sixteen halves are two such vectors.
        let eight = unsafe { _mm_loadu_si128(of.as_ptr().wrapping_add(8 * half).cast()) };
        _mm256_cvtph_ps(eight)
    }

    /// # Safety
    /// As for `four256` with `R` rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn four256_rows<const R: usize>(panel: &[Four], left: *const Block, out: &mut [[f32; PANEL]; R]) {
        let nibble = _mm256_set1_epi8(15);
        let ones = _mm256_set1_epi16(1);
        for half in 0..2 {
            let mut products = [_mm256_setzero_ps(); R];
            let mut offsets = [_mm256_setzero_ps(); R];
            for (number, cell) in panel.iter().enumerate() {
                let bits = cell.bits.as_ptr().wrapping_add(32 * half);
                let (steps, least) = (halves(&cell.steps, half), halves(&cell.least, half));
                for (row, (product, offset)) in products.iter_mut().zip(&mut offsets).enumerate() {
                    // SAFETY: the caller promises the blocks of every row.
                    let block = unsafe { &*left.wrapping_add(row * panel.len() + number) };
                    let values = block.values.as_ptr();
                    // Eight sums of two products of up to 15 * 127 stay within 16 bits.
                    let mut sums = _mm256_setzero_si256();
                    for j in 0..4 {
                        // SAFETY: a cell has four vectors of 64 bits, of which this is half `half`; a block has 32
                        // values.
                        let (both, a, b) = unsafe {
                            (
                                _mm256_loadu_si256(bits.wrapping_add(64 * j).cast()),
                                quad(values.wrapping_add(4 * j)),
                                quad(values.wrapping_add(16 + 4 * j)),
                            )
                        };
                        let low = _mm256_and_si256(both, nibble);
                        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
                        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(low, _mm256_set1_epi32(a)));
                        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(high, _mm256_set1_epi32(b)));
                    }
                    let sums = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, ones));
                    let scale = _mm256_mul_ps(steps, _mm256_set1_ps(block.step));
                    *product = _mm256_fmadd_ps(sums, scale, *product);
                    *offset = _mm256_fmadd_ps(least, _mm256_set1_ps(block.total), *offset);
                }
            }
            for (out, (product, offset)) in out.iter_mut().zip(products.iter().zip(&offsets)) {
                let out = out.as_mut_ptr().wrapping_add(8 * half);
                // SAFETY: a row of the result is two vectors, of which this is half `half`.
                unsafe { _mm256_storeu_ps(out, _mm256_add_ps(*product, *offset)) }
            }
        }
    }

    /// # Safety
    /// As for `eight256` with `R` rows.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight256_rows<const R: usize>(
        panel: &[Eight],
        left: *const Block,
        out: &mut [[f32; PANEL]; R],
    ) {
        let top = _mm256_set1_epi8(-128);
        let ones = _mm256_set1_epi16(1);
        for half in 0..2 {
            let mut products = [_mm256_setzero_ps(); R];
            for (number, cell) in panel.iter().enumerate() {
                let bits = cell.bits.as_ptr().wrapping_add(32 * half);
                let steps = halves(&cell.steps, half);
                for (row, product) in products.iter_mut().enumerate() {
                    // SAFETY: the caller promises the blocks of every row.
                    let block = unsafe { &*left.wrapping_add(row * panel.len() + number) };
                    let values = block.values.as_ptr();
                    let mut sums = _mm256_setzero_si256();
                    for j in 0..8 {
                        // SAFETY: a cell has eight vectors of 64 bits, of which this is half `half`; a block has 32
                        // values.
                        let (bits, four) = unsafe {
                            (
                                _mm256_loadu_si256(bits.wrapping_add(64 * j).cast()),
                                quad(values.wrapping_add(4 * j)),
                            )
                        };
                        // Two products of up to 128 * 127 stay within 16 bits.
                        let weights = _mm256_xor_si256(bits, top);
                        let signed = _mm256_sign_epi8(_mm256_set1_epi32(four), weights);
                        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), signed);
                        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones));
                    }
                    let scale = _mm256_mul_ps(steps, _mm256_set1_ps(block.step));
                    *product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, *product);
                }
            }
            for (out, product) in out.iter_mut().zip(&products) {
                let out = out.as_mut_ptr().wrapping_add(8 * half);
                // SAFETY: a row of the result is two vectors, of which this is half `half`.
                unsafe { _mm256_storeu_ps(out, _mm256_add_ps(*product, _mm256_setzero_ps())) }
            }
        }
    }
}

macro_rules! for_every_level {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {$(
        $(#[$doc])*
        pub(super) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
            fn avx512($($argument: $type),*) {
                super::math::$name($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $type),*) {
                super::math::$name($($argument),*);
            }
            match *LEVEL {
                // SAFETY: the level says that the instruction set is there.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($argument),*) },
                Level::Portable => super::math::$name($($argument),*),
            }
        }
    )*};
}

for_every_level! {
    /// See [`super::math::attend`].
    attend(heads: &super::math::Heads<'_>, scores: &mut Vec<f32>, out: &mut [f32]);
    /// See [`super::math::quantize`].
    quantize(row: &[f32], blocks: &mut [Block]);
    /// See [`super::math::rms_norm`].
    rms_norm(row: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]);
    /// See [`super::math::swiglu`].
    swiglu(gate: &mut [f32], up: &[f32]);
}

pub(super) mod twins;

#[cfg(test)]
mod tests;
