//! What attention is computed on: the sizes of a problem, and which query sees which key.

use std::ops::Range;

use crate::tensor::matrix::matrix_offset;
use crate::{Bool, DType, Element, TensorMut, TensorRef, with_element};

/// A problem: `out[…, t, d]` from `q[…, t, e]`, `k[…, s, e]`, `v[…, s, d]` and a mask `[…, t, s]` of
/// booleans or of numbers to be added. The dimensions in front are the same for all, broadcast by
/// strides. `logarithms`, `[…, t]`, gets the logarithm of the sum of the exponentials of each query's
/// scores. Where all else is `f32`, keys and values may be stored in bf16, or as
/// [scaled rows](crate::tensor::scaled_rows), `[…, s, e + 4]` and `[…, s, d + 4]` of `i8`.
pub struct AttentionTensors<'a> {
    /// The result.
    pub out: TensorMut<'a>,
    /// A second result.
    pub logarithms: Option<TensorMut<'a>>,
    /// Queries.
    pub q: TensorRef<'a>,
    /// Keys.
    pub k: TensorRef<'a>,
    /// Values.
    pub v: TensorRef<'a>,
    /// Which query sees which key.
    pub mask: Option<TensorRef<'a>>,
}

impl AttentionTensors<'_> {
    pub(super) fn shape(&self) -> Shape {
        let shape = self.out.shape();
        let rank = shape.len();
        Shape {
            batches: shape[..rank - 2].iter().product(),
            queries: shape[rank - 2],
            keys: self.k.shape()[rank - 2],
            inner: self.q.shape()[rank - 1],
            width: shape[rank - 1],
        }
    }
}

/// Sizes of a problem.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Pairs of batch and head.
    pub batches: usize,
    pub queries: usize,
    pub keys: usize,
    /// Length of queries and keys.
    pub inner: usize,
    /// Length of values and results.
    pub width: usize,
}

/// Which query sees which key.
pub(super) struct Visibility<'a> {
    pub mask: Option<&'a TensorRef<'a>>,
    pub causal: bool,
}

impl Visibility<'_> {
    /// Number of keys that causality lets a query see.
    pub fn keys(&self, query: usize, keys: usize) -> usize {
        if self.causal {
            keys.min(query + 1)
        } else {
            keys
        }
    }

    /// Whether the mask hides all of these keys from a query.
    pub fn hides_all(&self, [batch, query]: [usize; 2], mut keys: Range<usize>) -> bool {
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
    pub fn apply(
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

    /// Gives the position of the mask's element for each key of a query.
    fn row(mask: &TensorRef<'_>, batch: usize, query: usize) -> impl Fn(usize) -> usize + use<> {
        let layout = mask.layout();
        let rank = layout.rank();
        let start = matrix_offset(layout, batch) + query * layout.strides[rank - 2];
        let step = layout.strides[rank - 1];
        move |key| start + key * step
    }
}

/// A score with a mask's number added; minus infinity hides even NaN.
fn add(score: f32, mask: f32) -> f32 {
    if mask == f32::NEG_INFINITY {
        mask
    } else {
        score + mask
    }
}
