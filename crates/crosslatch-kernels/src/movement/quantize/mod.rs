//! Converting matrices to quantized storage, and rows of them back to `f32`.

mod int4;
mod outliers;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use half::{bf16, f16};

use int4::f32_to_int4;
use outliers::{Outliers, SAMPLED};

use crate::Threads;
use crate::runtime::shared_output::SharedOutput;
use crate::simd::convert::{Half, bf16_to_f32, f32_to_bf16, f32_to_int8, int8_to_f32, loses_most};
use crate::simd::nibbles::unpack;
use crate::tensor::int4::{BLOCK_BYTES, GROUPS, blocks};
use crate::tensor::quantized::{
    QuantizeError, QuantizedElements, QuantizedMatrix, WeightFormat, factors_bytes, scales_bytes,
};
use crate::tensor::wide_columns::wide_columns_mut;

/// Elements of an int4 row that are looked up at a time.
const PIECE: usize = 512;

/// The matrix is refused if more than one in so many rows loses most of its elements.
const FEW: usize = 16;

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

    /// A copy of these elements in `f32`, in `memory`.
    fn copied<'m>(&self, range: Range<usize>, memory: &'m mut [f32]) -> &'m mut [f32] {
        let memory = &mut memory[..range.len()];
        match self {
            Unquantized::F32(all) => memory.copy_from_slice(&all[range]),
            Unquantized::F16(all) => f16::widen_all(&all[range], memory),
            Unquantized::Bf16(all) => bf16::widen_all(&all[range], memory),
        }
        memory
    }

    /// These elements in `f32`, in `memory` if they are not stored so.
    fn widened<'m>(&'m self, range: Range<usize>, memory: &'m mut [f32]) -> &'m [f32] {
        match self {
            Unquantized::F32(all) => &all[range],
            _ => self.copied(range, memory),
        }
    }
}

/// How a matrix is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Rounding<'a> {
    /// The format.
    pub format: WeightFormat,
    /// The columns that are stored in `f32` beside integers, in ascending order, at most
    /// [`MOST_WIDE`](crate::tensor::MOST_WIDE).
    pub wide: &'a [u32],
}

impl From<WeightFormat> for Rounding<'_> {
    fn from(format: WeightFormat) -> Self {
        Rounding { format, wide: &[] }
    }
}

/// The columns of a matrix beside which the others would be lost if all were rounded to integers, in
/// ascending order; few or none.
pub fn outlying_columns(from: Unquantized<'_>, [rows, columns]: [usize; 2]) -> Vec<u32> {
    let (mut outliers, mut memory) = (Outliers::new(columns), vec![0f32; columns]);
    for row in (0..rows).step_by(rows.div_ceil(SAMPLED).max(1)) {
        outliers.look(from.widened(row * columns..(row + 1) * columns, &mut memory));
    }
    outliers.columns()
}

/// Stores a row, and says whether the format holds all its elements.
type StoreRow<'a> = dyn Fn(usize, &[f32]) -> Result<(), QuantizeError> + Sync + 'a;

/// Stores a matrix of `[rows, columns]`, given row by row, in `to`, which is aligned to 4 bytes and
/// as long as [`WeightFormat::bytes_with_wide`] says. `passed` is told which elements of `from` have been
/// read, a few rows at a time, so that memory that only held them can be released. Elements of 16
/// bits are widened row by row.
///
/// # Errors
/// If the matrix is too large, an element has no form in this format, or many rows lose most of
/// their elements to a few others; `to` then holds anything.
///
/// # Panics
/// If a slice has another length.
pub fn quantize<'r>(
    rounding: impl Into<Rounding<'r>>,
    from: Unquantized<'_>,
    [rows, columns]: [usize; 2],
    to: &mut [u8],
    threads: &Threads,
    passed: &(dyn Fn(Range<usize>) + Sync),
) -> Result<(), QuantizeError> {
    let Rounding { format, wide } = rounding.into();
    assert_eq!(to.len(), format.bytes_with_wide(rows, columns, wide.len())?);
    assert_eq!(from.len(), rows * columns);
    if from.len() == 0 {
        return Ok(());
    }
    let each = (GRAIN / columns).max(1);
    let elements_of = |rows: &Range<usize>| rows.start * columns..rows.end * columns;
    let (to, behind) = to.split_at_mut(format.bytes(rows, columns)?);
    let wide_values = match wide {
        [] => &mut [],
        _ => wide_columns_mut(
            wide,
            &mut behind[to.len().next_multiple_of(64) - to.len()..],
        ),
    };
    let wide_values = SharedOutput::new(wide_values);
    let each_row = |store: &StoreRow<'_>| {
        let (lost, not_finite) = (AtomicUsize::new(0), AtomicBool::new(false));
        threads.run_with_memory(rows.div_ceil(each), &|task, memory| {
            let rows_of_task = task * each..rows.min((task + 1) * each);
            for row in rows_of_task.clone() {
                let range = elements_of(&(row..row + 1));
                let row_to_store = if wide.is_empty() {
                    from.widened(range, memory)
                } else {
                    let row_to_store = from.copied(range, memory);
                    for (i, column) in wide.iter().enumerate() {
                        // SAFETY: each element is stored once.
                        let to = unsafe { wide_values.slice(i * rows + row, 1) };
                        to[0] = std::mem::take(&mut row_to_store[*column as usize]);
                    }
                    row_to_store
                };
                match store(row, row_to_store) {
                    Ok(()) => {}
                    Err(QuantizeError::Outliers) => {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => not_finite.store(true, Ordering::Relaxed),
                }
            }
            passed(elements_of(&rows_of_task));
        });
        match not_finite.into_inner() {
            true => Err(QuantizeError::NotFinite),
            false if lost.into_inner() * FEW > rows => Err(QuantizeError::Outliers),
            false => Ok(()),
        }
    };
    if format == WeightFormat::Bf16 {
        let to = SharedOutput::new(bytemuck::cast_slice_mut::<u8, u16>(to));
        return each_row(&|row, from| {
            // SAFETY: each row is stored once.
            f32_to_bf16(from, unsafe { to.slice(row * columns, columns) });
            Ok(())
        });
    }
    let (scales, to) = to.split_at_mut(scales_bytes(rows));
    let scales = SharedOutput::new(bytemuck::cast_slice_mut::<u8, f32>(scales));
    let put_scale = |row: usize, from: &[f32], scale: Option<f32>| {
        // SAFETY: each row is stored once.
        let to = unsafe { scales.slice(row, 1) };
        to[0] = scale.ok_or(QuantizeError::NotFinite)?;
        match loses_most(from, 0.5 * to[0]) {
            true => Err(QuantizeError::Outliers),
            false => Ok(()),
        }
    };
    if format == WeightFormat::Int8 {
        let to = SharedOutput::new(bytemuck::cast_slice_mut::<u8, i8>(to));
        return each_row(&|row, from| {
            // SAFETY: each row is stored once.
            let to = unsafe { to.slice(row * columns, columns) };
            put_scale(row, from, f32_to_int8(from, to))
        });
    }
    let (factors, indices) = to.split_at_mut(factors_bytes(rows, columns));
    let factors = SharedOutput::new(factors.as_chunks_mut::<GROUPS>().0);
    let indices = SharedOutput::new(indices.as_chunks_mut::<BLOCK_BYTES>().0);
    let blocks = blocks(columns);
    each_row(&|row, from| {
        // SAFETY: each row is stored once.
        let factors = unsafe { factors.slice(row * blocks, blocks) };
        // SAFETY: as above.
        let indices = unsafe { indices.slice(row * blocks, blocks) };
        put_scale(row, from, f32_to_int4(from, factors, indices))
    })
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
    let first = columns.start;
    let start = row * matrix.columns() + columns.start;
    match matrix.elements() {
        QuantizedElements::Bf16(elements) => bf16_to_f32(&elements[start..][..to.len()], to),
        QuantizedElements::Int8 { scales, rows } => {
            int8_to_f32(&rows[start..][..to.len()], scales[row], to);
        }
        QuantizedElements::Int4 { scales, rows } => {
            let mut found = [0; PIECE];
            for (to, start) in to.chunks_mut(PIECE).zip((columns.start..).step_by(PIECE)) {
                let found = &mut found[..to.len()];
                unpack(&rows, row, start, found);
                int8_to_f32(found, scales[row], to);
            }
        }
    }
    for (column, values) in matrix.wide().iter() {
        if let Some(to) = column.checked_sub(first).and_then(|at| to.get_mut(at)) {
            *to = values[row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    const FORMATS: [WeightFormat; 3] = [WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4];

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
            for format in FORMATS {
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
                            // The end that the levels do not reach with the least factor.
                            WeightFormat::Int4 => largest / 127.0 * (127.0 - 0.85 * 113.0 + 1.0),
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
        for format in FORMATS {
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
    fn rows_that_lose_most_of_their_elements_are_refused_unless_there_are_few() {
        let (rows, columns) = (64, 200);
        let threads = Threads::new(2);
        for (lost, refused) in [(0, false), (4, false), (5, true), (64, true)] {
            let mut from = numbers(rows * columns, 9);
            for row in 0..lost {
                // In a column of its own, so that no column is large often.
                from[row * columns + 3 * row] = 1e4;
            }
            let elements = Unquantized::F32(&from);
            assert!(outlying_columns(elements, [rows, columns]).is_empty());
            for format in [WeightFormat::Int8, WeightFormat::Int4] {
                let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
                let size = [rows, columns];
                let done = quantize(format, elements, size, to.bytes_mut(), &threads, &|_| {});
                let wanted = if refused {
                    Err(QuantizeError::Outliers)
                } else {
                    Ok(())
                };
                assert_eq!(done, wanted, "{lost}");
            }
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
