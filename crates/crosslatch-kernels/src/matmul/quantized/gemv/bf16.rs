//! gemv with weights in bf16.
//!
//! Of the elements that a vector load brings, the odd ones are `f32`s as they stand once the lower
//! half is masked out, the even ones after a shift; so the activations are held with even and odd
//! elements apart, sixteen of each at a time.

use super::dots::{self, BLOCK, WeightDots};
use crate::simd::dot_products::LANES;
use crate::tensor::matrix::Strided;

/// Weights in bf16.
pub struct Bf16Weights;

impl WeightDots for Bf16Weights {
    type Activation = f32;
    type Weight = u16;

    const ONE_REGISTER: bool = false;

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
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[f32]; R],
        right: [&[u16]; C],
        ahead: usize,
    ) -> [[f32; C]; R] {
        dots::bf16::<FAST, R, C>(left, right, ahead)
    }
}
