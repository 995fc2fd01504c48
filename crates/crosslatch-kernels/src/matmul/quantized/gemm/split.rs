//! Products in `f32` as sums of products of bf16, for machines that multiply bf16 more than six times
//! as fast.
//!
//! An `f32` has 24 significant bits, a bf16 eight: `x = high + middle + low`, exactly, each part
//! what is left after rounding the parts before it. Of the nine products of parts, six are computed,
//! the smallest first; the other three are below 2⁻²⁴ of the largest, as is the rounding of one
//! `f32`. (G. Henry, P. T. P. Tang, A. Heinecke: Leveraging the bfloat16 artificial intelligence
//! datatype for higher-precision computations, ARITH 2019.)
//!
//! What this cannot do: an infinite element has no parts, and a number near the largest `f32` rounds
//! to infinity. Such a product is not finite, which the caller sees, to compute it otherwise.
//! Numbers below 2⁻¹¹⁰ have parts that the machine takes for zeros.

use super::scheme::Scheme;
use crate::matmul::microkernel::short::{ShortMicrokernel, WIDEST};
use crate::matmul::packing::{Pack, Packing};
use crate::tensor::matrix::Strided;

/// Elements of a word.
const WORD: usize = 2;

/// Steps along the depth of the right side that are split at a time.
const STEPS: usize = 32;

/// Elements that are split side by side.
const LANES: usize = 16;

/// Elements of `f32` as three bf16 each, in the upper halves of words, whose sum each is; not if it
/// is infinite or rounds to infinity. The first part of NaN is NaN.
#[inline(always)]
fn split(x: &[f32; LANES]) -> [[u32; LANES]; 3] {
    // Where two bf16 are equally near, either does: the next part makes up for it.
    let near = |x: f32| x.to_bits().wrapping_add(0x8000) & 0xffff_0000;
    let mut parts = [[0u32; LANES]; 3];
    for i in 0..LANES {
        let high = near(x[i]);
        let rest = x[i] - f32::from_bits(high);
        let middle = near(rest);
        let nan = f32::NAN.to_bits();
        parts[0][i] = if x[i].is_nan() { nan } else { high };
        parts[1][i] = middle;
        parts[2][i] = (rest - f32::from_bits(middle)).to_bits();
    }
    parts
}

/// Splits the first elements of a row into three planes, as many as the planes have.
#[inline(always)]
fn split_row(row: Strided<'_>, planes: [&mut [u16]; 3]) {
    let len = planes[0].len();
    let mut planes = planes.map(|plane| plane.chunks_mut(LANES));
    for start in (0..len).step_by(LANES) {
        let mut x = [0f32; LANES];
        match row.column_stride {
            1 if start + LANES <= len => x.copy_from_slice(&row.data[start..][..LANES]),
            step => {
                for (i, x) in x.iter_mut().enumerate().take(len - start) {
                    *x = row.data[(start + i) * step];
                }
            }
        }
        let parts = split(&x);
        for (plane, parts) in planes.iter_mut().zip(&parts) {
            let halves = parts.map(|part| (part >> 16) as u16);
            match plane.next() {
                Some(to) if to.len() == LANES => to.copy_from_slice(&halves),
                Some(to) => to.copy_from_slice(&halves[..to.len()]),
                None => {}
            }
        }
    }
}

/// Rows of `f32` and a right side of `f32`, both in three parts.
#[derive(Clone, Copy)]
pub(super) struct SplitScheme<'a> {
    right: &'a dyn Pack,
    microkernel: ShortMicrokernel<f32>,
}

impl<'a> SplitScheme<'a> {
    pub fn new(right: &'a dyn Pack, microkernel: ShortMicrokernel<f32>) -> SplitScheme<'a> {
        SplitScheme { right, microkernel }
    }
}

impl Scheme for SplitScheme<'_> {
    type Sum = f32;

    const WORD: usize = WORD;

    const DEPTH: usize = 256;

    const PLANES: usize = 3;

    const PASSES: &'static [[usize; 2]] = &[[0, 2], [2, 0], [1, 1], [0, 1], [1, 0], [0, 0]];

    const IS_CHECKED: bool = true;

    fn microkernel(&self) -> ShortMicrokernel<f32> {
        self.microkernel
    }

    #[inline(always)]
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32 {
        let plane = to.len() / Self::PLANES;
        let (high, rest) = to.split_at_mut(plane);
        let (middle, low) = rest.split_at_mut(plane);
        let [high, middle, low]: [&mut [u16]; 3] =
            [high, middle, low].map(bytemuck::cast_slice_mut);
        if !len.is_multiple_of(WORD) {
            // After an odd element comes a zero.
            for plane in [&mut *high, &mut *middle, &mut *low] {
                plane[len] = 0;
            }
        }
        let planes = [&mut high[..len], &mut middle[..len], &mut low[..len]];
        split_row(row, planes);
        1.0
    }

    #[inline(always)]
    fn pack(&self, strip: &Packing, to: &mut [u32]) {
        let (slice, width) = (&strip.depth, strip.width);
        let plane = to.len() / Self::PLANES;
        let (high, rest) = to.split_at_mut(plane);
        let (middle, low) = rest.split_at_mut(plane);
        let planes = high
            .chunks_mut(STEPS / WORD * width)
            .zip(middle.chunks_mut(STEPS / WORD * width))
            .zip(low.chunks_mut(STEPS / WORD * width));
        let mut floats = [0f32; WIDEST * STEPS];
        for (k, ((high, middle), low)) in slice.clone().step_by(STEPS).zip(planes) {
            let part = Packing {
                depth: k..slice.end.min(k + STEPS),
                ..strip.clone()
            };
            let filled = part.depth.len() * width;
            self.right.pack(&part, &mut floats[..filled]);
            // After an odd row comes one of zeros.
            floats[filled..(filled + width).min(WIDEST * STEPS)].fill(0.0);
            let pairs = floats.chunks_exact(WORD * width);
            let words = high
                .chunks_exact_mut(width)
                .zip(middle.chunks_exact_mut(width))
                .zip(low.chunks_exact_mut(width));
            for (((high, middle), low), pair) in words.zip(pairs) {
                let (even, odd) = pair.split_at(width);
                let sides = even
                    .as_chunks::<LANES>()
                    .0
                    .iter()
                    .zip(odd.as_chunks::<LANES>().0);
                let words = high
                    .as_chunks_mut::<LANES>()
                    .0
                    .iter_mut()
                    .zip(middle.as_chunks_mut::<LANES>().0)
                    .zip(low.as_chunks_mut::<LANES>().0);
                for ((even, odd), ((high, middle), low)) in sides.zip(words) {
                    let (even, odd) = (split(even), split(odd));
                    let word =
                        |plane: usize, i: usize| even[plane][i] >> 16 | odd[plane][i] & 0xffff_0000;
                    *high = std::array::from_fn(|i| word(0, i));
                    *middle = std::array::from_fn(|i| word(1, i));
                    *low = std::array::from_fn(|i| word(2, i));
                }
            }
        }
    }

    #[inline(always)]
    fn scaled(sum: f32, _offset: f32, _scale: f32) -> f32 {
        sum
    }
}
