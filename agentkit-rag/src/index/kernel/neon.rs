//! The kernel for aarch64, whose CPUs all have NEON.
#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, vaddq_f32, vaddq_s32, vaddvq_s32, vdupq_n_f32, vdupq_n_s16,
    vdupq_n_s32, vget_high_s16, vget_low_s16, vget_low_u8, vld1q_f32, vld1q_s16, vld1q_u8, vmlal_s16,
    vmovl_high_u8, vmovl_u8, vmulq_f32, vreinterpretq_s16_u16, vst1q_f32, vsubq_s16,
};

use super::{Kernel, LANES, LINE, Line, QueryCodes, fold, rest};

static NEON: Kernel = Kernel {
    name: "neon",
    // SAFETY: here and in the two lines below, NEON is part of every aarch64 target this crate is built for, and
    // `available` has found it.
    dot: |a, b| unsafe { dot_neon(a, b) },
    // SAFETY: as above.
    dots: |query, rows, out| unsafe { dots_neon(query, rows, out) },
    // SAFETY: as above.
    pair: |a, b| unsafe { pair_neon(a, b) },
    prefetch: |_| {},
};

/// The kernel, if this CPU can run it.
pub(super) fn available() -> impl Iterator<Item = &'static Kernel> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&NEON).into_iter()
}

#[target_feature(enable = "neon")]
fn dot_neon(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a_lanes, a_rest) = a.get(..length).unwrap_or_default().as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.get(..length).unwrap_or_default().as_chunks::<LANES>();
    let mut sums: [float32x4_t; 8] = [vdupq_n_f32(0.0); 8];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0)) {
            // SAFETY: both arrays have the 4 elements loaded.
            let (a, b) = unsafe { (vld1q_f32(a.as_ptr()), vld1q_f32(b.as_ptr())) };
            // Not fused: every kernel rounds alike.
            *sum = vaddq_f32(*sum, vmulq_f32(a, b));
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    let mut all = [0.0; 16];
    let folded = [vaddq_f32(s0, s4), vaddq_f32(s1, s5), vaddq_f32(s2, s6), vaddq_f32(s3, s7)];
    for (out, sum) in all.as_chunks_mut::<4>().0.iter_mut().zip(folded) {
        // SAFETY: the array has room for the 4 elements stored.
        unsafe { vst1q_f32(out.as_mut_ptr(), sum) };
    }
    fold(all) + rest(a_rest, b_rest)
}

#[target_feature(enable = "neon")]
fn dots_neon(query: &QueryCodes, rows: &[&[Line]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sum = vdupq_n_s32(0);
        for (row, query) in row.iter().zip(query.wide.as_chunks::<LINE>().0) {
            for (row, query) in row.0.as_chunks::<16>().0.iter().zip(query.as_chunks::<16>().0) {
                let (low, high) = widened(row);
                // SAFETY: the array has 16 numbers; the loads read 0..8 and 8..16.
                let query = unsafe { (vld1q_s16(query.as_ptr()), vld1q_s16(query.as_ptr().add(8))) };
                sum = vaddq_s32(products(sum, low, query.0), products(vdupq_n_s32(0), high, query.1));
            }
        }
        *out = if row.is_empty() { 0 } else { vaddvq_s32(sum).wrapping_sub(query.bias) };
    }
}

#[target_feature(enable = "neon")]
fn pair_neon(a: &[Line], b: &[Line]) -> i32 {
    let bias = vdupq_n_s16(128);
    let mut sum = vdupq_n_s32(0);
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.0.as_chunks::<16>().0.iter().zip(b.0.as_chunks::<16>().0) {
            let ((a_low, a_high), (b_low, b_high)) = (widened(a), widened(b));
            sum = products(sum, vsubq_s16(a_low, bias), vsubq_s16(b_low, bias));
            sum = products(sum, vsubq_s16(a_high, bias), vsubq_s16(b_high, bias));
        }
    }
    vaddvq_s32(sum)
}

/// 16 stored codes as numbers of two bytes, with their bias.
#[target_feature(enable = "neon")]
#[inline]
fn widened(codes: &[u8; 16]) -> (int16x8_t, int16x8_t) {
    // SAFETY: the array has the 16 bytes loaded.
    let codes = unsafe { vld1q_u8(codes.as_ptr()) };
    (vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))), vreinterpretq_s16_u16(vmovl_high_u8(codes)))
}

#[target_feature(enable = "neon")]
#[inline]
fn products(sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
    let sum = vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b));
    vmlal_s16(sum, vget_high_s16(a), vget_high_s16(b))
}
