//! gemv with weights in bf16.
//!
//! Of the elements that a vector load brings, the odd ones are `f32`s as they stand once the lower
//! half is masked out, the even ones after a shift; so the activations are held with even and odd
//! elements apart, sixteen of each at a time.

use super::dots::{self, BLOCK, WeightDots};
use crate::runtime::prefetch::ahead;
use crate::simd::dot_products::LANES;
use crate::tensor::matrix::Strided;

/// Rows of weights in bf16.
#[derive(Clone, Copy)]
pub struct Bf16Weights<'a> {
    /// Row by row.
    pub elements: &'a [u16],
    /// Elements of a row.
    pub depth: usize,
}

impl<'a> WeightDots for Bf16Weights<'a> {
    type Activation = f32;
    type Piece = &'a [u16];

    const BLOCK: usize = BLOCK;
    const SUM_REGISTERS: usize = 2;
    const IS_LONG_RUN: bool = true;

    #[inline(always)]
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [f32]) -> f32 {
        for (b, block) in to.chunks_exact_mut(BLOCK).enumerate() {
            for (i, x) in block.iter_mut().enumerate() {
                let k = b * BLOCK + i % LANES * 2 + i / LANES;
                *x = match k < filled {
                    true => row.data[k * row.column_stride],
                    false => 0.0,
                };
            }
        }
        1.0
    }

    #[inline(always)]
    fn piece(&self, row: usize, from: usize, len: usize) -> &'a [u16] {
        &self.elements[row * self.depth + from..][..len]
    }

    #[inline(always)]
    fn ahead(&self, at_once: usize) -> usize {
        ahead::<u16>(self.depth, at_once)
    }

    #[inline(always)]
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[f32]; R],
        right: [&[u16]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        dots::bf16::<FAST, R, C>(left, right, ahead)
    }
}
