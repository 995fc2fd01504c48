//! Attention in bf16, where the machine multiplies such numbers.
//!
//! Both products are of words of two bf16 ([`crate::matmul::microkernel::short`]). The keys of a
//! block are rounded as they lie, its values are transposed, so that a word holds the same element
//! of two neighbours, and weights become words of two neighbouring keys where the softmax computes
//! them. All sums are `f32`, and that of the weights is the sum of what they were rounded to.

#[cfg(target_arch = "x86_64")]
mod x86_64;

use super::products::{BLOCK, KeyBlock, Products};
use super::softmax::{SoftmaxState, Weigh, accumulate, shift};
use crate::attention::problem::Shape;
use crate::matmul::microkernel::short::ShortMicrokernel;
use crate::matmul::quantized::activations::{map_row, round_row_to_bf16};
use crate::runtime::instructions::multiversion;
use crate::simd::approximate::exp_coarse;
use crate::simd::convert::to_bf16;
use crate::simd::transpose::transpose;
use crate::tensor::matrix::Strided;

/// Words of two neighbouring keys in a block.
const PAIRS: usize = BLOCK / 2;

/// Pairs of values that are transposed at a time.
const PAIRS_AT_ONCE: usize = 8;

#[derive(Clone, Copy)]
pub(in crate::attention) struct Bf16Products {
    microkernel: ShortMicrokernel<f32>,
}

impl Bf16Products {
    pub fn with(microkernel: ShortMicrokernel<f32>) -> Bf16Products {
        Bf16Products { microkernel }
    }

    /// `out = left * right`, or added to it, for any number of rows: `out` says how many.
    fn product(
        self,
        words: usize,
        (left, row_length): (&[f32], usize),
        right: &[f32],
        out: &mut [f32],
        add: bool,
    ) {
        let microkernel = self.microkernel;
        let [left, right] = [left, right].map(bytemuck::cast_slice);
        for (i, out) in out
            .chunks_mut(microkernel.rows * microkernel.columns)
            .enumerate()
        {
            let rows = out.len() / microkernel.columns;
            let left = (&left[i * microkernel.rows * row_length..], row_length);
            microkernel.multiply(words, left, rows, right, out, add);
        }
    }
}

impl Products for Bf16Products {
    const PANELS: usize = 16;

    fn lanes(self) -> usize {
        self.microkernel.columns
    }

    fn query_rows(inner: usize) -> usize {
        inner.div_ceil(2)
    }

    fn block_len(shape: &Shape) -> usize {
        BLOCK * shape.inner.div_ceil(2) + (PAIRS + PAIRS_AT_ONCE) * shape.width
    }

    fn put_queries(
        self,
        queries: Strided<'_>,
        [count, inner]: [usize; 2],
        scale: f32,
        memory: &mut [f32],
        to: &mut [f32],
    ) {
        let lanes = self.lanes();
        // As many words of all queries as there is room for.
        for first in (0..inner).step_by(2 * BLOCK) {
            let part = first..inner.min(first + 2 * BLOCK);
            let words = part.len().div_ceil(2);
            for (i, row) in memory.chunks_exact_mut(words).enumerate().take(count) {
                let query = queries.from(i, part.start);
                round_scaled(query, scale, part.len(), bytemuck::cast_slice_mut(row));
            }
            transpose(
                memory,
                words,
                count,
                words,
                lanes,
                &mut to[first / 2 * lanes..],
            );
        }
    }

    fn prepare(self, block: &mut KeyBlock<'_>) {
        prepare(block);
    }

    fn scores(self, block: &KeyBlock<'_>, queries: &[f32], scores: &mut [f32]) {
        let words = block.shape.inner.div_ceil(2);
        self.product(words, (&*block.prepared, words), queries, scores, false);
    }

    fn add_values(self, block: &KeyBlock<'_>, weights: &[f32], results: &mut [f32]) {
        let pairs = block.count.div_ceil(2);
        let values = &block.prepared[BLOCK * block.shape.inner.div_ceil(2)..];
        self.product(pairs, (values, PAIRS), weights, results, true);
    }
}

multiversion! {
    /// Rounds the first `len` elements of a row, scaled; zeros come after them.
    fn round_scaled(row: Strided<'_>, scale: f32, len: usize, to: &mut [u16]), round_scaled_portable
}

#[inline(always)]
fn round_scaled_portable<const FUSED: bool>(
    row: Strided<'_>,
    scale: f32,
    len: usize,
    to: &mut [u16],
) {
    let (to, rest) = to.split_at_mut(len);
    map_row(row, to, |x| to_bf16(x * scale));
    rest.fill(0);
}

multiversion! {
    /// Rounds keys as they lie, and values into transposed words of two.
    fn prepare(block: &mut KeyBlock<'_>), prepare_portable
}

#[inline(always)]
fn prepare_portable<const FUSED: bool>(block: &mut KeyBlock<'_>) {
    let (words, width) = (block.shape.inner.div_ceil(2), block.shape.width);
    let (keys, memory) = block.prepared.split_at_mut(BLOCK * words);
    let (values, pairs) = memory.split_at_mut(PAIRS * width);
    for (i, to) in keys.chunks_exact_mut(words).enumerate().take(block.count) {
        let to = bytemuck::cast_slice_mut(to);
        // After an odd element comes a zero.
        to[2 * words - 1] = 0;
        round_row_to_bf16(block.keys.from(i, 0), &mut to[..block.shape.inner]);
    }
    for first in (0..block.count).step_by(2 * PAIRS_AT_ONCE) {
        let count = (2 * PAIRS_AT_ONCE).min(block.count - first);
        let rows = pairs.chunks_exact_mut(width).take(count.div_ceil(2));
        for (i, row) in (first..).step_by(2).zip(rows) {
            let last = (i + 1).min(block.count - 1);
            let [even, odd] = [i, last].map(|i| block.values.from(i, 0));
            // After an odd value comes a zero.
            let mask = if last == i { 0 } else { u32::MAX };
            pair(bytemuck::cast_slice_mut(row), [even, odd], mask);
        }
        transpose(
            pairs,
            width,
            count.div_ceil(2),
            width,
            PAIRS,
            &mut values[first / 2..],
        );
    }
}

/// Words of the elements of two rows, those of the second one masked.
#[inline(always)]
fn pair(to: &mut [u32], rows: [Strided<'_>; 2], mask: u32) {
    let word = |a: f32, b: f32| to_bf16(a) as u32 | ((to_bf16(b) as u32) << 16 & mask);
    match rows[0].column_stride {
        1 => {
            let elements = rows[0].data.iter().zip(rows[1].data);
            for (to, (a, b)) in to.iter_mut().zip(elements) {
                *to = word(*a, *b);
            }
        }
        step => {
            for (x, to) in to.iter_mut().enumerate() {
                *to = word(rows[0].data[x * step], rows[1].data[x * step]);
            }
        }
    }
}

impl Weigh for Bf16Products {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn weigh_natively(lanes: usize, scores: &mut [f32], state: &mut SoftmaxState<'_>) -> bool {
        x86_64::weigh(lanes, scores, state)
    }

    /// Lanes `l .. l + N`. Row `p` of the words, made of the scores of rows `2p` and `2p + 1`,
    /// takes the place of row `p` of the scores, which has been read.
    #[inline(always)]
    fn weigh_lanes<const FUSED: bool, const N: usize>(
        (lanes, l): (usize, usize),
        scores: &mut [f32],
        state: &mut SoftmaxState<'_>,
    ) {
        let (shift, factor) = shift::<FUSED, N>((lanes, l), scores, state.greatest);
        let keys = scores.len() / lanes;
        let mut total = [0f32; N];
        for p in 0..keys.div_ceil(2) {
            let mut words = [0u32; N];
            for half in 0..2.min(keys - 2 * p) {
                let row = &scores[(2 * p + half) * lanes + l..][..N];
                for i in 0..N {
                    let weight = round_weight(exp_coarse::<FUSED>(row[i] - shift[i]));
                    total[i] += f32::from_bits(weight);
                    words[i] |= weight >> (16 * (1 - half));
                }
            }
            let to = &mut scores[p * lanes + l..][..N];
            for i in 0..N {
                to[i] = f32::from_bits(words[i]);
            }
        }
        accumulate(state, l, factor, total);
    }
}

/// A weight rounded to bf16, in the upper half. A weight is at most 1, or NaN; every NaN becomes
/// the same one, because rounding could make a number of another.
#[inline(always)]
fn round_weight(weight: f32) -> u32 {
    let bits = weight.to_bits().min(f32::NAN.to_bits());
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) & 0xffff_0000
}
