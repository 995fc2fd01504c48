//! Pieces of loops on x86-64 that several kernels are written with.

use std::arch::x86_64::*;

/// The sums of the lanes of several vectors, each in the order of
/// [`sum_lanes`](crate::simd::vectors::sum_lanes).
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn sums_of_vectors<const N: usize>(vectors: [__m256; N]) -> [f32; N] {
    let mut sums = [0f32; N];
    for (sums, vectors) in sums.chunks_mut(4).zip(vectors.chunks(4)) {
        // Lanes `i` and `i + 4`, then neighbours, then neighbours again.
        let four = |i: usize| {
            let vector = vectors[i.min(vectors.len() - 1)];
            _mm_add_ps(
                _mm256_castps256_ps128(vector),
                _mm256_extractf128_ps::<1>(vector),
            )
        };
        let two = [_mm_hadd_ps(four(0), four(1)), _mm_hadd_ps(four(2), four(3))];
        let mut one = [0f32; 4];
        // SAFETY: as many elements as a vector has.
        unsafe { _mm_storeu_ps(one.as_mut_ptr(), _mm_hadd_ps(two[0], two[1])) };
        sums.copy_from_slice(&one[..sums.len()]);
    }
    sums
}

/// Products of the bf16 in each lane, added to the lane.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
pub(crate) fn dot_bf16(sum: __m512, x: __m512i, w: __m512i) -> __m512 {
    // SAFETY: both types are 512 bits in which any bits are right.
    let words = |v| unsafe { std::mem::transmute::<__m512i, __m512bh>(v) };
    _mm512_dpbf16_ps(sum, words(x), words(w))
}
