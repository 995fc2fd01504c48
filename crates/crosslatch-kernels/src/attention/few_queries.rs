//! Attention for few queries: each reads all keys and values once, at the speed of memory.
//!
//! Queries that share their keys and values read them once for all: those of one problem, and those
//! of several problems whose keys and values are the same memory, as the beams of a search have
//! them. Each block of keys is multiplied with a few queries side by side, and its values are added
//! to as many results. Every query is computed as it is alone, bit for bit.

use smallvec::SmallVec;

use super::heads::{CacheElement, Heads};
use crate::Threads;
use crate::runtime::instructions::{Feature, has};
use crate::runtime::threads::TASK_MEMORY;
use crate::simd::axpy::add_weighted_rows;
use crate::simd::dot_products::{Dot, dots};
use crate::simd::vectors;
use crate::tensor::matrix::Strided;

/// Keys of a block.
const BLOCK: usize = 512;

/// Keys whose scores are computed side by side.
const SIDE: usize = 4;

/// The most queries that are computed side by side: their sums fill the registers of AVX-512.
const TOGETHER: usize = 5;

/// Multiply-adds below which another thread is not worth waking.
const GRAIN: usize = 1 << 14;

/// Longest query, key and value: a query, its result, its scores and some keys fit the working
/// memory.
pub(super) const LONGEST: usize = (TASK_MEMORY - BLOCK) / (SIDE + 3);

/// A query: the problem that it belongs to, and its number there.
type Query<'h, 'a, K> = (&'h Heads<'a, K>, usize);

/// Problems that have the same keys and values.
type Group<'h, 'a, K> = SmallVec<[&'h Heads<'a, K>; 8]>;

/// Solves problems of one shape.
pub(super) fn run<K: CacheElement>(problems: &[Heads<'_, K>], threads: &Threads) {
    let Some(first) = problems.first() else {
        return;
    };
    let shape = &first.shape;
    let mut groups: SmallVec<[Group<'_, '_, K>; 1]> = SmallVec::new();
    for heads in problems {
        match groups.iter_mut().find(|group| group[0].shares(heads)) {
            Some(group) => group.push(heads),
            None => groups.push(SmallVec::from_slice(&[heads])),
        }
    }
    let each = shape.inner + shape.width + BLOCK;
    let room = ((TASK_MEMORY - SIDE * shape.inner) / each).clamp(1, TOGETHER);
    // A task: a group, some of its queries, and one of the batch.
    let pieces = |group: &Group<'_, '_, K>| (group.len() * shape.queries).div_ceil(room);
    let tasks: usize = groups.iter().map(|g| pieces(g) * shape.batches).sum();
    let task = |mut i: usize, memory: &mut [f32]| {
        for group in &groups {
            let pieces = pieces(group);
            if i >= pieces * shape.batches {
                i -= pieces * shape.batches;
                continue;
            }
            let all = group.len() * shape.queries;
            let (batch, piece) = (i / pieces, i % pieces);
            let queries = piece * all / pieces..(piece + 1) * all / pieces;
            let queries = queries.map(|i| (group[i / shape.queries], i % shape.queries));
            let queries: SmallVec<[Query<'_, '_, K>; TOGETHER]> = queries.collect();
            return together(&queries, batch, memory);
        }
    };
    let work = problems.len() * shape.queries * shape.batches * shape.keys;
    if work * (shape.inner + shape.width) < 2 * GRAIN {
        threads.run_with_memory(1, &|_, memory| (0..tasks).for_each(|i| task(i, memory)));
    } else {
        threads.run_with_memory(tasks, &task);
    }
}

/// Computes queries that share their keys and values.
fn together<K: CacheElement>(queries: &[Query<'_, '_, K>], batch: usize, memory: &mut [f32]) {
    match *queries {
        [] => {}
        [a] => side_by_side([a], batch, memory),
        [a, b] => side_by_side([a, b], batch, memory),
        [a, b, c] => side_by_side([a, b, c], batch, memory),
        [a, b, c, d] => side_by_side([a, b, c, d], batch, memory),
        [a, b, c, d, e, ref rest @ ..] => {
            side_by_side([a, b, c, d, e], batch, memory);
            together(rest, batch, memory);
        }
    }
}

fn side_by_side<K: CacheElement, const N: usize>(
    queries: [Query<'_, '_, K>; N],
    batch: usize,
    memory: &mut [f32],
) {
    let heads = queries[0].0;
    let (inner, width) = (heads.shape.inner, heads.shape.width);
    let (own, memory) = memory.split_at_mut(N * inner);
    let (results, memory) = memory.split_at_mut(N * width);
    let (scores, gathered) = memory.split_at_mut(N * BLOCK);
    for ((heads, query), own) in queries.iter().zip(own.chunks_exact_mut(inner)) {
        let from = heads.q.at(batch).from(*query, 0);
        for (x, to) in own.iter_mut().enumerate() {
            *to = from.data[x * from.column_stride] * heads.scale;
        }
    }
    let own: [&[f32]; N] = std::array::from_fn(|n| &own[n * inner..][..inner]);
    results.fill(0.0);
    let (mut greatest, mut sums) = ([f32::NEG_INFINITY; N], [0f32; N]);
    // Where each query's keys end.
    let ends = queries.map(|(heads, query)| heads.visibility.keys(query, heads.shape.keys));
    let last = ends.iter().copied().max().unwrap_or(0);
    let (keys, values) = (heads.k.at(batch), heads.v.at(batch));
    for start in (0..last).step_by(BLOCK) {
        let end = last.min(start + BLOCK);
        for first in (start..end).step_by(SIDE) {
            let range = first..end.min(first + SIDE);
            let hidden = (queries.iter().zip(ends)).all(|((heads, query), end)| {
                let hides = |range| heads.visibility.hides_all([batch, *query], range);
                first >= end || hides(range.clone())
            });
            let to = |n: usize, key: usize| n * BLOCK + key - start;
            if hidden {
                // They are not even read.
                for n in 0..N {
                    scores[to(n, range.start)..=to(n, range.end - 1)].fill(f32::NEG_INFINITY);
                }
            } else {
                let count = range.len();
                score(keys.from(first, 0), count, own, gathered, |n, i, score| {
                    scores[to(n, first + i)] = score;
                });
            }
        }
        for (n, (heads, query)) in queries.iter().enumerate() {
            let (scores, unseen) =
                scores[n * BLOCK..][..end - start].split_at_mut(ends[n].clamp(start, end) - start);
            unseen.fill(0.0);
            let seen = start..start + scores.len();
            heads
                .visibility
                .apply([batch, *query], seen.clone(), scores, 1);
            let new = greatest[n].max(vectors::max(scores));
            if new == f32::NEG_INFINITY && scores.iter().all(|s| *s == new) {
                scores.fill(0.0);
                continue;
            }
            let correction = (greatest[n] - new).exp();
            greatest[n] = new;
            sums[n] = sums[n] * correction + vectors::exp_and_sum(scores, new);
            if correction != 1.0 {
                vectors::scale(&mut results[n * width..][..width], correction);
            }
            K::weigh(values.from(start, 0), width, scores);
        }
        let weights = std::array::from_fn(|n| &scores[n * BLOCK..][..end - start]);
        let mut rest = &mut *results;
        let results = std::array::from_fn(|_| {
            let (one, others) = std::mem::take(&mut rest).split_at_mut(width);
            rest = others;
            one
        });
        let results: [&mut [f32]; N] = results;
        add_weighted_rows(results, weights, values.from(start, 0));
    }
    for (n, (heads, query)) in queries.iter().enumerate() {
        // SAFETY: each query is done by one task.
        unsafe {
            heads.finish([batch, *query], 0, sums[n], &results[n * width..][..width]);
            heads.log([batch, *query], greatest[n], sums[n]);
        }
    }
}

/// Scores of the first `count` keys, at most [`SIDE`], for each query: `emit` is given the query, the
/// key and the score.
fn score<K: CacheElement, const N: usize>(
    keys: Strided<'_, K>,
    count: usize,
    queries: [&[f32]; N],
    gathered: &mut [f32],
    mut emit: impl FnMut(usize, usize, f32),
) {
    let len = queries[0].len();
    if keys.column_stride == 1 || len == 1 {
        let scale = |i: usize| K::scale(&keys.data[i * keys.row_stride..], len);
        score_slices(keys.data, keys.row_stride, count, queries, |n, i, score| {
            emit(n, i, K::scaled(score, scale(i)));
        });
    } else {
        for i in 0..count {
            for x in 0..len {
                let element = keys.data[i * keys.row_stride + x * keys.column_stride];
                gathered[i * len + x] = Dot::wide(element);
            }
        }
        score_slices(gathered, len, count, queries, emit);
    }
}

/// Scores of keys that lie `stride` apart, each in one piece.
fn score_slices<K: Dot, const N: usize>(
    data: &[K],
    stride: usize,
    count: usize,
    queries: [&[f32]; N],
    mut emit: impl FnMut(usize, usize, f32),
) {
    let key = |i: usize| &data[i * stride..][..queries[0].len()];
    // The registers of AVX2 hold the sums of one query with some keys, or the other way round.
    if count == SIDE && (N == 1 || has(Feature::Avx512)) {
        let all: [&[K]; SIDE] = std::array::from_fn(key);
        for (n, row) in dots(queries, all, SIDE * stride).iter().enumerate() {
            for (i, score) in row.iter().enumerate() {
                emit(n, i, *score);
            }
        }
    } else {
        for i in 0..count {
            for (n, [score]) in dots(queries, [key(i)], 0).into_iter().enumerate() {
                emit(n, i, score);
            }
        }
    }
}
