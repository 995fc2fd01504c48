//! Products in bf16: activations that are rounded, and weights that are stored so or other
//! activations that are rounded too.

use std::ops::Range;

use super::packing::{self, WordRows};
use super::scheme::{SLICE, Scheme};
use crate::matmul::microkernel::short::{ShortMicrokernel, WIDEST};
use crate::matmul::packing::{Pack, Packing};
use crate::matmul::quantized::activations::round_row_to_bf16;
use crate::simd::convert::to_bf16;
use crate::tensor::matrix::Strided;

/// Elements of a word.
const WORD: usize = 2;

/// Steps along the depth of a right side in `f32` that are rounded at a time.
const STEPS: usize = 32;

/// A right side whose columns become words of bf16.
pub(super) trait PackBf16: Copy + Sync {
    /// See [`Scheme::pack`].
    fn pack(&self, strip: &Packing, to: &mut [u32]);
}

/// Rows of bf16 and such a right side.
#[derive(Clone, Copy)]
pub(super) struct Bf16Scheme<R> {
    right: R,
    microkernel: ShortMicrokernel<f32>,
}

impl<R> Bf16Scheme<R> {
    pub fn new(right: R) -> Bf16Scheme<R> {
        let microkernel = ShortMicrokernel::bf16();
        Bf16Scheme {
            right,
            microkernel: microkernel.unwrap_or_else(ShortMicrokernel::bf16_portable),
        }
    }
}

impl<R: PackBf16> Scheme for Bf16Scheme<R> {
    type Sum = f32;

    const WORD: usize = WORD;

    const DEPTH: usize = SLICE * WORD;

    fn microkernel(&self) -> ShortMicrokernel<f32> {
        self.microkernel
    }

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(len);
        round_row_to_bf16(row, to);
        rest.fill(0);
        1.0
    }

    #[inline(always)]
    fn pack(&self, strip: &Packing, to: &mut [u32]) {
        self.right.pack(strip, to);
    }

    #[inline(always)]
    fn scaled(sum: f32, _offset: f32, _scale: f32) -> f32 {
        sum
    }
}

/// Weights stored in bf16, the same for each batch.
#[derive(Clone, Copy)]
pub(super) struct Bf16Rows<'a> {
    /// `[columns, depth]`, without gaps.
    pub elements: &'a [u16],
    /// Elements of a row.
    pub depth: usize,
}

impl PackBf16 for Bf16Rows<'_> {
    #[inline(always)]
    fn pack(&self, strip: &Packing, to: &mut [u32]) {
        packing::pack(self, strip, to);
    }
}

impl WordRows for Bf16Rows<'_> {
    const WORD: usize = WORD;

    fn depth(&self) -> usize {
        self.depth
    }

    fn as_words(&self) -> Option<&[u32]> {
        let whole = self.depth.is_multiple_of(WORD);
        whole.then(|| bytemuck::try_cast_slice(self.elements).ok())?
    }

    #[inline(always)]
    fn words(&self, from: Range<usize>, to: &mut [u32]) {
        let (to, rest) = bytemuck::cast_slice_mut(to).split_at_mut(from.len());
        to.copy_from_slice(&self.elements[from]);
        rest.fill(0);
    }
}

/// A right side in `f32` that is rounded while it is packed.
#[derive(Clone, Copy)]
pub(super) struct RoundedWhilePacked<'a>(pub &'a dyn Pack);

impl PackBf16 for RoundedWhilePacked<'_> {
    #[inline(always)]
    fn pack(&self, strip: &Packing, to: &mut [u32]) {
        let (slice, width) = (&strip.depth, strip.width);
        let mut floats = [0f32; WIDEST * STEPS];
        let parts = slice.clone().step_by(STEPS);
        for (k, to) in parts.zip(to.chunks_mut(STEPS / WORD * width)) {
            let part = Packing {
                depth: k..slice.end.min(k + STEPS),
                ..strip.clone()
            };
            let floats = &mut floats[..part.depth.len() * width];
            self.0.pack(&part, floats);
            for (to, pair) in to.chunks_exact_mut(width).zip(floats.chunks(WORD * width)) {
                let (even, odd) = pair.split_at(width);
                for (to, x) in to.iter_mut().zip(even) {
                    *to = to_bf16(*x) as u32;
                }
                for (to, x) in to.iter_mut().zip(odd) {
                    *to |= (to_bf16(*x) as u32) << 16;
                }
            }
        }
    }
}
