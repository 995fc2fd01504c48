//! Weights in fewer bits: a matrix that is `f32` by type and stored as bf16 or int8.
//!
//! A decoder step reads every weight once and does little with it, so it runs at the speed of
//! memory, and half the bytes are half the time. Only the storage is narrow: kernels that know it
//! widen what they load, and compute in `f32`.
//!
//! *bf16* is the upper half of an `f32`, rounded to nearest even. *int8* is symmetric with one
//! scale a row (an output channel of a linear layer): `w = scale * q`, `scale = max |w| / 127`.
//! The bytes of an int8 matrix are the scales of all rows, zeros up to a multiple of 64, then the
//! rows; a bf16 matrix is its rows.

use std::ops::Range;

use crate::matmul::gemm::Right;
use crate::runtime::instructions::compiled;
use crate::runtime::shared::Target;
use crate::simd::transpose::transpose;
use crate::tensor::view::TensorError;
use crate::{DType, Threads};

/// How the elements of a narrow matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The upper half of an `f32`.
    Bf16,
    /// Eight bits and a scale for each row.
    Int8,
}

/// Most columns of a narrow matrix: kernels hold some rows as long as this on each thread.
pub const MAX_COLUMNS: usize = 1 << 14;

/// Elements that a task encodes.
const GRAIN: usize = 1 << 16;

/// Why a matrix cannot be stored in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// The matrix is wider than [`MAX_COLUMNS`], or its size overflows.
    #[error("it is too large")]
    TooLarge,
    /// An element has no int8 form.
    #[error("it holds values that are not finite")]
    NotFinite,
}

impl Format {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Format::Bf16 => "bf16",
            Format::Int8 => "int8",
        }
    }

    /// Bytes of a matrix.
    ///
    /// # Errors
    /// If it is too large.
    pub fn bytes(self, rows: usize, columns: usize) -> Result<usize, NarrowError> {
        if columns > MAX_COLUMNS {
            return Err(NarrowError::TooLarge);
        }
        let elements = rows.checked_mul(columns).ok_or(NarrowError::TooLarge)?;
        let bytes = match self {
            Format::Bf16 => elements.checked_mul(2),
            Format::Int8 => {
                let scales = rows.checked_mul(4).filter(|n| *n < usize::MAX - 64);
                scales.and_then(|n| n.next_multiple_of(64).checked_add(elements))
            }
        };
        let fits = |n: &usize| isize::try_from(*n).is_ok();
        bytes.filter(fits).ok_or(NarrowError::TooLarge)
    }

    /// Stores a matrix of `[rows, columns]`, given row by row, in `to`, which is aligned to 4 and has
    /// [`bytes`](Format::bytes) bytes. `passed` is told which elements of `from` have been read, a few
    /// rows at a time, so that memory that only held them can be given up.
    ///
    /// # Errors
    /// If it is too large, or an element has no form in this format; `to` then holds anything.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn encode(
        self,
        from: &[f32],
        [rows, columns]: [usize; 2],
        to: &mut [u8],
        threads: &Threads,
        passed: &(dyn Fn(Range<usize>) + Sync),
    ) -> Result<(), NarrowError> {
        assert_eq!(to.len(), self.bytes(rows, columns)?);
        assert_eq!(from.len(), rows * columns);
        if from.is_empty() {
            return Ok(());
        }
        let each = (GRAIN / columns).max(1);
        let tasks = rows.div_ceil(each);
        let rows_of = |task: usize| task * each..rows.min((task + 1) * each);
        let elements_of = |rows: &Range<usize>| rows.start * columns..rows.end * columns;
        match self {
            Format::Bf16 => {
                let to = Target::new(bytemuck::cast_slice_mut::<u8, u16>(to));
                threads.run(tasks, &|task| {
                    let range = elements_of(&rows_of(task));
                    // SAFETY: tasks have different rows.
                    let to = unsafe { to.slice(range.start, range.len()) };
                    round_bf16(&from[range.clone()], to);
                    passed(range);
                });
                Ok(())
            }
            Format::Int8 => {
                let (scales, elements) = to.split_at_mut((4 * rows).next_multiple_of(64));
                let scales = Target::new(bytemuck::cast_slice_mut::<u8, f32>(scales));
                let elements = Target::new(bytemuck::cast_slice_mut::<u8, i8>(elements));
                let all_finite = std::sync::atomic::AtomicBool::new(true);
                threads.run(tasks, &|task| {
                    let rows = rows_of(task);
                    for row in rows.clone() {
                        // SAFETY: tasks have different rows.
                        let scale = unsafe { scales.slice(row, 1) };
                        // SAFETY: as above.
                        let to = unsafe { elements.slice(row * columns, columns) };
                        match encode_row(&from[row * columns..][..columns], to) {
                            Some(s) => scale[0] = s,
                            None => all_finite.store(false, std::sync::atomic::Ordering::Relaxed),
                        }
                    }
                    passed(elements_of(&rows));
                });
                match all_finite.into_inner() {
                    true => Ok(()),
                    false => Err(NarrowError::NotFinite),
                }
            }
        }
    }
}

/// Adding this rounds a small number to a whole one, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// The whole number next to a small one, in two's complement in the lowest bits.
#[inline(always)]
pub(crate) fn round_to_bits(x: f32) -> u32 {
    (x + ROUND).to_bits()
}

/// The greatest magnitude; NaN if an element is not finite.
#[inline(always)]
pub(crate) fn largest_magnitude(x: &[f32]) -> f32 {
    // Without the sign, floats are ordered as their bits are, and what is not finite is the greatest.
    let magnitude = |x: &f32| (x.to_bits() & 0x7fff_ffff) as i32;
    let largest = x.iter().map(magnitude).fold(0, i32::max);
    match f32::from_bits(largest as u32) {
        largest if largest.is_finite() => largest,
        _ => f32::NAN,
    }
}

/// Stores a row; its scale, or nothing if an element is not finite.
#[inline(always)]
fn encode_row_portable<const FUSED: bool>(from: &[f32], to: &mut [i8]) -> Option<f32> {
    let largest = largest_magnitude(from);
    if !largest.is_finite() {
        return None;
    }
    // A row of numbers too small to have a factor is stored as zeros.
    let factor = Some(127.0 / largest).filter(|f| f.is_finite());
    let by = factor.unwrap_or(0.0);
    for (to, x) in to.iter_mut().zip(from) {
        *to = round_to_bits(x * by) as i8;
    }
    Some(factor.map_or(0.0, |_| largest / 127.0))
}

/// A matrix in a narrow format.
#[derive(Clone, Copy, Debug)]
pub struct NarrowMatrix<'a> {
    rows: usize,
    columns: usize,
    elements: Elements<'a>,
}

/// The stored elements, row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elements<'a> {
    Bf16(&'a [u16]),
    Int8 { scales: &'a [f32], rows: &'a [i8] },
}

impl<'a> NarrowMatrix<'a> {
    /// Views `bytes` as a matrix.
    ///
    /// # Errors
    /// If they are too few or not aligned to the elements.
    pub fn new(
        format: Format,
        rows: usize,
        columns: usize,
        bytes: &'a [u8],
    ) -> Result<NarrowMatrix<'a>, TensorError> {
        let needed = format
            .bytes(rows, columns)
            .map_err(|_| TensorError::Overflow)?;
        let short = TensorError::TooShort {
            needed,
            available: bytes.len(),
        };
        let bytes = bytes.get(..needed).ok_or(short)?;
        let elements = match format {
            Format::Bf16 => Elements::Bf16(
                bytemuck::try_cast_slice(bytes)
                    .map_err(|_| TensorError::Misaligned(DType::BF16))?,
            ),
            Format::Int8 => {
                let (scales, rest) = bytes.split_at((4 * rows).next_multiple_of(64));
                Elements::Int8 {
                    scales: bytemuck::try_cast_slice(scales)
                        .map_err(|_| TensorError::Misaligned(DType::F32))?,
                    rows: bytemuck::cast_slice(rest),
                }
            }
        };
        Ok(NarrowMatrix {
            rows,
            columns,
            elements,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn elements(&self) -> Elements<'a> {
        self.elements
    }

    /// Columns `columns` of a row, widened into `to`.
    ///
    /// # Panics
    /// If there are no such elements, or `to` has another length.
    pub fn widen(&self, row: usize, columns: Range<usize>, to: &mut [f32]) {
        assert!(columns.end <= self.columns && to.len() == columns.len());
        let start = row * self.columns + columns.start;
        match self.elements {
            Elements::Bf16(elements) => widen_bf16(&elements[start..][..to.len()], to),
            Elements::Int8 { scales, rows } => {
                widen_int8(&rows[start..][..to.len()], scales[row], to);
            }
        }
    }
}

/// The nearest bf16, to even where two are equally near; NaN stays NaN.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // A NaN of which only the lower half says so would become infinite.
    let bits = if x.is_nan() {
        bits | 0x0040_0000
    } else {
        rounded
    };
    (bits >> 16) as u16
}

/// The value of a bf16.
#[inline(always)]
pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

compiled! { fn encode_row(from: &[f32], to: &mut [i8]) -> Option<f32>, encode_row_portable }
compiled! { fn round_bf16(from: &[f32], to: &mut [u16]), round_bf16_portable }
compiled! { pub(crate) fn widen_bf16(from: &[u16], to: &mut [f32]), widen_bf16_portable }
compiled! { pub(crate) fn widen_to_16_bits(from: &[i8], to: &mut [i16]), widen_to_16_bits_portable }
compiled! { pub(crate) fn widen_int8(from: &[i8], scale: f32, to: &mut [f32]), widen_int8_portable }

#[inline(always)]
fn round_bf16_portable<const FUSED: bool>(from: &[f32], to: &mut [u16]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = to_bf16(*x);
    }
}

#[inline(always)]
fn widen_bf16_portable<const FUSED: bool>(from: &[u16], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = from_bf16(*x);
    }
}

#[inline(always)]
fn widen_to_16_bits_portable<const FUSED: bool>(from: &[i8], to: &mut [i16]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = *x as i16;
    }
}

#[inline(always)]
fn widen_int8_portable<const FUSED: bool>(from: &[i8], scale: f32, to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = *x as f32 * scale;
    }
}

/// Columns of a strip and steps along the depth that are widened at a time.
const STEPS: usize = 64;
const STRIP: usize = 32;

/// The right side of a product with the transposed matrix: column `j` is row `j` here. It is
/// widened while it is packed, so that the tile computes as ever.
impl Right for NarrowMatrix<'_> {
    fn pack(
        &self,
        _batch: usize,
        depth: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [f32],
    ) {
        let mut wide = [0f32; STRIP * STEPS];
        for (s, strip) in to.chunks_exact_mut(depth.len() * width).enumerate() {
            let first = columns.start + s * width;
            if first >= columns.end {
                break;
            }
            let filled = width.min(columns.end - first);
            if filled < width {
                strip.fill(0.0);
            }
            for k in depth.clone().step_by(STEPS) {
                let steps = k..depth.end.min(k + STEPS);
                for c in (0..filled).step_by(STRIP) {
                    let side = STRIP.min(filled - c);
                    for j in 0..side {
                        let to = &mut wide[j * STEPS..][..steps.len()];
                        self.widen(first + c + j, steps.clone(), to);
                    }
                    let to = &mut strip[(k - depth.start) * width + c..];
                    transpose(&wide, STEPS, side, steps.len(), width, to);
                }
            }
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
            for format in [Format::Bf16, Format::Int8] {
                let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
                format
                    .encode(&from, [rows, columns], to.bytes_mut(), &threads, &|_| {})
                    .unwrap();
                let matrix = NarrowMatrix::new(format, rows, columns, to.bytes()).unwrap();
                let mut wide = vec![0f32; columns];
                for i in 0..rows {
                    matrix.widen(i, 0..columns, &mut wide);
                    let row = &from[i * columns..][..columns];
                    let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
                    for (x, y) in row.iter().zip(&wide) {
                        let step = match format {
                            Format::Bf16 => x.abs() / 256.0,
                            Format::Int8 => largest / 127.0 / 2.0 * 1.001,
                        };
                        assert!((x - y).abs() <= step, "{format:?}: {x} {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn bf16_is_rounded_as_its_definition_says() {
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
            1.003_906_2,
            1.011_718_8,
        ];
        for x in special.into_iter().chain(numbers(1000, 1)) {
            assert_eq!(to_bf16(x), half::bf16::from_f32(x).to_bits(), "{x}");
        }
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffff_ffff] {
            assert!(from_bf16(to_bf16(f32::from_bits(bits))).is_nan());
        }
    }

    #[test]
    fn rows_of_zeros_and_of_tiny_numbers_are_zeros_and_infinity_is_refused() {
        let threads = Threads::new(1);
        let mut to = Storage::zeroed(Format::Int8.bytes(2, 2).unwrap());
        let tiny = [0.0, 0.0, 1e-44, -1e-44];
        Format::Int8
            .encode(&tiny, [2, 2], to.bytes_mut(), &threads, &|_| {})
            .unwrap();
        let matrix = NarrowMatrix::new(Format::Int8, 2, 2, to.bytes()).unwrap();
        let mut wide = [1f32; 2];
        for i in 0..2 {
            matrix.widen(i, 0..2, &mut wide);
            assert_eq!(wide, [0.0, 0.0]);
        }
        let bad = [0.0, 1.0, f32::INFINITY, 2.0];
        assert_eq!(
            Format::Int8.encode(&bad, [2, 2], to.bytes_mut(), &threads, &|_| {}),
            Err(NarrowError::NotFinite)
        );
        assert_eq!(
            Format::Bf16.bytes(1, MAX_COLUMNS + 1),
            Err(NarrowError::TooLarge)
        );
        assert!(NarrowMatrix::new(Format::Bf16, 2, 3, &[0; 11]).is_err());
    }

    #[test]
    fn strips_hold_the_widened_rows_as_columns() {
        let threads = Threads::new(1);
        let (rows, columns) = (45, 150);
        for format in [Format::Bf16, Format::Int8] {
            let mut to = Storage::zeroed(format.bytes(rows, columns).unwrap());
            format
                .encode(
                    &numbers(rows * columns, 3),
                    [rows, columns],
                    to.bytes_mut(),
                    &threads,
                    &|_| {},
                )
                .unwrap();
            let matrix = NarrowMatrix::new(format, rows, columns, to.bytes()).unwrap();
            for (depth, part, width) in [(0..150, 0..45, 16), (3..80, 9..20, 8), (5..6, 1..45, 40)]
            {
                let strips = part.len().div_ceil(width);
                let mut packed = vec![f32::NAN; strips * width * depth.len()];
                matrix.pack(0, depth.clone(), part.clone(), width, &mut packed);
                let mut row = vec![0f32; depth.len()];
                for s in 0..strips * width {
                    row.fill(0.0);
                    if s < part.len() {
                        matrix.widen(part.start + s, depth.clone(), &mut row);
                    }
                    for (k, x) in row.iter().enumerate() {
                        let at = (s / width * depth.len() + k) * width + s % width;
                        assert_eq!(packed[at], *x);
                    }
                }
            }
        }
    }
}
