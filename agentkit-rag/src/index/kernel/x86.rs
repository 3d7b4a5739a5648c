//! The kernels for x86-64: AVX-512 with VNNI, and AVX2.
//!
//! VNNI multiplies unsigned with signed bytes. Rows are stored unsigned, so they are used as they are; a query comes as
//! two signed bytes a component, high and low, whose dot products are put together in the end. All integer sums
//! wrap, and the true result fits, so nothing saturates and nothing is lost.
#![expect(unsafe_code, reason = "instructions that not every x86-64 CPU has, and loads through pointers")]

use std::arch::x86_64::{
    __m256, __m256i, __m512i, _MM_HINT_T0, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_prefetch,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_storeu_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_reduce_add_epi32,
    _mm512_set1_epi8, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_storeu_ps,
    _mm512_sub_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::{Kernel, LANES, LINE, Line, QueryCodes, fold, rest};

static AVX512: Kernel = Kernel {
    name: "avx512-vnni",
    // SAFETY: here and in the two lines below, this table is handed out by `available` alone, which has found
    // AVX-512 F and VNNI on this CPU.
    dot: |a, b| unsafe { dot_avx512(a, b) },
    // SAFETY: as above.
    dots: |query, rows, out| unsafe { dots_avx512(query, rows, out) },
    // SAFETY: as above.
    pair: |a, b| unsafe { pair_avx512(a, b) },
    prefetch,
};

static AVX2: Kernel = Kernel {
    name: "avx2",
    // SAFETY: here and in the two lines below, this table is handed out by `available` alone, which has found
    // AVX2 on this CPU.
    dot: |a, b| unsafe { dot_avx2(a, b) },
    // SAFETY: as above.
    dots: |query, rows, out| unsafe { dots_avx2(query, rows, out) },
    // SAFETY: as above.
    pair: |a, b| unsafe { pair_avx2(a, b) },
    prefetch,
};

/// The kernels this CPU can run, fastest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernel> {
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
    let avx2 = is_x86_feature_detected!("avx2");
    avx512.then_some(&AVX512).into_iter().chain(avx2.then_some(&AVX2))
}

fn prefetch(row: &[Line]) {
    for line in row {
        // SAFETY: every x86-64 CPU has SSE, and a prefetch reads nothing the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast()) };
    }
}

#[target_feature(enable = "avx512f")]
fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = common(a, b).as_chunks::<LANES>();
    let (b_lanes, b_rest) = common(b, a).as_chunks::<LANES>();
    let (mut low, mut high) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        let (a, b) = (a.as_ptr(), b.as_ptr());
        // SAFETY: both arrays have 32 elements; the loads read 0..16 and 16..32 and need no alignment.
        let products = unsafe {
            (
                _mm512_mul_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b)),
                _mm512_mul_ps(_mm512_loadu_ps(a.add(16)), _mm512_loadu_ps(b.add(16))),
            )
        };
        low = _mm512_add_ps(low, products.0);
        high = _mm512_add_ps(high, products.1);
    }
    let mut sums = [0.0; 16];
    // SAFETY: the array has room for the 16 elements stored.
    unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_add_ps(low, high)) };
    fold(sums) + rest(a_rest, b_rest)
}

#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = common(a, b).as_chunks::<LANES>();
    let (b_lanes, b_rest) = common(b, a).as_chunks::<LANES>();
    let mut sums = [_mm256_setzero_ps(); 4];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0)) {
            // SAFETY: both arrays have the 8 elements loaded; the loads need no alignment.
            let product: __m256 =
                unsafe { _mm256_mul_ps(_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
            *sum = _mm256_add_ps(*sum, product);
        }
    }
    let [s0, s1, s2, s3] = sums;
    let mut sums = [[0.0; 8]; 2];
    for (out, sum) in sums.iter_mut().zip([_mm256_add_ps(s0, s2), _mm256_add_ps(s1, s3)]) {
        // SAFETY: the array has room for the 8 elements stored.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
    }
    let mut all = [0.0; 16];
    all.copy_from_slice(sums.as_flattened());
    fold(all) + rest(a_rest, b_rest)
}

/// As much of `a` as `b` is long.
fn common<'a>(a: &'a [f32], b: &[f32]) -> &'a [f32] {
    a.get(..a.len().min(b.len())).unwrap_or_default()
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn dots_avx512(query: &QueryCodes, rows: &[&[Line]], out: &mut [i32]) {
    let (fours, rest) = rows.as_chunks::<4>();
    let (places, _) = out.as_chunks_mut::<4>();
    for (at, (four, place)) in fours.iter().zip(places).enumerate() {
        if let Some(later) = fours.get(at + 2) {
            for row in later {
                prefetch(row);
            }
        }
        *place = four_dots_avx512(query, four);
    }
    for (row, place) in rest.iter().zip(out.iter_mut().skip(4 * fours.len())) {
        *place = four_dots_avx512(query, &[row, &[], &[], &[]])[0];
    }
}

/// Four rows share the loads of the query, and the sums across their lanes.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn four_dots_avx512(query: &QueryCodes, rows: &[&[Line]; 4]) -> [i32; 4] {
    let low = sums_avx512(&query.low, rows);
    let sums = if query.high.is_empty() {
        low
    } else {
        let mut high = sums_avx512(&query.high, rows);
        for (high, low) in high.iter_mut().zip(low) {
            *high = _mm512_add_epi32(_mm512_slli_epi32::<7>(*high), low);
        }
        high
    };
    let mut sums = across(sums);
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum = if row.is_empty() { 0 } else { sum.wrapping_sub(query.bias) };
    }
    sums
}

/// The products of signed bytes with each row, lane by lane.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn sums_avx512(query: &[Line], rows: &[&[Line]; 4]) -> [__m512i; 4] {
    let mut sums = [_mm512_setzero_si512(); 4];
    let [a, b, c, d] = rows;
    if rows.iter().all(|row| row.len() == query.len()) {
        for ((((query, a), b), c), d) in query.iter().zip(*a).zip(*b).zip(*c).zip(*d) {
            let query = load(query);
            for (row, sum) in [a, b, c, d].into_iter().zip(&mut sums) {
                *sum = _mm512_dpbusd_epi32(*sum, load(row), query);
            }
        }
    } else {
        for (row, sum) in rows.iter().zip(&mut sums) {
            for (row, query) in row.iter().zip(query) {
                *sum = _mm512_dpbusd_epi32(*sum, load(row), load(query));
            }
        }
    }
    sums
}

/// The sum of the 16 lanes of each.
#[target_feature(enable = "avx512f")]
#[inline]
fn across([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
    let halves = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (ab, cd) = (halves(a, b), halves(c, d));
    let each = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let two = _mm256_add_epi32(_mm512_castsi512_si256(each), _mm512_extracti64x4_epi64::<1>(each));
    let one = _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two));
    let mut sums = [0; 4];
    // SAFETY: the array has room for the 4 numbers stored; the store needs no alignment.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), one) };
    sums
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn pair_avx512(a: &[Line], b: &[Line]) -> i32 {
    let bias = _mm512_set1_epi8(i8::MIN);
    let (mut sum, mut biased) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (a, b) in a.iter().zip(b) {
        // Flipping the top bit takes the bias of 128 away.
        let b = _mm512_xor_si512(load(b), bias);
        sum = _mm512_dpbusd_epi32(sum, load(a), b);
        // As an unsigned byte the bias is 128.
        biased = _mm512_dpbusd_epi32(biased, bias, b);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, biased))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 readable bytes at an address that is a multiple of 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
}

#[target_feature(enable = "avx2")]
fn dots_avx2(query: &QueryCodes, rows: &[&[Line]], out: &mut [i32]) {
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(later) = rows.get(at + 6) {
            prefetch(later);
        }
        let mut sums = [_mm256_setzero_si256(); 2];
        for (row, query) in row.iter().zip(query.wide.as_chunks::<LINE>().0) {
            let parts = row.0.as_chunks::<16>().0.iter().zip(query.as_chunks::<16>().0);
            for (at, (row, query)) in parts.enumerate() {
                let [even, odd] = &mut sums;
                let sum = if at % 2 == 0 { even } else { odd };
                // SAFETY: the array has the 16 numbers of two bytes loaded; the load needs no alignment.
                let query = unsafe { _mm256_loadu_si256(query.as_ptr().cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(widened(row), query));
            }
        }
        let [even, odd] = sums;
        *out = if row.is_empty() { 0 } else { reduce(_mm256_add_epi32(even, odd)).wrapping_sub(query.bias) };
    }
}

#[target_feature(enable = "avx2")]
fn pair_avx2(a: &[Line], b: &[Line]) -> i32 {
    let mut sum = _mm256_setzero_si256();
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.0.as_chunks::<16>().0.iter().zip(b.0.as_chunks::<16>().0) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(unbiased(a), unbiased(b)));
        }
    }
    reduce(sum)
}

/// 16 stored codes as numbers of two bytes, with their bias.
#[target_feature(enable = "avx2")]
#[inline]
fn widened(codes: &[u8; 16]) -> __m256i {
    // SAFETY: the array has the 16 bytes loaded; the load needs no alignment.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}

/// 16 codes as numbers of two bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn unbiased(codes: &[u8; 16]) -> __m256i {
    let signed = codes.map(|code| code ^ 0x80);
    // SAFETY: the array has the 16 bytes loaded; the load needs no alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(signed.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
#[inline]
fn reduce(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}
