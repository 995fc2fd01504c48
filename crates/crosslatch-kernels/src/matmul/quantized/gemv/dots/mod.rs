//! Dot products of activations with rows of quantized weights.
//!
//! The activations are prepared, so that widening a row of weights costs less than the bytes that
//! it saves; how is the format's matter ([`bf16`](super::bf16), [`int8`](super::int8)).
//!
//! A sum has sixteen lanes: elements `2i` and `2i + 1` of each thirty-two go into lane `i`. The
//! lanes are added up in one order; sums of chunks too. So the bits depend on nothing but the
//! shape.

mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::matmul::quantized::activations::SAFE;
use crate::simd::dot_products::LANES;
use crate::tensor::matrix::Strided;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use portable::{bf16, int8};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{bf16, int8};

/// Elements that are summed without a break.
pub const CHUNK: usize = 4096;

/// Elements that are widened together.
pub const BLOCK: usize = 2 * LANES;

// No lane of an integer sum overflows.
const _: () = assert!(2 * CHUNK / LANES <= SAFE);

/// Dot products with weights in one format.
pub trait WeightDots {
    /// What the activations become.
    type Activation: bytemuck::Pod;
    /// A stored weight.
    type Weight: bytemuck::Pod + Sync;

    /// Whether a sum is one register of AVX2, not two.
    const ONE_REGISTER: bool;

    /// Brings `filled` elements of a row into the form that [`dots`](WeightDots::dots) takes, and
    /// fills `to` up with zeros; returns the factor of the sums.
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [Self::Activation]) -> f32;

    /// The dot product of each row of activations, which is filled up to whole blocks, with each
    /// row of weights. `FAST` promises that the machine has the instructions that the caller has
    /// been compiled for by [`multiversion!`](crate::runtime::instructions::multiversion). What
    /// lies `ahead` elements behind each row of weights will be wanted next.
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[Self::Activation]; R],
        right: [&[Self::Weight]; C],
        ahead: usize,
    ) -> [[f32; C]; R];
}
