//! Packing quantized weights, whose rows are the columns of the product, as words of short numbers.

use std::ops::Range;

use crate::matmul::microkernel::short::WIDEST;
use crate::matmul::packing::Packing;
use crate::simd::transpose::transpose;

/// Words of all columns of a strip that are brought together at a time.
pub(super) const WORDS: usize = 64;

/// A matrix of `[columns, depth]`, without gaps.
pub(super) trait WordRows {
    /// Elements of a word.
    const WORD: usize;

    /// Elements of a row.
    fn depth(&self) -> usize;

    /// The matrix as words, if its rows are whole words as they lie in memory.
    fn as_words(&self) -> Option<&[u32]>;

    /// Elements `from` of one row, counted row by row, as words, at most [`WORDS`]; the last is
    /// filled up with zeros.
    fn words(&self, from: Range<usize>, to: &mut [u32]);
}

/// See [`Scheme::pack`](super::scheme::Scheme::pack).
#[inline(always)]
pub(super) fn pack<R: WordRows>(rows: &R, strip: &Packing, to: &mut [u32]) {
    let (slice, columns, width) = (&strip.depth, &strip.columns, strip.width);
    if columns.len() < width {
        to.fill(0);
    }
    // Words are moved as if each were a number.
    if let Some(words) = rows.as_words() {
        let stride = rows.depth() / R::WORD;
        let from = &words[columns.start * stride + slice.start / R::WORD..];
        let (from, to) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(to));
        let words = slice.len() / R::WORD;
        return transpose(from, stride, columns.len(), words, width, to);
    }
    let mut gathered = [0u32; WIDEST * WORDS];
    let steps = WORDS * R::WORD;
    let parts = slice.clone().step_by(steps);
    for (k, to) in parts.zip(to.chunks_mut(WORDS * width)) {
        let steps = k..slice.end.min(k + steps);
        let words = steps.len().div_ceil(R::WORD);
        for (j, row) in columns.clone().zip(gathered.chunks_exact_mut(WORDS)) {
            let start = j * rows.depth();
            let from = start + steps.start..start + steps.end;
            rows.words(from, &mut row[..words]);
        }
        let (from, to) = (
            bytemuck::cast_slice(&gathered),
            bytemuck::cast_slice_mut(to),
        );
        transpose(from, WORDS, columns.len(), words, width, to);
    }
}
