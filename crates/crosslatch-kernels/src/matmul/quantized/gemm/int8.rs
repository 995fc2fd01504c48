//! Products with int8 weights: of activations in 8 bits where the machine multiplies such words, in
//! 16 bits elsewhere.

use std::marker::PhantomData;
use std::ops::Range;

use super::packing::{self, WordRows};
use super::scheme::{SLICE, Scheme};
use crate::matmul::microkernel::short::{LARGEST, ShortMicrokernel, WIDEST};
use crate::matmul::packing::Packing;
use crate::matmul::quantized::activations::{
    BYTE_OFFSET, SAFE, quantize_row, quantize_row_to_bytes, quantize_row_to_signed_bytes,
};
use crate::simd::convert::int8_to_int16;
use crate::tensor::matrix::Strided;

/// int8 weights, and activations of one kind: [`Int16Activations`], [`Uint8Activations`] or
/// [`Int8Activations`].
#[derive(Clone, Copy)]
pub(super) struct Int8Scheme<'a, A> {
    /// `[columns, depth]`, without gaps.
    weights: &'a [i8],
    /// Elements of a row of weights.
    depth: usize,
    /// Factors of the rows of weights.
    scales: &'a [f32],
    microkernel: ShortMicrokernel<i32>,
    activations: PhantomData<A>,
}

impl<'a, A> Int8Scheme<'a, A> {
    /// `microkernel` is for the words that the activations make.
    pub fn new(
        weights: &'a [i8],
        depth: usize,
        scales: &'a [f32],
        microkernel: ShortMicrokernel<i32>,
    ) -> Int8Scheme<'a, A> {
        Int8Scheme {
            weights,
            depth,
            scales,
            microkernel,
            activations: PhantomData,
        }
    }
}

/// What activations are quantized to.
pub(super) trait Activations: Copy + Sync {
    /// Elements of a word.
    const WORD: usize;
    /// See [`Scheme::DEPTH`].
    const DEPTH: usize;
    /// Whether a number is stored with an offset.
    const HAS_OFFSET: bool;

    /// See [`Scheme::quantize`].
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32;

    /// Weights as words, if they lie in memory as the words want them.
    fn as_words(weights: &[i8]) -> Option<&[u32]>;

    /// Weights brought into words; the last is filled up with zeros.
    fn words(weights: &[i8], to: &mut [u32]);

    /// See [`Scheme::offsets`].
    fn offsets(microkernel: ShortMicrokernel<i32>, strip: &[u32]) -> [i32; WIDEST];
}

/// Activations of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Int16Activations;

impl Activations for Int16Activations {
    const WORD: usize = 2;

    const DEPTH: usize = SAFE;

    const HAS_OFFSET: bool = false;

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        rest.fill(0);
        quantize_row(row, to)
    }

    // Elements have to be widened.
    fn as_words(_weights: &[i8]) -> Option<&[u32]> {
        None
    }

    #[inline(always)]
    fn words(weights: &[i8], to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(weights.len());
        int8_to_int16(weights, to);
        rest.fill(0);
    }

    #[inline(always)]
    fn offsets(_microkernel: ShortMicrokernel<i32>, _strip: &[u32]) -> [i32; WIDEST] {
        [0; WIDEST]
    }
}

/// Activations of 8 bits, with [`BYTE_OFFSET`] added.
#[derive(Clone, Copy)]
pub(super) struct Uint8Activations;

impl Activations for Uint8Activations {
    const WORD: usize = 4;

    const DEPTH: usize = SLICE * Self::WORD;

    const HAS_OFFSET: bool = true;

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        rest.fill(BYTE_OFFSET);
        quantize_row_to_bytes(row, to)
    }

    fn as_words(weights: &[i8]) -> Option<&[u32]> {
        bytemuck::try_cast_slice(weights).ok()
    }

    #[inline(always)]
    fn words(weights: &[i8], to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(weights.len());
        to.copy_from_slice(weights);
        rest.fill(0);
    }

    #[inline(always)]
    fn offsets(microkernel: ShortMicrokernel<i32>, strip: &[u32]) -> [i32; WIDEST] {
        const ZEROS: [u32; SLICE] = [u32::from_ne_bytes([BYTE_OFFSET; 4]); SLICE];
        let words = strip.len() / microkernel.columns;
        let mut sums = [0; LARGEST];
        microkernel.multiply(words, (&ZEROS, 0), 1, strip, &mut sums, false);
        std::array::from_fn(|j| sums[j])
    }
}

/// Activations of 8 bits.
#[derive(Clone, Copy)]
pub(super) struct Int8Activations;

impl Activations for Int8Activations {
    const WORD: usize = 4;

    const DEPTH: usize = SLICE * Self::WORD;

    const HAS_OFFSET: bool = false;

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        rest.fill(0);
        quantize_row_to_signed_bytes(row, to)
    }

    fn as_words(weights: &[i8]) -> Option<&[u32]> {
        Uint8Activations::as_words(weights)
    }

    #[inline(always)]
    fn words(weights: &[i8], to: &mut [u32]) {
        Uint8Activations::words(weights, to);
    }

    #[inline(always)]
    fn offsets(_microkernel: ShortMicrokernel<i32>, _strip: &[u32]) -> [i32; WIDEST] {
        [0; WIDEST]
    }
}

impl<A: Activations> Scheme for Int8Scheme<'_, A> {
    type Sum = i32;

    const WORD: usize = A::WORD;

    const DEPTH: usize = A::DEPTH;

    fn microkernel(&self) -> ShortMicrokernel<i32> {
        self.microkernel
    }

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        A::quantize(row, len, to)
    }

    #[inline(always)]
    fn pack(&self, strip: &Packing, to: &mut [u32]) {
        packing::pack(self, strip, to);
    }

    fn factors(&self, columns: Range<usize>) -> Option<&[f32]> {
        Some(&self.scales[columns])
    }

    #[inline(always)]
    fn offsets(&self, strip: &[u32]) -> [i32; WIDEST] {
        A::offsets(self.microkernel, strip)
    }

    #[inline(always)]
    fn scaled(sum: i32, offset: i32, scale: f32) -> f32 {
        let sum = if A::HAS_OFFSET { sum - offset } else { sum };
        sum as f32 * scale
    }
}

impl<A: Activations> WordRows for Int8Scheme<'_, A> {
    const WORD: usize = A::WORD;

    fn depth(&self) -> usize {
        self.depth
    }

    fn as_words(&self) -> Option<&[u32]> {
        let whole = self.depth.is_multiple_of(A::WORD);
        whole.then(|| A::as_words(self.weights))?
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        A::words(&self.weights[from], to);
    }
}
