//! Quantized weights: a matrix that is `f32` by type and stored as bf16 or int8.
//!
//! A decoder step reads every weight once and does little with it, so it runs at the speed of
//! memory, and half the bytes take half the time. Only the storage is smaller: kernels that know
//! the format widen what they load and accumulate in `f32`. "Quantized" here means both formats,
//! although bf16 has no scale.
//!
//! *bf16* is the upper half of an `f32`, rounded to nearest even. *int8* is symmetric with one
//! scale for each row (an output channel of a linear layer): `w = scale * q`, where `scale = max
//! |w| / 127`. The bytes of an int8 matrix are the scales of all rows, zeros up to a multiple of
//! 64, then the rows; those of a bf16 matrix are its rows.
//!
//! This file is the format alone. [`movement`](crate::movement) converts matrices to it and back,
//! and [`matmul`](crate::matmul) multiplies by them.

use crate::DType;
use crate::tensor::view::TensorError;

/// How the elements of a quantized matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// The upper half of an `f32`.
    Bf16,
    /// Eight bits, and a scale for each row.
    Int8,
}

/// The most columns of a quantized matrix: kernels hold some rows of this length on each thread.
pub const MAX_COLUMNS: usize = 1 << 14;

/// Why a matrix cannot be stored in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// The matrix is wider than [`MAX_COLUMNS`], or its size overflows.
    #[error("it is too large")]
    TooLarge,
    /// An element has no int8 form.
    #[error("it holds values that are not finite")]
    NotFinite,
}

impl WeightFormat {
    /// The name that users know the format by.
    pub fn name(self) -> &'static str {
        match self {
            WeightFormat::Bf16 => "bf16",
            WeightFormat::Int8 => "int8",
        }
    }

    /// Number of bytes of a matrix.
    ///
    /// # Errors
    /// If the matrix is too large.
    pub fn bytes(self, rows: usize, columns: usize) -> Result<usize, QuantizeError> {
        if columns > MAX_COLUMNS {
            return Err(QuantizeError::TooLarge);
        }
        let elements = rows.checked_mul(columns).ok_or(QuantizeError::TooLarge)?;
        let bytes = match self {
            WeightFormat::Bf16 => elements.checked_mul(2),
            WeightFormat::Int8 => {
                let scales = rows.checked_mul(4).filter(|n| *n < usize::MAX - 64);
                scales.and_then(|n| n.next_multiple_of(64).checked_add(elements))
            }
        };
        let fits = |n: &usize| isize::try_from(*n).is_ok();
        bytes.filter(fits).ok_or(QuantizeError::TooLarge)
    }
}

/// Bytes that the scales of an int8 matrix take, with the zeros behind them.
pub(crate) fn scales_bytes(rows: usize) -> usize {
    (4 * rows).next_multiple_of(64)
}

/// A view of a matrix stored as bf16 or int8.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedMatrix<'a> {
    rows: usize,
    columns: usize,
    elements: QuantizedElements<'a>,
}

/// The stored elements, row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QuantizedElements<'a> {
    Bf16(&'a [u16]),
    Int8 { scales: &'a [f32], rows: &'a [i8] },
}

impl<'a> QuantizedMatrix<'a> {
    /// Views `bytes` as a matrix.
    ///
    /// # Errors
    /// If there are too few bytes, or they are not aligned to the elements.
    pub fn new(
        format: WeightFormat,
        rows: usize,
        columns: usize,
        bytes: &'a [u8],
    ) -> Result<QuantizedMatrix<'a>, TensorError> {
        let needed = format
            .bytes(rows, columns)
            .map_err(|_| TensorError::Overflow)?;
        let short = TensorError::TooShort {
            needed,
            available: bytes.len(),
        };
        let bytes = bytes.get(..needed).ok_or(short)?;
        let elements = match format {
            WeightFormat::Bf16 => QuantizedElements::Bf16(
                bytemuck::try_cast_slice(bytes)
                    .map_err(|_| TensorError::Misaligned(DType::BF16))?,
            ),
            WeightFormat::Int8 => {
                let (scales, rest) = bytes.split_at(scales_bytes(rows));
                QuantizedElements::Int8 {
                    scales: bytemuck::try_cast_slice(scales)
                        .map_err(|_| TensorError::Misaligned(DType::F32))?,
                    rows: bytemuck::cast_slice(rest),
                }
            }
        };
        Ok(QuantizedMatrix {
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

    pub(crate) fn elements(&self) -> QuantizedElements<'a> {
        self.elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_has_a_limited_width_and_all_its_bytes() {
        assert_eq!(
            WeightFormat::Bf16.bytes(1, MAX_COLUMNS + 1),
            Err(QuantizeError::TooLarge)
        );
        assert!(QuantizedMatrix::new(WeightFormat::Bf16, 2, 3, &[0; 11]).is_err());
    }
}
