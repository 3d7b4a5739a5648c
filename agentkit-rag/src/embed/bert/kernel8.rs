//! The kernel for products of bytes: exact sums for a tile of rows by one panel of columns.
//!
//! Why: compilers do not find the instructions that multiply four bytes and add them up. How: one function for each
//! instruction set, the best of which is chosen at run time, and a scalar twin for every other machine. Always
//! true: all of them give the same integers; sizes are checked before the first pointer is made.
#![expect(unsafe_code, reason = "vector instructions need it; each use states its argument")]

use std::sync::LazyLock;

use agentkit_core::{Error, Result};

use super::panels::PANEL;

/// Rows of the right-hand side that stand together, and multiplications an instruction adds up.
pub(super) const GROUP: usize = 4;
/// Rows of the largest tile.
pub(super) const TILE_ROWS: usize = 12;
/// Bytes of a panel that belong to one group.
const STEP: usize = GROUP * PANEL;

static LEVEL: LazyLock<Level> = LazyLock::new(|| Level::found().first().copied().unwrap_or(Level::Portable));

/// An instruction set with a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    #[cfg(target_arch = "x86_64")]
    Vnni256,
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
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                found.push(Self::Vnni512);
            }
            if is_x86_feature_detected!("avx2") {
                if is_x86_feature_detected!("avxvnni") {
                    found.push(Self::Vnni256);
                }
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }

    fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 | Self::Avx2 => 3,
            Self::Portable => 1,
        }
    }
}

/// Rows of a tile on this machine, at most [`TILE_ROWS`].
pub(super) fn rows() -> usize {
    LEVEL.rows()
}

/// Multiplies as many rows of `left`, `stride` bytes apart, as `sums` has with `panel`.
///
/// # Errors
/// Internal, if the sizes do not fit.
pub(super) fn tile(left: &[u8], stride: usize, panel: &[i8], sums: &mut [[i32; PANEL]]) -> Result<()> {
    tile_at(*LEVEL, left, stride, panel, sums)
}

fn tile_at(level: Level, left: &[u8], stride: usize, panel: &[i8], sums: &mut [[i32; PANEL]]) -> Result<()> {
    let (groups, rest) = panel.as_chunks::<STEP>();
    let last = sums.len().saturating_sub(1).checked_mul(stride);
    let needed = last.and_then(|last| last.checked_add(groups.len() * GROUP));
    let holds = needed.is_some_and(|needed| needed <= left.len()) || sums.is_empty();
    if !holds || !rest.is_empty() || sums.len() > level.rows() {
        return Err(Error::internal(format!(
            "a tile of {} rows, {stride} apart, by {} groups is not within {} bytes",
            sums.len(),
            groups.len(),
            left.len()
        )));
    }
    match level {
        // SAFETY: the level is only found where the instructions are, and every row has just been found to lie
        // within `left`; the same goes for the two below.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni512 => unsafe { x86::vnni512(left.as_ptr(), stride, groups, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni256 => unsafe { x86::vnni256(left.as_ptr(), stride, groups, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::avx2(left.as_ptr(), stride, groups, sums) },
        Level::Portable => portable(left, stride, groups, sums),
    }
    Ok(())
}

/// The definition, which every other kernel has to equal.
fn portable(left: &[u8], stride: usize, groups: &[[i8; STEP]], sums: &mut [[i32; PANEL]]) {
    for (sums, row) in sums.iter_mut().zip(left.chunks(stride.max(1))) {
        *sums = [0; PANEL];
        let (row, _) = row.as_chunks::<GROUP>();
        for (values, weights) in row.iter().zip(groups) {
            let (columns, _) = weights.as_chunks::<GROUP>();
            for (sum, column) in sums.iter_mut().zip(columns) {
                for (value, weight) in values.iter().zip(column) {
                    *sum += i32::from(*value) * i32::from(*weight);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The tiles for the instruction sets of x86-64.
    //!
    //! Wrapping arithmetic on pointers makes no promises by itself and spares the checked builds their checks in
    //! the innermost loop.
    use std::arch::x86_64::{
        __m256i, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_set1_epi32, _mm256_add_epi32,
        _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_dpbusd_avx_epi32, _mm256_hadd_epi32,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_set1_epi32,
        _mm256_setzero_si256, _mm256_storeu_si256, _mm512_dpbusd_epi32, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };

    use super::{GROUP, PANEL, STEP};

    /// How far ahead of its use the panel is asked for, in bytes.
    const AHEAD: usize = 32 * STEP;

    /// Four bytes as one number.
    ///
    /// # Safety
    /// They must be readable.
    #[inline]
    unsafe fn four(bytes: *const u8) -> i32 {
        // SAFETY: the caller promises it; an array of bytes may stand anywhere.
        i32::from_le_bytes(unsafe { bytes.cast::<[u8; GROUP]>().read() })
    }

    /// Calls a tile whose number of rows is a constant.
    macro_rules! by_rows {
        ($name:ident, $sums:ident, $arguments:tt, $($rows:literal)*) => {
            match $sums.len() {
                $($rows => if let Some(sums) = $sums.first_chunk_mut::<$rows>() {
                    by_rows!(@call $name, $rows, sums, $arguments);
                })*
                _ => {}
            }
        };
        (@call $name:ident, $rows:literal, $sums:ident, ($($argument:ident),*)) => {
            $name::<$rows>($($argument,)* $sums)
        };
    }

    /// # Safety
    /// AVX-512 with VNNI must be there; `left` must be readable for as many rows as `sums` has, `stride` bytes
    /// apart, of four bytes a group.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn vnni512(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]],
    ) {
        // SAFETY: the caller promises the same.
        unsafe { by_rows!(rows512, sums, (left, stride, groups), 1 2 3 4 5 6 7 8 9 10 11 12) }
    }

    /// # Safety
    /// As for `vnni512` with `R` rows.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn rows512<const R: usize>(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]; R],
    ) {
        let mut totals: [[__m512i; 2]; R] = [[_mm512_setzero_si512(); 2]; R];
        for (number, group) in groups.iter().enumerate() {
            let panel = group.as_ptr();
            // SAFETY: a group is two vectors long; a prefetch may name any address; `number` is a group, so the
            // caller promises that the four bytes of each row can be read.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(AHEAD));
                _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(AHEAD + 64));
                let first = _mm512_loadu_si512(panel.cast());
                let second = _mm512_loadu_si512(panel.wrapping_add(64).cast());
                let values = left.wrapping_add(number.wrapping_mul(GROUP));
                for (row, total) in totals.iter_mut().enumerate() {
                    let value = four(values.wrapping_add(row.wrapping_mul(stride)));
                    let value = _mm512_set1_epi32(value);
                    *total = [
                        _mm512_dpbusd_epi32(total[0], value, first),
                        _mm512_dpbusd_epi32(total[1], value, second),
                    ];
                }
            }
        }
        for (sums, total) in sums.iter_mut().zip(&totals) {
            let sums = sums.as_mut_ptr();
            // SAFETY: a row of sums is two vectors long.
            unsafe {
                _mm512_storeu_si512(sums.cast(), total[0]);
                _mm512_storeu_si512(sums.wrapping_add(16).cast(), total[1]);
            }
        }
    }

    /// # Safety
    /// As for `vnni512`, with AVX-VNNI.
    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) unsafe fn vnni256(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]],
    ) {
        // SAFETY: the caller promises the same.
        unsafe { by_rows!(rows256, sums, (left, stride, groups), 1 2 3) }
    }

    /// # Safety
    /// As for `vnni256` with `R` rows.
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn rows256<const R: usize>(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]; R],
    ) {
        let mut totals: [[__m256i; 4]; R] = [[_mm256_setzero_si256(); 4]; R];
        for (number, group) in groups.iter().enumerate() {
            let panel = group.as_ptr();
            let values = left.wrapping_add(number.wrapping_mul(GROUP));
            for (row, totals) in totals.iter_mut().enumerate() {
                // SAFETY: `number` is a group, so the caller promises that the four bytes can be read; a group is
                // four vectors long.
                unsafe {
                    let value = four(values.wrapping_add(row.wrapping_mul(stride)));
                    let value = _mm256_set1_epi32(value);
                    for (part, total) in totals.iter_mut().enumerate() {
                        let weights = _mm256_loadu_si256(panel.wrapping_add(part.wrapping_mul(32)).cast());
                        *total = _mm256_dpbusd_avx_epi32(*total, value, weights);
                    }
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(&totals) {
            for (sums, total) in sums.chunks_exact_mut(8).zip(totals) {
                // SAFETY: the chunk is one vector long.
                unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), *total) };
            }
        }
    }

    /// # Safety
    /// As for `vnni512`, with AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]],
    ) {
        // SAFETY: the caller promises the same.
        unsafe { by_rows!(rows_avx2, sums, (left, stride, groups), 1 2 3) }
    }

    /// Widens to sixteen bits, because the instruction that multiplies bytes would saturate. Half a panel at a
    /// time: a vector of sums holds four columns, two halves each.
    ///
    /// # Safety
    /// As for `avx2` with `R` rows.
    #[target_feature(enable = "avx2")]
    unsafe fn rows_avx2<const R: usize>(
        left: *const u8,
        stride: usize,
        groups: &[[i8; STEP]],
        sums: &mut [[i32; PANEL]; R],
    ) {
        for half in [0, PANEL / 2] {
            let mut totals: [[__m256i; 4]; R] = [[_mm256_setzero_si256(); 4]; R];
            for (number, group) in groups.iter().enumerate() {
                let panel = group.as_ptr().wrapping_add(half.wrapping_mul(GROUP));
                let values = left.wrapping_add(number.wrapping_mul(GROUP));
                // SAFETY: half a group is four vectors of sixteen bytes; `number` is a group, so the caller
                // promises that the four bytes of each row can be read.
                unsafe {
                    let weights: [__m256i; 4] = std::array::from_fn(|part| {
                        let part = panel.wrapping_add(part.wrapping_mul(16));
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(part.cast()))
                    });
                    for (row, totals) in totals.iter_mut().enumerate() {
                        let value = four(values.wrapping_add(row.wrapping_mul(stride)));
                        let value = _mm256_cvtepu8_epi16(_mm_set1_epi32(value));
                        for (total, weights) in totals.iter_mut().zip(weights) {
                            *total = _mm256_add_epi32(*total, _mm256_madd_epi16(value, weights));
                        }
                    }
                }
            }
            for (sums, totals) in sums.iter_mut().zip(&totals) {
                let sums = sums.as_mut_ptr().wrapping_add(half);
                let [a, b, c, d] = *totals;
                for (at, (low, high)) in [(0, (a, b)), (8, (c, d))] {
                    let folded = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
                    // SAFETY: half a row of sums is two vectors long.
                    unsafe { _mm256_storeu_si256(sums.wrapping_add(at).cast(), folded) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Extremes are drawn often, because a kernel that saturates or overflows errs there only.
        #[test]
        fn every_kernel_of_this_machine_equals_its_scalar_twin(
            groups in 0_usize..40,
            rows in 1_usize..=TILE_ROWS,
            slack in 0_usize..9,
            values in vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 14 * 200),
            weights in vec(prop_oneof![Just(-128_i8), Just(127), any::<i8>()], 40 * STEP),
        ) {
            let stride = groups * GROUP + slack;
            let panel = &weights[..groups * STEP];
            for level in Level::found() {
                let rows = rows.min(level.rows());
                let mut found = [[7; PANEL]; TILE_ROWS];
                let mut expected = [[0; PANEL]; TILE_ROWS];
                tile_at(level, &values, stride, panel, &mut found[..rows]).unwrap();
                let (groups, _) = panel.as_chunks();
                for row in 0..rows {
                    portable(&values[row * stride..], stride, groups, &mut expected[row..=row]);
                }
                prop_assert_eq!(&found[..rows], &expected[..rows], "{:?}", level);
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_an_error() {
        let (left, panel, mut sums) = ([0; 16], [0; 2 * STEP], [[0; PANEL]; TILE_ROWS + 1]);
        for level in Level::found() {
            assert!(tile_at(level, &left, 8, &panel, &mut sums[..1]).is_ok());
            assert!(tile_at(level, &left[..7], 8, &panel, &mut sums[..1]).is_err(), "short row");
            assert!(tile_at(level, &left, 8, &panel[1..], &mut sums[..1]).is_err(), "broken group");
            assert!(tile_at(level, &left, 8, &panel, &mut sums).is_err(), "too many rows");
            assert!(tile_at(level, &left, usize::MAX, &panel, &mut sums[..2]).is_err(), "overflow");
        }
    }
}
