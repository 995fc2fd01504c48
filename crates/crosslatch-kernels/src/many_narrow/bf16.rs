//! bf16 weights and rows of bf16.

use std::ops::Range;

use super::{SLICE, Scheme};
use crate::rounded::round_row_to_bf16;
use crate::tile::Strided;
use crate::word_tile::{WIDEST, WordTile};

#[derive(Clone, Copy)]
pub(super) struct Bf16<'a> {
    elements: &'a [u16],
    tile: WordTile<f32>,
}

impl<'a> Bf16<'a> {
    pub fn new(elements: &'a [u16]) -> Bf16<'a> {
        Bf16 {
            elements,
            tile: WordTile::of_bf16().unwrap_or_else(WordTile::of_bf16_portable),
        }
    }
}

impl Scheme for Bf16<'_> {
    type Sum = f32;

    const WORD: usize = 2;

    const DEPTH: usize = SLICE * Self::WORD;

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

    fn as_words(&self) -> Option<&[u32]> {
        let whole = self.elements.len() / Self::WORD * Self::WORD;
        bytemuck::try_cast_slice(&self.elements[..whole]).ok()
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(from.len());
        to.copy_from_slice(&self.elements[from]);
        rest.fill(0);
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
}
