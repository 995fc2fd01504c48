//! Matrices in the memory of a tensor: two of its dimensions, at any strides.

use crate::Layout;

/// A matrix in memory that begins with its first element.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T = f32> {
    /// The elements.
    pub data: &'a [T],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a, T> Strided<'a, T> {
    /// The matrix without its first rows and columns.
    pub fn from(&self, row: usize, column: usize) -> Strided<'a, T> {
        let start = row * self.row_stride + column * self.column_stride;
        Strided {
            data: &self.data[start..],
            row_stride: self.row_stride,
            column_stride: self.column_stride,
        }
    }
}

/// A batch of matrices: the last two dimensions of a layout, for each index of the others.
#[derive(Clone, Copy)]
pub(crate) struct Matrices<'a, T = f32> {
    /// The elements.
    pub data: &'a [T],
    /// Their layout, of rank 2 or more.
    pub layout: &'a Layout,
}

impl<'a, T> Matrices<'a, T> {
    /// The matrix of a batch.
    pub fn at(&self, batch: usize) -> Strided<'a, T> {
        let rank = self.layout.rank();
        Strided {
            data: self
                .data
                .get(matrix_offset(self.layout, batch)..)
                .unwrap_or(&[]),
            row_stride: self.layout.strides[rank - 2],
            column_stride: self.layout.strides[rank - 1],
        }
    }
}

/// Position of the first element of matrix number `batch`.
#[inline]
pub(crate) fn matrix_offset(layout: &Layout, batch: usize) -> usize {
    batch_offset(layout, layout.rank() - 2, batch)
}

/// Position of the first element of batch number `batch`, where the first `dims` dimensions count
/// the batches.
#[inline]
pub(crate) fn batch_offset(layout: &Layout, dims: usize, mut batch: usize) -> usize {
    let mut offset = layout.offset;
    for d in (0..dims).rev() {
        offset += batch % layout.shape[d] * layout.strides[d];
        batch /= layout.shape[d];
    }
    offset
}
