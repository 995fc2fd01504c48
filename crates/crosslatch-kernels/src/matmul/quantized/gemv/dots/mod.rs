//! Dot products of activations with rows of quantized weights.
//!
//! The activations are prepared, so that widening a row of weights costs less than the bytes that
//! it saves:
//!
//! * *bf16*: of the elements that a vector load brings, the odd ones are `f32`s as they stand once
//!   the lower half is masked out, the even ones after a shift; so the activations are held with
//!   even and odd elements apart, sixteen of each at a time.
//! * *int8*: the activations are quantized to 16 bits ([`crate::matmul::quantized::activations`]),
//!   with one scale for each [`CHUNK`] elements. Products are then added up in 32-bit integers,
//!   exactly.
//!
//! A row with a value that is not finite gives NaN in int8.
//!
//! A sum has sixteen lanes: elements `2i` and `2i + 1` of each thirty-two go into lane `i`. The
//! lanes are added up in one order; sums of chunks too. So the bits depend on nothing but the
//! shape.

mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::matmul::quantized::activations::{SAFE, quantize_row};
use crate::simd::dot_products::LANES;
use crate::tensor::matrix::Strided;

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;

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
        machine::bf16::<FAST, R, C>(left, right, ahead)
    }
}

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
        machine::int8::<FAST, R, C>(left, right, ahead)
    }
}
