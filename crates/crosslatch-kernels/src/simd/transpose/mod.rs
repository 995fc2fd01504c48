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

/// As [`transpose`] into rows of `columns` elements without gaps, in whole blocks even where
/// `columns` is no multiple of a block's side: up to seven elements behind the last row may be
/// overwritten, if `to` has them.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn transpose_tight(
    data: &[f32],
    stride: usize,
    columns: usize,
    depth: usize,
    to: &mut [f32],
) {
    if columns == 0 || depth == 0 {
        return;
    }
    assert!(depth * columns <= to.len());
    assert!((columns - 1) * stride + depth <= data.len());
    for k in (0..depth).step_by(SIDE) {
        let steps = SIDE.min(depth - k);
        // What a block writes too much of a row is the beginning of the next row, which the blocks
        // in front of it, or the rows after it, write later.
        for j in (0..columns).step_by(SIDE).rev() {
            let (from, at) = (j * stride + k, k * columns + j);
            let last = SIDE - 1;
            if steps == SIDE
                && from + last * stride + SIDE <= data.len()
                && at + last * columns + SIDE <= to.len()
            {
                // SAFETY: the last element read is `from + 7 * stride + 7`, the last one written
                // `at + 7 * columns + 7`: inside the slices, as has just been checked.
                let is_done = unsafe {
                    machine::block(
                        data.as_ptr().add(from),
                        stride,
                        to.as_mut_ptr().add(at),
                        columns,
                    )
                };
                if is_done {
                    continue;
                }
            }
            for c in 0..SIDE.min(columns - j) {
                for s in 0..steps {
                    to[at + s * columns + c] = data[from + c * stride + s];
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

    #[test]
    fn tight_rows_are_transposed_beside_each_other() {
        let data: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        for (columns, depth, stride) in [
            (1, 1, 1),
            (6, 24, 30),
            (14, 19, 40),
            (14, 40, 71),
            (4, 9, 9),
            (16, 16, 16),
        ] {
            // One after the other, as panels are packed; the last with room behind it and without.
            for room in [0, 3, 20] {
                let mut to = vec![-1.0; 2 * depth * columns + room];
                for panel in 0..2 {
                    let to = &mut to[panel * depth * columns..];
                    transpose_tight(&data[panel..], stride, columns, depth, to);
                }
                for (panel, to) in to.chunks_exact(depth * columns).enumerate().take(2) {
                    for k in 0..depth {
                        for j in 0..columns {
                            let expected = (panel + j * stride + k) as f32;
                            assert_eq!(to[k * columns + j], expected, "{columns} {depth}: {k} {j}");
                        }
                    }
                }
            }
        }
    }
}
