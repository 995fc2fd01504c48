//! Attention for many queries, side by side in the lanes of vectors.
//!
//! A panel is as many queries as a register tile has columns. Transposed, queries are a packed
//! right matrix: `scores = keys * panel` are tiles with a row for each key, the softmax is the same
//! arithmetic in every lane, and the scores are then the packed right matrix of `values^T *
//! scores`. Several panels pass by each block of keys while it is in the cache. How the two products
//! are computed is an [`Arithmetic`]: in `f32` ([`full`]), or in bf16 ([`rounded`]).

pub(super) mod full;
pub(super) mod rounded;

use std::ops::Range;

use super::{Heads, Shape, Stored};
use crate::Threads;
use crate::matmul::microkernel::tile::Strided;
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::approximate::exp;
use crate::simd::transpose::transpose;

/// Most keys of a block.
const BLOCK: usize = 256;

/// Most keys of a block that is widened first.
const WIDENED: usize = 64;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 16;

/// Most lanes of a panel.
const LANES: usize = 32;

/// How scores and results are computed.
pub(super) trait Arithmetic: Copy + Sync {
    /// Most panels of a task.
    const PANELS: usize;

    /// Lanes of a panel.
    fn lanes(self) -> usize;

    /// Rows of a panel that queries of so many elements take.
    fn query_rows(inner: usize) -> usize;

    /// Working memory for a block.
    fn block_len(shape: &Shape) -> usize;

    /// Writes `count` queries, scaled, into the lanes of the rows of `to`, which are zeros. `memory` has
    /// room for as many numbers in as many lanes as a block has keys.
    fn put_queries(
        self,
        queries: Strided<'_>,
        size: [usize; 2],
        scale: f32,
        memory: &mut [f32],
        to: &mut [f32],
    );

    /// Brings a block into the form that the products want.
    fn prepare(self, block: &mut Block<'_>);

    /// The scores of queries, a row for each key.
    fn scores(self, block: &Block<'_>, queries: &[f32], scores: &mut [f32]);

    /// Turns the scores of a block into weights relative to the greatest score so far, and carries
    /// greatest and sum along.
    fn weigh(self, scores: &mut [f32], carried: Carried<'_>);

    /// Adds the values, weighted, to results.
    fn add_values(self, block: &Block<'_>, weights: &[f32], results: &mut [f32]);
}

/// Keys and values that panels pass by.
pub(super) struct Block<'a> {
    shape: &'a Shape,
    /// A row for each key.
    keys: Strided<'a>,
    /// A row for each value.
    values: Strided<'a>,
    count: usize,
    /// What [`Arithmetic::prepare`] makes of them.
    prepared: &'a mut [f32],
}

/// What is known of each lane's scores.
pub(super) struct Carried<'a> {
    greatest: &'a mut [f32],
    sums: &'a mut [f32],
    /// The factor for what was summed before.
    correction: &'a mut [f32; LANES],
}

/// The working memory of a problem.
struct Sizes {
    lanes: usize,
    /// Keys of a block.
    keys: usize,
    /// What a block is prepared in.
    block: usize,
    /// What keys, and values, are widened to.
    widened: [usize; 2],
    panel: usize,
    /// Panels that fit.
    panels: usize,
}

impl Sizes {
    fn of<A: Arithmetic, K: Stored>(arithmetic: A, shape: &Shape) -> Sizes {
        let lanes = arithmetic.lanes();
        let block = A::block_len(shape);
        let panel = (A::query_rows(shape.inner) + shape.width + 2) * lanes;
        let (keys, widened) = match K::IS_F32 {
            true => (BLOCK, [0, 0]),
            false => (WIDENED, [WIDENED * shape.inner, WIDENED * shape.width]),
        };
        let all = lanes * BLOCK + block + widened[0] + widened[1];
        let left = TASK_MEMORY.saturating_sub(all);
        Sizes {
            lanes,
            keys,
            block,
            widened,
            panel,
            panels: (left / panel).min(A::PANELS),
        }
    }
}

/// Whether a panel of this problem fits the working memory.
pub(super) fn fits<A: Arithmetic, K: Stored>(arithmetic: A, shape: &Shape) -> bool {
    Sizes::of::<A, K>(arithmetic, shape).panels > 0
}

pub(super) fn run<A: Arithmetic, K: Stored>(
    arithmetic: A,
    heads: &Heads<'_, K>,
    threads: &Threads,
) {
    let shape = &heads.shape;
    let sizes = Sizes::of::<A, K>(arithmetic, shape);
    let lanes = sizes.lanes;
    let panels = shape.queries.div_ceil(lanes);
    let work = shape.batches * shape.queries * shape.keys * (shape.inner + shape.width);
    // Enough tasks for all threads, but panels enough in each for the keys to be worth reading.
    let enough = (work / GRAIN).clamp(1, 4 * threads.count());
    let pieces = enough
        .div_ceil(shape.batches.max(1))
        .clamp(panels.div_ceil(sizes.panels), panels);
    let per_task = panels.div_ceil(pieces);
    let pieces = panels.div_ceil(per_task);
    let task = |i: usize, memory: &mut [f32]| {
        let first = i % pieces * per_task * lanes;
        let queries = first..shape.queries.min(first + per_task * lanes);
        run_panels(arithmetic, heads, &sizes, i / pieces, queries, memory);
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
    fn of<A: Arithmetic>(memory: &'m mut [f32], shape: &Shape, lanes: usize) -> Panel<'m> {
        let (queries, memory) = memory.split_at_mut(A::query_rows(shape.inner) * lanes);
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

fn run_panels<A: Arithmetic, K: Stored>(
    arithmetic: A,
    heads: &Heads<'_, K>,
    sizes: &Sizes,
    batch: usize,
    queries: Range<usize>,
    memory: &mut [f32],
) {
    let (shape, lanes) = (&heads.shape, sizes.lanes);
    let (scores, memory) = memory.split_at_mut(lanes * BLOCK);
    let (prepared, memory) = memory.split_at_mut(sizes.block);
    let (wide_keys, memory) = memory.split_at_mut(sizes.widened[0]);
    let (wide_values, memory) = memory.split_at_mut(sizes.widened[1]);
    let starts = || queries.clone().step_by(lanes);
    let filled = |first: usize| lanes.min(queries.end - first);
    let q = heads.q.at(batch);
    for (first, memory) in starts().zip(memory.chunks_exact_mut(sizes.panel)) {
        let panel = Panel::of::<A>(memory, shape, lanes);
        panel.queries.fill(0.0);
        panel.results.fill(0.0);
        panel.greatest.fill(f32::NEG_INFINITY);
        panel.sums.fill(0.0);
        let size = [filled(first), shape.inner];
        arithmetic.put_queries(q.from(first, 0), size, heads.scale, scores, panel.queries);
    }
    let (k, v) = (heads.k.at(batch), heads.v.at(batch));
    for start in (0..shape.keys).step_by(sizes.keys) {
        let end = shape.keys.min(start + sizes.keys);
        let count = end - start;
        let mut block = Block {
            shape,
            keys: K::widened(k.from(start, 0), [count, shape.inner], wide_keys),
            values: K::widened(v.from(start, 0), [count, shape.width], wide_values),
            count,
            prepared: &mut *prepared,
        };
        arithmetic.prepare(&mut block);
        for (first, memory) in starts().zip(memory.chunks_exact_mut(sizes.panel)) {
            let filled = filled(first);
            if heads.seen.keys(first + filled - 1, end) <= start {
                continue;
            }
            let panel = Panel::of::<A>(memory, shape, lanes);
            let scores = &mut scores[..block.count * lanes];
            arithmetic.scores(&block, panel.queries, scores);
            for lane in 0..filled {
                heads.seen.apply(
                    [batch, first + lane],
                    start..end,
                    &mut scores[lane..],
                    lanes,
                );
            }
            let mut correction = [0f32; LANES];
            let carried = Carried {
                greatest: panel.greatest,
                sums: panel.sums,
                correction: &mut correction,
            };
            arithmetic.weigh(scores, carried);
            let correction = &correction[..lanes];
            if correction.iter().any(|c| *c != 1.0) {
                for row in panel.results.chunks_exact_mut(lanes) {
                    row.iter_mut().zip(correction).for_each(|(y, c)| *y *= c);
                }
            }
            arithmetic.add_values(&block, scores, panel.results);
        }
    }
    for (first, memory) in starts().zip(memory.chunks_exact_mut(sizes.panel)) {
        let panel = Panel::of::<A>(memory, shape, lanes);
        // Results of a query side by side, a piece at a time, as many as there is room for.
        let (width, piece) = (shape.width, shape.width.min(BLOCK));
        for start in (0..width).step_by(piece) {
            let piece = piece.min(width - start);
            let rows = &panel.results[start * lanes..];
            transpose(rows, lanes, piece, filled(first), piece, scores);
            for (lane, result) in scores.chunks_exact(piece).enumerate().take(filled(first)) {
                let at = [batch, first + lane];
                // SAFETY: each query is done by one task.
                unsafe { heads.finish(at, start, panel.sums[lane], result) };
            }
        }
        for lane in 0..filled(first) {
            // SAFETY: as above.
            unsafe {
                heads.log(
                    [batch, first + lane],
                    panel.greatest[lane],
                    panel.sums[lane],
                )
            };
        }
    }
}

/// Takes the scores of lanes `l .. l + N` into account for the greatest ones; what is to be subtracted
/// from them, and the factor for what was summed before.
#[inline(always)]
fn shift<const FUSED: bool, const N: usize>(
    (lanes, l): (usize, usize),
    scores: &[f32],
    greatest: &mut [f32],
) -> ([f32; N], [f32; N]) {
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
    greatest[l..][..N].copy_from_slice(&new);
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
    (shift, factor)
}

/// Adds the sums of the weights of a block.
#[inline(always)]
fn carry<const N: usize>(carried: &mut Carried<'_>, l: usize, factor: [f32; N], total: [f32; N]) {
    for i in 0..N {
        carried.sums[l + i] = carried.sums[l + i] * factor[i] + total[i];
    }
    carried.correction[l..][..N].copy_from_slice(&factor);
}
