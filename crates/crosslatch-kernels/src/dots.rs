//! Dot products of several slices with several others, side by side.
//!
//! What is loaded is used several times, and enough sums are under way to hide the latency of the
//! addition. Each sum has eight lanes; step `k` goes into lane `k % 8`, and the lanes are added up
//! in one order at the end ([`sum_lanes`]), so that any other loop that keeps to this gives the
//! same bits.

use crate::approximate::multiply_add;
use crate::instructions::has_avx2;
use crate::prefetch::fetch;
use crate::vector::{LANES, sum_lanes};

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
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the machine has AVX2 and FMA, and the lengths are equal.
        return unsafe { avx2(left, right, ahead) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = ahead;
    portable(left, right)
}

/// # Safety
/// All slices have the same length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const ROWS: usize, const COLUMNS: usize>(
    left: [&[f32]; ROWS],
    right: [&[f32]; COLUMNS],
    ahead: usize,
) -> [[f32; COLUMNS]; ROWS] {
    use std::arch::x86_64::*;
    let whole = left[0].len() / LANES * LANES;
    let mut sums = [[_mm256_setzero_ps(); COLUMNS]; ROWS];
    let mut k = 0;
    while k < whole {
        fetch(k, &right, ahead);
        let mut x = [_mm256_setzero_ps(); ROWS];
        for r in 0..ROWS {
            // SAFETY: `k + LANES <= whole`, which is at most the length of every slice.
            x[r] = unsafe { _mm256_loadu_ps(left[r].as_ptr().add(k)) };
        }
        for c in 0..COLUMNS {
            // SAFETY: as above.
            let w = unsafe { _mm256_loadu_ps(right[c].as_ptr().add(k)) };
            for r in 0..ROWS {
                sums[r][c] = _mm256_fmadd_ps(x[r], w, sums[r][c]);
            }
        }
        k += LANES;
    }
    let mut results = [[0f32; COLUMNS]; ROWS];
    let rest = left[0].len() - whole;
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            if rest > 0 {
                // Lanes beyond the end get `0 * 0` added, which changes nothing.
                let (mut x, mut w) = ([0f32; LANES], [0f32; LANES]);
                x[..rest].copy_from_slice(&left[r][whole..]);
                w[..rest].copy_from_slice(&right[c][whole..]);
                // SAFETY: both arrays have `LANES` elements.
                let (x, w) = unsafe { (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(w.as_ptr())) };
                sums[r][c] = _mm256_fmadd_ps(x, w, sums[r][c]);
            }
            // The order of `sum_lanes`.
            let sum = sums[r][c];
            let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
            let two = _mm_hadd_ps(four, four);
            results[r][c] = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
        }
    }
    results
}

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
            *result = sum_lanes(sums);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_the_bits_of_eight_chains() {
        let data: Vec<f32> = (0..400u32)
            .map(|i| ((i * 2654435761) >> 8) as f32 * 1e-7 - 0.8)
            .collect();
        for len in 0..40 {
            let slices = |n: usize| &data[n * 41..][..len];
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
                    assert_eq!(results[r][c].to_bits(), sum_lanes(sums).to_bits());
                    assert!((plain[r][c] - results[r][c]).abs() < 1e-4);
                }
            }
        }
    }
}
