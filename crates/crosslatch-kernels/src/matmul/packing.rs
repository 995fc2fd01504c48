//! Packing the sides of a product: the one order in which a microkernel reads them.
//!
//! A packed piece is a sequence of strips, each as wide as a microkernel's tile; a strip holds its
//! columns side by side, one step along the depth after the other. The right side need not be a
//! matrix in memory: a convolution packs what its windows see, and quantized weights are widened on
//! the way ([`Pack`]). Rows of the left side are packed in the same manner, in panels of as many
//! rows as a tile has ([`pack_rows`]).

use std::ops::Range;

use crate::simd::dot_products::DotElement;
use crate::simd::transpose::{transpose, transpose_tight};
use crate::tensor::matrix::{Matrices, Strided};

/// Which piece of a right side to pack, and how wide the strips are.
#[derive(Clone)]
pub(crate) struct Packing {
    /// Number of the matrix.
    pub batch: usize,
    /// Rows of the right matrix: steps along the depth of the product.
    pub depth: Range<usize>,
    /// Columns of the right matrix.
    pub columns: Range<usize>,
    /// Columns of a strip.
    pub width: usize,
}

/// The right side of a product in `f32`.
pub(crate) trait Pack: Sync {
    /// Writes a piece into `to`, strip after strip; the last strip is filled up with zeros.
    fn pack(&self, piece: &Packing, to: &mut [f32]);
}

impl Packing {
    /// The strips of `to`, each with its first column and the number of its columns that exist.
    pub fn strips<'t>(
        &self,
        to: &'t mut [f32],
    ) -> impl Iterator<Item = (usize, usize, &'t mut [f32])> + use<'t> {
        let (columns, width) = (self.columns.clone(), self.width);
        let strips = to.chunks_exact_mut(self.depth.len() * width);
        let starts = columns.clone().step_by(width);
        let strips = starts.zip(strips);
        strips.map(move |(first, strip)| (first, width.min(columns.end - first), strip))
    }
}

/// An element of matrices on the right side of a product in `f32`.
pub(crate) trait RightElement: DotElement {
    /// See [`Pack::pack`].
    fn pack(matrices: &Matrices<'_, Self>, piece: &Packing, to: &mut [f32]);
}

impl<W: RightElement> Pack for Matrices<'_, W> {
    fn pack(&self, piece: &Packing, to: &mut [f32]) {
        W::pack(self, piece, to);
    }
}

impl RightElement for f32 {
    fn pack(matrices: &Matrices<'_>, piece: &Packing, to: &mut [f32]) {
        let (depth, width) = (piece.depth.len(), piece.width);
        let matrix = matrices.at(piece.batch).from(piece.depth.start, 0);
        let (rs, cs) = (matrix.row_stride, matrix.column_stride);
        for (first, filled, strip) in piece.strips(to) {
            if filled < width {
                strip.fill(0.0);
            }
            let data = &matrix.data[first * cs..];
            if cs == 1 {
                for (k, row) in strip.chunks_exact_mut(width).enumerate() {
                    row[..filled].copy_from_slice(&data[k * rs..][..filled]);
                }
            } else if rs == 1 {
                transpose(data, cs, filled, depth, width, strip);
            } else {
                for (k, row) in strip.chunks_exact_mut(width).enumerate() {
                    for (j, x) in row.iter_mut().enumerate().take(filled) {
                        *x = data[k * rs + j * cs];
                    }
                }
            }
        }
    }
}

/// Packs the first `rows` rows and `depth` columns of a left matrix in panels of `height` rows, one
/// column after the other; what the last panel lacks stays as it is. Some elements of `to` behind
/// the panels may be overwritten.
pub(crate) fn pack_rows(
    left: Strided<'_>,
    rows: usize,
    depth: usize,
    height: usize,
    to: &mut [f32],
) {
    let (rs, cs) = (left.row_stride, left.column_stride);
    for first in (0..rows).step_by(height) {
        let filled = height.min(rows - first);
        let (from, to) = (&left.data[first * rs..], &mut to[first * depth..]);
        if cs == 1 && filled == height {
            transpose_tight(from, rs, height, depth, to);
        } else if cs == 1 {
            transpose(from, rs, filled, depth, height, to);
        } else {
            for (k, to) in to.chunks_exact_mut(height).enumerate().take(depth) {
                let from = &from[k * cs..];
                if rs == 1 {
                    to[..filled].copy_from_slice(&from[..filled]);
                } else {
                    let rows = to.iter_mut().enumerate().take(filled);
                    rows.for_each(|(i, x)| *x = from[i * rs]);
                }
            }
        }
    }
}

/// Copies the first `rows` rows and `depth` columns of a left matrix, each row into one piece, the
/// rows `row_length` apart.
pub(crate) fn copy_rows<'m>(
    from: Strided<'_>,
    rows: usize,
    depth: usize,
    row_length: usize,
    to: &'m mut [f32],
) -> Strided<'m> {
    for (i, row) in to.chunks_exact_mut(row_length).enumerate().take(rows) {
        let from = from.from(i, 0);
        for (k, x) in row[..depth].iter_mut().enumerate() {
            *x = from.data[k * from.column_stride];
        }
    }
    Strided {
        data: to,
        row_stride: row_length,
        column_stride: 1,
    }
}
