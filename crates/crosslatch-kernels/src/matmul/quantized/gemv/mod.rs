//! Products with few rows on the left and quantized weights on the right: a decoder step on bf16,
//! int8 or int4 weights.
//!
//! As in [`crate::matmul::gemv`], the right matrix is read once, in the order in which it lies. The
//! difference is that widening must cost less than the bytes that it saves, so the left rows, which
//! are few, are brought into the form that makes it cheap ([`dots`]), by each task for itself.

mod bf16;
mod dots;
mod int4;
mod int8;

use crate::Threads;
use crate::matmul::epilogue::add_scaled;
use crate::matmul::result::{ResultLayout, ResultMatrix};
use crate::runtime::instructions::{Feature, has, multiversion};
use crate::runtime::prefetch::sees_runs;
use crate::runtime::shared_output::SharedOutput;
use crate::runtime::threads::TASK_MEMORY;
use crate::tensor::matrix::{Matrices, Strided};
use crate::tensor::quantized::{MAX_COLUMNS, QuantizedElements, QuantizedMatrix};

use bf16::Bf16Weights;
use dots::{CHUNK, WeightDots};
use int4::Int4Weights;
use int8::Int8Weights;

/// Rows that are done together: usually, and with the registers of AVX-512.
const ROWS: usize = 4;
const MANY_ROWS: usize = 8;

/// Columns are handed out in multiples of these.
const COLUMNS: usize = 64;

/// Elements of the right matrix below which another thread is not worth waking.
const GRAIN: usize = 1 << 15;

const _: () = assert!(ROWS * MAX_COLUMNS <= TASK_MEMORY);

/// Scales of the chunks of a row.
type Scales = [f32; MAX_COLUMNS / CHUNK];

/// `out = left * rightᵀ + bias`, for each batch the same right matrix.
pub(crate) struct QuantizedGemv<'a> {
    /// `[…, rows, depth]`, with few rows.
    pub left: Matrices<'a>,
    /// `[columns, depth]`
    pub right: QuantizedMatrix<'a>,
    /// `[…, rows, columns]`
    pub bias: Option<Matrices<'a>>,
}

impl QuantizedGemv<'_> {
    /// Computes the products into `out`, whose matrices lie as `layout` says.
    pub fn run(&self, out: &mut [f32], layout: ResultLayout<'_>, threads: &Threads) {
        let depth = self.right.columns();
        match self.right.elements() {
            QuantizedElements::Bf16(elements) => {
                let weights = Bf16Weights { elements, depth };
                self.run_in(weights, None, out, layout, threads);
            }
            QuantizedElements::Int8 { scales, rows } => {
                let weights = Int8Weights {
                    elements: rows,
                    depth,
                };
                self.run_in(weights, Some(scales), out, layout, threads);
            }
            QuantizedElements::Int4 { scales, rows } => {
                self.run_in(Int4Weights(rows), Some(scales), out, layout, threads);
            }
        }
    }

    fn run_in<D: WeightDots>(
        &self,
        weights: D,
        scales: Option<&[f32]>,
        out: &mut [f32],
        layout: ResultLayout<'_>,
        threads: &Threads,
    ) {
        let [rows, columns] = layout.size();
        let (batches, depth) = (layout.batches(), self.right.columns());
        if batches * rows * columns == 0 {
            return;
        }
        let tasks = (columns * depth / GRAIN).clamp(1, 4 * threads.count());
        let width = columns.div_ceil(tasks).next_multiple_of(COLUMNS);
        let pieces = columns.div_ceil(width);
        let out = SharedOutput::new(out);
        let task = |piece: usize, memory: &mut [f32]| {
            let columns = piece * width..columns.min((piece + 1) * width);
            for batch in 0..batches {
                let part = QuantizedGemvPart {
                    left: self.left.at(batch),
                    weights,
                    scales,
                    bias: self.bias.map(|b| b.at(batch)),
                    rows,
                    columns: columns.clone(),
                    depth,
                    out: &out,
                    result: layout.of_batch(batch),
                };
                solve(&part, bytemuck::cast_slice_mut(memory));
            }
        };
        threads.run_with_memory(pieces, &task);
    }
}

/// One task's product.
struct QuantizedGemvPart<'a, D: WeightDots> {
    left: Strided<'a>,
    weights: D,
    scales: Option<&'a [f32]>,
    bias: Option<Strided<'a>>,
    rows: usize,
    columns: std::ops::Range<usize>,
    depth: usize,
    out: &'a SharedOutput<'a>,
    result: ResultMatrix,
}

multiversion! {
    fn solve[D: WeightDots](part: &QuantizedGemvPart<'_, D>, memory: &mut [D::Activation]), solve_portable
}

#[inline(always)]
fn solve_portable<const FAST: bool, D: WeightDots>(
    part: &QuantizedGemvPart<'_, D>,
    memory: &mut [D::Activation],
) {
    part.solve::<FAST>(memory);
}

impl<D: WeightDots> QuantizedGemvPart<'_, D> {
    #[inline(always)]
    fn solve<const FAST: bool>(&self, memory: &mut [D::Activation]) {
        let many = FAST && has(Feature::Avx512);
        let mut i = 0;
        while i < self.rows {
            i += match self.rows - i {
                // One row after the other is a long run of memory; for several, arithmetic counts.
                1 if D::IS_LONG_RUN => self.side_by_side::<FAST, 1, 1>(i, memory),
                1 => self.side_by_side::<FAST, 1, 4>(i, memory),
                2 if many => self.side_by_side::<FAST, 2, 4>(i, memory),
                2 => self.side_by_side::<FAST, 2, 2>(i, memory),
                3 if many => self.side_by_side::<FAST, 3, 4>(i, memory),
                3 => self.side_by_side::<FAST, 3, 2>(i, memory),
                MANY_ROWS.. if many && MANY_ROWS * self.padded_depth() <= memory.len() => {
                    self.side_by_side::<FAST, MANY_ROWS, 2>(i, memory)
                }
                // Usual numbers of beams: the weights are read once.
                5 if many && 5 * self.padded_depth() <= memory.len() => {
                    self.side_by_side::<FAST, 5, 4>(i, memory)
                }
                6..8 if many && 6 * self.padded_depth() <= memory.len() => {
                    self.side_by_side::<FAST, 6, 3>(i, memory)
                }
                _ if many => self.side_by_side::<FAST, ROWS, 4>(i, memory),
                _ if D::SUM_REGISTERS == 1 => self.side_by_side::<FAST, ROWS, 2>(i, memory),
                _ => self.side_by_side::<FAST, ROWS, 1>(i, memory),
            };
        }
    }

    /// Elements of a prepared row.
    fn padded_depth(&self) -> usize {
        self.depth.next_multiple_of(D::BLOCK)
    }

    /// Rows `i ..` of the left, `R` of them, times all columns, `C` at a time.
    #[inline(always)]
    fn side_by_side<const FAST: bool, const R: usize, const C: usize>(
        &self,
        i: usize,
        memory: &mut [D::Activation],
    ) -> usize {
        let len = self.padded_depth();
        let mut scales = [Scales::default(); R];
        for (r, scales) in scales.iter_mut().enumerate() {
            let row = self.left.from(i + r, 0);
            let to = &mut memory[r * len..][..len];
            for (c, to) in to.chunks_mut(CHUNK).enumerate() {
                let filled = to.len().min(self.depth - c * CHUNK);
                scales[c] = D::prepare(row.from(0, c * CHUNK), filled, to);
            }
        }
        let left: [&[D::Activation]; R] = std::array::from_fn(|r| &memory[r * len..][..len]);
        let mut j = self.columns.start;
        while j + C <= self.columns.end {
            let sums = self.sums::<FAST, R, C>(left, &scales, j);
            self.store(i, j, sums);
            j += C;
        }
        for j in j..self.columns.end {
            let sums = self.sums::<FAST, R, 1>(left, &scales, j);
            self.store(i, j, sums);
        }
        R
    }

    #[inline(always)]
    fn sums<const FAST: bool, const R: usize, const C: usize>(
        &self,
        left: [&[D::Activation]; R],
        scales: &[Scales; R],
        j: usize,
    ) -> [[f32; C]; R] {
        let mut total = [[0f32; C]; R];
        for (chunk, k) in (0..self.depth).step_by(CHUNK).enumerate() {
            let len = CHUNK.min(self.depth - k);
            let x: [&[D::Activation]; R] =
                std::array::from_fn(|r| &left[r][k..][..len.next_multiple_of(D::BLOCK)]);
            let w: [D::Piece; C] = std::array::from_fn(|c| self.weights.piece(j + c, k, len));
            // A single column after the other is a run that some machines see themselves, in pages
            // as large as those of these weights.
            let ahead = match C {
                1 if sees_runs() => 0,
                _ => self.weights.ahead(C),
            };
            let sums = D::dots::<FAST, R, C>(x, w, ahead);
            for r in 0..R {
                for c in 0..C {
                    total[r][c] += sums[r][c] * scales[r][chunk];
                }
            }
        }
        if let Some(scales) = self.scales {
            for row in &mut total {
                for (c, sum) in row.iter_mut().enumerate() {
                    *sum *= scales[j + c];
                }
            }
        }
        total
    }

    #[inline(always)]
    fn store<const R: usize, const C: usize>(&self, i: usize, j: usize, sums: [[f32; C]; R]) {
        for (r, mut sums) in sums.into_iter().enumerate() {
            if let Some(bias) = self.bias {
                let bias = bias.from(i + r, j);
                add_scaled(&mut sums, bias.data, bias.column_stride, 1.0);
            }
            let is_contiguous = self.result.is_contiguous(j, C);
            for (c, sum) in sums
                .iter()
                .enumerate()
                .step_by(if is_contiguous { C } else { 1 })
            {
                let (at, len) = (
                    self.result.position(i + r, j + c),
                    if is_contiguous { C } else { 1 },
                );
                // SAFETY: tasks have different columns, the layout does not overlap itself, and one
                // slice is borrowed at a time.
                let to = unsafe { self.out.slice(at, len) };
                match is_contiguous {
                    true => to.copy_from_slice(&sums),
                    false => to[0] = *sum,
                }
            }
        }
    }
}
