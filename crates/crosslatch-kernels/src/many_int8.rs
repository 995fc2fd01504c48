//! Products of many rows with an int8 matrix, in whole numbers: the encoder and the first step.
//!
//! The left rows are rounded to 16 bits, a slice of the depth of each with a scale of its own
//! ([`crate::rounded`]), and a vector instruction multiplies and adds up pairs of such numbers: twice as many
//! multiply-adds in the same time as in `f32` ([`tile`]).
//!
//! Unlike in [`crate::gemm`], it is rows that stay in the cache: a slice of a block of them is rounded once,
//! and all columns pass by, a strip as wide as a tile at a time. Rounding reads the rows twice, and they are
//! four times as large as the matrix, which is cheap to unpack.
//!
//! The sums over a slice are exact. They are scaled and added to the result slice by slice, so that a
//! result does not depend on strides, on tiles, on blocks or on the number of threads.

mod tile;

use std::ops::Range;

use crate::Threads;
use crate::gemm::Matrices;
use crate::narrow::widen_to_16_bits;
use crate::result::{Places, ResultLayout};
use crate::rounded::{SAFE, round_row};
use crate::target::Target;
use crate::threads::TASK_MEMORY;
use crate::tile::Strided;
use crate::transpose::transpose;
use crate::vector::has_avx2;

use tile::{LARGEST, Tile};

/// Steps along the depth that are packed, and rounded with one scale.
const DEPTH: usize = SAFE;

/// Most rows of a block; a rounded slice of it fits the second-level cache.
const ROW_BLOCK: usize = 192;

/// Distance between rounded rows: no power of two, because rows at such a distance compete for the same
/// places in the caches.
const ROW_LENGTH: usize = DEPTH + 32;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 17;

/// Columns of the widest strip; tasks get multiples of it.
const STRIP: usize = 32;

const _: () = assert!(STRIP * DEPTH + ROW_BLOCK * ROW_LENGTH <= 2 * TASK_MEMORY);

/// `out = left * rightᵀ + bias`, for each batch the same right matrix.
pub(crate) struct ManyInt8<'a> {
    /// `[…, rows, depth]`
    pub left: Matrices<'a>,
    /// `[columns, depth]`, without gaps.
    pub right: &'a [i8],
    /// Factors of the right rows.
    pub scales: &'a [f32],
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
}

/// What one task computes.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    batch: usize,
}

impl ManyInt8<'_> {
    /// Computes the products into `out`, whose matrices lie as `layout` says, not overlapping itself.
    /// The depth must not be 0.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let (batches, depth) = (layout.batches(), self.depth());
        if batches * rows * columns == 0 {
            return;
        }
        let tile = Tile::best();
        let block_rows = rows
            .div_ceil(rows.div_ceil(ROW_BLOCK))
            .next_multiple_of(tile.rows);
        let blocks = rows.div_ceil(block_rows) * batches;
        // Columns are cut only if there are too few blocks: each piece rounds its rows anew.
        let enough = (rows * columns * depth * batches / GRAIN).clamp(1, 4 * threads.count());
        let pieces = enough.div_ceil(blocks).min(columns.div_ceil(STRIP));
        let width = columns.div_ceil(pieces).next_multiple_of(STRIP);
        let pieces = columns.div_ceil(width);
        let tasks = blocks * pieces;
        let out = Target::new(out);
        let task = |i: usize, memory: &mut [f32]| {
            let (piece, i) = (i % pieces, i / pieces);
            let (batch, first) = (i % batches, i / batches * block_rows);
            let block = Block {
                rows: first..rows.min(first + block_rows),
                columns: piece * width..columns.min((piece + 1) * width),
                batch,
            };
            let places = layout.of_batch(block.batch);
            self.block(tile, &block, &out, places, bytemuck::cast_slice_mut(memory));
        };
        if enough == 1 {
            threads.run_with_memory(1, &|_, memory| (0..tasks).for_each(|i| task(i, memory)));
        } else {
            threads.run_with_memory(tasks, &task);
        }
    }

    fn depth(&self) -> usize {
        self.left.layout.shape[self.left.layout.rank() - 1]
    }

    fn block(
        &self,
        tile: Tile,
        block: &Block,
        out: &Target<'_>,
        places: Places,
        memory: &mut [i16],
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2(
                product: &ManyInt8<'_>,
                tile: Tile,
                block: &Block,
                out: &Target<'_>,
                places: Places,
                memory: &mut [i16],
            ) {
                product.block_portable(tile, block, out, places, memory);
            }
            if has_avx2() {
                // SAFETY: the machine has AVX2 and FMA.
                return unsafe { avx2(self, tile, block, out, places, memory) };
            }
        }
        self.block_portable(tile, block, out, places, memory);
    }

    #[inline(always)]
    fn block_portable(
        &self,
        tile: Tile,
        block: &Block,
        out: &Target<'_>,
        places: Places,
        memory: &mut [i16],
    ) {
        let left = self.left.at(block.batch);
        let (strip, rounded) = memory.split_at_mut(STRIP * DEPTH);
        for k in (0..self.depth()).step_by(DEPTH) {
            let slice = k..self.depth().min(k + DEPTH);
            let mut scales = [0f32; ROW_BLOCK];
            for (r, to) in rounded.chunks_exact_mut(ROW_LENGTH).enumerate() {
                if r < block.rows.len() {
                    let row = left.from(block.rows.start + r, k);
                    scales[r] = round_row(row, &mut to[..slice.len()]);
                    to[slice.len()] = 0;
                }
            }
            let mut sums = [0i32; LARGEST];
            for first in block.columns.clone().step_by(tile.columns) {
                let columns = first..block.columns.end.min(first + tile.columns);
                self.pack(slice.clone(), columns.clone(), tile.columns, strip);
                for r in (0..block.rows.len()).step_by(tile.rows) {
                    let rows = r..block.rows.len().min(r + tile.rows);
                    let from = (&rounded[r * ROW_LENGTH..], ROW_LENGTH);
                    tile.multiply(slice.len(), from, rows.len(), strip, &mut sums);
                    let sums = Sums {
                        sums: &sums,
                        width: tile.columns,
                        scales: &scales[rows.clone()],
                        slice: slice.clone(),
                    };
                    let first = block.rows.start + r;
                    self.store(&sums, block.batch, first, columns.clone(), out, places);
                }
            }
        }
    }

    /// Writes a slice of the depth of some columns, at most `width`: the pairs of steps of all columns, side
    /// by side, one pair after the other. What is missing is zeros.
    #[inline(always)]
    fn pack(&self, slice: Range<usize>, columns: Range<usize>, width: usize, to: &mut [i16]) {
        if columns.len() < width {
            to[..slice.len().next_multiple_of(2) * width].fill(0);
        }
        // Steps are widened a few at a time, and pairs moved as if each were one number.
        const STEPS: usize = 256;
        let mut wide = [0u32; STRIP * STEPS / 2];
        for k in slice.clone().step_by(STEPS) {
            let steps = k..slice.end.min(k + STEPS);
            let pairs = steps.len().div_ceil(2);
            let rows = bytemuck::cast_slice_mut::<u32, i16>(&mut wide).chunks_exact_mut(STEPS);
            for (j, row) in columns.clone().zip(rows) {
                let from = &self.right[j * self.depth()..][steps.clone()];
                widen_to_16_bits(from, &mut row[..from.len()]);
                row[from.len()..2 * pairs].fill(0);
            }
            let to = bytemuck::cast_slice_mut(&mut to[(k - slice.start) * width..]);
            let wide = bytemuck::cast_slice(&wide);
            transpose(wide, STEPS / 2, columns.len(), pairs, width, to);
        }
    }

    /// Scales the sums over a slice of the depth and adds them to the result.
    #[inline(always)]
    fn store(
        &self,
        sums: &Sums<'_>,
        batch: usize,
        first_row: usize,
        columns: Range<usize>,
        out: &Target<'_>,
        places: Places,
    ) {
        let is_first = sums.slice.start == 0;
        let bias = self.bias.map(|bias| bias.at(batch));
        let factors = &self.scales[columns.clone()];
        let together = places.together(columns.start, columns.len());
        let rows = sums.sums.chunks_exact(sums.width).zip(sums.scales);
        for (i, (sums, scale)) in (first_row..).zip(rows) {
            let first = is_first.then(|| bias.map(|bias| bias.from(i, columns.start)));
            if together {
                // SAFETY: tasks have different batches, rows or columns, the layout does not overlap
                // itself, and one slice is borrowed at a time.
                let to = unsafe { out.slice(places.at(i, columns.start), columns.len()) };
                add_slice(to, sums, factors, *scale, first);
            } else {
                for (c, (sum, factor)) in sums.iter().zip(factors).enumerate() {
                    // SAFETY: as above.
                    let to = unsafe { out.slice(places.at(i, columns.start + c), 1) };
                    let first = first.map(|bias| bias.map(|bias| bias.from(0, c)));
                    add_slice(to, &[*sum], &[*factor], *scale, first);
                }
            }
        }
    }
}

/// The sums of a tile over a slice of the depth.
struct Sums<'a> {
    sums: &'a [i32],
    /// Columns of the tile.
    width: usize,
    /// Factor of each row.
    scales: &'a [f32],
    slice: Range<usize>,
}

/// Part of a row of the result: what a slice of the depth adds to it, the first one to the bias.
#[inline(always)]
fn add_slice(
    to: &mut [f32],
    sums: &[i32],
    factors: &[f32],
    scale: f32,
    first: Option<Option<Strided<'_>>>,
) {
    let scaled = |sum: &i32, factor: &f32| *sum as f32 * (scale * factor);
    let terms = to.iter_mut().zip(sums.iter().zip(factors));
    match first {
        None => terms.for_each(|(y, (sum, factor))| *y += scaled(sum, factor)),
        Some(None) => terms.for_each(|(y, (sum, factor))| *y = scaled(sum, factor)),
        Some(Some(bias)) if bias.column_stride == 1 => terms
            .zip(bias.data)
            .for_each(|((y, (sum, factor)), bias)| *y = scaled(sum, factor) + bias),
        Some(Some(bias)) => terms.enumerate().for_each(|(j, (y, (sum, factor)))| {
            *y = scaled(sum, factor) + bias.data[j * bias.column_stride];
        }),
    }
}
