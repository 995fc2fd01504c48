//! Attention for few queries, one by one: each reads all keys and values once, at the speed of
//! memory.

use super::heads::{CacheElement, Heads};
use crate::Threads;
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::axpy::add_weighted_rows;
use crate::simd::dot_products::{DotElement, dots};
use crate::simd::vectors;
use crate::tensor::matrix::Matrices;

/// Keys of a block.
const BLOCK: usize = 512;

/// Keys whose scores are computed side by side.
const SIDE: usize = 4;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 14;

/// Longest query, key and value: three of them and a block of scores fit the working memory.
pub(super) const LONGEST: usize = (TASK_MEMORY - BLOCK) / (SIDE + 3);

pub(super) fn run<K: CacheElement>(heads: &Heads<'_, K>, threads: &Threads) {
    let shape = &heads.shape;
    let tasks = shape.batches * shape.queries;
    let work = tasks * shape.keys * (shape.inner + shape.width);
    let task = |i: usize, memory: &mut [f32]| {
        one_query(heads, [i / shape.queries, i % shape.queries], memory);
    };
    if work < 2 * GRAIN {
        threads.run_with_memory(1, &|_, memory| (0..tasks).for_each(|i| task(i, memory)));
    } else {
        threads.run_with_memory(tasks, &task);
    }
}

fn one_query<K: CacheElement>(
    heads: &Heads<'_, K>,
    [batch, query]: [usize; 2],
    memory: &mut [f32],
) {
    let (inner, width) = (heads.shape.inner, heads.shape.width);
    let (own, memory) = memory.split_at_mut(inner);
    let (result, memory) = memory.split_at_mut(width);
    let (scores, gathered) = memory.split_at_mut(BLOCK);
    let from = heads.q.at(batch).from(query, 0);
    for (x, to) in own.iter_mut().enumerate() {
        *to = from.data[x * from.column_stride] * heads.scale;
    }
    result.fill(0.0);
    let (mut greatest, mut sum) = (f32::NEG_INFINITY, 0f32);
    let keys = heads.visibility.keys(query, heads.shape.keys);
    for start in (0..keys).step_by(BLOCK) {
        let end = keys.min(start + BLOCK);
        let scores = &mut scores[..end - start];
        for (i, scores) in scores.chunks_mut(SIDE).enumerate() {
            let first = start + i * SIDE;
            let range = first..first + scores.len();
            if heads.visibility.hides_all([batch, query], range) {
                // They are not even read.
                scores.fill(f32::NEG_INFINITY);
            } else {
                score(&heads.k, batch, first, own, scores, gathered);
            }
        }
        heads
            .visibility
            .apply([batch, query], start..end, scores, 1);
        let new = greatest.max(vectors::max(scores));
        if new == f32::NEG_INFINITY && scores.iter().all(|s| *s == new) {
            continue;
        }
        let correction = (greatest - new).exp();
        greatest = new;
        sum = sum * correction + vectors::exp_and_sum(scores, new);
        if correction != 1.0 {
            vectors::scale(result, correction);
        }
        let values = heads.v.at(batch).from(start, 0);
        add_weighted_rows(result, scores, values);
    }
    // SAFETY: each query is done by one task.
    unsafe {
        heads.finish([batch, query], 0, sum, result);
        heads.log([batch, query], greatest, sum);
    }
}

/// Scores of the keys from `first` on, at most [`SIDE`] of them.
fn score<K: CacheElement>(
    keys: &Matrices<'_, K>,
    batch: usize,
    first: usize,
    query: &[f32],
    scores: &mut [f32],
    gathered: &mut [f32],
) {
    let keys = keys.at(batch).from(first, 0);
    let len = query.len();
    if keys.column_stride == 1 || len == 1 {
        score_slices(keys.data, keys.row_stride, query, scores);
    } else {
        for i in 0..scores.len() {
            for x in 0..len {
                let element = keys.data[i * keys.row_stride + x * keys.column_stride];
                gathered[i * len + x] = element.widen();
            }
        }
        score_slices(gathered, len, query, scores);
    }
}

/// Scores of keys that lie `stride` apart, each in one piece.
fn score_slices<K: DotElement>(data: &[K], stride: usize, query: &[f32], scores: &mut [f32]) {
    let key = |i: usize| &data[i * stride..][..query.len()];
    if scores.len() == SIDE {
        let all: [&[K]; SIDE] = std::array::from_fn(key);
        scores.copy_from_slice(&dots([query], all, SIDE * stride)[0]);
    } else {
        for (i, score) in scores.iter_mut().enumerate() {
            *score = dots([query], [key(i)], 0)[0][0];
        }
    }
}
