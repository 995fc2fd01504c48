//! Attention in `f32`: keys and values are left matrices. If many panels pass by, both are packed
//! first, because rows of a head lie apart, each in a page and often in the same places of a cache;
//! if few do, they are read where they lie.

use super::products::{BLOCK, KeyBlock, Products};
use super::softmax::{SoftmaxState, Weigh, accumulate, shift};
use crate::attention::problem::Shape;
use crate::matmul::microkernel::f32::F32Microkernel;
use crate::matmul::packing::pack_rows;
use crate::simd::approximate::exp_of_negative;
use crate::simd::transpose::transpose;
use crate::tensor::matrix::Strided;

/// Most elements of keys and of values that are packed: of longer ones too little of a block fits
/// beside the panels.
const LONGEST_PACKED: usize = 96;

/// Panels for which packing pays.
const ENOUGH_PANELS: usize = 4;

/// No panel of left rows is higher.
const HIGHEST: usize = 16;

#[derive(Clone, Copy)]
pub(in crate::attention) struct F32Products {
    microkernel: F32Microkernel,
}

impl F32Products {
    pub fn best() -> F32Products {
        F32Products {
            microkernel: F32Microkernel::best(),
        }
    }

    /// As [`product`](F32Products::product), of packed rows.
    fn packed_product(self, depth: usize, left: &[f32], right: &[f32], out: &mut [f32], add: bool) {
        let microkernel = self.microkernel;
        let height = microkernel.panel_rows;
        let panels = left.chunks(height * depth);
        for (left, out) in panels.zip(out.chunks_mut(height * microkernel.columns)) {
            let left = Strided {
                data: left,
                row_stride: 1,
                column_stride: height,
            };
            let rows = out.len() / microkernel.columns;
            microkernel.multiply(depth, left, rows, right, out, add);
        }
    }

    /// `out = left * right`, or added to it, for any number of rows: `out` says how many.
    fn product(self, depth: usize, left: Strided<'_>, right: &[f32], out: &mut [f32], add: bool) {
        let microkernel = self.microkernel;
        for (i, out) in out
            .chunks_mut(microkernel.rows * microkernel.columns)
            .enumerate()
        {
            let rows = out.len() / microkernel.columns;
            microkernel.multiply(
                depth,
                left.from(i * microkernel.rows, 0),
                rows,
                right,
                out,
                add,
            );
        }
    }
}

impl Products for F32Products {
    const PANELS: usize = 12;

    fn lanes(self) -> usize {
        self.microkernel.columns
    }

    fn query_rows(inner: usize) -> usize {
        inner
    }

    fn block_len(shape: &Shape) -> usize {
        match shape.inner.max(shape.width) <= LONGEST_PACKED {
            true => packed_keys_len(shape) + BLOCK * (shape.width + HIGHEST),
            false => 0,
        }
    }

    fn put_queries(
        self,
        queries: Strided<'_>,
        [count, inner]: [usize; 2],
        scale: f32,
        _memory: &mut [f32],
        to: &mut [f32],
    ) {
        let lanes = self.lanes();
        if queries.column_stride == 1 {
            transpose(queries.data, queries.row_stride, count, inner, lanes, to);
            return to.iter_mut().for_each(|x| *x *= scale);
        }
        for (x, row) in to.chunks_exact_mut(lanes).enumerate() {
            for (lane, to) in row.iter_mut().enumerate().take(count) {
                *to = queries.from(lane, x).data[0] * scale;
            }
        }
    }

    fn prepare(self, block: &mut KeyBlock<'_>) {
        if block.panels < ENOUGH_PANELS {
            block.prepared = &mut [];
        }
        if block.prepared.is_empty() {
            return;
        }
        let height = self.microkernel.panel_rows;
        let (count, shape) = (block.count, block.shape);
        let (keys, values) = block.prepared.split_at_mut(packed_keys_len(shape));
        pack_rows(block.keys, count, shape.inner, height, keys);
        pack_rows(transposed(block.values), shape.width, count, height, values);
    }

    fn scores(self, block: &KeyBlock<'_>, queries: &[f32], scores: &mut [f32]) {
        let inner = block.shape.inner;
        match block.prepared.is_empty() {
            true => self.product(inner, block.keys, queries, scores, false),
            false => self.packed_product(inner, block.prepared, queries, scores, false),
        }
    }

    fn add_values(self, block: &KeyBlock<'_>, weights: &[f32], results: &mut [f32]) {
        let count = block.count;
        match block.prepared.is_empty() {
            true => self.product(count, transposed(block.values), weights, results, true),
            false => {
                let values = &block.prepared[packed_keys_len(block.shape)..];
                self.packed_product(count, values, weights, results, true);
            }
        }
    }
}

/// Room for the packed keys of a block.
fn packed_keys_len(shape: &Shape) -> usize {
    (BLOCK + HIGHEST) * shape.inner
}

/// A value's elements are rows of the product, keys its depth.
fn transposed(values: Strided<'_>) -> Strided<'_> {
    Strided {
        row_stride: values.column_stride,
        column_stride: values.row_stride,
        ..values
    }
}

impl Weigh for F32Products {
    #[inline(always)]
    fn weigh_lanes<const FUSED: bool, const N: usize>(
        (lanes, l): (usize, usize),
        scores: &mut [f32],
        state: &mut SoftmaxState<'_>,
    ) {
        let (shift, factor) = shift::<FUSED, N>((lanes, l), scores, state.greatest);
        let mut total = [0f32; N];
        for row in scores.chunks_exact_mut(lanes) {
            if let Some(row) = row[l..].first_chunk_mut::<N>() {
                for i in 0..N {
                    row[i] = exp_of_negative::<FUSED>(row[i] - shift[i]);
                    total[i] += row[i];
                }
            }
        }
        accumulate(state, l, factor, total);
    }
}
