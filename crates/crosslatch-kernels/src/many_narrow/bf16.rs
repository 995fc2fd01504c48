//! Rows of bf16, and bf16 weights or a right side that is rounded.

use std::ops::Range;

use super::rows::{self, Rows};
use super::{SLICE, Scheme};
use crate::gemm::Right;
use crate::narrow::to_bf16;
use crate::rounded::round_row_to_bf16;
use crate::tile::Strided;
use crate::word_tile::{WIDEST, WordTile};

/// Elements of a word.
const WORD: usize = 2;

/// Steps along the depth of a right side that are rounded at a time.
const STEPS: usize = 32;

fn tile() -> WordTile<f32> {
    WordTile::of_bf16().unwrap_or_else(WordTile::of_bf16_portable)
}

/// What both have in common.
macro_rules! rows_of_bf16 {
    () => {
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

        fn factors(&self, _columns: Range<usize>) -> Option<&[f32]> {
            None
        }

        #[inline(always)]
        fn offsets(&self, _strip: &[u32]) -> [f32; WIDEST] {
            [0.0; WIDEST]
        }

        #[inline(always)]
        fn scaled(sum: f32, _offset: f32, _scale: f32) -> f32 {
            sum
        }
    };
}

/// bf16 weights.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// `[columns, depth]`, without gaps.
    elements: &'a [u16],
    depth: usize,
    tile: WordTile<f32>,
}

impl<'a> Stored<'a> {
    pub fn new(elements: &'a [u16], depth: usize) -> Stored<'a> {
        Stored {
            elements,
            depth,
            tile: tile(),
        }
    }
}

impl Scheme for Stored<'_> {
    rows_of_bf16!();

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
pub(super) struct Rounded<'a> {
    right: &'a dyn Right,
    tile: WordTile<f32>,
}

impl<'a> Rounded<'a> {
    pub fn new(right: &'a dyn Right) -> Rounded<'a> {
        Rounded {
            right,
            tile: tile(),
        }
    }
}

impl Scheme for Rounded<'_> {
    rows_of_bf16!();

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
            self.right.pack(batch, steps, columns.clone(), width, wide);
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
