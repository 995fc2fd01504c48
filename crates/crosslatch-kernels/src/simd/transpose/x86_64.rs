//! Transposing a block in the registers of AVX2.

use std::arch::x86_64::*;

use super::SIDE;
use crate::runtime::instructions::{Feature, has};

/// Transposes a square block of [`SIDE`], if the machine can do so in registers; whether it can.
/// Rows of `to` are written in their order: where they are closer than eight elements, the later
/// one stays.
///
/// # Safety
/// `from.add(i * from_stride)` and `to.add(i * to_stride)` are eight elements each, for `i < 8`.
#[inline(always)]
pub(super) unsafe fn block(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) -> bool {
    let is_able = has(Feature::Avx2);
    if is_able {
        // SAFETY: the machine has AVX2; the rest is the caller's promise.
        unsafe { avx2(from, from_stride, to, to_stride) };
    }
    is_able
}

/// The block in AVX2: eight rows of eight elements.
///
/// # Safety
/// `from.add(i * from_stride)` and `to.add(i * to_stride)` are eight elements each, for `i < 8`.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    let mut rows = [_mm256_setzero_ps(); SIDE];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *row = unsafe { _mm256_loadu_ps(from.add(i * from_stride)) };
    }
    // Pairs of elements, then fours, then halves change places.
    let mut pairs = rows;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = pairs;
    for h in 0..2 {
        for i in 0..2 {
            let (a, b) = (pairs[4 * h + i], pairs[4 * h + i + 2]);
            fours[4 * h + 2 * i] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[4 * h + 2 * i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    let mut columns = fours;
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    // In this order: rows may be closer to each other than they are long.
    for (i, column) in columns.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to.add(i * to_stride), *column) };
    }
}
