//! Attention for many queries, side by side in the lanes of vectors.
//!
//! A panel is as many queries as a register tile has columns. Transposed, queries are a packed
//! right matrix: `scores = keys * panel` are tiles with a row for each key, the softmax is the same
//! arithmetic in every lane ([`softmax`]), and the scores are then the packed right matrix of
//! `values^T * scores`. Several panels pass by each block of keys while it is in the cache. The two
//! products are computed in `f32` ([`mod@f32`]) or in bf16 ([`bf16`]).

pub(super) mod bf16;
pub(super) mod f32;
mod products;
mod softmax;

use std::ops::Range;

use super::heads::{CacheElement, Heads};
use super::problem::Shape;
use crate::Threads;
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::transpose::transpose;

use products::{BLOCK, KeyBlock, Products};
use softmax::{LANES, SoftmaxState};

/// Most keys of a block that is widened first.
const WIDENED: usize = 64;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 16;

/// The working memory of a problem.
struct WorkingMemory {
    lanes: usize,
    /// Keys of a block.
    keys: usize,
    /// Elements that a prepared block takes.
    block: usize,
    /// Elements that the widened keys, and the widened values, take.
    widened: [usize; 2],
    panel: usize,
    /// Panels that fit.
    panels: usize,
}

impl WorkingMemory {
    fn of<P: Products, K: CacheElement>(products: P, shape: &Shape) -> WorkingMemory {
        let lanes = products.lanes();
        let block = P::block_len(shape);
        let panel = (P::query_rows(shape.inner) + shape.width + 2) * lanes;
        let (keys, widened) = match K::IS_F32 {
            true => (BLOCK, [0, 0]),
            false => (WIDENED, [WIDENED * shape.inner, WIDENED * shape.width]),
        };
        let all = lanes * BLOCK + block + widened[0] + widened[1];
        let left = TASK_MEMORY.saturating_sub(all);
        WorkingMemory {
            lanes,
            keys,
            block,
            widened,
            panel,
            panels: (left / panel).min(P::PANELS),
        }
    }
}

/// Whether a panel of this problem fits the working memory.
pub(super) fn fits<P: Products, K: CacheElement>(products: P, shape: &Shape) -> bool {
    WorkingMemory::of::<P, K>(products, shape).panels > 0
}

pub(super) fn run<P: Products, K: CacheElement>(
    products: P,
    heads: &Heads<'_, K>,
    threads: &Threads,
) {
    let shape = &heads.shape;
    let sizes = WorkingMemory::of::<P, K>(products, shape);
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
        run_panels(products, heads, &sizes, i / pieces, queries, memory);
    };
    if enough == 1 {
        threads.run_with_memory(1, &|_, memory| {
            (0..shape.batches * pieces).for_each(|i| task(i, memory));
        });
    } else {
        threads.run_with_memory(shape.batches * pieces, &task);
    }
}

/// The queries of a panel and the state of their results; all transposed.
struct Panel<'m> {
    queries: &'m mut [f32],
    results: &'m mut [f32],
    greatest: &'m mut [f32],
    sums: &'m mut [f32],
}

impl<'m> Panel<'m> {
    fn of<P: Products>(memory: &'m mut [f32], shape: &Shape, lanes: usize) -> Panel<'m> {
        let (queries, memory) = memory.split_at_mut(P::query_rows(shape.inner) * lanes);
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

fn run_panels<P: Products, K: CacheElement>(
    products: P,
    heads: &Heads<'_, K>,
    sizes: &WorkingMemory,
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
        let panel = Panel::of::<P>(memory, shape, lanes);
        panel.queries.fill(0.0);
        panel.results.fill(0.0);
        panel.greatest.fill(f32::NEG_INFINITY);
        panel.sums.fill(0.0);
        let size = [filled(first), shape.inner];
        products.put_queries(q.from(first, 0), size, heads.scale, scores, panel.queries);
    }
    let (k, v) = (heads.k.at(batch), heads.v.at(batch));
    for start in (0..shape.keys).step_by(sizes.keys) {
        let end = shape.keys.min(start + sizes.keys);
        let count = end - start;
        let mut block = KeyBlock {
            shape,
            keys: K::widened(k.from(start, 0), [count, shape.inner], wide_keys),
            values: K::widened(v.from(start, 0), [count, shape.width], wide_values),
            count,
            panels: starts().len(),
            prepared: &mut *prepared,
        };
        products.prepare(&mut block);
        for (first, memory) in starts().zip(memory.chunks_exact_mut(sizes.panel)) {
            let filled = filled(first);
            if heads.visibility.keys(first + filled - 1, end) <= start {
                continue;
            }
            let panel = Panel::of::<P>(memory, shape, lanes);
            let scores = &mut scores[..block.count * lanes];
            products.scores(&block, panel.queries, scores);
            for lane in 0..filled {
                heads.visibility.apply(
                    [batch, first + lane],
                    start..end,
                    &mut scores[lane..],
                    lanes,
                );
            }
            let mut correction = [0f32; LANES];
            let mut state = SoftmaxState {
                greatest: panel.greatest,
                sums: panel.sums,
                correction: &mut correction,
            };
            softmax::weigh::<P>(lanes, scores, &mut state);
            let correction = &correction[..lanes];
            if correction.iter().any(|c| *c != 1.0) {
                for row in panel.results.chunks_exact_mut(lanes) {
                    row.iter_mut().zip(correction).for_each(|(y, c)| *y *= c);
                }
            }
            products.add_values(&block, scores, panel.results);
        }
    }
    for (first, memory) in starts().zip(memory.chunks_exact_mut(sizes.panel)) {
        let panel = Panel::of::<P>(memory, shape, lanes);
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
