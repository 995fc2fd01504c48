//! Where the elements of a product's result lie.
//!
//! A result `[…, rows, columns]` may have its columns in groups, `[…, rows, groups, columns /
//! groups]`, each group anywhere: a projection then writes the keys of each head where the cache
//! wants them. It may also be turned: the rows of the product are the columns of the tensor.

use crate::Layout;

/// The layout of a result.
#[derive(Clone, Copy)]
pub(crate) struct ResultLayout<'a> {
    layout: &'a Layout,
    /// Dimensions of a matrix: 2, or 3 if the columns are in groups.
    matrix: usize,
    turned: bool,
}

impl<'a> ResultLayout<'a> {
    /// The matrices of a tensor: its last `matrix` dimensions, 2 or 3.
    ///
    /// # Panics
    /// If elements share memory. Tasks write rows and columns side by side on the strength of this;
    /// the layout of a [`TensorMut`](crate::TensorMut) never does.
    pub fn new(layout: &'a Layout, matrix: usize) -> ResultLayout<'a> {
        assert!(
            !layout.overlaps_itself(),
            "a result whose elements share memory"
        );
        ResultLayout {
            layout,
            matrix,
            turned: false,
        }
    }

    /// The same elements for the transposed product.
    pub fn turned(self) -> ResultLayout<'a> {
        ResultLayout {
            turned: !self.turned,
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
        match self.turned {
            false => size,
            true => [size[1], size[0]],
        }
    }

    /// Number of matrices.
    pub fn batches(&self) -> usize {
        self.layout.shape[..self.matrix_dims()].iter().product()
    }

    /// The places of a matrix.
    pub fn of_batch(&self, mut batch: usize) -> Places {
        let first = self.matrix_dims();
        let mut start = self.layout.offset;
        for d in (0..first).rev() {
            start += batch % self.layout.shape[d] * self.layout.strides[d];
            batch /= self.layout.shape[d];
        }
        let (shape, strides) = (&self.layout.shape[first..], &self.layout.strides[first..]);
        Places {
            start,
            row: strides[0],
            column: strides[self.matrix - 1],
            group: strides[1],
            len: match self.matrix {
                2 => usize::MAX,
                _ => shape[2],
            },
            turned: self.turned,
        }
    }
}

/// The places of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    start: usize,
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns of a group.
    column: usize,
    /// Distance of groups.
    group: usize,
    /// Columns of a group.
    len: usize,
    turned: bool,
}

impl Places {
    /// Position of an element.
    #[inline(always)]
    pub fn at(&self, i: usize, j: usize) -> usize {
        let (i, j) = if self.turned { (j, i) } else { (i, j) };
        let columns = match self.len {
            // Divisions take their time.
            usize::MAX => j * self.column,
            len => j / len * self.group + j % len * self.column,
        };
        self.start + i * self.row + columns
    }

    /// Whether `width` columns from column `j` on lie one after the other.
    pub fn together(&self, j: usize, width: usize) -> bool {
        !self.turned
            && self.column == 1
            && (self.len == usize::MAX || j % self.len + width <= self.len)
    }
}
