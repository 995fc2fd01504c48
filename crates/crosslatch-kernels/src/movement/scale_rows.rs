//! Storing rows of `f32` as bytes with a scale for each row, and reading them back.

use crate::runtime::shared_output::SharedOutput;
use crate::simd::convert::f32_to_int8;
use crate::tensor::matrix::{Matrices, Strided, matrix_offset};
use crate::tensor::scaled_rows::{SCALE_BYTES, ScaledByte, scale};
use crate::{TensorMut, TensorRef, Threads};

/// Elements that a task converts.
const GRAIN: usize = 1 << 14;

/// Fills `to`, `[…, rows, columns + 4]` of `i8`, with [scaled rows](crate::tensor::scaled_rows):
/// those of `from`, `[…, rows, columns]` of `f32`. The bytes of a row of `to` lie one after the
/// other.
///
/// # Panics
/// If the shapes do not fit together, or a row of `to` does not lie so.
pub fn scale_rows(to: &mut TensorMut<'_>, from: &TensorRef<'_>, threads: &Threads) {
    let layout = to.layout();
    let rank = layout.rank();
    let (rows, columns) = (from.shape()[rank - 2], from.shape()[rank - 1]);
    assert_eq!(layout.shape[..rank - 1], from.shape()[..rank - 1]);
    assert!(layout.shape[rank - 1] == columns + SCALE_BYTES && layout.strides[rank - 1] == 1);
    let batches: usize = layout.shape[..rank - 2].iter().product();
    let each = (GRAIN / columns.max(1)).max(1);
    let pieces = rows.div_ceil(each);
    let source = Matrices {
        data: from.data::<f32>(),
        layout: from.layout(),
    };
    let bytes = SharedOutput::new(to.data::<i8>());
    threads.run_with_memory(batches * pieces, &|task, memory| {
        let (batch, first) = (task / pieces, task % pieces * each);
        let (matrix, start) = (source.at(batch), matrix_offset(layout, batch));
        for row in first..rows.min(first + each) {
            let at = start + row * layout.strides[rank - 2];
            // SAFETY: a row is done by one task, and the layout does not overlap itself.
            let to = unsafe { bytes.slice(at, columns + SCALE_BYTES) };
            let (elements, scale) = to.split_at_mut(columns);
            let quantized = |row: Strided<'_>, memory: &mut [f32], elements: &mut [i8]| {
                if row.column_stride == 1 {
                    return f32_to_int8(&row.data[..columns], elements);
                }
                let gathered = &mut memory[..columns];
                for (x, to) in gathered.iter_mut().enumerate() {
                    *to = row.data[x * row.column_stride];
                }
                f32_to_int8(gathered, elements)
            };
            let stored = match columns {
                0 => Some(0.0),
                _ => quantized(matrix.from(row, 0), memory, elements),
            };
            if stored.is_none() {
                elements.fill(0);
            }
            let stored = stored.unwrap_or(f32::NAN).to_ne_bytes();
            scale.copy_from_slice(bytemuck::cast_slice(&stored));
        }
    });
}

/// Fills `to`, contiguous `[…, rows, columns]` of `f32`, with the values of [scaled
/// rows](crate::tensor::scaled_rows), `from`, `[…, rows, columns + 4]` of `i8` with any strides.
///
/// # Panics
/// If the shapes do not fit together, or `to` is not contiguous.
pub fn unscale_rows(to: &mut TensorMut<'_>, from: &TensorRef<'_>, threads: &Threads) {
    let layout = from.layout();
    let rank = layout.rank();
    let (rows, columns) = (to.shape()[rank - 2], to.shape()[rank - 1]);
    assert_eq!(layout.shape[..rank - 1], to.shape()[..rank - 1]);
    assert_eq!(layout.shape[rank - 1], columns + SCALE_BYTES);
    assert!(to.layout().is_contiguous());
    let stored = from.data::<i8>();
    let batches: usize = layout.shape[..rank - 2].iter().product();
    let each = (GRAIN / columns.max(1)).max(1);
    let pieces = rows.div_ceil(each);
    let start = to.layout().offset;
    let elements = SharedOutput::new(to.data::<f32>());
    threads.run(batches * pieces, &|task| {
        let (batch, first) = (task / pieces, task % pieces * each);
        for row in first..rows.min(first + each) {
            let at = matrix_offset(layout, batch) + row * layout.strides[rank - 2];
            let byte = |column: usize| ScaledByte(stored[at + column * layout.strides[rank - 1]]);
            let scale = scale(
                &std::array::from_fn::<_, SCALE_BYTES, _>(|i| byte(columns + i)),
                0,
            );
            // SAFETY: a row is done by one task, and rows of a contiguous tensor do not overlap.
            let to = unsafe { elements.slice(start + (batch * rows + row) * columns, columns) };
            for (column, to) in to.iter_mut().enumerate() {
                *to = f32::from(byte(column).0) * scale;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout, Storage};

    #[test]
    fn rows_are_near_what_they_were_wherever_they_lie() {
        for (heads, rows, columns) in [(1, 1, 1), (2, 5, 7), (3, 300, 64), (2, 0, 4), (2, 3, 0)] {
            let x: Vec<f32> = (0..heads * rows * columns)
                .map(|i| (i as f32 * 0.37).sin() * (1 + i % 5) as f32)
                .collect();
            // Heads before positions, and the other way round, and elements far apart.
            let straight = Layout::contiguous(&[heads, rows, columns]);
            let mixed = Layout::contiguous(&[rows, heads, columns]).transpose(0, 1);
            let across = Layout::contiguous(&[heads, columns, rows]).transpose(1, 2);
            let room = Layout::contiguous(&[heads, rows + 2, columns + SCALE_BYTES]);
            let part = room.slice(1, 1, rows, 1);
            for layout in [straight, mixed, across] {
                let mut stored = Storage::zeroed(room.numel());
                let from = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&x)).unwrap();
                let mut to = TensorMut::new(DType::I8, &part, stored.bytes_mut()).unwrap();
                scale_rows(&mut to, &from, &Threads::new(2));
                let values = from.to_vec::<f32>();
                let mut back = Storage::zeroed(values.len() * 4);
                let straight = Layout::contiguous(&[heads, rows, columns]);
                unscale_rows(
                    &mut TensorMut::new(DType::F32, &straight, back.bytes_mut()).unwrap(),
                    &TensorRef::new(DType::I8, &part, stored.bytes()).unwrap(),
                    &Threads::new(2),
                );
                let back: &[f32] = bytemuck::cast_slice(back.bytes());
                let bytes: &[ScaledByte] = bytemuck::cast_slice(stored.bytes());
                for (i, row) in values.chunks(columns.max(1)).enumerate() {
                    let at = (i / rows * (rows + 2) + 1 + i % rows) * (columns + SCALE_BYTES);
                    let scale = scale(&bytes[at..], columns);
                    let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let back = &back[i * columns..];
                    for ((x, byte), back) in row.iter().zip(&bytes[at..]).zip(back) {
                        assert_eq!(*back, byte.0 as f32 * scale);
                        let error = (x - back).abs();
                        assert!(error <= largest / 127.0 * 0.501, "{x} {byte:?} {scale}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_zeros_are_zeros_and_what_is_not_finite_makes_its_row_nan() {
        let x = [0.0, 0.0, 1.0, f32::INFINITY, f32::NAN, 2.0, 3.0, -3.0];
        let (lx, lt) = (
            Layout::contiguous(&[4, 2]),
            Layout::contiguous(&[4, 2 + SCALE_BYTES]),
        );
        let mut stored = Storage::zeroed(lt.numel());
        scale_rows(
            &mut TensorMut::new(DType::I8, &lt, stored.bytes_mut()).unwrap(),
            &TensorRef::new(DType::F32, &lx, bytemuck::cast_slice(&x)).unwrap(),
            &Threads::new(1),
        );
        let rows: Vec<&[ScaledByte]> = bytemuck::cast_slice(stored.bytes()).chunks(6).collect();
        assert!(rows[0].iter().all(|byte| byte.0 == 0));
        assert!(scale(rows[1], 2).is_nan() && scale(rows[2], 2).is_nan());
        assert_eq!((rows[3][0].0, rows[3][1].0), (127, -127));
        assert_eq!(scale(rows[3], 2), 3.0 / 127.0);
    }
}
