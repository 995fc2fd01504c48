//! Products with few rows on the left: the step of a decoder.
//!
//! Such a product uses each element of the right matrix a few times only, so it runs at the speed
//! of memory if the matrix is read once, in the order in which it lies, by all threads. Nothing is
//! packed. A weight as PyTorch stores it has columns without gaps (the weight is transposed): each
//! element of the result is a dot product of two slices, and several of them are computed side by
//! side. A matrix with rows without gaps is added up row by row into a small table of sums. What
//! has neither is done element by element.
//!
//! Elements of 16 bits are widened as they are loaded, and give the bits that they give widened.
//!
//! All three give the same bits: an element is always summed in the lanes of
//! [`crate::simd::dot_products`], step `k` into lane `k % 16`, each lane a chain of fused
//! multiply-adds, and the lanes are added up in one order at the end.

use crate::Threads;
use crate::matmul::epilogue::add_scaled;
use crate::matmul::result::ResultLayout;
use crate::runtime::instructions::{Feature, has, multiversion};
use crate::runtime::prefetch::ahead;
use crate::runtime::shared_output::SharedOutput;
use crate::simd::approximate::multiply_add;
use crate::simd::dot_products::{DotElement, LANES, dots, sum};
use crate::tensor::matrix::{Matrices, Strided};

/// The most rows on the left for which this is the better way. Such a product sums each row for
/// itself, in the same order for any number of rows.
pub const MOST_ROWS: usize = 16;

/// Columns that are summed in a table at a time.
const TABLE: usize = 128;

/// Elements of the right matrix below which another thread is not worth waking.
const GRAIN: usize = 1 << 14;

/// `out = alpha * left * right + beta * bias`, for each batch.
pub(crate) struct Gemv<'a, W> {
    /// `[…, rows, depth]`, with at most [`MOST_ROWS`] rows.
    pub left: Matrices<'a>,
    /// `[…, depth, columns]`
    pub right: Matrices<'a, W>,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
    pub alpha: f32,
    pub beta: f32,
}

/// Takes a sum: row, column of the part, sum.
type Emit<'s> = &'s mut dyn FnMut(usize, usize, f32);

impl<W: DotElement> Gemv<'_, W> {
    /// Computes the products into `out`, whose matrices lie as `layout` says.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let [rows, columns] = layout.size();
        let depth = self.left.layout.shape[self.left.layout.rank() - 1];
        let batches = layout.batches();
        if batches * rows * columns == 0 {
            return;
        }
        let tasks = (batches * columns * depth / GRAIN).clamp(1, 4 * threads.count());
        let pieces = tasks.div_ceil(batches).min(columns.div_ceil(TABLE));
        let width = columns.div_ceil(pieces).next_multiple_of(TABLE);
        let pieces = columns.div_ceil(width);
        let out = SharedOutput::new(out);
        let task = |i: usize, memory: &mut [f32]| {
            let (batch, piece) = (i / pieces, i % pieces);
            let from = piece * width;
            let columns = width.min(columns - from);
            let (left, right) = (self.left.at(batch), self.right.at(batch).from(0, from));
            let bias = self.bias.map(|b| b.at(batch).from(0, from));
            let result = layout.of_batch(batch);
            let part = GemvPart {
                left,
                right,
                rows,
                columns,
                depth,
            };
            solve(&part, memory, &mut |i, j, sum| {
                let at = result.position(i, from + j);
                // SAFETY: tasks have different batches or columns, the layout does not overlap
                // itself, and one element is borrowed at a time.
                let to = unsafe { out.slice(at, 1) };
                to[0] = sum * self.alpha;
                if let Some(bias) = bias {
                    add_scaled(to, bias.from(i, j).data, 1, self.beta);
                }
            });
        };
        if tasks == 1 {
            threads.run_with_memory(1, &|_, memory| {
                (0..batches * pieces).for_each(|i| task(i, memory));
            });
        } else {
            threads.run_with_memory(batches * pieces, &task);
        }
    }
}

/// One task's product.
struct GemvPart<'a, W> {
    left: Strided<'a>,
    right: Strided<'a, W>,
    rows: usize,
    columns: usize,
    depth: usize,
}

multiversion! {
    fn solve[W: DotElement](part: &GemvPart<'_, W>, memory: &mut [f32], emit: Emit<'_>), solve_portable
}

#[inline(always)]
fn solve_portable<const FUSED: bool, W: DotElement>(
    part: &GemvPart<'_, W>,
    memory: &mut [f32],
    emit: Emit<'_>,
) {
    part.solve::<FUSED>(memory, emit);
}

impl<W: DotElement> GemvPart<'_, W> {
    #[inline(always)]
    fn solve<const FUSED: bool>(&self, memory: &mut [f32], emit: Emit<'_>) {
        let together = |stride: usize| stride == 1 || self.depth == 1;
        if together(self.left.column_stride) && together(self.right.row_stride) {
            // With AVX-512 a sum is one register of 32, else two of 16.
            let many = has(Feature::Avx512);
            let mut i = 0;
            while i < self.rows {
                i += match self.rows - i {
                    // One column after the other is a long run of memory, which the machine sees
                    // coming; for several rows, arithmetic counts.
                    1 => self.side_by_side::<1, 1>(i, emit),
                    2 if many => self.side_by_side::<2, 4>(i, emit),
                    2 => self.side_by_side::<2, 3>(i, emit),
                    3 if many => self.side_by_side::<3, 4>(i, emit),
                    3 => self.side_by_side::<3, 2>(i, emit),
                    4 if many => self.side_by_side::<4, 4>(i, emit),
                    // Usual numbers of beams: the right side is read once.
                    5 if many => self.side_by_side::<5, 4>(i, emit),
                    6..8 if many => self.side_by_side::<6, 3>(i, emit),
                    _ if many => self.side_by_side::<8, 2>(i, emit),
                    5 => self.side_by_side::<5, 1>(i, emit),
                    _ => self.side_by_side::<4, 1>(i, emit),
                };
            }
        } else if self.right.column_stride == 1 || self.columns == 1 {
            self.add_rows::<FUSED>(memory, emit);
        } else {
            self.element_by_element::<FUSED>(emit);
        }
    }

    /// Rows `i ..` of the left, `ROWS` of them, times all columns, `COLUMNS` at a time.
    #[inline(always)]
    fn side_by_side<const ROWS: usize, const COLUMNS: usize>(
        &self,
        i: usize,
        emit: Emit<'_>,
    ) -> usize {
        let left: [&[f32]; ROWS] = std::array::from_fn(|r| self.left_row(i + r));
        // A single column needs it too: the machine stops prefetching at the end of a page, and the
        // pages of a mapped file have 4 KiB.
        let ahead = ahead::<W>(self.right.column_stride, COLUMNS);
        let mut j = 0;
        while j + COLUMNS <= self.columns {
            let right: [&[W]; COLUMNS] = std::array::from_fn(|c| self.right_column(j + c));
            let results = dots(left, right, ahead);
            for (r, row) in results.iter().enumerate() {
                for (c, sum) in row.iter().enumerate() {
                    emit(i + r, j + c, *sum);
                }
            }
            j += COLUMNS;
        }
        for j in j..self.columns {
            let results = dots(left, [self.right_column(j)], 0);
            for (r, row) in results.iter().enumerate() {
                emit(i + r, j, row[0]);
            }
        }
        ROWS
    }

    fn left_row(&self, i: usize) -> &[f32] {
        &self.left.data[i * self.left.row_stride..][..self.depth]
    }

    fn right_column(&self, j: usize) -> &[W] {
        &self.right.data[j * self.right.column_stride..][..self.depth]
    }

    /// Steps along the depth, each of which adds a row of the right, scaled, to one lane.
    #[inline(always)]
    fn add_rows<const FUSED: bool>(&self, memory: &mut [f32], emit: Emit<'_>) {
        for first in (0..self.columns).step_by(TABLE) {
            let width = TABLE.min(self.columns - first);
            let table = &mut memory[..self.rows * LANES * TABLE];
            table.fill(0.0);
            for k in 0..self.depth {
                let row = &self.right.data[k * self.right.row_stride + first..][..width];
                for (i, lanes) in table.chunks_exact_mut(LANES * TABLE).enumerate() {
                    let x = self.left.data[i * self.left.row_stride + k * self.left.column_stride];
                    let lane = &mut lanes[k % LANES * TABLE..][..width];
                    for (s, w) in lane.iter_mut().zip(row) {
                        *s = multiply_add::<FUSED>(x, w.widen(), *s);
                    }
                }
            }
            for (i, lanes) in table.chunks_exact(LANES * TABLE).enumerate() {
                for j in 0..width {
                    let sum = sum(std::array::from_fn(|l| lanes[l * TABLE + j]));
                    emit(i, first + j, sum);
                }
            }
        }
    }

    #[inline(always)]
    fn element_by_element<const FUSED: bool>(&self, emit: Emit<'_>) {
        for j in 0..self.columns {
            for i in 0..self.rows {
                let mut lanes = [0f32; LANES];
                for k in 0..self.depth {
                    let x = self.left.data[i * self.left.row_stride + k * self.left.column_stride];
                    let w =
                        self.right.data[k * self.right.row_stride + j * self.right.column_stride];
                    lanes[k % LANES] = multiply_add::<FUSED>(x, w.widen(), lanes[k % LANES]);
                }
                emit(i, j, sum(lanes));
            }
        }
    }
}
