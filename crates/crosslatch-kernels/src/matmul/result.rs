//! Where the elements of a product's result lie.
//!
//! A result `[…, rows, columns]` may have its columns in groups, `[…, rows, groups, columns /
//! groups]`, each group anywhere: a projection then writes the keys of each head where the cache
//! wants them. It may also be transposed: the rows of the product are the columns of the tensor.

use crate::Layout;
use crate::tensor::matrix::batch_offset;

/// The layout of a result.
#[derive(Clone, Copy)]
pub(crate) struct ResultLayout<'a> {
    layout: &'a Layout,
    /// Dimensions of a matrix: 2, or 3 if the columns are in groups.
    matrix: usize,
    transposed: bool,
}

impl<'a> ResultLayout<'a> {
    /// The matrices of a tensor: its last `matrix` dimensions, 2 or 3.
    ///
    /// # Panics
    /// If elements share memory. Tasks rely on it when they write rows and columns side by side;
    /// the layout of a [`TensorMut`](crate::TensorMut) never does.
    pub fn new(layout: &'a Layout, matrix: usize) -> ResultLayout<'a> {
        assert!(
            !layout.overlaps_itself(),
            "a result whose elements share memory"
        );
        ResultLayout {
            layout,
            matrix,
            transposed: false,
        }
    }

    /// The same elements for the transposed product.
    pub fn transposed(self) -> ResultLayout<'a> {
        ResultLayout {
            transposed: !self.transposed,
            ..self
        }
    }

    fn matrix_dims(&self) -> usize {
        self.layout.rank() - self.matrix
    }

    /// Number of rows and of columns.
    pub fn size(&self) -> [usize; 2] {
        let shape = &self.layout.shape[self.matrix_dims()..];
        let size = [shape[0], shape[1..].iter().product()];
        match self.transposed {
            false => size,
            true => [size[1], size[0]],
        }
    }

    /// Number of matrices.
    pub fn batches(&self) -> usize {
        self.layout.shape[..self.matrix_dims()].iter().product()
    }

    /// Where the elements of one matrix of a result lie.
    pub fn of_batch(&self, batch: usize) -> ResultMatrix {
        let first = self.matrix_dims();
        let start = batch_offset(self.layout, first, batch);
        let (shape, strides) = (&self.layout.shape[first..], &self.layout.strides[first..]);
        ResultMatrix {
            start,
            row: strides[0],
            column: strides[self.matrix - 1],
            group: strides[1],
            len: match self.matrix {
                2 => usize::MAX,
                _ => shape[2],
            },
            transposed: self.transposed,
        }
    }
}

/// Where the elements of one matrix of a result lie.
#[derive(Clone, Copy)]
pub(crate) struct ResultMatrix {
    start: usize,
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns of a group.
    column: usize,
    /// Distance of groups.
    group: usize,
    /// Columns of a group.
    len: usize,
    transposed: bool,
}

impl ResultMatrix {
    /// Position of an element.
    #[inline(always)]
    pub fn position(&self, i: usize, j: usize) -> usize {
        let (i, j) = if self.transposed { (j, i) } else { (i, j) };
        let columns = match self.len {
            // Divisions are slow.
            usize::MAX => j * self.column,
            len => j / len * self.group + j % len * self.column,
        };
        self.start + i * self.row + columns
    }

    /// Whether `width` columns from column `j` on lie one after the other.
    pub fn is_contiguous(&self, j: usize, width: usize) -> bool {
        !self.transposed
            && self.column == 1
            && (self.len == usize::MAX || j % self.len + width <= self.len)
    }
}
