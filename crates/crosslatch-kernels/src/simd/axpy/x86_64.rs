//! Weighted sums of rows in AVX2 and AVX-512.

use std::arch::x86_64::*;

use half::bf16;

use super::AxpyElement;
use crate::runtime::instructions::{Feature, features};
use crate::tensor::matrix::Strided;
use crate::tensor::scaled_rows::ScaledByte;

/// What rows are stored as.
pub(crate) trait Load {
    /// Eight elements, widened.
    ///
    /// # Safety
    /// They lie there, and the machine has AVX2.
    unsafe fn eight(at: *const Self) -> __m256;

    /// Sixteen elements, widened.
    ///
    /// # Safety
    /// They lie there, and the machine has AVX-512.
    unsafe fn sixteen(at: *const Self) -> __m512;
}

/// How an element is widened, in each vector width.
macro_rules! load {
    ($type:ty, $at:ident => $eight:expr, $sixteen:expr) => {
        impl Load for $type {
            #[inline]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn eight($at: *const $type) -> __m256 {
                // SAFETY: the caller's promise.
                unsafe { $eight }
            }

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn sixteen($at: *const $type) -> __m512 {
                // SAFETY: the caller's promise.
                unsafe { $sixteen }
            }
        }
    };
}

load!(f32, at => _mm256_loadu_ps(at), _mm512_loadu_ps(at));

load!(bf16, at =>
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))),
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))));

load!(ScaledByte, at =>
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))),
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))));

/// Adds the elements that fill whole vectors; returns how many they are.
///
/// # Safety
/// Rows have at least as many elements as each of `to`, which are equally long, and there are as
/// many rows as each has weights.
#[inline]
pub(super) unsafe fn whole_vectors<T: AxpyElement, const N: usize>(
    to: &mut [&mut [f32]; N],
    weights: [&[f32]; N],
    rows: Strided<'_, T>,
) -> usize {
    let features = features();
    if rows.column_stride != 1 {
        0
    } else if features.has(Feature::Avx512) {
        // SAFETY: the machine has AVX-512; the rest is the caller's promise.
        unsafe { avx512::whole(to, weights, rows) }
    } else if features.has(Feature::Avx2) {
        // SAFETY: the machine has AVX2 and FMA; the rest is the caller's promise.
        unsafe { avx2::whole(to, weights, rows) }
    } else {
        0
    }
}

/// One module for a vector width. Registers hold `$alone` vectors of one sum, `$some` of each of two,
/// and `$many` of each of more.
macro_rules! weighted_rows {
    ($name:ident, $features:literal, lanes $lanes:literal, at once $alone:literal $some:literal $many:literal,
     $zero:ident $load_sum:ident $load:ident $set:ident $fused:ident $store:ident) => {
        mod $name {
            use super::*;

            /// # Safety
            /// As for [`whole_vectors`], with rows whose elements lie one after the other.
            #[target_feature(enable = $features)]
            pub unsafe fn whole<T: AxpyElement, const N: usize>(
                to: &mut [&mut [f32]; N],
                weights: [&[f32]; N],
                rows: Strided<'_, T>,
            ) -> usize {
                // SAFETY: passed on to the caller.
                unsafe {
                    let done = match N {
                        1 => pieces::<T, N, $alone>(0, to, weights, rows),
                        2 => pieces::<T, N, $some>(0, to, weights, rows),
                        _ => pieces::<T, N, $many>(0, to, weights, rows),
                    };
                    pieces::<T, N, 1>(done, to, weights, rows)
                }
            }

            /// Adds from element `done` on, `V` vectors of each sum at a time; returns where it
            /// stopped because fewer are left.
            ///
            /// # Safety
            /// As for [`whole`].
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn pieces<T: AxpyElement, const N: usize, const V: usize>(
                mut done: usize,
                to: &mut [&mut [f32]; N],
                weights: [&[f32]; N],
                rows: Strided<'_, T>,
            ) -> usize {
                while to[0].len() - done >= $lanes * V {
                    let mut sums = [[$zero(); V]; N];
                    for (sums, to) in sums.iter_mut().zip(&*to) {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: `done` and as many elements are not beyond the end.
                            *sum = unsafe { $load_sum(to.as_ptr().add(done + $lanes * v)) };
                        }
                    }
                    for i in 0..weights[0].len() {
                        let factors: [f32; N] = std::array::from_fn(|n| weights[n][i]);
                        if factors.iter().all(|factor| *factor == 0.0) {
                            continue;
                        }
                        let mut row = [$zero(); V];
                        for (v, row) in row.iter_mut().enumerate() {
                            let at = i * rows.row_stride + done + $lanes * v;
                            // SAFETY: the row has as many elements as a sum.
                            *row = unsafe { T::$load(rows.data.as_ptr().add(at)) };
                        }
                        for n in 0..N {
                            if factors[n] != 0.0 {
                                let factor = $set(factors[n]);
                                for v in 0..V {
                                    sums[n][v] = $fused(factor, row[v], sums[n][v]);
                                }
                            }
                        }
                    }
                    for (sums, to) in sums.iter().zip(&mut *to) {
                        for (v, sum) in sums.iter().enumerate() {
                            // SAFETY: as above.
                            unsafe { $store(to.as_mut_ptr().add(done + $lanes * v), *sum) };
                        }
                    }
                    done += $lanes * V;
                }
                done
            }
        }
    };
}

weighted_rows!(avx2, "avx2,fma", lanes 8, at once 8 4 2,
    _mm256_setzero_ps _mm256_loadu_ps eight _mm256_set1_ps _mm256_fmadd_ps _mm256_storeu_ps);

weighted_rows!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", lanes 16, at once 4 4 4,
    _mm512_setzero_ps _mm512_loadu_ps sixteen _mm512_set1_ps _mm512_fmadd_ps _mm512_storeu_ps);
