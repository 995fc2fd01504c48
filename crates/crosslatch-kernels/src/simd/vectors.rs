//! Vector arithmetic on slices of `f32`: reductions and maps of rows.
//!
//! Each is written once, portably, and compiled for each instruction set.

use crate::runtime::instructions::multiversion;
use crate::simd::approximate::{exp, multiply_add};

/// Partial sums of a sum.
pub(crate) const LANES: usize = 8;

/// Sum of eight lanes in a fixed order.
#[inline(always)]
pub(crate) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

multiversion! {
    /// `y = y * factor`.
    pub fn scale(y: &mut [f32], factor: f32), scale_portable
}

#[inline(always)]
fn scale_portable<const FUSED: bool>(y: &mut [f32], factor: f32) {
    for y in y {
        *y *= factor;
    }
}

multiversion! {
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

multiversion! {
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

multiversion! {
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

multiversion! {
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

multiversion! {
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

    #[test]
    fn sums_and_maxima_agree_with_plain_loops_at_odd_sizes() {
        for n in [0, 1, 7, 8, 9, 31, 32, 33, 63, 200] {
            let x: Vec<f32> = (0..n as u32)
                .map(|i| ((i * 37 + 101) % 61) as f32 / 15.0 - 2.0)
                .collect();
            let plain: f64 = x.iter().map(|x| *x as f64).sum();
            assert!((sum(&x) as f64 - plain).abs() < 1e-4);
            assert!((sum_portable::<false>(&x) as f64 - plain).abs() < 1e-4);
            let greatest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&x), greatest);
        }
    }
}
