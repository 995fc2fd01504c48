//! Products of many rows in short numbers: the encoder and the first step on quantized weights.
//!
//! The left rows are quantized ([`crate::matmul::quantized::activations`]), and a microkernel
//! multiplies words of two or four such numbers with words of the right matrix and adds the
//! products up ([`crate::matmul::microkernel::short`]): two or four times as many multiply-adds in
//! the same time as in `f32`. What the numbers are is a [`Scheme`]:
//!
//! * int8 weights and rows of 8 bits, if the machine has an instruction for them;
//! * int8 weights and rows of 16 bits elsewhere;
//! * int4 weights as the int8 weights that they stand for;
//! * bf16 weights and rows of bf16, if the machine has an instruction for them. Elsewhere
//!   [`crate::matmul::gemm`] widens such weights;
//! * rows of bf16 and any right side that [`crate::matmul::gemm`] could pack, rounded to bf16: what
//!   the windows of a convolution see;
//! * `f32` on both sides, each in three parts of bf16, where that is faster than `f32` itself.
//!
//! It is rows that stay in the cache: a slice of the depth of a block of them is quantized once, and
//! all columns pass by, a strip as wide as a tile at a time. Where there are several blocks, all
//! threads first pack the strips, into memory that they share; where there is one, each strip is
//! packed when its turn comes.
//!
//! The sums over a slice are scaled and added to the result slice by slice, so that a result does
//! not depend on strides, on tiles, on blocks or on the number of threads.

mod bf16;
mod chunk;
mod int8;
mod packing;
mod scheme;
mod split;
mod tile;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use bytemuck::Zeroable;

use crate::Threads;
use crate::matmul::microkernel::short::{LARGEST, Pass, ShortMicrokernel, WIDEST};
use crate::matmul::packing::{Pack, Packing};
use crate::matmul::result::{ResultLayout, ResultMatrix};
use crate::runtime::caches::second_level;
use crate::runtime::instructions::multiversion;
use crate::runtime::prefetch::fetch_all;
use crate::runtime::shared_output::SharedOutput;
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::functions::Function;
use crate::tensor::matrix::{Matrices, Strided};
use crate::tensor::quantized::{QuantizedElements, QuantizedMatrix};

use chunk::{Chunk, for_each_chunk};
use int8::{Int8Activations, Int8Rows, Int8Scheme, Int16Activations, Uint8Activations};
use scheme::Scheme;
use split::SplitScheme;
use tile::{Factors, TileSums};

/// Most rows of a block.
const ROW_BLOCK: usize = 768;

/// How many rows ahead a row of the left side is asked for. The machine does not see where a slice
/// of the next row begins.
const ROWS_AHEAD: usize = 4;

/// Fewest rows of a block that is cut for the sake of threads.
const LEAST_BLOCK: usize = 128;

/// Rows whose multiples are as good as whole tiles.
const GROUP: usize = 32;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 17;

/// Most passes of a scheme.
const PASSES: usize = 6;

/// The right side of a [`QuantizedGemm`].
#[derive(Clone, Copy)]
pub(crate) enum QuantizedRight<'a> {
    /// `[columns, depth]`, for each batch the same matrix.
    Weights(QuantizedMatrix<'a>),
    /// `[…, depth, columns]` in `f32`, rounded to bf16 while it is packed.
    Activations(&'a dyn Pack),
    /// `[…, depth, columns]` in `f32`, split into three parts, as the left side is.
    Split(&'a dyn Pack),
}

impl QuantizedRight<'_> {
    /// Whether the machine multiplies such numbers faster than `f32`.
    pub fn is_fast(&self) -> bool {
        match self {
            QuantizedRight::Weights(matrix)
                if !matches!(matrix.elements(), QuantizedElements::Bf16(_)) =>
            {
                true
            }
            QuantizedRight::Split(_) => ShortMicrokernel::fast_bf16().is_some(),
            _ => ShortMicrokernel::bf16().is_some(),
        }
    }
}

/// `out = epilogue(left * right + bias)`.
pub(crate) struct QuantizedGemm<'a> {
    /// `[…, rows, depth]`
    pub left: Matrices<'a>,
    /// The right side.
    pub right: QuantizedRight<'a>,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
    /// The function of each element.
    pub epilogue: Option<Function>,
}

impl QuantizedGemm<'_> {
    /// Computes the products into `out`, whose matrices lie as `layout` says. The depth must not be
    /// 0. Returns false if a product of [`QuantizedRight::Split`] is not finite, and may be wrong
    /// therefore.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) -> bool {
        let matrix = match self.right {
            QuantizedRight::Activations(right) => {
                let scheme = bf16::Bf16Scheme::new(bf16::RoundedWhilePacked(right));
                return self.run_in(scheme, out, layout, threads);
            }
            QuantizedRight::Split(right) => {
                let microkernel = ShortMicrokernel::fast_bf16();
                let microkernel = microkernel.unwrap_or_else(ShortMicrokernel::bf16_portable);
                let scheme = SplitScheme::new(right, microkernel);
                return self.run_in(scheme, out, layout, threads);
            }
            QuantizedRight::Weights(matrix) => matrix,
        };
        let depth = matrix.columns();
        let (rows, scales) = match matrix.elements() {
            QuantizedElements::Bf16(elements) => {
                let scheme = bf16::Bf16Scheme::new(bf16::Bf16Rows { elements, depth });
                return self.run_in(scheme, out, layout, threads);
            }
            QuantizedElements::Int8 { scales, rows } => (Int8Rows::Elements(rows), scales),
            QuantizedElements::Int4 { scales, rows } => (Int8Rows::Indices(rows), scales),
        };
        if let Some(kernel) = ShortMicrokernel::signed_int8() {
            let scheme = Int8Scheme::<Int8Activations>::new(rows, depth, scales, kernel);
            self.run_in(scheme, out, layout, threads)
        } else if let Some(kernel) = ShortMicrokernel::int8() {
            let scheme = Int8Scheme::<Uint8Activations>::new(rows, depth, scales, kernel);
            self.run_in(scheme, out, layout, threads)
        } else {
            let kernel = ShortMicrokernel::int16();
            let scheme = Int8Scheme::<Int16Activations>::new(rows, depth, scales, kernel);
            self.run_in(scheme, out, layout, threads)
        }
    }

    fn run_in<S: Scheme>(
        &self,
        scheme: S,
        out: &mut [f32],
        layout: ResultLayout<'_>,
        threads: &Threads,
    ) -> bool {
        let [rows, columns] = layout.size();
        let left = &self.left.layout.shape;
        let (batches, depth) = (layout.batches(), left[left.len() - 1]);
        if batches * rows * columns == 0 {
            return true;
        }
        let kernel = scheme.microkernel();
        let block_rows = block_rows::<S>(rows, batches, kernel.rows, threads.count());
        let blocks = rows.div_ceil(block_rows) * batches;
        let is_finite = AtomicBool::new(true);
        let out = SharedOutput::new(out);
        let part = |i: usize, columns: Range<usize>| {
            let (batch, first) = (i % batches, i / batches * block_rows);
            QuantizedGemmPart {
                scheme,
                batch,
                left: self.left.at(batch),
                bias: self.bias.map(|bias| bias.at(batch)),
                epilogue: self.epilogue,
                rows: first..rows.min(first + block_rows),
                columns,
                depth,
                packed: None,
                out: &out,
                result: layout.of_batch(batch),
                is_finite: &is_finite,
            }
        };
        let is_same_for_all = batches == 1 || matches!(self.right, QuantizedRight::Weights(_));
        if blocks > 1 && is_same_for_all {
            for_each_chunk(&scheme, depth, columns, threads, &mut |chunk| {
                threads.run_with_memory(blocks, &|i, memory| {
                    let part = QuantizedGemmPart {
                        packed: Some(chunk),
                        ..part(i, chunk.columns.clone())
                    };
                    solve(&part, bytemuck::cast_slice_mut(memory));
                });
            });
            return is_finite.into_inner();
        }
        // Columns are cut only if there are too few blocks: each piece quantizes its rows anew.
        let enough = (rows * columns * depth * batches / GRAIN).clamp(1, 2 * threads.count());
        let pieces = enough.div_ceil(blocks).min(columns.div_ceil(WIDEST));
        let width = columns.div_ceil(pieces).next_multiple_of(WIDEST);
        let pieces = columns.div_ceil(width);
        let task = |i: usize, memory: &mut [f32]| {
            let (piece, i) = (i % pieces, i / pieces);
            let columns = piece * width..columns.min((piece + 1) * width);
            solve(&part(i, columns), bytemuck::cast_slice_mut(memory));
        };
        if enough == 1 {
            let tasks = 0..blocks * pieces;
            threads.run_with_memory(1, &|_, memory| tasks.clone().for_each(|i| task(i, memory)));
        } else {
            threads.run_with_memory(blocks * pieces, &task);
        }
        is_finite.into_inner()
    }
}

/// Rows of a block: as many as fit the second-level cache beside strips and results, but not so
/// many that a thread has nothing to do.
fn block_rows<S: Scheme>(rows: usize, batches: usize, tile: usize, threads: usize) -> usize {
    let most = ROW_BLOCK.min((TASK_MEMORY - WIDEST * S::WORDS) / S::ROW_LENGTH);
    let fit = second_level() * 7 / 16 / (S::ROW_LENGTH * size_of::<u32>());
    let share = (rows * batches).div_ceil(4 * threads).max(LEAST_BLOCK);
    let wanted = fit.min(share).clamp(tile, most);
    let even = rows.div_ceil(rows.div_ceil(wanted));
    even.next_multiple_of(tile.min(GROUP)).min(most)
}

/// What one task computes.
struct QuantizedGemmPart<'a, S> {
    scheme: S,
    batch: usize,
    left: Strided<'a>,
    bias: Option<Strided<'a>>,
    epilogue: Option<Function>,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: usize,
    /// The strips of the columns, if they are packed.
    packed: Option<&'a Chunk<'a>>,
    out: &'a SharedOutput<'a>,
    result: ResultMatrix,
    is_finite: &'a AtomicBool,
}

multiversion! {
    fn solve[S: Scheme](part: &QuantizedGemmPart<'_, S>, memory: &mut [u32]), solve_portable
}

#[inline(always)]
fn solve_portable<const FUSED: bool, S: Scheme>(
    part: &QuantizedGemmPart<'_, S>,
    memory: &mut [u32],
) {
    let kernel = part.scheme.microkernel();
    let (strip, quantized) = memory.split_at_mut(WIDEST * S::WORDS);
    let mut scales = [0f32; ROW_BLOCK];
    for k in (0..part.depth).step_by(S::DEPTH) {
        let slice = k..part.depth.min(k + S::DEPTH);
        let words = slice.len().div_ceil(S::WORD);
        let planes = S::PLANES * words;
        let rows = scales
            .iter_mut()
            .zip(quantized.chunks_exact_mut(S::ROW_LENGTH));
        for (i, (scale, to)) in part.rows.clone().zip(rows) {
            part.fetch_row(i + ROWS_AHEAD, &slice);
            *scale = S::quantize(part.left.from(i, k), slice.len(), &mut to[..planes]);
        }
        let mut passes = [Pass::default(); PASSES];
        for (pass, [left, right]) in passes.iter_mut().zip(S::PASSES) {
            (pass.left, pass.right) = (left * words, right * words);
        }
        let passes = &passes[..S::PASSES.len()];
        let mut sums = [S::Sum::zeroed(); LARGEST];
        for first in part.columns.clone().step_by(kernel.columns) {
            let columns = first..part.columns.end.min(first + kernel.columns);
            let strip = match part.packed {
                Some(chunk) => &chunk.words[chunk.strip::<S>(&slice, first, kernel.columns)],
                None => {
                    let strip = &mut strip[..planes * kernel.columns];
                    let what = Packing {
                        batch: part.batch,
                        depth: slice.clone(),
                        columns: columns.clone(),
                        width: kernel.columns,
                    };
                    part.scheme.pack(&what, strip);
                    &*strip
                }
            };
            let factors = Factors::of(&part.scheme, columns.clone(), strip);
            for r in (0..part.rows.len()).step_by(kernel.rows) {
                let rows = r..part.rows.len().min(r + kernel.rows);
                let from = (&quantized[r * S::ROW_LENGTH..], S::ROW_LENGTH);
                // The result comes from memory while the tile is computed.
                for i in rows.clone() {
                    let at = part.result.position(part.rows.start + i, columns.start);
                    fetch_all(part.out.pointer(at), columns.len());
                }
                kernel.multiply_passes(words, from, rows.len(), strip, &mut sums, false, passes);
                let sums = TileSums {
                    sums: &sums[..rows.len() * kernel.columns],
                    scales: &scales[rows],
                    factors: &factors,
                    is_first: k == 0,
                    is_last: slice.end == part.depth,
                };
                let first_row = part.rows.start + r;
                match kernel.columns {
                    32 => part.store::<32>(&sums, first_row, columns.clone()),
                    16 => part.store::<16>(&sums, first_row, columns.clone()),
                    _ => part.store::<8>(&sums, first_row, columns.clone()),
                }
            }
        }
    }
}

impl<S: Scheme> QuantizedGemmPart<'_, S> {
    /// Asks for a slice of a left row, if there is one that lies in one piece.
    #[inline(always)]
    fn fetch_row(&self, i: usize, slice: &Range<usize>) {
        if i < self.rows.end && self.left.column_stride == 1 {
            fetch_all(self.left.from(i, slice.start).data.as_ptr(), slice.len());
        }
    }
}
