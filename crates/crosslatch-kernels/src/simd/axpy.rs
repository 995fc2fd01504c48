//! A weighted sum of rows, added to a row.

use half::bf16;

use crate::Element;
use crate::matmul::microkernel::tile::Strided;
use crate::runtime::instructions::has_avx2;
use crate::simd::approximate::multiply_add;

/// `to += sum over i of weights[i] * rows[i]`, one row after the other. Rows with weight 0 are not
/// read.
///
/// # Panics
/// If there are fewer rows than weights, or rows are shorter than `to`.
pub(crate) fn add_weighted_rows<T: Row>(to: &mut [f32], weights: &[f32], rows: Strided<'_, T>) {
    if weights.is_empty() || to.is_empty() {
        return;
    }
    let last = (weights.len() - 1) * rows.row_stride + (to.len() - 1) * rows.column_stride;
    assert!(last < rows.data.len());
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if has_avx2() && rows.column_stride == 1 {
        // SAFETY: the machine has AVX2 and FMA; rows lie inside `rows.data`, as asserted.
        done = unsafe { avx2(to, weights, rows) };
    }
    let fused = has_avx2();
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

/// What rows are stored as.
pub(crate) trait Row: Element<Wide = f32> {
    /// Eight elements, widened.
    ///
    /// # Safety
    /// They lie there, and the machine has AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load(at: *const Self) -> std::arch::x86_64::__m256;
}

impl Row for f32 {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(at: *const f32) -> std::arch::x86_64::__m256 {
        // SAFETY: the caller's promise.
        unsafe { std::arch::x86_64::_mm256_loadu_ps(at) }
    }
}

impl Row for bf16 {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(at: *const bf16) -> std::arch::x86_64::__m256 {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
}

/// The elements that fill whole vectors; returns how many. As many as fit the registers are summed
/// at a time.
///
/// # Safety
/// The rows have at least as many elements as `to`, one after the other, and there are as many
/// rows as weights.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T: Row>(to: &mut [f32], weights: &[f32], rows: Strided<'_, T>) -> usize {
    let mut done = 0;
    // SAFETY: `done` never passes the end of `to`; the rest is the caller's promise.
    unsafe {
        while to.len() - done >= 64 {
            vectors::<T, 8>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 64;
        }
        while to.len() - done >= 16 {
            vectors::<T, 2>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 16;
        }
        while to.len() - done >= 8 {
            vectors::<T, 1>(
                &mut to[done..],
                weights,
                rows.data.as_ptr().add(done),
                rows.row_stride,
            );
            done += 8;
        }
    }
    done
}

/// `N` vectors of each row.
///
/// # Safety
/// `to` has `8 * N` elements, and `rows.add(i * stride)` for each weight number `i`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn vectors<T: Row, const N: usize>(
    to: &mut [f32],
    weights: &[f32],
    rows: *const T,
    stride: usize,
) {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_ps(); N];
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise on `to`.
        *sum = unsafe { _mm256_loadu_ps(to.as_ptr().add(8 * v)) };
    }
    for (i, weight) in weights.iter().enumerate() {
        if *weight == 0.0 {
            continue;
        }
        let w = _mm256_set1_ps(*weight);
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise on `rows`.
            let row = unsafe { T::load(rows.add(i * stride + 8 * v)) };
            *sum = _mm256_fmadd_ps(w, row, *sum);
        }
    }
    for (v, sum) in sums.iter().enumerate() {
        // SAFETY: the caller's promise on `to`.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(8 * v), *sum) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_do_not_change_a_bit() {
        let (rows, width) = (11, 107);
        let data: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut turned = vec![0f32; rows * width];
        for i in 0..rows {
            for x in 0..width {
                turned[x * rows + i] = data[i * width + x];
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
            data: &turned,
            row_stride: 1,
            column_stride: rows,
        };
        add_weighted_rows(&mut a, &weights, straight);
        add_weighted_rows(&mut b, &weights, across);
        assert_eq!(a, b);
        // Narrow elements give the bits that they give when they are widened.
        let narrow: Vec<bf16> = data.iter().map(|x| bf16::from_f32(*x)).collect();
        let wide: Vec<f32> = narrow.iter().map(|x| x.to_f32()).collect();
        let (mut c, mut d) = (vec![1f32; width], vec![1f32; width]);
        let stored = Strided {
            data: &narrow[..],
            row_stride: width,
            column_stride: 1,
        };
        add_weighted_rows(&mut c, &weights, stored);
        add_weighted_rows(
            &mut d,
            &weights,
            Strided {
                data: &wide,
                ..straight
            },
        );
        assert_eq!(c, d);
        let sum: f32 = (0..rows).map(|i| weights[i] * data[i * width + 3]).sum();
        assert!((a[3] - 1.0 - sum).abs() < 1e-5);
    }
}
