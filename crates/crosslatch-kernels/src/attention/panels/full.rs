//! Attention in `f32`: keys and values are left matrices, read where they lie; only queries are copied.

use super::{Arithmetic, Block, Carried, carry, shift};
use crate::attention::Shape;
use crate::matmul::microkernel::tile::{Strided, Tile};
use crate::runtime::instructions::compiled;
use crate::simd::approximate::exp;
use crate::simd::transpose::transpose;

#[derive(Clone, Copy)]
pub(in crate::attention) struct Full {
    tile: Tile,
}

impl Full {
    pub fn best() -> Full {
        Full { tile: Tile::best() }
    }

    /// `out = left * right`, or added to it, for any number of rows: `out` says how many.
    fn product(self, depth: usize, left: Strided<'_>, right: &[f32], out: &mut [f32], add: bool) {
        let tile = self.tile;
        for (i, out) in out.chunks_mut(tile.rows * tile.columns).enumerate() {
            let rows = out.len() / tile.columns;
            tile.multiply(depth, left.from(i * tile.rows, 0), rows, right, out, add);
        }
    }
}

impl Arithmetic for Full {
    const PANELS: usize = 8;

    fn lanes(self) -> usize {
        self.tile.columns
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

    fn prepare(self, _block: &mut Block<'_>) {}

    fn scores(self, block: &Block<'_>, queries: &[f32], scores: &mut [f32]) {
        self.product(block.shape.inner, block.keys, queries, scores, false);
    }

    fn weigh(self, scores: &mut [f32], mut carried: Carried<'_>) {
        weigh(self.lanes(), scores, &mut carried);
    }

    fn add_values(self, block: &Block<'_>, weights: &[f32], results: &mut [f32]) {
        // A value's elements are rows here, keys the depth.
        let values = Strided {
            row_stride: block.values.column_stride,
            column_stride: block.values.row_stride,
            ..block.values
        };
        self.product(block.count, values, weights, results, true);
    }
}

compiled! {
    fn weigh(lanes: usize, scores: &mut [f32], carried: &mut Carried<'_>), weigh_portable
}

#[inline(always)]
fn weigh_portable<const FUSED: bool>(lanes: usize, scores: &mut [f32], carried: &mut Carried<'_>) {
    // As many lanes at a time as the longest vectors have, if the panel has so many.
    let mut l = 0;
    while l + 16 <= lanes {
        some_lanes::<FUSED, 16>((lanes, l), scores, carried);
        l += 16;
    }
    while l < lanes {
        some_lanes::<FUSED, 8>((lanes, l), scores, carried);
        l += 8;
    }
}

#[inline(always)]
fn some_lanes<const FUSED: bool, const N: usize>(
    (lanes, l): (usize, usize),
    scores: &mut [f32],
    carried: &mut Carried<'_>,
) {
    let (shift, factor) = shift::<FUSED, N>((lanes, l), scores, carried.greatest);
    let mut total = [0f32; N];
    for row in scores.chunks_exact_mut(lanes) {
        if let Some(row) = row[l..].first_chunk_mut::<N>() {
            for i in 0..N {
                row[i] = exp::<FUSED>(row[i] - shift[i]);
                total[i] += row[i];
            }
        }
    }
    carry(carried, l, factor, total);
}
