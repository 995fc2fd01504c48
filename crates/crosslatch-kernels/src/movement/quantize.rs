//! Converting matrices to quantized storage, and rows of them back to `f32`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::{bf16, f16};

use crate::Threads;
use crate::runtime::shared_output::SharedOutput;
use crate::simd::convert::{Half, bf16_to_f32, f32_to_bf16, f32_to_int8, int8_to_f32};
use crate::tensor::quantized::{
    QuantizeError, QuantizedElements, QuantizedMatrix, WeightFormat, scales_bytes,
};

/// Elements that a task converts.
const GRAIN: usize = 1 << 16;

/// The elements of a matrix, row by row, in a type whose values `f32` can hold.
#[derive(Clone, Copy)]
pub enum Unquantized<'a> {
    /// As they are.
    F32(&'a [f32]),
    /// In 16 bits.
    F16(&'a [f16]),
    /// In 16 bits.
    Bf16(&'a [bf16]),
}

impl Unquantized<'_> {
    /// Their number.
    fn len(&self) -> usize {
        match self {
            Unquantized::F32(all) => all.len(),
            Unquantized::F16(all) => all.len(),
            Unquantized::Bf16(all) => all.len(),
        }
    }

    /// These elements in `f32`, in `memory` if they are not stored so.
    fn widened<'m>(&'m self, range: Range<usize>, memory: &'m mut [f32]) -> &'m [f32] {
        let memory = &mut memory[..range.len()];
        match self {
            Unquantized::F32(all) => return &all[range],
            Unquantized::F16(all) => f16::widen_all(&all[range], memory),
            Unquantized::Bf16(all) => bf16::widen_all(&all[range], memory),
        }
        memory
    }
}

/// Stores a matrix of `[rows, columns]`, given row by row, in `to`, which is aligned to 4 bytes and
/// as long as [`WeightFormat::bytes`] says. `passed` is told which elements of `from` have been
/// read, a few rows at a time, so that memory that only held them can be released. Elements of 16
/// bits are widened row by row.
///
/// # Errors
/// If the matrix is too large, or an element has no form in this format; `to` then holds anything.
///
/// # Panics
/// If a slice has another length.
pub fn quantize(
    format: WeightFormat,
    from: Unquantized<'_>,
    [rows, columns]: [usize; 2],
    to: &mut [u8],
    threads: &Threads,
    passed: &(dyn Fn(Range<usize>) + Sync),
) -> Result<(), QuantizeError> {
    assert_eq!(to.len(), format.bytes(rows, columns)?);
    assert_eq!(from.len(), rows * columns);
    if from.len() == 0 {
        return Ok(());
    }
    let each = (GRAIN / columns).max(1);
    let tasks = rows.div_ceil(each);
    let rows_of = |task: usize| task * each..rows.min((task + 1) * each);
    let elements_of = |rows: &Range<usize>| rows.start * columns..rows.end * columns;
    match format {
        WeightFormat::Bf16 => {
            let to = SharedOutput::new(bytemuck::cast_slice_mut::<u8, u16>(to));
            threads.run_with_memory(tasks, &|task, memory| {
                let rows = rows_of(task);
                for row in rows.clone() {
                    // SAFETY: tasks have different rows.
                    let to = unsafe { to.slice(row * columns, columns) };
                    f32_to_bf16(from.widened(elements_of(&(row..row + 1)), memory), to);
                }
                passed(elements_of(&rows));
            });
            Ok(())
        }
        WeightFormat::Int8 => {
            let (scales, elements) = to.split_at_mut(scales_bytes(rows));
            let scales = SharedOutput::new(bytemuck::cast_slice_mut::<u8, f32>(scales));
            let elements = SharedOutput::new(bytemuck::cast_slice_mut::<u8, i8>(elements));
            let all_finite = AtomicBool::new(true);
            threads.run_with_memory(tasks, &|task, memory| {
                let rows = rows_of(task);
                for row in rows.clone() {
                    // SAFETY: tasks have different rows.
                    let scale = unsafe { scales.slice(row, 1) };
                    // SAFETY: as above.
                    let to = unsafe { elements.slice(row * columns, columns) };
                    let from = from.widened(elements_of(&(row..row + 1)), memory);
                    match f32_to_int8(from, to) {
                        Some(s) => scale[0] = s,
                        None => all_finite.store(false, Ordering::Relaxed),
                    }
                }
                passed(elements_of(&rows));
            });
            match all_finite.into_inner() {
                true => Ok(()),
                false => Err(QuantizeError::NotFinite),
            }
        }
    }
}

/// Widens columns `columns` of a row into `to`.
///
/// # Panics
/// If there are no such elements, or `to` has another length.
pub fn dequantize_row(
    matrix: &QuantizedMatrix<'_>,
    row: usize,
    columns: Range<usize>,
    to: &mut [f32],
) {
    assert!(columns.end <= matrix.columns() && to.len() == columns.len());
    let start = row * matrix.columns() + columns.start;
    match matrix.elements() {
        QuantizedElements::Bf16(elements) => bf16_to_f32(&elements[start..][..to.len()], to),
        QuantizedElements::Int8 { scales, rows } => {
            int8_to_f32(&rows[start..][..to.len()], scales[row], to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32)
            .map(|i| ((i ^ seed).wrapping_mul(2654435761) >> 8) as f32 * 1.2e-7 - 1.0)
            .collect()
    }

    #[test]
    fn what_is_stored_is_the_nearest_value_of_the_format() {
        let threads = Threads::new(2);
        for (rows, columns) in [(0, 3), (1, 1), (3, 17), (5, 64), (70, 1000)] {
            let from = numbers(rows * columns, 7);
            for format in [WeightFormat::Bf16, WeightFormat::Int8] {
                let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
                let size = [rows, columns];
                quantize(
                    format,
                    Unquantized::F32(&from),
                    size,
                    to.bytes_mut(),
                    &threads,
                    &|_| {},
                )
                .unwrap();
                let matrix = QuantizedMatrix::new(format, rows, columns, to.bytes()).unwrap();
                let mut values = vec![0f32; columns];
                for i in 0..rows {
                    dequantize_row(&matrix, i, 0..columns, &mut values);
                    let row = &from[i * columns..][..columns];
                    let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
                    for (x, y) in row.iter().zip(&values) {
                        let step = match format {
                            WeightFormat::Bf16 => x.abs() / 256.0,
                            WeightFormat::Int8 => largest / 127.0 / 2.0 * 1.001,
                        };
                        assert!((x - y).abs() <= step, "{format:?}: {x} {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn elements_of_16_bits_are_stored_as_if_they_had_been_widened() {
        let (rows, columns) = (70, 1003);
        let halves: Vec<f16> = numbers(rows * columns, 5)
            .into_iter()
            .map(f16::from_f32)
            .collect();
        let widened: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let store = |from: Unquantized<'_>, threads| {
                let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
                let (size, threads) = ([rows, columns], Threads::new(threads));
                quantize(format, from, size, to.bytes_mut(), &threads, &|_| {}).unwrap();
                to.bytes().to_vec()
            };
            assert!(store(Unquantized::F16(&halves), 2) == store(Unquantized::F32(&widened), 1));
        }
    }

    #[test]
    fn rows_of_zeros_and_of_tiny_numbers_are_zeros_and_infinity_is_refused() {
        let threads = Threads::new(1);
        let format = WeightFormat::Int8;
        let mut to = Storage::zeroed(format.bytes(2, 2).unwrap());
        let tiny = [0.0, 0.0, 1e-44, -1e-44];
        quantize(
            format,
            Unquantized::F32(&tiny),
            [2, 2],
            to.bytes_mut(),
            &threads,
            &|_| {},
        )
        .unwrap();
        let matrix = QuantizedMatrix::new(format, 2, 2, to.bytes()).unwrap();
        let mut values = [1f32; 2];
        for i in 0..2 {
            dequantize_row(&matrix, i, 0..2, &mut values);
            assert_eq!(values, [0.0, 0.0]);
        }
        let bad = [0.0, 1.0, f32::INFINITY, 2.0];
        assert_eq!(
            quantize(
                format,
                Unquantized::F32(&bad),
                [2, 2],
                to.bytes_mut(),
                &threads,
                &|_| {}
            ),
            Err(QuantizeError::NotFinite)
        );
    }
}
