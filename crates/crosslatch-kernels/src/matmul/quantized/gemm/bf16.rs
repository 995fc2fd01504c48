//! Rows of bf16, and bf16 weights or a right side that is rounded.

use std::ops::Range;

use super::rows::{self, Rows};
use super::{SLICE, Scheme};
use crate::matmul::gemm::Right;
use crate::matmul::microkernel::tile::Strided;
use crate::matmul::microkernel::words::{WIDEST, WordTile};
use crate::matmul::quantized::activations::round_row_to_bf16;
use crate::tensor::quantized::to_bf16;

/// Elements of a word.
const WORD: usize = 2;

/// Steps along the depth of a right side that are rounded at a time.
const STEPS: usize = 32;

/// A right side whose columns become words of bf16.
pub(super) trait Words: Copy + Sync {
    /// See [`Scheme::pack`].
    fn pack(
        &self,
        batch: usize,
        slice: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [u32],
    );
}

/// Rows of bf16 and such a right side.
#[derive(Clone, Copy)]
pub(super) struct Bf16<R> {
    right: R,
    tile: WordTile<f32>,
}

impl<R> Bf16<R> {
    pub fn new(right: R) -> Bf16<R> {
        let tile = WordTile::of_bf16().unwrap_or_else(WordTile::of_bf16_portable);
        Bf16 { right, tile }
    }
}

impl<R: Words> Scheme for Bf16<R> {
    type Sum = f32;

    const WORD: usize = WORD;

    const DEPTH: usize = SLICE * WORD;

    fn tile(&self) -> WordTile<f32> {
        self.tile
    }

    #[inline(always)]
    fn round(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        round_row_to_bf16(row, to);
        rest.fill(0);
        1.0
    }

    #[inline(always)]
    fn pack(
        &self,
        batch: usize,
        slice: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [u32],
    ) {
        self.right.pack(batch, slice, columns, width, to);
    }

    #[inline(always)]
    fn scaled(sum: f32, _offset: f32, _scale: f32) -> f32 {
        sum
    }
}

/// bf16 weights.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// `[columns, depth]`, without gaps.
    pub elements: &'a [u16],
    /// Elements of a row.
    pub depth: usize,
}

impl Words for Stored<'_> {
    #[inline(always)]
    fn pack(
        &self,
        _batch: usize,
        slice: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [u32],
    ) {
        rows::pack(self, slice, columns, width, to);
    }
}

impl Rows for Stored<'_> {
    const WORD: usize = WORD;

    fn depth(&self) -> usize {
        self.depth
    }

    fn as_words(&self) -> Option<&[u32]> {
        let whole = self.depth.is_multiple_of(WORD);
        whole.then(|| bytemuck::try_cast_slice(self.elements).ok())?
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(from.len());
        to.copy_from_slice(&self.elements[from]);
        rest.fill(0);
    }
}

/// A right side that is rounded while it is packed.
#[derive(Clone, Copy)]
pub(super) struct Rounded<'a>(pub &'a dyn Right);

impl Words for Rounded<'_> {
    #[inline(always)]
    fn pack(
        &self,
        batch: usize,
        slice: Range<usize>,
        columns: Range<usize>,
        width: usize,
        to: &mut [u32],
    ) {
        let mut wide = [0f32; WIDEST * STEPS];
        let parts = slice.clone().step_by(STEPS);
        for (k, to) in parts.zip(to.chunks_mut(STEPS / WORD * width)) {
            let steps = k..slice.end.min(k + STEPS);
            let wide = &mut wide[..steps.len() * width];
            self.0.pack(batch, steps, columns.clone(), width, wide);
            for (to, pair) in to.chunks_exact_mut(width).zip(wide.chunks(WORD * width)) {
                let (even, odd) = pair.split_at(width);
                for (to, x) in to.iter_mut().zip(even) {
                    *to = to_bf16(*x) as u32;
                }
                for (to, x) in to.iter_mut().zip(odd) {
                    *to |= (to_bf16(*x) as u32) << 16;
                }
            }
        }
    }
}
