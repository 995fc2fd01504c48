//! Vector arithmetic on slices of `f32`: the inner loops that everything fast ends in.
//!
//! Each is written once, portably, and compiled for each set of vector instructions.

use crate::runtime::instructions::compiled;
use crate::simd::approximate::{exp, multiply_add};

/// Partial sums that a sum is made of.
pub(crate) const LANES: usize = 8;

/// Sum of eight lanes in a fixed order.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// As [`sum_lanes`], of several vectors at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn sums_of_vectors<const N: usize>(vectors: [std::arch::x86_64::__m256; N]) -> [f32; N] {
    use std::arch::x86_64::*;
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

compiled! {
    /// Dot product of two slices of equal length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32, dot_portable
}

#[inline(always)]
fn dot_portable<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    // Four chains of vectors hide the latency of the addition.
    let mut sums = [[0f32; LANES]; 4];
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (blocks_a, rest_a) = a.as_chunks::<{ 4 * LANES }>();
    let (blocks_b, rest_b) = b.as_chunks::<{ 4 * LANES }>();
    for (x, y) in blocks_a.iter().zip(blocks_b) {
        for (c, sum) in sums.iter_mut().enumerate() {
            for (i, s) in sum.iter_mut().enumerate() {
                *s = multiply_add::<FUSED>(x[c * LANES + i], y[c * LANES + i], *s);
            }
        }
    }
    let (blocks_a, rest_a) = rest_a.as_chunks::<LANES>();
    let (blocks_b, rest_b) = rest_b.as_chunks::<LANES>();
    for (x, y) in blocks_a.iter().zip(blocks_b) {
        for (i, s) in sums[0].iter_mut().enumerate() {
            *s = multiply_add::<FUSED>(x[i], y[i], *s);
        }
    }
    let mut total = [0f32; LANES];
    for (i, t) in total.iter_mut().enumerate() {
        *t = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
    }
    let mut tail = 0.0;
    for (x, y) in rest_a.iter().zip(rest_b) {
        tail = multiply_add::<FUSED>(*x, *y, tail);
    }
    sum_lanes(total) + tail
}

compiled! {
    /// `y += scale * x`, for slices of equal length.
    pub fn add_scaled(y: &mut [f32], x: &[f32], scale: f32), add_scaled_portable
}

#[inline(always)]
fn add_scaled_portable<const FUSED: bool>(y: &mut [f32], x: &[f32], scale: f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = multiply_add::<FUSED>(*x, scale, *y);
    }
}

compiled! {
    /// `y = x * scale`.
    pub fn scale(y: &mut [f32], factor: f32), scale_portable
}

#[inline(always)]
fn scale_portable<const FUSED: bool>(y: &mut [f32], factor: f32) {
    for y in y {
        *y *= factor;
    }
}

compiled! {
    /// The greatest element; minus infinity for none. A NaN may be passed over.
    pub fn max(x: &[f32]) -> f32, max_portable
}

#[inline(always)]
fn max_portable<const FUSED: bool>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (m, v) in lanes.iter_mut().zip(block) {
            *m = if *v > *m { *v } else { *m };
        }
    }
    lanes
        .into_iter()
        .chain(rest.iter().copied())
        .fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
}

compiled! {
    /// `x = exp(x - shift)`; returns the sum. Relative error below 3e-7; NaN stays NaN.
    pub fn exp_and_sum(x: &mut [f32], shift: f32) -> f32, exp_and_sum_portable
}

#[inline(always)]
fn exp_and_sum_portable<const FUSED: bool>(x: &mut [f32], shift: f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        for (v, s) in block.iter_mut().zip(&mut sums) {
            *v = exp::<FUSED>(*v - shift);
            *s += *v;
        }
    }
    let mut tail = 0.0;
    for v in rest {
        *v = exp::<FUSED>(*v - shift);
        tail += *v;
    }
    sum_lanes(sums) + tail
}

compiled! {
    /// Sum of all elements.
    pub fn sum(x: &[f32]) -> f32, sum_portable
}

#[inline(always)]
fn sum_portable<const FUSED: bool>(x: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (s, v) in sums.iter_mut().zip(block) {
            *s += v;
        }
    }
    sum_lanes(sums) + rest.iter().sum::<f32>()
}

compiled! {
    /// Sum of the squares of the distances from `mean`.
    pub fn square_sum(x: &[f32], mean: f32) -> f32, square_sum_portable
}

#[inline(always)]
fn square_sum_portable<const FUSED: bool>(x: &[f32], mean: f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (s, v) in sums.iter_mut().zip(block) {
            *s = multiply_add::<FUSED>(*v - mean, *v - mean, *s);
        }
    }
    sum_lanes(sums) + rest.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>()
}

compiled! {
    /// `x = (x - mean) * factor * weight + bias`, for slices of equal length.
    pub fn normalize(x: &mut [f32], mean: f32, factor: f32, weight: &[f32], bias: &[f32]), normalize_portable
}

#[inline(always)]
fn normalize_portable<const FUSED: bool>(
    x: &mut [f32],
    mean: f32,
    factor: f32,
    weight: &[f32],
    bias: &[f32],
) {
    for ((x, w), b) in x.iter_mut().zip(weight).zip(bias) {
        *x = multiply_add::<FUSED>((*x - mean) * factor, *w, *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 10] = [0, 1, 7, 8, 9, 31, 32, 33, 63, 200];

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| ((i * 37 + seed * 101) % 61) as f32 / 15.0 - 2.0)
            .collect()
    }

    #[test]
    fn products_and_sums_agree_with_plain_loops_at_odd_sizes() {
        for n in SIZES {
            let (a, b) = (numbers(n, 1), numbers(n, 2));
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| *x as f64 * *y as f64).sum();
            assert!((dot(&a, &b) as f64 - plain).abs() < 1e-4);
            assert!((dot_portable::<false>(&a, &b) as f64 - plain).abs() < 1e-4);
            let mut y = b.clone();
            add_scaled(&mut y, &a, 0.5);
            for i in 0..n {
                assert!((y[i] - (b[i] + 0.5 * a[i])).abs() < 1e-6);
            }
            let greatest = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&a), greatest);
        }
    }
}
