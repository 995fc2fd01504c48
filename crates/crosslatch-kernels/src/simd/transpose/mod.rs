//! Transposing a strip of columns into rows, for packing.

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

/// Side of a block that is transposed in registers.
const SIDE: usize = 8;

/// Writes column `j < columns`, whose `depth` elements are `data[j * stride ..]`, to `to[k * width
/// + j]` for all `k`. Other elements of `to` are left alone.
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
            if steps == SIDE && side == SIDE {
                // SAFETY: the last element read is `(j + 7) * stride + k + 7`, the last one written
                // `(k + 7) * width + j + 7`, with `j + 7 < columns` and `k + 7 < depth`: inside the
                // slices by the assertions above.
                let is_done = unsafe {
                    machine::block(
                        data.as_ptr().add(from),
                        stride,
                        to.as_mut_ptr().add(at),
                        width,
                    )
                };
                if is_done {
                    continue;
                }
            }
            for c in 0..side {
                for s in 0..steps {
                    to[at + s * width + c] = data[from + c * stride + s];
                }
            }
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
