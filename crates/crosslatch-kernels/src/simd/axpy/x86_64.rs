//! Weighted sums of rows in AVX2.

use std::arch::x86_64::*;

use half::bf16;

use super::AxpyElement;
use crate::runtime::instructions::{Feature, has};
use crate::tensor::matrix::Strided;

/// What rows are stored as.
pub(crate) trait Load {
    /// Eight elements, widened.
    ///
    /// # Safety
    /// They lie there, and the machine has AVX2.
    unsafe fn load(at: *const Self) -> __m256;
}

impl Load for f32 {
    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(at) }
    }
}

impl Load for bf16 {
    #[inline(always)]
    unsafe fn load(at: *const bf16) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
}

/// Adds the elements that fill whole vectors; returns how many they are.
///
/// # Safety
/// Rows have at least as many elements as `to`, and there are as many rows as weights.
#[inline]
pub(super) unsafe fn whole_vectors<T: AxpyElement>(
    to: &mut [f32],
    weights: &[f32],
    rows: Strided<'_, T>,
) -> usize {
    match has(Feature::Avx2) && rows.column_stride == 1 {
        // SAFETY: the machine has AVX2 and FMA; the rest is the caller's promise.
        true => unsafe { avx2(to, weights, rows) },
        false => 0,
    }
}

/// The elements that fill whole vectors; returns how many. As many as fit the registers are summed
/// at a time.
///
/// # Safety
/// The rows have at least as many elements as `to`, one after the other, and there are as many rows
/// as weights.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T: AxpyElement>(to: &mut [f32], weights: &[f32], rows: Strided<'_, T>) -> usize {
    let mut done = 0;
    // SAFETY: `done` never passes the end of `to`; the rest is the caller's promise.
    unsafe {
        while to.len() - done >= 64 {
            vectors::<T, 8>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 64;
        }
        while to.len() - done >= 16 {
            vectors::<T, 2>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 16;
        }
        while to.len() - done >= 8 {
            vectors::<T, 1>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 8;
        }
    }
    done
}

/// `N` vectors of each row.
///
/// # Safety
/// `to` has `8 * N` elements, and `rows.add(i * stride)` for each weight number `i`.
#[target_feature(enable = "avx2,fma")]
unsafe fn vectors<T: AxpyElement, const N: usize>(
    to: &mut [f32],
    weights: &[f32],
    rows: *const T,
    stride: usize,
) {
    let mut sums = [_mm256_setzero_ps(); N];
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise on `to`.
        *sum = unsafe { _mm256_loadu_ps(to.as_ptr().add(8 * v)) };
    }
    for (i, weight) in weights.iter().enumerate() {
        if *weight == 0.0 {
            continue;
        }
        let w = _mm256_set1_ps(*weight);
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise on `rows`.
            let row = unsafe { T::load(rows.add(i * stride + 8 * v)) };
            *sum = _mm256_fmadd_ps(w, row, *sum);
        }
    }
    for (v, sum) in sums.iter().enumerate() {
        // SAFETY: the caller's promise on `to`.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(8 * v), *sum) };
    }
}
