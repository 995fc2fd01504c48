//! Attention by its definition, in double precision, for any element type.
//!
//! Slow and obviously right: the other ways are compared with it, the types that have no fast way
//! take it, and it has the last word where a fast way ends in NaN. Scores and weights have the
//! range of the type that PyTorch computes in, so that what is infinite or 0 there is so here.

use std::ops::Range;

use bytemuck::Pod;

use super::problem::{AttentionTensors, Shape, Visibility};
use crate::tensor::matrix::{batch_offset, matrix_offset};
use crate::tensor::scaled_rows::{SCALE_BYTES, ScaledByte, scale};
use crate::{DType, Element, Layout, with_element};

/// Results that are summed at a time: nothing is allocated.
const BLOCK: usize = 64;

/// What keys and values are stored as.
pub(super) trait Stored: Pod + Sync {
    /// An element of a row whose `elements` elements are `step` apart.
    fn value(row: &[Self], step: usize, elements: usize, column: usize) -> f64;
}

impl<T: Element> Stored for T {
    fn value(row: &[T], step: usize, _elements: usize, column: usize) -> f64 {
        row[column * step].to_f64()
    }
}

impl Stored for ScaledByte {
    fn value(row: &[ScaledByte], step: usize, elements: usize, column: usize) -> f64 {
        let bytes: [ScaledByte; SCALE_BYTES] = std::array::from_fn(|i| row[(elements + i) * step]);
        row[column * step].0 as f64 * scale(&bytes, 0) as f64
    }
}

/// A problem, with queries stored as `T` and keys and values as `K`.
pub(super) struct Definition<'a, T, K> {
    pub q: (&'a [T], &'a Layout),
    pub k: (&'a [K], &'a Layout),
    pub v: (&'a [K], &'a Layout),
    pub shape: &'a Shape,
    pub visibility: &'a Visibility<'a>,
    pub scale: f64,
}

impl<T: Element, K: Stored> Definition<'_, T, K> {
    /// The results of a query with these numbers: `write` gets each one's place in the range and
    /// its value. Returns the logarithm of the sum of the exponentials.
    pub fn query(
        &self,
        [batch, query]: [usize; 2],
        wanted: Range<usize>,
        mut write: impl FnMut(usize, f64),
    ) -> f64 {
        let keys = self.visibility.keys(query, self.shape.keys);
        let scores = || (0..keys).map(|key| self.score([batch, query], key));
        let shift = scores().fold(f64::NEG_INFINITY, f64::max);
        if scores().all(|score| score == f64::NEG_INFINITY) {
            (0..wanted.len()).for_each(|x| write(x, 0.0));
            return 0.0;
        }
        // Scores are computed again for each block.
        let weight = |score: f64| (score - shift).exp();
        let sum: f64 = scores().map(weight).sum();
        for first in wanted.clone().step_by(BLOCK) {
            let mut totals = [0f64; BLOCK];
            let totals = &mut totals[..BLOCK.min(wanted.end - first)];
            for (key, score) in scores().enumerate() {
                let weight = weight(score);
                if in_range::<T>(weight) != 0.0 {
                    for (x, total) in totals.iter_mut().enumerate() {
                        *total += weight * self.value(batch, key, first + x);
                    }
                }
            }
            for (x, total) in totals.iter().enumerate() {
                write(first - wanted.start + x, total / sum);
            }
        }
        shift + sum.ln()
    }

    fn value(&self, batch: usize, key: usize, column: usize) -> f64 {
        at(row(self.v, batch, key), self.shape.width, column)
    }

    fn score(&self, [batch, query]: [usize; 2], key: usize) -> f64 {
        let mut mask = [0f32];
        self.visibility
            .apply([batch, query], key..key + 1, &mut mask, 1);
        if mask[0] == f32::NEG_INFINITY {
            return f64::NEG_INFINITY;
        }
        let elements = 0..self.shape.inner;
        let products = elements.map(|x| {
            let query = row(self.q, batch, query);
            at(query, self.shape.inner, x) * at(row(self.k, batch, key), self.shape.inner, x)
        });
        in_range::<T>(products.sum::<f64>() * self.scale) + mask[0] as f64
    }
}

/// A number, but infinite or 0 where it would be in the type that elements of type `T` are computed
/// in.
fn in_range<T: Element>(x: f64) -> f64 {
    match (T::DTYPE, x as f32) {
        (DType::F64, _) => x,
        (_, single) if single == 0.0 || single.is_infinite() => single as f64,
        _ => x,
    }
}

/// A row of a matrix, and the distance between its elements.
fn row<'a, T>((data, layout): (&'a [T], &Layout), batch: usize, row: usize) -> (&'a [T], usize) {
    let rank = layout.rank();
    let start = matrix_offset(layout, batch) + row * layout.strides[rank - 2];
    (&data[start..], layout.strides[rank - 1])
}

/// An element of a row that has so many.
fn at<T: Stored>((row, step): (&[T], usize), elements: usize, column: usize) -> f64 {
    T::value(row, step, elements, column)
}

/// All results, with keys and values stored as `K`.
pub(super) fn compute<T: Element, K: Stored>(
    tensors: &mut AttentionTensors<'_>,
    [k, v]: [&[K]; 2],
    shape: &Shape,
    visibility: &Visibility<'_>,
    scale: f64,
) {
    let AttentionTensors {
        out, logarithms, q, ..
    } = tensors;
    let layout = out.layout();
    let rank = layout.rank();
    let definition = Definition {
        q: (q.data::<T>(), q.layout()),
        k: (k, tensors.k.layout()),
        v: (v, tensors.v.layout()),
        shape,
        visibility,
        scale,
    };
    for batch in 0..shape.batches {
        for query in 0..shape.queries {
            let data = out.data::<T>();
            let start = matrix_offset(layout, batch) + query * layout.strides[rank - 2];
            let step = layout.strides[rank - 1];
            let write = |x: usize, value: f64| data[start + x * step] = T::from_f64(value);
            let logarithm = definition.query([batch, query], 0..shape.width, write);
            if let Some(t) = logarithms.as_mut() {
                let at = batch_offset(t.layout(), t.layout().rank() - 1, batch)
                    + query * t.layout().strides[rank - 2];
                with_element!(t.dtype(), L => t.data::<L>()[at] = L::from_f64(logarithm));
            }
        }
    }
}
