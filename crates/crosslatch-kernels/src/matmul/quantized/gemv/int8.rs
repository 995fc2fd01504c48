//! gemv with weights in int8.
//!
//! The activations are quantized to 16 bits (`matmul/quantized/activations.rs`), with one scale for
//! each [`CHUNK`](super::dots::CHUNK) elements. Products are then added up in 32-bit integers, exactly.
//! A row with a value that is not finite gives NaN.

use super::dots::{self, WeightDots};
use crate::matmul::quantized::activations::quantize_row;
use crate::runtime::prefetch::ahead;
use crate::tensor::matrix::Strided;

/// Rows of weights in int8, without their scales.
#[derive(Clone, Copy)]
pub struct Int8Weights<'a> {
    /// Row by row.
    pub elements: &'a [i8],
    /// Elements of a row.
    pub depth: usize,
}

impl<'a> WeightDots for Int8Weights<'a> {
    type Activation = i16;
    type Piece = &'a [i8];

    const BLOCK: usize = dots::BLOCK;
    const SUM_REGISTERS: usize = 1;
    const IS_LONG_RUN: bool = true;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [i16]) -> f32 {
        prepare(row, filled, to)
    }

    #[inline(always)]
    fn piece(&self, row: usize, from: usize, len: usize) -> &'a [i8] {
        &self.elements[row * self.depth + from..][..len]
    }

    #[inline(always)]
    fn ahead(&self, at_once: usize) -> usize {
        ahead::<i8>(self.depth, at_once)
    }

    #[inline(always)]
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[i16]; R],
        right: [&[i8]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        dots::int8::<FAST, R, C>(left, right, ahead)
    }
}

/// See [`WeightDots::prepare`].
#[inline(always)]
pub fn prepare(row: Strided<'_>, filled: usize, to: &mut [i16]) -> f32 {
    let (to, rest) = to.split_at_mut(filled);
    rest.fill(0);
    quantize_row(row, to)
}
