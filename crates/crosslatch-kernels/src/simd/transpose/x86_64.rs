//! Transposing blocks in the registers of AVX2.

use std::arch::x86_64::*;

use super::SIDE;
use crate::runtime::instructions::{Feature, has};

/// Transposes `count` square blocks of [`SIDE`] that lie side by side, below each other, if the
/// machine can do so in registers; whether it can. Rows of `to` are written in their order: where
/// they are closer than eight elements, the later one stays.
///
/// # Safety
/// `from.add(i * from_stride)` is `8 * count` elements for `i < 8`, and `to.add(k * to_stride)` is
/// eight elements for `k < 8 * count`.
#[inline(always)]
pub(super) unsafe fn blocks(
    count: usize,
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) -> bool {
    let is_able = has(Feature::Avx2);
    if is_able {
        // SAFETY: the machine has AVX2; the rest is the caller's promise.
        unsafe { avx2(count, from, from_stride, to, to_stride) };
    }
    is_able
}

/// The blocks in AVX2. Halves change places while they are loaded, which leaves transposing four by
/// four in both halves of a register.
///
/// # Safety
/// As for [`blocks`].
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(count: usize, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    for block in 0..count {
        let (from, to) = (
            from.wrapping_add(block * SIDE),
            to.wrapping_add(block * SIDE * to_stride),
        );
        // Row `i % 4` of both halves, elements of the left half first.
        let mut rows = [_mm256_setzero_ps(); SIDE];
        for (i, row) in rows.iter_mut().enumerate() {
            let from = from.wrapping_add(i % 4 * from_stride + i / 4 * 4);
            // SAFETY: the caller's promise, for this row and the one four below it.
            let halves = unsafe {
                let upper = _mm_loadu_ps(from);
                let lower = _mm_loadu_ps(from.add(4 * from_stride));
                [upper, lower]
            };
            *row = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(halves[0]), halves[1]);
        }
        let mut columns = rows;
        for half in 0..2 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| rows[4 * half + i]);
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            columns[4 * half] = _mm256_shuffle_ps::<0b01_00_01_00>(low, low2);
            columns[4 * half + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low, low2);
            columns[4 * half + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(high, high2);
            columns[4 * half + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(high, high2);
        }
        for (k, column) in columns.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_ps(to.add(k * to_stride), *column) };
        }
    }
}
