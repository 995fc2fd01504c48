//! Rows of `f32` rounded to 16 bits, for products with int8 weights.
//!
//! One scale for a piece of a row: `x = scale * q`, `scale = max |x| / 32767`. The error is 1/65534 of
//! the largest element, far below that of the weights, so that nothing has to be calibrated; and products
//! of 16 and 8 bits add up exactly in 32-bit integers, in any order, as long as there are not more than
//! [`SAFE`] of them.

use crate::narrow::{largest_magnitude, round_to_bits};
use crate::tile::Strided;
use crate::wide::Wide;

/// As many products cannot overflow a 32-bit sum: 127 · 32767 · 512 is less than 2³¹.
pub(crate) const SAFE: usize = 512;

/// Rounds the first elements of a row into `to`, as many as it has; returns the scale. A piece with an
/// element that is not finite has the scale NaN, which no product with it hides.
#[inline(always)]
pub(crate) fn round_row(row: Strided<'_>, to: &mut [i16]) -> f32 {
    let step = row.column_stride;
    let at = |k: usize| row.data[k * step];
    let largest = match step {
        1 => largest_magnitude(&row.data[..to.len()]),
        _ => (0..to.len())
            .map(|k| largest_magnitude(&[at(k)]))
            .fold(0f32, Wide::larger),
    };
    // Numbers too small to have a factor count as zeros; a scale of NaN makes all sums NaN.
    let (factor, scale) = match 32767.0 / largest {
        factor if factor.is_finite() => (factor, largest / 32767.0),
        factor => (0.0, if factor.is_nan() { factor } else { 0.0 }),
    };
    let rounded = |x: f32| round_to_bits(x * factor) as i16;
    match step {
        1 => {
            for (to, x) in to.iter_mut().zip(row.data) {
                *to = rounded(*x);
            }
        }
        _ => {
            for (k, to) in to.iter_mut().enumerate() {
                *to = rounded(at(k));
            }
        }
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(data: &[f32], column_stride: usize, len: usize) -> (Vec<i16>, f32) {
        let mut to = vec![7; len];
        let row = Strided {
            data,
            row_stride: 1,
            column_stride,
        };
        let scale = round_row(row, &mut to);
        (to, scale)
    }

    #[test]
    fn rounded_rows_are_near_for_any_stride() {
        let row: Vec<f32> = (0..301).map(|i| (i as f32 * 0.7).sin()).collect();
        for (stride, len) in [(1, 301), (1, 0), (1, 17), (3, 100)] {
            let (rounded, scale) = round(&row, stride, len);
            for (k, q) in rounded.iter().enumerate() {
                assert!((row[k * stride] - *q as f32 * scale).abs() <= scale * 0.51);
            }
        }
    }

    #[test]
    fn zeros_have_no_scale_and_what_is_not_finite_is_not_hidden() {
        assert_eq!(round(&[0.0; 9], 1, 9), (vec![0; 9], 0.0));
        assert_eq!(round(&[1e-44; 9], 1, 9).1, 0.0);
        for bad in [f32::NAN, f32::INFINITY] {
            for stride in [1, 2] {
                let mut row = [0.5; 90];
                row[44] = bad;
                assert!(round(&row, stride, 45).1.is_nan());
            }
        }
    }
}
