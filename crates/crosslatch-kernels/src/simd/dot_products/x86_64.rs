//! Dot products in AVX2 and AVX-512.

use half::{bf16, f16};

use super::{Dot, portable};
use crate::runtime::instructions::{Feature, features};
use crate::tensor::scaled_rows::ScaledByte;

/// The best loop that the machine has. All slices have the same length.
#[inline]
pub(super) fn dots<W: Dot, const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[W]; COLUMNS],
    ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let features = features();
    if features.has(Feature::Avx512) {
        // SAFETY: the machine has AVX-512, and the lengths are equal.
        unsafe { W::avx512(left, right, ahead) }
    } else if features.has(Feature::Avx2) {
        // SAFETY: the machine has AVX2, FMA and F16C, and the lengths are equal.
        unsafe { W::avx2(left, right, ahead) }
    } else {
        portable::dots(left, right, ahead)
    }
}

/// The loops for an element are those for `f32` with another way to load.
pub(crate) trait Load: Sized {
    /// # Safety
    /// The machine has AVX2, FMA and F16C, and all slices have the same length.
    unsafe fn avx2<const ROWS: usize, const COLUMNS: usize>(
        left: [&[f32]; ROWS],
        right: [&[Self]; COLUMNS],
        ahead: usize,
    ) -> [[f32; COLUMNS]; ROWS];

    /// # Safety
    /// The machine has AVX-512, and all slices have the same length.
    unsafe fn avx512<const ROWS: usize, const COLUMNS: usize>(
        left: [&[f32]; ROWS],
        right: [&[Self]; COLUMNS],
        ahead: usize,
    ) -> [[f32; COLUMNS]; ROWS];
}

/// The loops for an element, in one module for each vector width: `load` brings a vector of `f32`.
macro_rules! loops {
    ($type:ty, $name:ident, avx2 $at:ident => $load:expr, avx512 $at_512:ident => $load_512:expr) => {
        impl Load for $type {
            #[inline(always)]
            unsafe fn avx2<const ROWS: usize, const COLUMNS: usize>(
                left: [&[f32]; ROWS],
                right: [&[$type]; COLUMNS],
                ahead: usize,
            ) -> [[f32; COLUMNS]; ROWS] {
                // SAFETY: passed on to the caller.
                unsafe { $name::avx2::dots(left, right, ahead) }
            }

            #[inline(always)]
            unsafe fn avx512<const ROWS: usize, const COLUMNS: usize>(
                left: [&[f32]; ROWS],
                right: [&[$type]; COLUMNS],
                ahead: usize,
            ) -> [[f32; COLUMNS]; ROWS] {
                // SAFETY: passed on to the caller.
                unsafe { $name::avx512::dots(left, right, ahead) }
            }
        }

        mod $name {
            vector_dots!(avx2, $type, "avx2,fma,f16c", lanes 8,
                _mm256_setzero_ps _mm256_loadu_ps _mm256_fmadd_ps, $at => $load,
                sums => _mm256_add_ps(sums[0], sums[1]));

            vector_dots!(avx512, $type, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", lanes 16,
                _mm512_setzero_ps _mm512_loadu_ps _mm512_fmadd_ps, $at_512 => $load_512,
                sums => _mm256_add_ps(
                    _mm512_castps512_ps256(sums[0]),
                    _mm512_extractf32x8_ps::<1>(sums[0]),
                ));
        }
    };
}

/// One module for a vector width: the same loop in its instructions.
macro_rules! vector_dots {
    ($name:ident, $type:ty, $features:literal, lanes $lanes:literal,
     $zero:ident $load:ident $fused:ident, $at:ident => $load_right:expr, $sum:ident => $fold:expr) => {
        pub mod $name {
            use std::arch::x86_64::*;

            use bytemuck::Zeroable;
            #[allow(unused_imports)]
            use half::{bf16, f16};

            use crate::runtime::prefetch::fetch;
            use crate::simd::dot_products::LANES;
            use crate::simd::x86_64::sums_of_vectors;
            #[allow(unused_imports)]
            use crate::tensor::scaled_rows::ScaledByte;

            const VECTORS: usize = LANES / $lanes;

            /// # Safety
            /// All slices have the same length.
            #[target_feature(enable = $features)]
            pub unsafe fn dots<const ROWS: usize, const COLUMNS: usize>(
                left: [&[f32]; ROWS],
                right: [&[$type]; COLUMNS],
                ahead: usize,
            ) -> [[f32; COLUMNS]; ROWS] {
                let whole = left[0].len() / LANES * LANES;
                let rest = left[0].len() - whole;
                let mut sums = [[[$zero(); VECTORS]; COLUMNS]; ROWS];
                let mut add = |x: [*const f32; ROWS], w: [*const $type; COLUMNS]| {
                    let mut loaded = [[$zero(); VECTORS]; ROWS];
                    for r in 0..ROWS {
                        for v in 0..VECTORS {
                            // SAFETY: below, `LANES` elements lie there.
                            loaded[r][v] = unsafe { $load(x[r].add(v * $lanes)) };
                        }
                    }
                    for c in 0..COLUMNS {
                        for v in 0..VECTORS {
                            // SAFETY: as above.
                            let w = unsafe {
                                let $at = w[c].add(v * $lanes);
                                $load_right
                            };
                            for r in 0..ROWS {
                                sums[r][c][v] = $fused(loaded[r][v], w, sums[r][c][v]);
                            }
                        }
                    }
                };
                let mut k = 0;
                while k < whole {
                    fetch(k, &right, ahead);
                    // `k + LANES <= whole`, which is at most the length of every slice.
                    add(
                        left.map(|x| x.as_ptr().wrapping_add(k)),
                        right.map(|w| w.as_ptr().wrapping_add(k)),
                    );
                    k += LANES;
                }
                if rest > 0 {
                    // Lanes beyond the end get `0 * 0` added, which changes nothing.
                    let (mut x, mut w) =
                        ([[0f32; LANES]; ROWS], [[<$type>::zeroed(); LANES]; COLUMNS]);
                    for (end, slice) in x.iter_mut().zip(left) {
                        end[..rest].copy_from_slice(&slice[whole..]);
                    }
                    for (end, slice) in w.iter_mut().zip(right) {
                        end[..rest].copy_from_slice(&slice[whole..]);
                    }
                    add(
                        x.each_ref().map(|x| x.as_ptr()),
                        w.each_ref().map(|w| w.as_ptr()),
                    );
                }
                let mut results = [[0f32; COLUMNS]; ROWS];
                for r in 0..ROWS {
                    let mut folded = [_mm256_setzero_ps(); COLUMNS];
                    for c in 0..COLUMNS {
                        let $sum = sums[r][c];
                        folded[c] = $fold;
                    }
                    results[r] = sums_of_vectors(folded);
                }
                results
            }
        }
    };
}

loops!(f32, of_f32, avx2 at => _mm256_loadu_ps(at), avx512 at => _mm512_loadu_ps(at));

loops!(bf16, of_bf16,
    avx2 at => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))),
    avx512 at => _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))));

loops!(f16, of_f16,
    avx2 at => _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
    avx512 at => _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())));

loops!(ScaledByte, of_bytes,
    avx2 at => _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))),
    avx512 at => _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))));
