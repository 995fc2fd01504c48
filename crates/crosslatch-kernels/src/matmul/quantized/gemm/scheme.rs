//! What the numbers of a product in short numbers are.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::matmul::microkernel::short::{ShortMicrokernel, WIDEST};
use crate::matmul::packing::Packing;
use crate::tensor::matrix::Strided;

/// Most words of a slice of the depth of a scheme with one plane.
pub(super) const SLICE: usize = 256;

/// The numbers on both sides of a product, and how they become words.
pub(super) trait Scheme: Copy + Sync {
    /// What products are added up in.
    type Sum: Pod;

    /// Elements of a word.
    const WORD: usize;

    /// Elements of a slice of the depth, which is quantized with one scale.
    const DEPTH: usize;

    /// Numbers that an element becomes: so many rows of words, one after the other, on both sides.
    const PLANES: usize = 1;

    /// Which planes are multiplied, of the left and of the right side.
    const PASSES: &'static [[usize; 2]] = &[[0, 0]];

    /// Whether it matters that a result is not finite.
    const IS_CHECKED: bool = false;

    /// Most words of a row of a slice.
    const WORDS: usize = Self::DEPTH / Self::WORD * Self::PLANES;

    /// Distance between quantized rows, in words: no power of two, because rows at such a distance
    /// compete for the same places in the caches.
    const ROW_LENGTH: usize = Self::WORDS + 16;

    /// The loop that adds up.
    fn microkernel(&self) -> ShortMicrokernel<Self::Sum>;

    /// Quantizes the first `len` elements of a left row into words, the last of each plane filled
    /// up; returns the factor of the sums.
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32;

    /// Packs one strip of the right side: word after word, those of all columns side by side, plane
    /// after plane. What is missing is zeros.
    fn pack(&self, strip: &Packing, to: &mut [u32]);

    /// Factors of columns, if they have any.
    fn factors(&self, _columns: Range<usize>) -> Option<&[f32]> {
        None
    }

    /// What the sums of a row of zeros are with the columns of a packed strip, if not 0.
    #[inline(always)]
    fn offsets(&self, _strip: &[u32]) -> [Self::Sum; WIDEST] {
        [Self::Sum::zeroed(); WIDEST]
    }

    /// A sum without its offset, scaled.
    fn scaled(sum: Self::Sum, offset: Self::Sum, scale: f32) -> f32;
}
