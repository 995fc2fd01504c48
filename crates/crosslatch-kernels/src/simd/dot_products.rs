//! Dot products of several slices with several others, side by side.
//!
//! What is loaded is used several times, and enough sums are under way to hide the latency of the
//! addition. Each sum has sixteen lanes; step `k` goes into lane `k % 16`, and the lanes are added up
//! in one order at the end ([`sum`]), so that any other loop that keeps to this gives the
//! same bits.

use half::bf16;

use crate::Element;
use crate::runtime::instructions::{Instructions, instructions};
use crate::runtime::prefetch::fetch;
use crate::simd::approximate::multiply_add;
use crate::simd::vectors::sum_lanes;

/// Partial sums of a dot product.
pub(crate) const LANES: usize = 16;

/// Sum of the lanes: those of the upper half are added to those of the lower one.
#[inline(always)]
pub(crate) fn sum(lanes: [f32; LANES]) -> f32 {
    sum_lanes(std::array::from_fn(|i| lanes[i] + lanes[i + LANES / 2]))
}

/// The dot product of each left slice with each right one; all must be equally long. What lies `ahead`
/// elements behind each right slice will be wanted next; 0 if nothing is known.
///
/// # Panics
/// If they are not.
#[inline]
pub(crate) fn dots<W: Right, const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[W]; COLUMNS],
    ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let len = left[0].len();
    for slice in left {
        assert_eq!(slice.len(), len);
    }
    for slice in right {
        assert_eq!(slice.len(), len);
    }
    match instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has AVX-512, and the lengths are equal.
        Instructions::Avx512 => unsafe { W::avx512(left, right, ahead) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has AVX2 and FMA, and the lengths are equal.
        Instructions::Avx2 => unsafe { W::avx2(left, right, ahead) },
        _ => portable(left, right),
    }
}

/// What the right side of a dot product is stored as. The loops for an element are those for `f32` with
/// another way to load, so the bits are those that the widened elements give.
pub(crate) trait Right: Element<Wide = f32> {
    /// # Safety
    /// The machine has AVX2 and FMA, and all slices have the same length.
    #[cfg(target_arch = "x86_64")]
    unsafe fn avx2<const ROWS: usize, const COLUMNS: usize>(
        left: [&[f32]; ROWS],
        right: [&[Self]; COLUMNS],
        ahead: usize,
    ) -> [[f32; COLUMNS]; ROWS];

    /// # Safety
    /// The machine has AVX-512, and all slices have the same length.
    #[cfg(target_arch = "x86_64")]
    unsafe fn avx512<const ROWS: usize, const COLUMNS: usize>(
        left: [&[f32]; ROWS],
        right: [&[Self]; COLUMNS],
        ahead: usize,
    ) -> [[f32; COLUMNS]; ROWS];
}

/// The loops for an element, in one module for each vector width: `load` brings a vector of `f32`.
#[cfg(target_arch = "x86_64")]
macro_rules! right {
    ($type:ty, $name:ident, avx2 $at:ident => $load:expr, avx512 $at_512:ident => $load_512:expr) => {
        impl Right for $type {
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
            vector_dots!(avx2, $type, "avx2,fma", lanes 8,
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
#[cfg(target_arch = "x86_64")]
macro_rules! vector_dots {
    ($name:ident, $type:ty, $features:literal, lanes $lanes:literal,
     $zero:ident $load:ident $fused:ident, $at:ident => $load_right:expr, $sum:ident => $fold:expr) => {
        pub mod $name {
            use std::arch::x86_64::*;

            use bytemuck::Zeroable;
            #[allow(unused_imports)]
            use half::bf16;

            use crate::simd::dot_products::{LANES, fetch};
            use crate::simd::vectors::sums_of_vectors;

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

#[cfg(target_arch = "x86_64")]
right!(f32, of_f32, avx2 at => _mm256_loadu_ps(at), avx512 at => _mm512_loadu_ps(at));

#[cfg(target_arch = "x86_64")]
right!(bf16, of_bf16,
    avx2 at => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))),
    avx512 at => _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))));

#[cfg(not(target_arch = "x86_64"))]
impl Right for f32 {}

#[cfg(not(target_arch = "x86_64"))]
impl Right for bf16 {}

fn portable<W: Right, const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[W]; COLUMNS],
) -> [[f32; COLUMNS]; ROWS] {
    let mut results = [[0f32; COLUMNS]; ROWS];
    for (row, x) in results.iter_mut().zip(left) {
        for (result, w) in row.iter_mut().zip(right) {
            let mut sums = [0f32; LANES];
            for (x, w) in x.chunks(LANES).zip(w.chunks(LANES)) {
                for ((s, x), w) in sums.iter_mut().zip(x).zip(w) {
                    *s = multiply_add::<false>(*x, w.widen(), *s);
                }
            }
            *result = sum(sums);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::instructions::has_avx2;

    #[test]
    fn every_length_gives_the_bits_of_sixteen_chains() {
        let data: Vec<f32> = (0..400u32)
            .map(|i| (i.wrapping_mul(2654435761) >> 8) as f32 * 1e-7 - 0.8)
            .collect();
        for len in 0..70 {
            let slices = |n: usize| &data[n * 71..][..len];
            let left: [&[f32]; 3] = [slices(0), slices(1), slices(2)];
            let right: [&[f32]; 2] = [slices(3), slices(4)];
            let results = dots(left, right, 3);
            let plain = portable(left, right);
            for r in 0..3 {
                for c in 0..2 {
                    let mut sums = [0f32; LANES];
                    for k in 0..len {
                        let s = sums[k % LANES];
                        sums[k % LANES] = match has_avx2() {
                            true => multiply_add::<true>(left[r][k], right[c][k], s),
                            false => multiply_add::<false>(left[r][k], right[c][k], s),
                        };
                    }
                    assert_eq!(results[r][c].to_bits(), sum(sums).to_bits());
                    assert!((plain[r][c] - results[r][c]).abs() < 1e-4);
                }
            }
            // Narrow elements give the bits that they give when they are widened.
            let narrow: Vec<bf16> = data.iter().map(|x| bf16::from_f32(*x)).collect();
            let wide: Vec<f32> = narrow.iter().map(|x| x.to_f32()).collect();
            let at = 3 * 71 + 1;
            assert_eq!(
                dots(left, [&narrow[at..][..len]], 0),
                dots(left, [&wide[at..][..len]], 0)
            );
        }
    }
}
