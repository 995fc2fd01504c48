//! A weighted sum of rows, added to a row.

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use half::bf16;

use crate::Element;
use crate::runtime::instructions::is_fused;
use crate::simd::approximate::multiply_add;
use crate::tensor::matrix::Strided;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// What rows are stored as.
pub(crate) trait AxpyElement: Element<Accumulator = f32> + machine::Load {}

impl AxpyElement for f32 {}
impl AxpyElement for bf16 {}

/// `to += sum over i of weights[i] * rows[i]`, one row after the other. Rows with weight 0 are not
/// read.
///
/// # Panics
/// If there are fewer rows than weights, or rows are shorter than `to`.
pub(crate) fn add_weighted_rows<T: AxpyElement>(
    to: &mut [f32],
    weights: &[f32],
    rows: Strided<'_, T>,
) {
    if weights.is_empty() || to.is_empty() {
        return;
    }
    let last = (weights.len() - 1) * rows.row_stride + (to.len() - 1) * rows.column_stride;
    assert!(last < rows.data.len());
    // SAFETY: rows lie inside `rows.data`, as asserted.
    let done = unsafe { machine::whole_vectors(to, weights, rows) };
    let fused = is_fused();
    for (x, y) in to.iter_mut().enumerate().skip(done) {
        for (i, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let value = rows.data[i * rows.row_stride + x * rows.column_stride].widen();
            *y = match fused {
                true => multiply_add::<true>(*weight, value, *y),
                false => multiply_add::<false>(*weight, value, *y),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_do_not_change_a_bit() {
        let (rows, width) = (11, 107);
        let data: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut transposed = vec![0f32; rows * width];
        for i in 0..rows {
            for x in 0..width {
                transposed[x * rows + i] = data[i * width + x];
            }
        }
        let weights: Vec<f32> = (0..rows).map(|i| (i % 4) as f32 * 0.3).collect();
        let (mut a, mut b) = (vec![1f32; width], vec![1f32; width]);
        let straight = Strided {
            data: &data,
            row_stride: width,
            column_stride: 1,
        };
        let across = Strided {
            data: &transposed,
            row_stride: 1,
            column_stride: rows,
        };
        add_weighted_rows(&mut a, &weights, straight);
        add_weighted_rows(&mut b, &weights, across);
        assert_eq!(a, b);
        // Narrow elements give the bits that they give when they are widened.
        let stored: Vec<bf16> = data.iter().map(|x| bf16::from_f32(*x)).collect();
        let widened: Vec<f32> = stored.iter().map(|x| x.to_f32()).collect();
        let (mut c, mut d) = (vec![1f32; width], vec![1f32; width]);
        let stored = Strided {
            data: &stored[..],
            row_stride: width,
            column_stride: 1,
        };
        add_weighted_rows(&mut c, &weights, stored);
        add_weighted_rows(
            &mut d,
            &weights,
            Strided {
                data: &widened,
                ..straight
            },
        );
        assert_eq!(c, d);
        let sum: f32 = (0..rows).map(|i| weights[i] * data[i * width + 3]).sum();
        assert!((a[3] - 1.0 - sum).abs() < 1e-5);
    }
}
