//! Quantized weights: a matrix that is `f32` by type and stored as bf16, int8 or int4.
//!
//! A decoder step reads every weight once and does little with it, so it runs at the speed of
//! memory, and half the bytes take half the time. Only the storage is smaller: kernels that know
//! the format widen what they load and accumulate in `f32`. "Quantized" here means all formats,
//! although bf16 has no scale.
//!
//! *bf16* is the upper half of an `f32`, rounded to nearest even. *int8* is symmetric with one
//! scale for each row (an output channel of a linear layer): `w = scale * q`, where `scale = max
//! |w| / 127`. The bytes of an int8 matrix are the scales of all rows, zeros up to a multiple of
//! 64, then the rows; those of a bf16 matrix are its rows. *int4* is int8 with sixteen values for
//! each group of 32 weights ([`int4`](super::int4)). Its bytes are the scales of all rows, the
//! factors of all groups, and the indices, each with zeros up to a multiple of 64. Behind a matrix in
//! integers may lie a few of its columns in `f32` ([`wide_columns`](super::wide_columns)).
//!
//! This file is the format alone. [`movement`](crate::movement) converts matrices to it and back,
//! and [`matmul`](crate::matmul) multiplies by them.

use crate::DType;
use crate::tensor::int4::{self, BLOCK_BYTES, GROUPS, Int4Rows};
use crate::tensor::view::TensorError;
use crate::tensor::wide_columns::{WideColumns, wide_bytes};

/// How the elements of a quantized matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// The upper half of an `f32`.
    Bf16,
    /// Eight bits, and a scale for each row.
    Int8,
    /// Four bits, a byte for each group of 32, and a scale for each row.
    Int4,
}

/// The most columns of a quantized matrix: kernels hold some rows of this length on each thread.
pub const MAX_COLUMNS: usize = 1 << 14;

/// Why a matrix cannot be stored in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// The matrix is wider than [`MAX_COLUMNS`], or its size overflows.
    #[error("it is too large")]
    TooLarge,
    /// An element has no form in integers.
    #[error("it holds values that are not finite")]
    NotFinite,
    /// In many rows, a few elements are so large that most others would be 0.
    #[error("many of its rows hold a few values that are hundreds of times the others")]
    Outliers,
}

impl WeightFormat {
    /// The name that users know the format by.
    pub fn name(self) -> &'static str {
        match self {
            WeightFormat::Bf16 => "bf16",
            WeightFormat::Int8 => "int8",
            WeightFormat::Int4 => "int4",
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
        let lines = |bytes: Option<usize>| bytes?.checked_next_multiple_of(64);
        let scales = lines(rows.checked_mul(4));
        let bytes = match self {
            WeightFormat::Bf16 => elements.checked_mul(2),
            WeightFormat::Int8 => scales.and_then(|n| n.checked_add(elements)),
            WeightFormat::Int4 => {
                let blocks = rows.checked_mul(int4::blocks(columns));
                let factors = lines(blocks.and_then(|n| n.checked_mul(GROUPS)));
                let indices = blocks.and_then(|n| n.checked_mul(BLOCK_BYTES));
                let mut parts = [scales, factors, indices].into_iter();
                parts.try_fold(0, |sum: usize, n| sum.checked_add(n?))
            }
        };
        let fits = |n: &usize| isize::try_from(*n).is_ok();
        bytes.filter(fits).ok_or(QuantizeError::TooLarge)
    }
}

impl WeightFormat {
    /// Number of bytes of a matrix of which so many columns are stored in `f32` beside it.
    ///
    /// # Errors
    /// If the matrix is too large.
    pub fn bytes_with_wide(
        self,
        rows: usize,
        columns: usize,
        wide: usize,
    ) -> Result<usize, QuantizeError> {
        let bytes = self.bytes(rows, columns)?;
        if wide == 0 {
            return Ok(bytes);
        }
        let sum = bytes.checked_next_multiple_of(64);
        let sum = sum.and_then(|n| n.checked_add(wide_bytes(wide, rows)?));
        let fits = |n: &usize| isize::try_from(*n).is_ok();
        sum.filter(fits).ok_or(QuantizeError::TooLarge)
    }
}

/// Bytes that the scales of an int8 or int4 matrix take, with the zeros behind them.
pub(crate) fn scales_bytes(rows: usize) -> usize {
    (4 * rows).next_multiple_of(64)
}

/// Bytes that the factors of an int4 matrix take, with the zeros behind them.
pub(crate) fn factors_bytes(rows: usize, columns: usize) -> usize {
    (GROUPS * int4::blocks(columns) * rows).next_multiple_of(64)
}

/// A view of a matrix stored as bf16, int8 or int4.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedMatrix<'a> {
    rows: usize,
    columns: usize,
    elements: QuantizedElements<'a>,
    wide: WideColumns<'a>,
}

/// The stored elements, row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QuantizedElements<'a> {
    Bf16(&'a [u16]),
    Int8 {
        scales: &'a [f32],
        rows: &'a [i8],
    },
    Int4 {
        scales: &'a [f32],
        rows: Int4Rows<'a>,
    },
}

impl<'a> QuantizedMatrix<'a> {
    /// Views `bytes` as a matrix. What lies behind a matrix in integers are its wide columns.
    ///
    /// # Errors
    /// If there are too few bytes, they are not aligned to the elements, or what lies behind them is
    /// something else.
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
        let (bytes, behind) = bytes.split_at_checked(needed).ok_or(short)?;
        let wide = match format {
            WeightFormat::Bf16 => WideColumns::default(),
            WeightFormat::Int8 | WeightFormat::Int4 => {
                let from = needed.next_multiple_of(64) - needed;
                WideColumns::new([rows, columns], behind.get(from..).unwrap_or_default())?
            }
        };
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
            WeightFormat::Int4 => {
                let (scales, rest) = bytes.split_at(scales_bytes(rows));
                let (factors, indices) = rest.split_at(factors_bytes(rows, columns));
                QuantizedElements::Int4 {
                    scales: bytemuck::try_cast_slice(scales)
                        .map_err(|_| TensorError::Misaligned(DType::F32))?,
                    rows: Int4Rows::new(columns, factors.as_chunks().0, indices.as_chunks().0),
                }
            }
        };
        Ok(QuantizedMatrix {
            rows,
            columns,
            elements,
            wide,
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

    pub(crate) fn wide(&self) -> WideColumns<'a> {
        self.wide
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
        // 3 rows of 2 blocks: a line of scales, one of factors, 6 of indices.
        assert_eq!(WeightFormat::Int4.bytes(3, 129), Ok(64 + 64 + 6 * 64));
    }
}
