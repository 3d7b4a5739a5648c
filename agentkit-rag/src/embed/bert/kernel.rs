//! The arithmetic kernels, and the only unsafe code of the embedder.
//!
//! Why: a query of ten tokens is bound by reading 43 MB of weights once, a passage by multiplications. Both want
//! weights that lie in memory in the order they are used and never get repacked, which general matrix products
//! do on every call. [`multiply`] therefore takes its right-hand side as [`Panels`]. On AVX-512 a tile of up to
//! twelve rows by one panel stays in registers; everywhere else the `gemm` crate multiplies one panel at a
//! time. Nothing here starts a thread.
//!
//! Always true: lengths are checked against every index before the first pointer is made, and an instruction set
//! is used only where [`Level::detect`] has found it.
#![expect(
    unsafe_code,
    reason = "vector instructions and the gemm crate need it; each use states its argument"
)]

use std::sync::LazyLock;

use agentkit_core::Result;

use super::bytes::{Columns, RowScale, Target};
use super::math;
use super::panels::{PANEL, Panels, Rows, RowsMut};

/// Rows of a tile: 24 of 32 registers hold sums, two a row of the panel, one a value of the left side.
#[cfg(target_arch = "x86_64")]
const TILE_ROWS: usize = 12;

static LEVEL: LazyLock<Level> = LazyLock::new(Level::detect);

/// The best instruction set this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if fma && wide {
                return Self::Avx512;
            }
            if fma {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// What becomes of the values a product is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// They are overwritten.
    Nothing,
    /// The product is added to them.
    Sum,
}

/// Multiplies `count` rows of `left` with `right` and writes or adds the product to `out`.
///
/// # Errors
/// Internal, if the sizes do not fit.
pub(super) fn multiply(
    left: Rows<'_>,
    count: usize,
    right: &Panels,
    out: &mut RowsMut<'_>,
    onto: Onto,
) -> Result<()> {
    left.hold(count, right.depth())?;
    out.hold(count, right.width())?;
    match *LEVEL {
        // SAFETY: the level says that AVX-512 is there, and both sides have just been checked.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(left, count, right, out, onto) },
        _ => by_gemm(left, count, right, out, onto),
    }
    Ok(())
}

/// Panel by panel with the `gemm` crate; the caller has checked that both sides hold what is asked for.
fn by_gemm(left: Rows<'_>, count: usize, right: &Panels, out: &mut RowsMut<'_>, onto: Onto) {
    let depth = right.depth();
    for (number, panel) in right.as_slice().chunks_exact((PANEL * depth).max(1)).enumerate() {
        let from = number * PANEL;
        let width = PANEL.min(right.width() - from);
        let Some(target) = out.data.get_mut(from..) else { return };
        // SAFETY: the left side holds `count` rows of `depth` values, `panel` holds `depth` rows of PANEL
        // values, and `out` holds `count` rows of at least `from + width` values (checked by the caller). The
        // destination is borrowed mutably, so it overlaps neither. The product is computed transposed, so that
        // the panel is a column-major left side; strides of slices fit into isize.
        unsafe {
            gemm::gemm(
                width,
                count,
                depth,
                target.as_mut_ptr(),
                out.stride.cast_signed(),
                1,
                onto == Onto::Sum,
                panel.as_ptr(),
                PANEL.cast_signed(),
                1,
                left.data.as_ptr(),
                left.stride.cast_signed(),
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Panel by panel in tiles of rows of about equal height.
///
/// # Safety
/// AVX-512 must be there; `left` must hold `count` rows of `right.depth()` values, and `out` `count` rows of
/// `right.width()` values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(left: Rows<'_>, count: usize, right: &Panels, out: &mut RowsMut<'_>, onto: Onto) {
    let depth = right.depth();
    let tiles = count.div_ceil(TILE_ROWS).max(1);
    let (height, taller) = (count / tiles, count % tiles);
    for (number, panel) in right.as_slice().chunks_exact((PANEL * depth).max(1)).enumerate() {
        let from = number * PANEL;
        let mask = u32::MAX >> (PANEL - PANEL.min(right.width() - from));
        let mut row = 0;
        for tile in 0..tiles {
            let rows = height + usize::from(tile < taller);
            // SAFETY: `row + rows <= count`, so both pointers and all the tile reads and writes through them
            // lie within what the caller promises; the mask keeps writes within `right.width()` columns.
            unsafe {
                let operands = x86::Operands {
                    left: left.data.as_ptr().add(row * left.stride),
                    left_stride: left.stride,
                    panel: panel.as_ptr(),
                    depth,
                    out: out.data.as_mut_ptr().add(row * out.stride + from),
                    out_stride: out.stride,
                    mask,
                    add: onto == Onto::Sum,
                };
                x86::tile(rows, &operands);
            }
            row += rows;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The AVX-512 tile.
    use std::arch::x86_64::{
        __m512, _MM_HINT_T0, _mm_prefetch, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    };

    use super::PANEL;

    /// How far ahead of its use the panel is asked for, in values: 24 rows, 3 kB.
    const AHEAD: usize = 24 * PANEL;

    /// One tile's share of a product.
    pub(super) struct Operands {
        pub(super) left: *const f32,
        pub(super) left_stride: usize,
        pub(super) panel: *const f32,
        pub(super) depth: usize,
        pub(super) out: *mut f32,
        pub(super) out_stride: usize,
        /// Which columns of the panel are written.
        pub(super) mask: u32,
        /// Whether the product is added to what stands in `out`.
        pub(super) add: bool,
    }

    /// Computes a tile of `rows` rows, one to twelve.
    ///
    /// # Safety
    /// AVX-512 must be there; `left` must be readable for `rows` rows of `depth` values, `panel` for `depth` rows
    /// of PANEL values, and `out` readable and writable for `rows` rows of the columns in `mask`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile(rows: usize, operands: &Operands) {
        // SAFETY: the caller promises the same for `rows` rows.
        unsafe {
            match rows {
                1 => fixed::<1>(operands),
                2 => fixed::<2>(operands),
                3 => fixed::<3>(operands),
                4 => fixed::<4>(operands),
                5 => fixed::<5>(operands),
                6 => fixed::<6>(operands),
                7 => fixed::<7>(operands),
                8 => fixed::<8>(operands),
                9 => fixed::<9>(operands),
                10 => fixed::<10>(operands),
                11 => fixed::<11>(operands),
                12 => fixed::<12>(operands),
                _ => {}
            }
        }
    }

    /// # Safety
    /// As for `tile` with `R` rows.
    #[target_feature(enable = "avx512f")]
    unsafe fn fixed<const R: usize>(o: &Operands) {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the mask")]
        let (low, high) = (o.mask as u16, (o.mask >> 16) as u16);
        let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
        // SAFETY: every pointer that is read or written stays within what the caller promises; masked lanes are
        // not touched, and a prefetch may name any address. Wrapping arithmetic makes no promises by itself and
        // spares the checked builds their checks in the innermost loop.
        unsafe {
            if o.add {
                let mut out = o.out;
                for sum in &mut sums {
                    *sum =
                        [_mm512_maskz_loadu_ps(low, out), _mm512_maskz_loadu_ps(high, out.wrapping_add(16))];
                    out = out.wrapping_add(o.out_stride);
                }
            }
            for k in 0..o.depth {
                let right = o.panel.wrapping_add(k.wrapping_mul(PANEL));
                _mm_prefetch::<_MM_HINT_T0>(right.wrapping_add(AHEAD).cast());
                _mm_prefetch::<_MM_HINT_T0>(right.wrapping_add(AHEAD + 16).cast());
                let (first, second) = (_mm512_loadu_ps(right), _mm512_loadu_ps(right.wrapping_add(16)));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let at = row.wrapping_mul(o.left_stride).wrapping_add(k);
                    let value = _mm512_set1_ps(o.left.wrapping_add(at).read());
                    *sum = [_mm512_fmadd_ps(value, first, sum[0]), _mm512_fmadd_ps(value, second, sum[1])];
                }
            }
            let mut out = o.out;
            for sum in &sums {
                _mm512_mask_storeu_ps(out, low, sum[0]);
                _mm512_mask_storeu_ps(out.wrapping_add(16), high, sum[1]);
                out = out.wrapping_add(o.out_stride);
            }
        }
    }
}

/// Compiles a function of `math` for each level and chooses between them when called.
macro_rules! leveled {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*)) => {
        $(#[$doc])*
        pub(super) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
            fn avx512($($argument: $type),*) {
                math::$name::<true>($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) {
                math::$name::<true>($($argument),*);
            }
            match *LEVEL {
                // SAFETY: the level says that the instruction set is there.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($argument),*) },
                Level::Portable => math::$name::<{ cfg!(target_arch = "aarch64") }>($($argument),*),
            }
        }
    };
}

leveled! {
    /// Exact GELU in place.
    gelu(values: &mut [f32])
}
leveled! {
    /// GELU by its tanh approximation in place.
    gelu_tanh(values: &mut [f32])
}
leveled! {
    /// Softmax of the first `length` values of every row of `stride`.
    softmax(rows: &mut [f32], stride: usize, length: usize)
}
leveled! {
    /// Layer normalisation of every row in place.
    layer_norm(rows: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32)
}
leveled! {
    /// Quantises every row of `depth` values to bytes, `stride` apart, and says how.
    quantize(rows: &[f32], depth: usize, stride: usize, out: &mut [u8], scales: &mut [RowScale])
}
leveled! {
    /// Makes numbers of the sums of a product of bytes and adds the bias.
    scale(sums: &[[i32; PANEL]], rows: &[RowScale], columns: &Columns, target: &mut Target<'_>)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Product = fn(Rows<'_>, usize, &Panels, &mut RowsMut<'_>, Onto);

    fn checked(left: Rows<'_>, count: usize, right: &Panels, out: &mut RowsMut<'_>, onto: Onto) {
        multiply(left, count, right, out, onto).unwrap();
    }

    /// Small integers, so that every order of summation gives the same result.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 + seed * 104_729) % 13) as f32 - 6.0).collect()
    }

    fn reference(left: &[f32], right: &[f32], rows: usize, depth: usize, width: usize) -> Vec<f32> {
        let mut product = Vec::new();
        for row in 0..rows {
            for column in 0..width {
                product.push((0..depth).map(|k| left[row * depth + k] * right[column * depth + k]).sum());
            }
        }
        product
    }

    #[test]
    fn products_of_every_shape_equal_the_definition() {
        for (rows, depth, width) in
            [(1, 1, 1), (2, 5, 31), (11, 32, 32), (13, 7, 33), (25, 40, 70), (40, 3, 96)]
        {
            let (left, right) = (values(rows * depth, 1), values(width * depth, 2));
            let expected = reference(&left, &right, rows, depth, width);
            let panels = Panels::from_columns(&right, depth, width).unwrap();
            let stride = width + 3;
            let left = Rows { data: &left, stride: depth };
            for function in [checked as Product, by_gemm] {
                let mut out = vec![1.0; rows * stride];
                function(left, rows, &panels, &mut RowsMut { data: &mut out, stride }, Onto::Nothing);
                function(left, rows, &panels, &mut RowsMut { data: &mut out, stride }, Onto::Sum);
                for (row, expected) in out.chunks(stride).zip(expected.chunks(width)) {
                    assert!(row.iter().zip(expected).all(|(found, one)| (found - 2.0 * one).abs() < 0.5));
                    assert!(row[width..].iter().all(|padding| (padding - 1.0).abs() < 0.5), "untouched");
                }
            }
        }
    }

    #[test]
    fn rows_laid_out_as_panels_give_the_same_product() {
        let (rows, depth, width) = (5, 9, 41);
        let (left, right) = (values(rows * depth, 3), values(depth * width, 4));
        let columns: Vec<f32> = (0..width)
            .flat_map(|c| (0..depth).map(move |k| (k, c)))
            .map(|(k, c)| right[k * width + c])
            .collect();
        let mut panels = Panels::default();
        panels.set_rows(Rows { data: &right, stride: width }, depth, width).unwrap();
        let mut out = vec![0.0; rows * width];
        let mut target = RowsMut { data: &mut out, stride: width };
        multiply(Rows { data: &left, stride: depth }, rows, &panels, &mut target, Onto::Nothing).unwrap();
        assert_eq!(out, reference(&left, &columns, rows, depth, width));
    }

    #[test]
    fn sizes_that_do_not_fit_are_an_error() {
        let panels = Panels::from_columns(&[1.0; 12], 4, 3).unwrap();
        let (left, mut out) = ([0.0; 8], [0.0; 6]);
        let mut call = |count, stride, out_stride| {
            let mut out = RowsMut { data: &mut out, stride: out_stride };
            multiply(Rows { data: &left, stride }, count, &panels, &mut out, Onto::Sum)
        };
        assert!(call(2, 4, 3).is_ok());
        for (count, stride, out_stride) in
            [(3, 4, 3), (2, 5, 3), (2, 3, 3), (2, 4, 4), (2, 4, 2), (usize::MAX, 4, 3)]
        {
            assert!(call(count, stride, out_stride).is_err(), "{count} {stride} {out_stride}");
        }
        assert!(Panels::from_columns(&[1.0; 11], 4, 3).is_err());
    }
}
