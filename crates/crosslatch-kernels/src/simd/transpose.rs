//! Transposing a strip of columns into rows, for packing.

use crate::runtime::instructions::has_avx2;

/// Side of a block that is transposed in registers.
const SIDE: usize = 8;

/// Writes column `j < columns`, whose `depth` elements are `data[j * stride ..]`, to
/// `to[k * width + j]` for all `k`. Other elements of `to` are left alone.
///
/// # Panics
/// If a slice is too short, or `columns > width`.
pub(crate) fn transpose(
    data: &[f32],
    stride: usize,
    columns: usize,
    depth: usize,
    width: usize,
    to: &mut [f32],
) {
    if columns == 0 || depth == 0 {
        return;
    }
    assert!(columns <= width && (depth - 1) * width + columns <= to.len());
    assert!((columns - 1) * stride + depth <= data.len());
    // A few steps of all columns at a time, so that what is written stays in the cache.
    for k in (0..depth).step_by(SIDE) {
        let steps = SIDE.min(depth - k);
        for j in (0..columns).step_by(SIDE) {
            let side = SIDE.min(columns - j);
            let (from, at) = (j * stride + k, k * width + j);
            #[cfg(target_arch = "x86_64")]
            if steps == SIDE && side == SIDE && has_avx2() {
                // SAFETY: the machine has AVX2. The last element read is `(j + 7) * stride + k +
                // 7`, the last one written `(k + 7) * width + j + 7`, with `j + 7 < columns` and
                // `k + 7 < depth`: inside the slices by the assertions above.
                unsafe {
                    block(
                        data.as_ptr().add(from),
                        stride,
                        to.as_mut_ptr().add(at),
                        width,
                    )
                };
                continue;
            }
            for c in 0..side {
                for s in 0..steps {
                    to[at + s * width + c] = data[from + c * stride + s];
                }
            }
        }
    }
}

/// Eight rows of eight elements, transposed.
///
/// # Safety
/// `from.add(i * from_stride)` and `to.add(i * to_stride)` are eight elements each, for `i < 8`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn block(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    let mut rows = [_mm256_setzero_ps(); SIDE];
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *row = unsafe { _mm256_loadu_ps(from.add(i * from_stride)) };
    }
    // Pairs of elements, then fours, then halves change places.
    let mut pairs = rows;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = pairs;
    for h in 0..2 {
        for i in 0..2 {
            let (a, b) = (pairs[4 * h + i], pairs[4 * h + i + 2]);
            fours[4 * h + 2 * i] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[4 * h + 2 * i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    for i in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_stride), low);
            _mm256_storeu_ps(to.add((i + 4) * to_stride), high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_edges_are_transposed() {
        let data: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        for (columns, depth, stride, width) in [
            (1, 1, 1, 1),
            (16, 24, 30, 16),
            (13, 19, 40, 16),
            (8, 8, 8, 8),
            (7, 30, 31, 32),
            (0, 4, 1, 8),
        ] {
            let mut to = vec![-1.0; depth * width];
            transpose(&data, stride, columns, depth, width, &mut to);
            for k in 0..depth {
                for j in 0..width {
                    let expected = if j < columns {
                        (j * stride + k) as f32
                    } else {
                        -1.0
                    };
                    assert_eq!(to[k * width + j], expected, "{columns} {depth}: {k} {j}");
                }
            }
        }
    }
}
