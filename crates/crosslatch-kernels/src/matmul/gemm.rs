//! Products of large `f32` matrices.
//!
//! The result is cut into bands of columns, and these between the threads. A band's part of the
//! right matrix is packed ([`crate::matmul::packing`]), a slice of the depth at a time, into the
//! working memory of the thread. The packed strips stay in the cache while the rows of the left
//! matrix pass by, a block at a time. Only rows that are not in one piece are copied too.
//!
//! The depth is always cut at the same places, so that a result does not depend on strides, on the
//! number of threads or on the bands; a planned run and the reference agree in every bit.

use std::ops::Range;

use crate::Threads;
use crate::matmul::epilogue::add_scaled;
use crate::matmul::microkernel::f32::{F32Microkernel, LARGEST};
use crate::matmul::packing::{Pack, Packing};
use crate::matmul::quantized::gemm::{QuantizedGemm, QuantizedRight};
use crate::matmul::result::{ResultLayout, ResultMatrix};
use crate::runtime::prefetch::fetch_for_writing;
use crate::runtime::shared_output::SharedOutput;
use crate::simd::functions::Function;
use crate::tensor::matrix::{Matrices, Strided};

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

/// `out = epilogue(alpha * left * right + beta * bias)`, for each batch.
pub(crate) struct Gemm<'a, R> {
    /// `[…, rows, depth]`
    pub left: Matrices<'a>,
    /// `[…, depth, columns]`
    pub right: &'a R,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
    pub alpha: f32,
    pub beta: f32,
    /// The function of each element of the result.
    pub epilogue: Option<Function>,
}

/// Multiply-adds, and rows, columns and depth, from which a product is worth splitting into six.
const WORTH_SPLITTING: usize = 1 << 20;
const SHORTEST_SPLIT: usize = 32;

impl<R: Pack> Gemm<'_, R> {
    /// As [`run`](Gemm::run), the fastest way that this machine has for the product: large ones in
    /// three parts of bf16 where it multiplies those so fast
    /// ([`crate::matmul::quantized::gemm`]).
    pub fn run_best(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let depth = self.left.layout.shape[self.left.layout.rank() - 1];
        let is_large = rows * columns * depth >= WORTH_SPLITTING
            && rows.min(columns).min(depth) >= SHORTEST_SPLIT;
        let is_plain = self.alpha == 1.0 && (self.beta == 1.0 || self.bias.is_none());
        let split = QuantizedGemm {
            left: self.left,
            right: QuantizedRight::Split(self.right),
            bias: self.bias,
            epilogue: self.epilogue,
        };
        let is_done =
            is_large && is_plain && split.right.is_fast() && split.run(out, layout, threads);
        // What is not finite has no parts.
        if !is_done {
            self.run(out, layout, threads);
        }
    }

    /// Computes the products into `out`, whose matrices lie as `layout` says. The depth must not be
    /// 0.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let depth = self.left.layout.shape[self.left.layout.rank() - 1];
        let batches = layout.batches();
        if batches * rows * columns == 0 {
            return;
        }
        let kernel = F32Microkernel::best();
        let bands = columns.div_ceil(BAND);
        // Rows are cut only if there are too few bands: each piece packs its band anew.
        let enough = (rows * columns * depth * batches / GRAIN).clamp(1, 2 * threads.count());
        let pieces = (enough / (bands * batches)).clamp(1, rows.div_ceil(ROW_BLOCK));
        let piece_rows = rows.div_ceil(pieces).next_multiple_of(kernel.rows);
        let pieces = rows.div_ceil(piece_rows);
        let out = SharedOutput::new(out);
        let task = |i: usize, memory: &mut [f32]| {
            let (band, piece, batch) = (i % bands, i / bands % pieces, i / bands / pieces);
            let part = GemmPart {
                rows: piece * piece_rows..rows.min((piece + 1) * piece_rows),
                columns: band * BAND..columns.min((band + 1) * BAND),
                depth,
            };
            let result = layout.of_batch(batch);
            self.run_part(kernel, batch, &part, &out, result, memory);
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

    fn run_part(
        &self,
        kernel: F32Microkernel,
        batch: usize,
        part: &GemmPart,
        out: &SharedOutput<'_>,
        result: ResultMatrix,
        memory: &mut [f32],
    ) {
        let (left, bias) = (self.left.at(batch), self.bias.map(|b| b.at(batch)));
        let mut sums = [0f32; LARGEST];
        for k in (0..part.depth).step_by(DEPTH) {
            let depth = DEPTH.min(part.depth - k);
            let (is_first, is_last) = (k == 0, k + depth == part.depth);
            let strip_len = depth * kernel.columns;
            let strips = part.columns.len().div_ceil(kernel.columns);
            let (packed, memory) = memory.split_at_mut(strips * strip_len);
            let piece = Packing {
                batch,
                depth: k..k + depth,
                columns: part.columns.clone(),
                width: kernel.columns,
            };
            self.right.pack(&piece, packed);
            for first_row in part.rows.clone().step_by(ROW_BLOCK) {
                let end_row = part.rows.end.min(first_row + ROW_BLOCK);
                let block_left = left.from(first_row, k);
                let block_left = match block_left.column_stride {
                    1 => block_left,
                    _ => gather(block_left, end_row - first_row, depth, memory),
                };
                for (s, strip) in packed.chunks_exact(strip_len).enumerate() {
                    let column = part.columns.start + s * kernel.columns;
                    let width = kernel.columns.min(part.columns.end - column);
                    for row in (first_row..end_row).step_by(kernel.rows) {
                        let tile = Tile {
                            row,
                            column,
                            rows: kernel.rows.min(end_row - row),
                            width,
                            depth,
                            left: block_left.from(row - first_row, 0),
                            strip,
                            is_first,
                            is_last,
                        };
                        if width == kernel.columns && result.is_contiguous(column, width) {
                            self.tile_in_place(kernel, &tile, out, result, bias);
                        } else {
                            self.tile_by_element(kernel, &tile, out, result, bias, &mut sums);
                        }
                    }
                }
            }
        }
    }

    /// Computes a tile whose rows lie in one piece in the result.
    #[inline(always)]
    fn tile_in_place(
        &self,
        kernel: F32Microkernel,
        tile: &Tile<'_>,
        out: &SharedOutput<'_>,
        result: ResultMatrix,
        bias: Option<Strided<'_>>,
    ) {
        let (i, j, rows, width) = (tile.row, tile.column, tile.rows, tile.width);
        for r in 0..rows {
            // Only to check the bounds.
            // SAFETY: tasks have different batches, rows or columns, the layout does not overlap
            // itself, and one row of a tile is borrowed at a time.
            unsafe { out.slice(result.position(i + r, j), width) };
        }
        for r in 0..rows {
            // The result comes from memory while the tile is computed.
            fetch_for_writing(out.pointer(result.position(i + r, j)), width);
        }
        let to = out.pointer(result.position(i, j));
        // SAFETY: these are the rows that have just been checked.
        unsafe {
            kernel.multiply_to(
                tile.depth,
                tile.left,
                rows,
                tile.strip,
                to,
                result.row,
                !tile.is_first,
            );
        }
        for r in 0..if tile.is_last { rows } else { 0 } {
            // SAFETY: as above.
            let to = unsafe { out.slice(result.position(i + r, j), width) };
            self.finish(to, bias.map(|b| b.from(i + r, j)));
        }
    }

    /// Computes a tile in `sums` and moves it to the result element by element: the last columns of
    /// a result, and results whose columns lie apart.
    #[inline(always)]
    fn tile_by_element(
        &self,
        kernel: F32Microkernel,
        tile: &Tile<'_>,
        out: &SharedOutput<'_>,
        result: ResultMatrix,
        bias: Option<Strided<'_>>,
        sums: &mut [f32; LARGEST],
    ) {
        let (i, j, rows) = (tile.row, tile.column, tile.rows);
        kernel.multiply(tile.depth, tile.left, rows, tile.strip, sums, false);
        for (r, sums) in sums.chunks_exact(kernel.columns).enumerate().take(rows) {
            for (c, sum) in sums.iter().enumerate().take(tile.width) {
                let at = result.position(i + r, j + c);
                // SAFETY: tasks have different batches, rows or columns, the layout does not
                // overlap itself, and one element is borrowed at a time.
                let to = unsafe { out.slice(at, 1) };
                to[0] = if tile.is_first { *sum } else { to[0] + sum };
                if tile.is_last {
                    self.finish(to, bias.map(|b| b.from(i + r, j + c)));
                }
            }
        }
    }

    /// Applies scale, bias and epilogue to part of a row whose sums are complete.
    #[inline(always)]
    fn finish(&self, to: &mut [f32], bias: Option<Strided<'_>>) {
        if self.alpha != 1.0 {
            to.iter_mut().for_each(|y| *y *= self.alpha);
        }
        if let Some(bias) = bias {
            add_scaled(to, bias.data, bias.column_stride, self.beta);
        }
        if let Some(function) = self.epilogue {
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

/// What one task computes.
struct GemmPart {
    rows: Range<usize>,
    columns: Range<usize>,
    depth: usize,
}

/// A tile of the result, over a slice of the depth.
struct Tile<'t> {
    row: usize,
    column: usize,
    rows: usize,
    /// Columns that the result has there.
    width: usize,
    depth: usize,
    /// The rows of the left matrix.
    left: Strided<'t>,
    /// The packed columns of the right matrix.
    strip: &'t [f32],
    /// Whether nothing has been added up before.
    is_first: bool,
    /// Whether nothing will be added up after.
    is_last: bool,
}
