//! Scaled dot-product attention.
//!
//! `out = softmax(q k^T * scale + mask) v`. The scores of all queries and keys together are never
//! in memory: keys are taken a block at a time, and for each query the greatest score so far, the
//! sum of the exponentials and the weighted sum of the values are carried along and corrected when
//! a greater score turns up (the "online softmax" of FlashAttention). Few queries, as in a step of
//! a decoder, are done one by one (`few`); many are done in panels, side by side in the lanes of
//! vectors (`panels`), in `f32` or, if that is allowed, in bf16. Keys and values are read where they lie, in
//! caches with any strides.
//!
//! Which way is taken, and where the keys are cut, depends on the shape and the machine alone, so that results are
//! the same for any strides and any number of threads.
//!
//! A hidden key, be it by truth value, by causality or by minus infinity in a mask of numbers, has
//! no influence whatever it holds, nor has the value of a key whose weight is 0. (PyTorch multiplies
//! such values by 0, so that NaN and the infinities show.) A query that sees no key gets 0, as in
//! PyTorch; one that sees a key with a score of NaN gets NaN. The fast ways may let a hidden NaN
//! through: a result that is NaN is therefore computed again by the definition (`plain.rs`), so
//! that all ways agree.

mod few;
mod panels;
mod plain;
#[cfg(test)]
mod tests;

use std::ops::Range;

use half::bf16;

use crate::matmul::gemm::{Matrices, matrix_offset};
use crate::matmul::microkernel::tile::Strided;
use crate::matmul::microkernel::words::WordTile;
use crate::runtime::shared::Target;
use crate::simd::axpy::Row;
use crate::simd::dot_products::Right;
use crate::{Bool, DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

use panels::full::Full;
use panels::rounded::Rounded;
use plain::{Definition, plain};

/// Most queries that are done one by one.
const FEW: usize = 4;

/// What attention is asked to do beside its operands.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Factor of the scores.
    pub scale: f64,
    /// Whether query `i` sees keys up to `i` only.
    pub causal: bool,
    /// Plain loops in double precision.
    pub plain: bool,
    /// Whether products of many queries may be computed in bf16, where the machine does that faster.
    pub narrow: bool,
}

/// `out[…, t, d]` from `q[…, t, e]`, `k[…, s, e]`, `v[…, s, d]` and a mask `[…, t, s]` of truth
/// values or of numbers to be added. The dimensions in front are the same for all, broadcast by
/// strides. `logarithms`, `[…, t]`, gets the logarithm of the sum of the exponentials of each
/// query's scores. Keys and values may be stored in bf16 where all else is `f32`.
pub fn attention(
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    let tile = match attention.narrow {
        true => WordTile::of_bf16(),
        false => None,
    };
    attention_with(tile, out, logarithms, [q, k, v], mask, attention, threads);
}

/// As [`attention`]; products of many queries are in bf16 if there is a loop for them.
fn attention_with(
    tile: Option<WordTile<f32>>,
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    match (out.dtype(), k.dtype()) {
        (DType::F32, DType::BF16) => {
            fast_or_plain::<bf16>(tile, out, logarithms, [q, k, v], mask, attention, threads);
        }
        (DType::F32, _) => {
            fast_or_plain::<f32>(tile, out, logarithms, [q, k, v], mask, attention, threads);
        }
        (other, _) => {
            let (shape, seen) = problem(out, [q, k], mask, attention);
            with_element!(other, T => {
                plain::<T, T>(out, logarithms, [q, k, v], &shape, &seen, attention.scale);
            });
        }
    }
}

fn problem<'a>(
    out: &TensorMut<'_>,
    [q, k]: [&TensorRef<'_>; 2],
    mask: Option<&'a TensorRef<'a>>,
    attention: Attention,
) -> (Shape, Seen<'a>) {
    let shape = out.layout().shape.clone();
    let rank = shape.len();
    let shape = Shape {
        batches: shape[..rank - 2].iter().product(),
        queries: shape[rank - 2],
        keys: k.shape()[rank - 2],
        inner: q.shape()[rank - 1],
        width: shape[rank - 1],
    };
    let seen = Seen {
        mask,
        causal: attention.causal,
    };
    (shape, seen)
}

/// Attention in `f32`, with keys and values stored as `K`.
fn fast_or_plain<K: Stored>(
    tile: Option<WordTile<f32>>,
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    let (shape, seen) = problem(out, [q, k], mask, attention);
    let full = Full::best();
    let fits = shape.inner > 0
        && shape.width > 0
        && shape.inner.max(shape.width) <= few::LONGEST
        && panels::fits::<_, K>(full, &shape);
    if attention.plain || !fits {
        plain::<f32, K>(out, logarithms, [q, k, v], &shape, &seen, attention.scale);
        return;
    }
    let layout = out.layout().clone();
    let log_layout = logarithms.as_ref().map(|t| t.layout().clone());
    let heads = Heads {
        q: Matrices {
            data: q.data(),
            layout: q.layout(),
        },
        k: Matrices {
            data: k.data::<K>(),
            layout: k.layout(),
        },
        v: Matrices {
            data: v.data::<K>(),
            layout: v.layout(),
        },
        seen,
        scale: attention.scale as f32,
        shape,
        out: (Target::new(out.data()), &layout),
        logarithms: logarithms
            .zip(log_layout.as_ref())
            .map(|(t, l)| (Target::new(t.data()), l)),
    };
    if heads.shape.queries <= FEW {
        few::run(&heads, threads);
        return;
    }
    let rounded = tile.map(Rounded::with);
    match rounded.filter(|way| panels::fits::<_, K>(*way, &heads.shape)) {
        Some(rounded) => panels::run(rounded, &heads, threads),
        None => panels::run(full, &heads, threads),
    }
}

/// What keys and values are stored as.
trait Stored: Right + Row {
    /// Whether they are what attention computes in.
    const IS_F32: bool;

    /// Rows in `f32`: as they lie, or widened into `memory`.
    fn widened<'m>(rows: Strided<'m, Self>, size: [usize; 2], memory: &'m mut [f32])
    -> Strided<'m>;
}

impl Stored for f32 {
    const IS_F32: bool = true;

    fn widened<'m>(rows: Strided<'m>, _size: [usize; 2], _memory: &'m mut [f32]) -> Strided<'m> {
        rows
    }
}

impl Stored for bf16 {
    const IS_F32: bool = false;

    fn widened<'m>(
        rows: Strided<'m, bf16>,
        [count, width]: [usize; 2],
        memory: &'m mut [f32],
    ) -> Strided<'m> {
        for (i, to) in memory.chunks_exact_mut(width).enumerate().take(count) {
            for (x, to) in to.iter_mut().enumerate() {
                *to = rows.data[i * rows.row_stride + x * rows.column_stride].widen();
            }
        }
        Strided {
            data: memory,
            row_stride: width,
            column_stride: 1,
        }
    }
}

/// Sizes of a problem.
struct Shape {
    /// Pairs of batch and head.
    batches: usize,
    queries: usize,
    keys: usize,
    /// Length of queries and keys.
    inner: usize,
    /// Length of values and results.
    width: usize,
}

/// A problem of the fast ways.
struct Heads<'a, K> {
    q: Matrices<'a>,
    k: Matrices<'a, K>,
    v: Matrices<'a, K>,
    seen: Seen<'a>,
    scale: f32,
    shape: Shape,
    out: (Target<'a>, &'a Layout),
    logarithms: Option<(Target<'a>, &'a Layout)>,
}

impl<K: Element> Heads<'_, K> {
    /// The same problem for the definition.
    fn definition(&self) -> Definition<'_, f32, K> {
        Definition {
            q: (self.q.data, self.q.layout),
            k: (self.k.data, self.k.layout),
            v: (self.v.data, self.v.layout),
            shape: &self.shape,
            seen: &self.seen,
            scale: self.scale as f64,
        }
    }

    /// Writes elements of the result of a query, from number `first` on: weighted sums, divided by the
    /// sum of the exponentials.
    ///
    /// # Safety
    /// No other thread does the same query at the same time, and the layouts do not overlap
    /// themselves.
    unsafe fn finish(&self, [batch, query]: [usize; 2], first: usize, sum: f32, sums: &[f32]) {
        let (target, layout) = &self.out;
        let rank = layout.rank();
        let step = layout.strides[rank - 1];
        let start = matrix_offset(layout, batch) + query * layout.strides[rank - 2] + first * step;
        // Nothing was seen: the weighted sum is 0 as well.
        let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        if step == 1 {
            // SAFETY: by the caller's promise; these are all of the query's.
            let to = unsafe { target.slice(start, sums.len()) };
            let mut nan = false;
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = sum * factor;
                nan |= to.is_nan();
            }
            if nan {
                let write = |x: usize, value: f64| to[x] = value as f32;
                self.definition()
                    .query([batch, query], first..first + sums.len(), write);
            }
        } else {
            for (x, sum) in sums.iter().enumerate() {
                // SAFETY: by the caller's promise; one element at a time.
                let to = unsafe { target.slice(start + x * step, 1) };
                to[0] = sum * factor;
            }
            if sums.iter().any(|sum| (sum * factor).is_nan()) {
                let write = |x: usize, value: f64| {
                    // SAFETY: as above.
                    let to = unsafe { target.slice(start + x * step, 1) };
                    to[0] = value as f32;
                };
                self.definition()
                    .query([batch, query], first..first + sums.len(), write);
            }
        }
    }

    /// Writes the logarithm of the sum of the exponentials of a query's scores, if it is wanted.
    ///
    /// # Safety
    /// As for [`Heads::finish`].
    unsafe fn log(&self, [batch, query]: [usize; 2], greatest: f32, sum: f32) {
        if let Some((target, layout)) = &self.logarithms {
            let at = batch_offset(layout, batch) + query * layout.strides[layout.rank() - 1];
            // SAFETY: by the caller's promise.
            let to = unsafe { target.slice(at, 1) };
            to[0] = if sum == 0.0 { 0.0 } else { greatest + sum.ln() };
        }
    }
}

/// Position of the first element of batch number `batch`, where only the last dimension is none.
fn batch_offset(layout: &Layout, mut batch: usize) -> usize {
    let mut offset = layout.offset;
    for d in (0..layout.rank() - 1).rev() {
        offset += batch % layout.shape[d] * layout.strides[d];
        batch /= layout.shape[d];
    }
    offset
}

/// Which query sees which key.
struct Seen<'a> {
    mask: Option<&'a TensorRef<'a>>,
    causal: bool,
}

impl Seen<'_> {
    /// The keys that a query may see by causality.
    fn keys(&self, query: usize, keys: usize) -> usize {
        if self.causal {
            keys.min(query + 1)
        } else {
            keys
        }
    }

    /// Whether the mask hides all of these keys from a query.
    fn hides_all(&self, [batch, query]: [usize; 2], mut keys: Range<usize>) -> bool {
        self.mask.is_some_and(|mask| {
            let at = Self::row(mask, batch, query);
            keys.all(|j| match mask.dtype() {
                DType::Bool => !mask.data::<Bool>()[at(j)].get(),
                DType::F32 => mask.data::<f32>()[at(j)] == f32::NEG_INFINITY,
                _ => false,
            })
        })
    }

    /// Adds the mask to the scores of a query: score number `i` is of key `keys.start + i` and
    /// stands at `scores[i * step]`.
    fn apply(
        &self,
        [batch, query]: [usize; 2],
        keys: Range<usize>,
        scores: &mut [f32],
        step: usize,
    ) {
        let visible = self.keys(query, keys.end);
        for score in scores
            .iter_mut()
            .step_by(step)
            .take(keys.len())
            .skip(visible.saturating_sub(keys.start))
        {
            *score = f32::NEG_INFINITY;
        }
        let Some(mask) = self.mask else {
            return;
        };
        let at = Self::row(mask, batch, query);
        let scores = scores.iter_mut().step_by(step).zip(keys);
        match mask.dtype() {
            DType::Bool => {
                let mask = mask.data::<Bool>();
                scores
                    .filter(|(_, j)| !mask[at(*j)].get())
                    .for_each(|(s, _)| *s = f32::NEG_INFINITY);
            }
            DType::F32 => {
                let mask = mask.data::<f32>();
                scores.for_each(|(s, j)| *s = add(*s, mask[at(j)]));
            }
            other => with_element!(other, M => {
                let mask = mask.data::<M>();
                scores.for_each(|(s, j)| *s = add(*s, mask[at(j)].to_f64() as f32));
            }),
        }
    }

    /// Where the mask's element for each key of a query lies.
    fn row(mask: &TensorRef<'_>, batch: usize, query: usize) -> impl Fn(usize) -> usize + use<> {
        let layout = mask.layout();
        let rank = layout.rank();
        let start = matrix_offset(layout, batch) + query * layout.strides[rank - 2];
        let step = layout.strides[rank - 1];
        move |key| start + key * step
    }
}

/// A score with a mask's number added; minus infinity hides even what is no number.
fn add(score: f32, mask: f32) -> f32 {
    if mask == f32::NEG_INFINITY {
        mask
    } else {
        score + mask
    }
}
