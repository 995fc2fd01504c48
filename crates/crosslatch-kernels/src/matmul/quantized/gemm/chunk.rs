//! The right side of a product, packed once for all blocks of rows.
//!
//! All threads pack strips, each its own, into memory that they share, and then all read them. A
//! right side that is larger than [`CHUNK`] is packed and multiplied a part of its columns at a
//! time.

use std::ops::Range;

use super::scheme::Scheme;
use crate::Threads;
use crate::matmul::packing::Packing;
use crate::runtime::instructions::multiversion;
use crate::runtime::shared_output::SharedOutput;

/// Most words of the right side that are packed at a time: 8 MiB.
const CHUNK: usize = 1 << 21;

/// Strips of the right side that all threads have packed: for each slice of the depth those of all
/// columns, one after the other.
pub(super) struct Chunk<'a> {
    pub words: &'a [u32],
    pub columns: Range<usize>,
    /// Columns with those that fill up the last strip.
    padded: usize,
}

impl Chunk<'_> {
    /// Where the strip of a slice that begins with a column lies, and how long it is.
    pub fn strip<S: Scheme>(
        &self,
        slice: &Range<usize>,
        column: usize,
        width: usize,
    ) -> Range<usize> {
        let planes = slice.len().div_ceil(S::WORD) * S::PLANES;
        let start = slice.start / S::WORD * S::PLANES * self.padded;
        let start = start + (column - self.columns.start) * planes;
        start..start + width * planes
    }
}

/// Packs the right side, as many columns at a time as [`CHUNK`] allows, and calls `multiply` with
/// each such chunk.
pub(super) fn for_each_chunk<S: Scheme>(
    scheme: &S,
    depth: usize,
    columns: usize,
    threads: &Threads,
    multiply: &mut dyn FnMut(&Chunk<'_>),
) {
    let width = scheme.microkernel().columns;
    let column_words = depth.div_ceil(S::WORD) * S::PLANES;
    let strips = columns.div_ceil(width);
    // Chunks of about the same size.
    let chunks = strips.div_ceil((CHUNK / (column_words * width)).max(1));
    let padded = strips.div_ceil(chunks) * width;
    threads.with_common_memory(padded * column_words, &mut |memory| {
        let memory: &mut [u32] = bytemuck::cast_slice_mut(memory);
        for first in (0..columns).step_by(padded) {
            let mut chunk = Chunk {
                words: &[],
                columns: first..columns.min(first + padded),
                padded,
            };
            let to = SharedOutput::new(&mut *memory);
            let strips = chunk.columns.len().div_ceil(width);
            threads.run(strips * depth.div_ceil(S::DEPTH), &|i| {
                let (strip, slice) = (i % strips, i / strips * S::DEPTH);
                let column = first + strip * width;
                let what = Packing {
                    batch: 0,
                    depth: slice..depth.min(slice + S::DEPTH),
                    columns: column..chunk.columns.end.min(column + width),
                    width,
                };
                let at = chunk.strip::<S>(&what.depth, column, width);
                // SAFETY: each strip of each slice has a place of its own.
                pack(scheme, &what, unsafe { to.slice(at.start, at.len()) });
            });
            chunk.words = memory;
            multiply(&chunk);
        }
    });
}

multiversion! {
    fn pack[S: Scheme](scheme: &S, what: &Packing, to: &mut [u32]), pack_portable
}

#[inline(always)]
fn pack_portable<const FUSED: bool, S: Scheme>(scheme: &S, what: &Packing, to: &mut [u32]) {
    scheme.pack(what, to);
}
