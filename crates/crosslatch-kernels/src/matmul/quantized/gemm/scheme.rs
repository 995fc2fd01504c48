//! What the numbers of a product in short numbers are.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::matmul::microkernel::short::{ShortMicrokernel, WIDEST};
use crate::matmul::packing::Packing;
use crate::tensor::matrix::Strided;

/// Most words of a slice of the depth; a block of rows of it fits the second-level cache.
pub(super) const SLICE: usize = 256;

/// The numbers on both sides of a product, and how they become words.
pub(super) trait Scheme: Copy + Sync {
    /// What products are added up in.
    type Sum: Pod;

    /// Elements of a word.
    const WORD: usize;

    /// Elements of a slice of the depth, which is quantized with one scale: at most [`SLICE`]
    /// words.
    const DEPTH: usize;

    /// The loop that adds up.
    fn microkernel(&self) -> ShortMicrokernel<Self::Sum>;

    /// Quantizes the first `len` elements of a left row into words, the last of which is filled up;
    /// returns the factor of the sums.
    fn quantize(row: Strided<'_>, len: usize, to: &mut [u32]) -> f32;

    /// Packs one strip of the right side: word after word, those of all columns side by side. What
    /// is missing is zeros.
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
