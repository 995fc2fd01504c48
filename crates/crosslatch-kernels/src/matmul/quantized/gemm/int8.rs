//! int8 weights, and rows of 8 or of 16 bits.

use std::ops::Range;

use super::rows;
use super::{SLICE, Scheme};
use crate::matmul::microkernel::tile::Strided;
use crate::matmul::microkernel::words::{LARGEST, WIDEST, WordTile};
use crate::matmul::quantized::activations::{BYTE_OFFSET, SAFE, round_row, round_row_to_bytes};
use crate::tensor::quantized::widen_to_16_bits;

/// int8 weights.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// `[columns, depth]`, without gaps.
    pub rows: &'a [i8],
    /// Elements of a row.
    pub depth: usize,
    /// Factors of the rows.
    pub scales: &'a [f32],
}

/// Rows of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    /// The weights.
    pub rows: Rows<'a>,
}

impl Scheme for Pairs<'_> {
    type Sum = i32;

    const WORD: usize = 2;

    const DEPTH: usize = SAFE;

    fn tile(&self) -> WordTile<i32> {
        WordTile::of_16_bits()
    }

    #[inline(always)]
    fn round(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        rest.fill(0);
        round_row(row, to)
    }

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

    fn factors(&self, columns: Range<usize>) -> Option<&[f32]> {
        Some(&self.rows.scales[columns])
    }

    #[inline(always)]
    fn scaled(sum: i32, _offset: i32, scale: f32) -> f32 {
        sum as f32 * scale
    }
}

impl rows::Rows for Pairs<'_> {
    const WORD: usize = 2;

    fn depth(&self) -> usize {
        self.rows.depth
    }

    // Elements have to be widened.
    fn as_words(&self) -> Option<&[u32]> {
        None
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(from.len());
        widen_to_16_bits(&self.rows.rows[from], to);
        rest.fill(0);
    }
}

/// Rows of 8 bits, with [`BYTE_OFFSET`] added.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    /// The weights.
    pub rows: Rows<'a>,
    /// The loop for four bytes in a word.
    pub tile: WordTile<i32>,
}

impl Scheme for Bytes<'_> {
    type Sum = i32;

    const WORD: usize = 4;

    const DEPTH: usize = SLICE * Self::WORD;

    fn tile(&self) -> WordTile<i32> {
        self.tile
    }

    #[inline(always)]
    fn round(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        rest.fill(BYTE_OFFSET);
        round_row_to_bytes(row, to)
    }

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

    fn factors(&self, columns: Range<usize>) -> Option<&[f32]> {
        Some(&self.rows.scales[columns])
    }

    #[inline(always)]
    fn offsets(&self, strip: &[u32]) -> [i32; WIDEST] {
        const ZEROS: [u32; SLICE] = [u32::from_ne_bytes([BYTE_OFFSET; 4]); SLICE];
        let words = strip.len() / self.tile.columns;
        let mut sums = [0; LARGEST];
        self.tile
            .multiply(words, (&ZEROS, 0), 1, strip, &mut sums, false);
        std::array::from_fn(|j| sums[j])
    }

    #[inline(always)]
    fn scaled(sum: i32, offset: i32, scale: f32) -> f32 {
        (sum - offset) as f32 * scale
    }
}

impl rows::Rows for Bytes<'_> {
    const WORD: usize = 4;

    fn depth(&self) -> usize {
        self.rows.depth
    }

    fn as_words(&self) -> Option<&[u32]> {
        let whole = self.rows.depth.is_multiple_of(4);
        whole.then(|| bytemuck::try_cast_slice(self.rows.rows).ok())?
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(from.len());
        to.copy_from_slice(&self.rows.rows[from]);
        rest.fill(0);
    }
}
