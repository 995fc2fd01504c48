//! Quantized activations: rows of `f32` in fewer bits, for products with quantized weights.
//!
//! Integers have one scale for a piece of a row: `x = scale * q`, `scale = max |x| / limit`.
//!
//! * *16 bits*, limit 32767: the error is 1/65534 of the largest element, far below that of int8
//!   weights. Products of 16 and 8 bits add up exactly in 32-bit integers, in any order, as long as
//!   there are not more than [`SAFE`] of them.
//! * *8 bits*, limit 127: the error is about that of int8 weights. For instructions that take one
//!   side without a sign, 128 is added.
//!
//! *bf16* needs no scale.

use crate::simd::convert::{largest_magnitude, round_to_bits, to_bf16};
use crate::tensor::arithmetic::Accumulate;
use crate::tensor::matrix::Strided;

/// As many products cannot overflow a 32-bit sum: 127 · 32767 · 512 is less than 2³¹.
pub(crate) const SAFE: usize = 512;

/// What is added to a number of 8 bits.
pub(crate) const BYTE_OFFSET: u8 = 128;

/// Quantizes the first elements of a row into `to`, as many as it has, and returns the scale. A
/// piece with an element that is not finite has the scale NaN, which no product with it hides.
#[inline(always)]
pub(crate) fn quantize_row(row: Strided<'_>, to: &mut [i16]) -> f32 {
    quantize_row_to(row, to, 32767.0, |bits| bits as i16)
}

/// As [`quantize_row`], to 8 bits with [`BYTE_OFFSET`] added.
#[inline(always)]
pub(crate) fn quantize_row_to_bytes(row: Strided<'_>, to: &mut [u8]) -> f32 {
    quantize_row_to(row, to, 127.0, |bits| {
        (bits as u8).wrapping_add(BYTE_OFFSET)
    })
}

/// As [`quantize_row`], to 8 bits with a sign.
#[inline(always)]
pub(crate) fn quantize_row_to_signed_bytes(row: Strided<'_>, to: &mut [i8]) -> f32 {
    quantize_row_to(row, to, 127.0, |bits| bits as i8)
}

#[inline(always)]
fn quantize_row_to<T>(row: Strided<'_>, to: &mut [T], limit: f32, short: impl Fn(u32) -> T) -> f32 {
    let largest = match row.column_stride {
        1 => largest_magnitude(&row.data[..to.len()]),
        step => (0..to.len())
            .map(|k| largest_magnitude(&[row.data[k * step]]))
            .fold(0f32, Accumulate::max_or_nan),
    };
    // Numbers too small to have a factor count as zeros; a scale of NaN makes all sums NaN.
    let (factor, scale) = match limit / largest {
        factor if factor.is_finite() => (factor, largest / limit),
        factor => (0.0, if factor.is_nan() { factor } else { 0.0 }),
    };
    map_row(row, to, |x| short(round_to_bits(x * factor)));
    scale
}

/// Rounds the first elements of a row to bf16, as many as `to` has.
#[inline(always)]
pub(crate) fn round_row_to_bf16(row: Strided<'_>, to: &mut [u16]) {
    map_row(row, to, to_bf16);
}

/// The values of a function of the first elements of a row, as many as `to` has.
#[inline(always)]
pub(crate) fn map_row<T>(row: Strided<'_>, to: &mut [T], f: impl Fn(f32) -> T) {
    match row.column_stride {
        1 => {
            for (to, x) in to.iter_mut().zip(row.data) {
                *to = f(*x);
            }
        }
        step => {
            for (k, to) in to.iter_mut().enumerate() {
                *to = f(row.data[k * step]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(data: &[f32], column_stride: usize) -> Strided<'_> {
        Strided {
            data,
            row_stride: 1,
            column_stride,
        }
    }

    fn round(data: &[f32], column_stride: usize, len: usize) -> (Vec<i16>, f32) {
        let mut to = vec![7; len];
        let scale = quantize_row(row_of(data, column_stride), &mut to);
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
            let mut bytes = vec![7; len];
            let scale = quantize_row_to_bytes(row_of(&row, stride), &mut bytes);
            for (k, q) in bytes.iter().enumerate() {
                let near = (*q as f32 - BYTE_OFFSET as f32) * scale;
                assert!((row[k * stride] - near).abs() <= scale * 0.51);
            }
            let mut signed = vec![7; len];
            assert_eq!(
                quantize_row_to_signed_bytes(row_of(&row, stride), &mut signed),
                scale
            );
            for (q, byte) in signed.iter().zip(&bytes) {
                assert_eq!(*q as i32 + BYTE_OFFSET as i32, *byte as i32);
            }
            let mut halves = vec![7; len];
            round_row_to_bf16(row_of(&row, stride), &mut halves);
            for (k, q) in halves.iter().enumerate() {
                assert_eq!(*q, half::bf16::from_f32(row[k * stride]).to_bits());
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
