//! Packing a right matrix whose columns are rows in memory, stored in short numbers.

use std::ops::Range;

use crate::matmul::microkernel::words::WIDEST;
use crate::simd::transpose::transpose;

/// Words of all columns of a strip that are brought together at a time.
const WORDS: usize = 64;

/// A matrix of `[columns, depth]`, without gaps.
pub(super) trait Rows {
    /// Elements of a word.
    const WORD: usize;

    /// Elements of a row.
    fn depth(&self) -> usize;

    /// The matrix as words, if its rows are whole words as they lie in memory.
    fn as_words(&self) -> Option<&[u32]>;

    /// Elements `from`, counted row by row, as words; the last is filled up with zeros.
    fn words(&self, from: Range<usize>, to: &mut [u32]);
}

/// See [`Scheme::pack`](super::Scheme::pack).
#[inline(always)]
pub(super) fn pack<R: Rows>(
    rows: &R,
    slice: Range<usize>,
    columns: Range<usize>,
    width: usize,
    to: &mut [u32],
) {
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
    let mut wide = [0u32; WIDEST * WORDS];
    let steps = WORDS * R::WORD;
    let parts = slice.clone().step_by(steps);
    for (k, to) in parts.zip(to.chunks_mut(WORDS * width)) {
        let steps = k..slice.end.min(k + steps);
        let words = steps.len().div_ceil(R::WORD);
        for (j, row) in columns.clone().zip(wide.chunks_exact_mut(WORDS)) {
            let start = j * rows.depth();
            let from = start + steps.start..start + steps.end;
            rows.words(from, &mut row[..words]);
        }
        let (wide, to) = (bytemuck::cast_slice(&wide), bytemuck::cast_slice_mut(to));
        transpose(wide, WORDS, columns.len(), words, width, to);
    }
}
