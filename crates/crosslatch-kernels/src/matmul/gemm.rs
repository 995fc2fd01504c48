//! Products of large `f32` matrices.
//!
//! The result is cut into bands of columns, and these between the threads. A band's part of the
//! right matrix is packed, a slice of the depth at a time, into the working memory of the thread:
//! strips as wide as a register tile ([`crate::matmul::microkernel::tile`]), which then stay in the cache while the
//! rows of the left matrix pass by, a block at a time. Only rows that are not in one piece are copied too.
//!
//! What is packed need not be a matrix in memory: a convolution packs what its windows see
//! ([`Right`]).
//!
//! The depth is always cut at the same places, so that a result does not depend on strides, on the
//! number of threads or on the bands; a planned run and the reference agree in every bit.

use std::ops::Range;

use crate::matmul::microkernel::tile::{LARGEST, Strided, Tile};
use crate::matmul::result::{Places, ResultLayout};
use crate::runtime::prefetch::fetch_for_writing;
use crate::runtime::shared::Target;
use crate::simd::functions::Function;
use crate::simd::transpose::transpose;
use crate::{Layout, Threads};

/// Steps along the depth that are packed at a time: a strip of them fits the first-level cache.
const DEPTH: usize = 256;

/// Columns of a band; a packed slice of it fits the second-level cache.
const BAND: usize = 128;

/// Left rows that pass by one strip before the next strip's turn.
const ROW_BLOCK: usize = 96;

/// Distance between the left rows when they are copied: no power of two, because rows at such a
/// distance compete for the same places in the caches.
const ROW_LENGTH: usize = DEPTH + 16;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 16;

/// The right side of a product.
pub(crate) trait Right: Sync {
    /// Writes rows `depth` and columns `columns` of the matrix of this batch into `to`: strips of
    /// `width` columns, in each strip row after row; the last strip is filled up with zeros.
    fn pack(
        &self,
        batch: usize,
        depth: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [f32],
    );
}

/// Matrices in memory: the last two dimensions of a layout, for each index of the others.
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
pub(crate) fn matrix_offset(layout: &Layout, mut batch: usize) -> usize {
    let mut offset = layout.offset;
    for d in (0..layout.rank() - 2).rev() {
        offset += batch % layout.shape[d] * layout.strides[d];
        batch /= layout.shape[d];
    }
    offset
}

impl Right for Matrices<'_> {
    fn pack(
        &self,
        batch: usize,
        depth: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [f32],
    ) {
        let matrix = self.at(batch).from(depth.start, columns.start);
        let (depth, columns) = (depth.len(), columns.len());
        let (rs, cs) = (matrix.row_stride, matrix.column_stride);
        for (s, strip) in to.chunks_exact_mut(depth * width).enumerate() {
            let first = s * width;
            if first >= columns {
                break;
            }
            let filled = width.min(columns - first);
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

/// `out = alpha * left * right + beta * bias`, for each batch.
pub(crate) struct Gemm<'a, R> {
    /// `[…, rows, depth]`
    pub left: Matrices<'a>,
    /// `[…, depth, columns]`
    pub right: &'a R,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
    pub alpha: f32,
    pub beta: f32,
    /// What becomes of each element.
    pub then: Option<Function>,
}

impl<R: Right> Gemm<'_, R> {
    /// Computes the products into `out`, whose matrices lie as `layout` says, not overlapping
    /// itself. The depth must not be 0.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let depth = self.left.layout.shape[self.left.layout.rank() - 1];
        let batches = layout.batches();
        if batches * rows * columns == 0 {
            return;
        }
        let tile = Tile::best();
        let bands = columns.div_ceil(BAND);
        // Rows are cut only if there are too few bands: each piece packs its band anew.
        let enough = (rows * columns * depth * batches / GRAIN).clamp(1, 2 * threads.count());
        let pieces = (enough / (bands * batches)).clamp(1, rows.div_ceil(ROW_BLOCK));
        let piece_rows = rows.div_ceil(pieces).next_multiple_of(tile.rows);
        let pieces = rows.div_ceil(piece_rows);
        let out = Target::new(out);
        let task = |i: usize, memory: &mut [f32]| {
            let (band, piece, batch) = (i % bands, i / bands % pieces, i / bands / pieces);
            let block = Block {
                rows: piece * piece_rows..rows.min((piece + 1) * piece_rows),
                columns: band * BAND..columns.min((band + 1) * BAND),
                depth,
            };
            let places = layout.of_batch(batch);
            self.block(tile, batch, block, &out, places, memory);
        };
        if enough == 1 {
            // Too little to wake anybody, but the working memory is the team's.
            threads.run_with_memory(1, &|_, memory| {
                (0..bands * pieces * batches).for_each(|i| task(i, memory));
            });
        } else {
            threads.run_with_memory(bands * pieces * batches, &task);
        }
    }

    fn block(
        &self,
        tile: Tile,
        batch: usize,
        block: Block,
        out: &Target<'_>,
        places: Places,
        memory: &mut [f32],
    ) {
        let (left, bias) = (self.left.at(batch), self.bias.map(|b| b.at(batch)));
        let mut sums = [0f32; LARGEST];
        for k in (0..block.depth).step_by(DEPTH) {
            let depth = DEPTH.min(block.depth - k);
            let (is_first, is_last) = (k == 0, k + depth == block.depth);
            let strip_len = depth * tile.columns;
            let strips = block.columns.len().div_ceil(tile.columns);
            let (packed, memory) = memory.split_at_mut(strips * strip_len);
            self.right.pack(
                batch,
                k..k + depth,
                block.columns.clone(),
                tile.columns,
                packed,
            );
            for first_row in block.rows.clone().step_by(ROW_BLOCK) {
                let end_row = block.rows.end.min(first_row + ROW_BLOCK);
                let block_left = left.from(first_row, k);
                let block_left = match block_left.column_stride {
                    1 => block_left,
                    _ => gather(block_left, end_row - first_row, depth, memory),
                };
                for (s, strip) in packed.chunks_exact(strip_len).enumerate() {
                    let j = block.columns.start + s * tile.columns;
                    let width = tile.columns.min(block.columns.end - j);
                    for i in (first_row..end_row).step_by(tile.rows) {
                        let rows = tile.rows.min(end_row - i);
                        let left = block_left.from(i - first_row, 0);
                        if width == tile.columns && places.together(j, width) {
                            for r in 0..rows {
                                // Only to check the bounds.
                                // SAFETY: as below, for a whole row of a tile.
                                unsafe { out.slice(places.at(i + r, j), width) };
                            }
                            let to = out.pointer(places.at(i, j));
                            let row = places.row;
                            for r in 0..rows {
                                // It comes from memory while the tile is computed.
                                fetch_for_writing(out.pointer(places.at(i + r, j)), width);
                            }
                            // SAFETY: these are the rows that have just been checked.
                            unsafe {
                                tile.multiply_to(depth, left, rows, strip, to, row, !is_first);
                            }
                            for r in 0..if is_last { rows } else { 0 } {
                                // SAFETY: as below.
                                let to = unsafe { out.slice(places.at(i + r, j), width) };
                                self.finish(to, bias.map(|b| b.from(i + r, j)));
                            }
                            continue;
                        }
                        tile.multiply(depth, left, rows, strip, &mut sums, false);
                        for (r, sums) in sums.chunks_exact(tile.columns).enumerate().take(rows) {
                            for (c, sum) in sums.iter().enumerate().take(width) {
                                let at = places.at(i + r, j + c);
                                // SAFETY: tasks have different batches, rows or columns, the
                                // layout does not overlap itself, and one element is borrowed at
                                // a time.
                                let to = unsafe { out.slice(at, 1) };
                                to[0] = if is_first { *sum } else { to[0] + sum };
                                if is_last {
                                    self.finish(to, bias.map(|b| b.from(i + r, j + c)));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Scale, bias and what comes after them, for part of a row of which the sums are complete.
    #[inline(always)]
    fn finish(&self, to: &mut [f32], bias: Option<Strided<'_>>) {
        if self.alpha != 1.0 {
            to.iter_mut().for_each(|y| *y *= self.alpha);
        }
        if let Some(bias) = bias {
            add_scaled(to, bias.data, bias.column_stride, self.beta);
        }
        if let Some(function) = self.then {
            function.map(to);
        }
    }
}

/// Copies a block of a left matrix, each row into one piece.
fn gather<'m>(from: Strided<'_>, rows: usize, depth: usize, memory: &'m mut [f32]) -> Strided<'m> {
    for (i, row) in memory.chunks_exact_mut(ROW_LENGTH).enumerate().take(rows) {
        let from = from.from(i, 0);
        for (k, x) in row[..depth].iter_mut().enumerate() {
            *x = from.data[k * from.column_stride];
        }
    }
    Strided {
        data: memory,
        row_stride: ROW_LENGTH,
        column_stride: 1,
    }
}

/// `to[j] += factor * data[j * stride]`.
pub(crate) fn add_scaled(to: &mut [f32], data: &[f32], stride: usize, factor: f32) {
    // A factor of 0 keeps NaN and infinity out, as PyTorch has it.
    if factor == 0.0 {
        return;
    }
    match stride {
        1 => to.iter_mut().zip(data).for_each(|(y, b)| *y += factor * b),
        _ => to
            .iter_mut()
            .enumerate()
            .for_each(|(j, y)| *y += factor * data[j * stride]),
    }
}

/// What one task computes.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    depth: usize,
}
