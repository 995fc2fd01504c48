//! Weighted sums of rows, added to rows: several sums of the same rows with different weights.

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use half::bf16;

use crate::Element;
use crate::runtime::instructions::is_fused;
use crate::simd::approximate::multiply_add;
use crate::tensor::matrix::Strided;
use crate::tensor::scaled_rows::ScaledByte;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// What rows are stored as.
pub(crate) trait AxpyElement: Copy + machine::Load {
    /// The element in `f32`.
    fn wide(self) -> f32;
}

impl AxpyElement for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl AxpyElement for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.widen()
    }
}

/// Without the scale of its row.
impl AxpyElement for ScaledByte {
    #[inline(always)]
    fn wide(self) -> f32 {
        self.0 as f32
    }
}

/// `to[n] += sum over i of weights[n][i] * rows[i]`, one row after the other. A row is not added
/// where its weight is 0, nor read where all its weights are. Each sum has the bits that it has
/// alone.
///
/// # Panics
/// If the sums are not equally long, or do not have equally many weights, or if there are fewer rows
/// than weights, or rows are shorter than the sums.
pub(crate) fn add_weighted_rows<T: AxpyElement, const N: usize>(
    mut to: [&mut [f32]; N],
    weights: [&[f32]; N],
    rows: Strided<'_, T>,
) {
    let (len, count) = (to[0].len(), weights[0].len());
    assert!(to.iter().all(|to| to.len() == len) && weights.iter().all(|w| w.len() == count));
    if count == 0 || len == 0 {
        return;
    }
    let last = (count - 1) * rows.row_stride + (len - 1) * rows.column_stride;
    assert!(last < rows.data.len());
    // SAFETY: rows lie inside `rows.data`, as asserted.
    let done = unsafe { machine::whole_vectors(&mut to, weights, rows) };
    let fused = is_fused();
    for (to, weights) in to.into_iter().zip(weights) {
        for (x, y) in to.iter_mut().enumerate().skip(done) {
            for (i, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                let value = rows.data[i * rows.row_stride + x * rows.column_stride].wide();
                *y = match fused {
                    true => multiply_add::<true>(*weight, value, *y),
                    false => multiply_add::<false>(*weight, value, *y),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that lie one after the other.
    fn straight<T>(data: &[T], width: usize) -> Strided<'_, T> {
        Strided {
            data,
            row_stride: width,
            column_stride: 1,
        }
    }

    fn one<T: AxpyElement>(weights: &[f32], rows: Strided<'_, T>, width: usize) -> Vec<f32> {
        let mut to = vec![1f32; width];
        add_weighted_rows([&mut to], [weights], rows);
        to
    }

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
        let across = Strided {
            data: &transposed[..],
            row_stride: 1,
            column_stride: rows,
        };
        let a = one(&weights, straight(&data, width), width);
        assert_eq!(a, one(&weights, across, width));
        // Narrow elements give the bits that they give when they are widened.
        let stored: Vec<bf16> = data.iter().map(|x| bf16::from_f32(*x)).collect();
        let widened: Vec<f32> = stored.iter().map(|x| x.to_f32()).collect();
        assert_eq!(
            one(&weights, straight(&stored, width), width),
            one(&weights, straight(&widened, width), width)
        );
        let stored: Vec<ScaledByte> = data.iter().map(|x| ScaledByte((x * 127.0) as i8)).collect();
        let widened: Vec<f32> = stored.iter().map(|x| x.wide()).collect();
        assert_eq!(
            one(&weights, straight(&stored, width), width),
            one(&weights, straight(&widened, width), width)
        );
        let sum: f32 = (0..rows).map(|i| weights[i] * data[i * width + 3]).sum();
        assert!((a[3] - 1.0 - sum).abs() < 1e-5);
    }

    #[test]
    fn several_sums_are_each_as_alone() {
        fn check<const N: usize>(rows: usize, width: usize) {
            let mut data: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.3).cos()).collect();
            data[width / 2] = f32::INFINITY;
            let weights: [Vec<f32>; N] = std::array::from_fn(|n| {
                // The first row counts in the first sum only, the third in none.
                let weight = |i: usize| match i {
                    0 if n > 0 => 0.0,
                    2 => 0.0,
                    _ => ((i * 7 + n) % 5) as f32 * 0.2,
                };
                (0..rows).map(weight).collect()
            });
            let mut together: [Vec<f32>; N] = std::array::from_fn(|_| vec![1f32; width]);
            add_weighted_rows(
                together.each_mut().map(Vec::as_mut_slice),
                weights.each_ref().map(Vec::as_slice),
                straight(&data, width),
            );
            for (sum, weights) in together.iter().zip(&weights) {
                let alone = one(weights, straight(&data, width), width);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(sum), bits(&alone));
            }
            assert!(together[1..].iter().flatten().all(|x| x.is_finite()));
        }
        for (rows, width) in [(3, 1), (4, 16), (17, 64), (9, 107), (30, 200)] {
            check::<2>(rows, width);
            check::<3>(rows, width);
            check::<5>(rows, width);
        }
    }
}
