//! Attention in `f32`: keys and values are left matrices, read where they lie; only queries are
//! copied.

use super::products::{KeyBlock, Products};
use super::softmax::{SoftmaxState, Weigh, accumulate, shift};
use crate::attention::problem::Shape;
use crate::matmul::microkernel::f32::F32Microkernel;
use crate::simd::approximate::exp;
use crate::simd::transpose::transpose;
use crate::tensor::matrix::Strided;

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
    const PANELS: usize = 8;

    fn lanes(self) -> usize {
        self.microkernel.columns
    }

    fn query_rows(inner: usize) -> usize {
        inner
    }

    fn block_len(_shape: &Shape) -> usize {
        0
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

    fn prepare(self, _block: &mut KeyBlock<'_>) {}

    fn scores(self, block: &KeyBlock<'_>, queries: &[f32], scores: &mut [f32]) {
        self.product(block.shape.inner, block.keys, queries, scores, false);
    }

    fn add_values(self, block: &KeyBlock<'_>, weights: &[f32], results: &mut [f32]) {
        // A value's elements are rows here, keys the depth.
        let values = Strided {
            row_stride: block.values.column_stride,
            column_stride: block.values.row_stride,
            ..block.values
        };
        self.product(block.count, values, weights, results, true);
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
                    row[i] = exp::<FUSED>(row[i] - shift[i]);
                    total[i] += row[i];
                }
            }
        }
        accumulate(state, l, factor, total);
    }
}
