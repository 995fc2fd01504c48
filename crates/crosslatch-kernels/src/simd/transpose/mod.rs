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
    for j in (0..columns).step_by(SIDE) {
        let side = SIDE.min(columns - j);
        let mut done = 0;
        if side == SIDE {
            let count = depth / SIDE;
            // SAFETY: the last element read is `(j + 7) * stride + 8 * count - 1`, the last one
            // written `(8 * count - 1) * width + j + 7`, with `j + 7 < columns` and `8 * count <=
            // depth`: inside the slices by the assertions above.
            let is_done = unsafe {
                let (from, to) = (data.as_ptr().add(j * stride), to.as_mut_ptr().add(j));
                machine::blocks(count, from, stride, to, width)
            };
            done = if is_done { count * SIDE } else { 0 };
        }
        for k in done..depth {
            for c in j..j + side {
                to[k * width + c] = data[c * stride + k];
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
    // What a block writes too much of a row is the beginning of the next row, which the blocks in
    // front of it, or that row's own, write later.
    for j in (0..columns).step_by(SIDE).rev() {
        // As many as there is memory for, to read and to write whole blocks.
        let readable = data.len().saturating_sub((j + SIDE - 1) * stride);
        let writable = (to.len() + columns).saturating_sub(j + SIDE) / columns;
        let count = depth.min(readable).min(writable) / SIDE;
        // SAFETY: the last element read is `(j + 7) * stride + 8 * count - 1`, the last one written
        // `(8 * count - 1) * columns + j + 7`; both counts have been chosen so that they exist.
        let is_done = count > 0
            && unsafe {
                let (from, to) = (data.as_ptr().add(j * stride), to.as_mut_ptr().add(j));
                machine::blocks(count, from, stride, to, columns)
            };
        for k in if is_done { count * SIDE } else { 0 }..depth {
            for c in j..columns.min(j + SIDE) {
                to[k * columns + c] = data[c * stride + k];
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
