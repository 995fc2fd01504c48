//! Packing the right side of a product: the one order in which a microkernel reads it.
//!
//! A packed piece is a sequence of strips, each as wide as a microkernel's tile; a strip holds its
//! columns side by side, one step along the depth after the other. The right side need not be a
//! matrix in memory: a convolution packs what its windows see, and quantized weights are widened on
//! the way ([`Pack`]).

use std::ops::Range;

use crate::simd::dot_products::DotElement;
use crate::simd::transpose::transpose;
use crate::tensor::matrix::Matrices;

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
