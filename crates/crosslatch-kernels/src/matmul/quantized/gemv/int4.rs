//! gemv with weights in int4: the sums are those of int8 weights ([`int8`](super::int8)), which are
//! looked up on the way from memory.

use super::dots::{self, WeightDots};
use super::int8;
use crate::runtime::prefetch::ahead;
use crate::tensor::int4::{BLOCK, BLOCK_BYTES, Int4Blocks, Int4Rows};
use crate::tensor::matrix::Strided;

/// Rows of weights in int4, without their scales.
#[derive(Clone, Copy)]
pub struct Int4Weights<'a>(pub Int4Rows<'a>);

impl<'a> WeightDots for Int4Weights<'a> {
    type Activation = i16;
    type Piece = Int4Blocks<'a>;

    const BLOCK: usize = BLOCK;
    const SUM_REGISTERS: usize = 1;
    // Half of the bytes: adding up the lanes would take as long as waiting for them.
    const IS_LONG_RUN: bool = false;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [i16]) -> f32 {
        int8::prepare(row, filled, to)
    }

    #[inline(always)]
    fn piece(&self, row: usize, from: usize, len: usize) -> Int4Blocks<'a> {
        self.0.part(row, from / BLOCK..(from + len).div_ceil(BLOCK))
    }

    #[inline(always)]
    fn ahead(&self, at_once: usize) -> usize {
        ahead::<u8>(self.0.blocks() * BLOCK_BYTES, at_once)
    }

    #[inline(always)]
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[i16]; R],
        right: [Int4Blocks<'_>; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        dots::int4::<FAST, R, C>(left, right, ahead)
    }
}
