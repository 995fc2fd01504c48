//! gemv with weights in int8.
//!
//! The activations are quantized to 16 bits (`matmul/quantized/activations.rs`), with one scale for
//! each [`CHUNK`](super::dots::CHUNK) elements. Products are then added up in 32-bit integers, exactly.
//! A row with a value that is not finite gives NaN.

use super::dots::{self, WeightDots};
use crate::matmul::quantized::activations::quantize_row;
use crate::tensor::matrix::Strided;

/// Weights in int8, without their scales.
pub struct Int8Weights;

impl WeightDots for Int8Weights {
    type Activation = i16;
    type Weight = i8;

    const ONE_REGISTER: bool = true;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [i16]) -> f32 {
        let (to, rest) = to.split_at_mut(filled);
        rest.fill(0);
        quantize_row(row, to)
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
