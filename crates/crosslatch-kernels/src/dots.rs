//! Dot products of several slices with several others, side by side.
//!
//! What is loaded is used several times, and enough sums are under way to hide the latency of the
//! addition. Each sum has sixteen lanes; step `k` goes into lane `k % 16`, and the lanes are added up
//! in one order at the end ([`sum`]), so that any other loop that keeps to this gives the
//! same bits.

use crate::approximate::multiply_add;
use crate::instructions::{Instructions, instructions};
use crate::prefetch::fetch;
use crate::vector::sum_lanes;

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
pub(crate) fn dots<const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[f32]; COLUMNS],
    ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let len = left[0].len();
    for slice in left.iter().chain(&right) {
        assert_eq!(slice.len(), len);
    }
    match instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has AVX-512, and the lengths are equal.
        Instructions::Avx512 => unsafe { avx512::dots(left, right, ahead) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has AVX2 and FMA, and the lengths are equal.
        Instructions::Avx2 => unsafe { avx2::dots(left, right, ahead) },
        _ => portable(left, right),
    }
}

/// One module for each vector width: the same loop in its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_dots {
    ($name:ident, $features:literal, lanes $lanes:literal,
     $zero:ident $load:ident $fused:ident, $sum:ident => $fold:expr) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{LANES, fetch};
            use crate::vector::sums_of_vectors;

            const VECTORS: usize = LANES / $lanes;

            /// # Safety
            /// All slices have the same length.
            #[target_feature(enable = $features)]
            pub unsafe fn dots<const ROWS: usize, const COLUMNS: usize>(
                left: [&[f32]; ROWS],
                right: [&[f32]; COLUMNS],
                ahead: usize,
            ) -> [[f32; COLUMNS]; ROWS] {
                let whole = left[0].len() / LANES * LANES;
                let rest = left[0].len() - whole;
                let mut sums = [[[$zero(); VECTORS]; COLUMNS]; ROWS];
                let mut add = |x: [*const f32; ROWS], w: [*const f32; COLUMNS]| {
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
                            let w = unsafe { $load(w[c].add(v * $lanes)) };
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
                    let end = |slice: &[f32]| {
                        let mut end = [0f32; LANES];
                        end[..rest].copy_from_slice(&slice[whole..]);
                        end
                    };
                    let (left, right) = (left.map(end), right.map(end));
                    add(
                        left.each_ref().map(|x| x.as_ptr()),
                        right.each_ref().map(|w| w.as_ptr()),
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
vector_dots!(avx2, "avx2,fma", lanes 8, _mm256_setzero_ps _mm256_loadu_ps _mm256_fmadd_ps,
    sums => _mm256_add_ps(sums[0], sums[1]));

#[cfg(target_arch = "x86_64")]
vector_dots!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", lanes 16,
_mm512_setzero_ps _mm512_loadu_ps _mm512_fmadd_ps,
sums => _mm256_add_ps(
    _mm512_castps512_ps256(sums[0]),
    _mm512_extractf32x8_ps::<1>(sums[0]),
));

fn portable<const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[f32]; COLUMNS],
) -> [[f32; COLUMNS]; ROWS] {
    let mut results = [[0f32; COLUMNS]; ROWS];
    for (row, x) in results.iter_mut().zip(left) {
        for (result, w) in row.iter_mut().zip(right) {
            let mut sums = [0f32; LANES];
            for (x, w) in x.chunks(LANES).zip(w.chunks(LANES)) {
                for ((s, x), w) in sums.iter_mut().zip(x).zip(w) {
                    *s = multiply_add::<false>(*x, *w, *s);
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
    use crate::instructions::has_avx2;

    #[test]
    fn every_length_gives_the_bits_of_sixteen_chains() {
        let data: Vec<f32> = (0..400u32)
            .map(|i| ((i * 2654435761) >> 8) as f32 * 1e-7 - 0.8)
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
        }
    }
}
