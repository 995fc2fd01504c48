//! Attention for many queries, side by side in the lanes of vectors.
//!
//! A panel is as many queries as a register tile has columns. Transposed, queries are a packed
//! right matrix: `scores = keys * panel` are tiles with a row for each key, the softmax is the same
//! arithmetic in every lane, and the scores are then the packed right matrix of `values^T *
//! scores`. Keys and values are left matrices, read where they lie; only queries are ever copied.
//! Several panels pass by each block of keys while it is in the cache.

use std::ops::Range;

use super::{Heads, Shape};
use crate::Threads;
use crate::approximate::exp;
use crate::threads::TASK_MEMORY;
use crate::tile::{LARGEST, Strided, Tile};
use crate::vector::has_avx2;

/// Keys of a block.
const BLOCK: usize = 256;

/// Most panels of a task.
const PANELS: usize = 8;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 16;

/// Most lanes of a panel.
const LANES: usize = 32;

/// Whether a panel of this problem fits the working memory.
pub(super) fn fits(shape: &Shape) -> bool {
    let memory = TASK_MEMORY - LANES * BLOCK;
    let floats = (shape.inner + shape.width + 2) * LANES;
    floats <= memory && shape.inner.max(shape.width) <= super::few::LONGEST
}

pub(super) fn run(heads: &Heads<'_>, threads: &Threads) {
    let shape = &heads.shape;
    let tile = Tile::best();
    let lanes = tile.columns;
    let panel_len = (shape.inner + shape.width + 2) * lanes;
    let most = ((TASK_MEMORY - lanes * BLOCK) / panel_len).min(PANELS);
    let panels = shape.queries.div_ceil(lanes);
    let work = shape.batches * shape.queries * shape.keys * (shape.inner + shape.width);
    // Enough tasks for all threads, but panels enough in each for the keys to be worth reading.
    let enough = (work / GRAIN).clamp(1, 4 * threads.count());
    let pieces = enough
        .div_ceil(shape.batches.max(1))
        .clamp(panels.div_ceil(most), panels);
    let per_task = panels.div_ceil(pieces);
    let pieces = panels.div_ceil(per_task);
    let task = |i: usize, memory: &mut [f32]| {
        let first = i % pieces * per_task * lanes;
        let queries = first..shape.queries.min(first + per_task * lanes);
        run_panels(heads, tile, i / pieces, queries, memory);
    };
    if enough == 1 {
        threads.run_with_memory(1, &|_, memory| {
            (0..shape.batches * pieces).for_each(|i| task(i, memory));
        });
    } else {
        threads.run_with_memory(shape.batches * pieces, &task);
    }
}

/// The queries of a panel and what is carried along for them; all transposed.
struct Panel<'m> {
    queries: &'m mut [f32],
    results: &'m mut [f32],
    greatest: &'m mut [f32],
    sums: &'m mut [f32],
}

impl<'m> Panel<'m> {
    fn of(memory: &'m mut [f32], shape: &Shape, lanes: usize) -> Panel<'m> {
        let (queries, memory) = memory.split_at_mut(shape.inner * lanes);
        let (results, memory) = memory.split_at_mut(shape.width * lanes);
        let (greatest, sums) = memory.split_at_mut(lanes);
        Panel {
            queries,
            results,
            greatest,
            sums,
        }
    }
}

fn run_panels(
    heads: &Heads<'_>,
    tile: Tile,
    batch: usize,
    queries: Range<usize>,
    memory: &mut [f32],
) {
    let shape = &heads.shape;
    let lanes = tile.columns;
    let (scores, memory) = memory.split_at_mut(lanes * BLOCK);
    let panel_len = (shape.inner + shape.width + 2) * lanes;
    let starts = || queries.clone().step_by(lanes);
    let filled = |first: usize| lanes.min(queries.end - first);
    let q = heads.q.at(batch);
    for (first, memory) in starts().zip(memory.chunks_exact_mut(panel_len)) {
        let panel = Panel::of(memory, shape, lanes);
        panel.queries.fill(0.0);
        panel.results.fill(0.0);
        panel.greatest.fill(f32::NEG_INFINITY);
        panel.sums.fill(0.0);
        for lane in 0..filled(first) {
            let from = q.from(first + lane, 0);
            for (x, row) in panel.queries.chunks_exact_mut(lanes).enumerate() {
                row[lane] = from.data[x * from.column_stride] * heads.scale;
            }
        }
    }
    let (k, v) = (heads.k.at(batch), heads.v.at(batch));
    for start in (0..shape.keys).step_by(BLOCK) {
        let end = shape.keys.min(start + BLOCK);
        let keys = k.from(start, 0);
        let values = v.from(start, 0);
        // A value's elements are rows here, keys the depth.
        let values = Strided {
            row_stride: values.column_stride,
            column_stride: values.row_stride,
            ..values
        };
        for (first, memory) in starts().zip(memory.chunks_exact_mut(panel_len)) {
            let filled = filled(first);
            if heads.seen.keys(first + filled - 1, end) <= start {
                continue;
            }
            let panel = Panel::of(memory, shape, lanes);
            let scores = &mut scores[..(end - start) * lanes];
            product(tile, shape.inner, keys, panel.queries, scores, false);
            for lane in 0..filled {
                heads.seen.apply(
                    [batch, first + lane],
                    start..end,
                    &mut scores[lane..],
                    lanes,
                );
            }
            let mut correction = [0f32; LANES];
            weigh(lanes, scores, panel.greatest, panel.sums, &mut correction);
            let correction = &correction[..lanes];
            if correction.iter().any(|c| *c != 1.0) {
                for row in panel.results.chunks_exact_mut(lanes) {
                    row.iter_mut().zip(correction).for_each(|(y, c)| *y *= c);
                }
            }
            product(tile, end - start, values, scores, panel.results, true);
        }
    }
    for (first, memory) in starts().zip(memory.chunks_exact_mut(panel_len)) {
        let panel = Panel::of(memory, shape, lanes);
        for lane in 0..filled(first) {
            let result = |x: usize| panel.results[x * lanes + lane];
            // SAFETY: each query is done by one task.
            unsafe {
                let at = [batch, first + lane];
                heads.finish(at, panel.greatest[lane], panel.sums[lane], result);
            }
        }
    }
}

/// `out = left * right`, or added to it, for any number of rows: `out` says how many.
fn product(tile: Tile, depth: usize, left: Strided<'_>, right: &[f32], out: &mut [f32], add: bool) {
    for (i, out) in out.chunks_mut(tile.rows * tile.columns).enumerate() {
        let rows = out.len() / tile.columns;
        tile.multiply(depth, left.from(i * tile.rows, 0), rows, right, out, add);
    }
}

/// Turns the scores of a block into weights relative to the greatest score so far, and carries
/// greatest and sum along. `correction` is the factor for what was summed before.
fn weigh(
    lanes: usize,
    scores: &mut [f32],
    greatest: &mut [f32],
    sums: &mut [f32],
    correction: &mut [f32; LANES],
) {
    debug_assert!(LARGEST.is_multiple_of(lanes));
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(
            lanes: usize,
            scores: &mut [f32],
            greatest: &mut [f32],
            sums: &mut [f32],
            correction: &mut [f32; LANES],
        ) {
            for l in (0..lanes).step_by(8) {
                eight_lanes::<true>(lanes, l, scores, greatest, sums, correction);
            }
        }
        if has_avx2() {
            // SAFETY: the machine has AVX2 and FMA.
            return unsafe { avx2(lanes, scores, greatest, sums, correction) };
        }
    }
    for l in (0..lanes).step_by(8) {
        eight_lanes::<false>(lanes, l, scores, greatest, sums, correction);
    }
}

/// Lanes `l .. l + 8`.
#[inline(always)]
fn eight_lanes<const FUSED: bool>(
    lanes: usize,
    l: usize,
    scores: &mut [f32],
    greatest: &mut [f32],
    sums: &mut [f32],
    correction: &mut [f32; LANES],
) {
    const N: usize = 8;
    let mut old = [0f32; N];
    old.copy_from_slice(&greatest[l..][..N]);
    let mut new = old;
    for row in scores.chunks_exact(lanes) {
        if let Some(row) = row[l..].first_chunk::<N>() {
            for i in 0..N {
                new[i] = if row[i] > new[i] { row[i] } else { new[i] };
            }
        }
    }
    let mut shift = [0f32; N];
    let mut factor = [0f32; N];
    for i in 0..N {
        // With nothing seen so far, any shift does; minus infinity itself would give NaN.
        shift[i] = if new[i] == f32::NEG_INFINITY {
            0.0
        } else {
            new[i]
        };
        factor[i] = exp::<FUSED>(old[i] - shift[i]);
    }
    let mut total = [0f32; N];
    for row in scores.chunks_exact_mut(lanes) {
        if let Some(row) = row[l..].first_chunk_mut::<N>() {
            for i in 0..N {
                row[i] = exp::<FUSED>(row[i] - shift[i]);
                total[i] += row[i];
            }
        }
    }
    for i in 0..N {
        sums[l + i] = sums[l + i] * factor[i] + total[i];
    }
    greatest[l..][..N].copy_from_slice(&new);
    correction[l..][..N].copy_from_slice(&factor);
}
