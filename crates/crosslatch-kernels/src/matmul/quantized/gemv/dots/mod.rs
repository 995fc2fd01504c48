//! Dot products of activations with rows of quantized weights.
//!
//! The activations are prepared, so that widening a row of weights costs less than the bytes that
//! it saves; how is the format's matter ([`bf16`](super::bf16), [`int8`](super::int8),
//! [`int4`](super::int4)).
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
pub(super) use portable::{bf16, int4, int8};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{bf16, int4, int8};

/// Elements that are summed without a break.
pub const CHUNK: usize = 4096;

/// Elements that are widened together.
pub const BLOCK: usize = 2 * LANES;

// No lane of an integer sum overflows.
const _: () = assert!(2 * CHUNK / LANES <= SAFE);

/// Dot products with the rows of a matrix of weights in one format.
pub trait WeightDots: Copy + Sync {
    /// What the activations become.
    type Activation: bytemuck::Pod;
    /// A piece of a stored row.
    type Piece: Copy;

    /// Elements that are widened together; [`CHUNK`] is a multiple.
    const BLOCK: usize;

    /// Registers of AVX2 that a sum takes.
    const SUM_REGISTERS: usize;

    /// Whether a row is long enough that, for a single row of activations, reading one after the
    /// other is faster than several side by side.
    const IS_LONG_RUN: bool;

    /// Brings `filled` elements of a row into the form that [`dots`](WeightDots::dots) takes, and
    /// fills `to` up with zeros; returns the factor of the sums.
    fn prepare(row: Strided<'_>, filled: usize, to: &mut [Self::Activation]) -> f32;

    /// `len` elements of a row of weights from `from` on, which is a multiple of [`CHUNK`].
    fn piece(&self, row: usize, from: usize, len: usize) -> Self::Piece;

    /// How far ahead [`dots`](WeightDots::dots) is to ask for memory if so many rows are read side
    /// by side.
    fn ahead(&self, at_once: usize) -> usize;

    /// The dot product of each row of activations, which is filled up to whole blocks, with each
    /// row of weights. `FAST` promises that the machine has the instructions that the caller has
    /// been compiled for by [`multiversion!`](crate::runtime::instructions::multiversion). What
    /// lies `ahead` stored elements behind each row of weights will be wanted next.
    fn dots<const FAST: bool, const R: usize, const C: usize>(
        left: [&[Self::Activation]; R],
        right: [Self::Piece; C],
        ahead: usize,
    ) -> [[f32; C]; R];
}
