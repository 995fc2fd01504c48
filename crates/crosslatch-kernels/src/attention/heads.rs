//! The operands of the fast ways, and how their results are written.

use half::bf16;

use super::definition::{Definition, Stored};
use super::problem::{Shape, Visibility};
use crate::runtime::shared_output::SharedOutput;
use crate::simd::axpy::AxpyElement;
use crate::simd::convert::int8_to_f32;
use crate::simd::dot_products::Dot;
use crate::tensor::matrix::{Matrices, Strided, batch_offset, matrix_offset};
use crate::tensor::scaled_rows::{self, ScaledByte};
use crate::{Element, Layout, TensorRef};

/// What keys and values are stored as.
pub(super) trait CacheElement: Stored + Dot + AxpyElement {
    /// Whether they are what attention computes in.
    const IS_F32: bool;

    /// The elements of a tensor that is stored so.
    fn data<'a>(tensor: &TensorRef<'a>) -> &'a [Self];

    /// Whether the fast ways take rows whose elements are so far apart.
    fn takes(_column_stride: usize) -> bool {
        true
    }

    /// The scale of a row.
    #[inline(always)]
    fn scale(_row: &[Self], _elements: usize) -> f32 {
        1.0
    }

    /// A score of a row that has this scale.
    #[inline(always)]
    fn scaled(score: f32, _scale: f32) -> f32 {
        score
    }

    /// Makes weights of rows weights of their stored elements.
    #[inline(always)]
    fn weigh(_rows: Strided<'_, Self>, _elements: usize, _weights: &mut [f32]) {}

    /// Rows in `f32`: as they lie, or widened into `memory`.
    fn widened<'m>(rows: Strided<'m, Self>, size: [usize; 2], memory: &'m mut [f32])
    -> Strided<'m>;
}

impl CacheElement for f32 {
    const IS_F32: bool = true;

    fn data<'a>(tensor: &TensorRef<'a>) -> &'a [f32] {
        tensor.data()
    }

    fn widened<'m>(rows: Strided<'m>, _size: [usize; 2], _memory: &'m mut [f32]) -> Strided<'m> {
        rows
    }
}

impl CacheElement for bf16 {
    const IS_F32: bool = false;

    fn data<'a>(tensor: &TensorRef<'a>) -> &'a [bf16] {
        tensor.data()
    }

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

impl CacheElement for ScaledByte {
    const IS_F32: bool = false;

    fn data<'a>(tensor: &TensorRef<'a>) -> &'a [ScaledByte] {
        bytemuck::cast_slice(tensor.data::<i8>())
    }

    fn takes(column_stride: usize) -> bool {
        column_stride == 1
    }

    #[inline(always)]
    fn scale(row: &[ScaledByte], elements: usize) -> f32 {
        scaled_rows::scale(row, elements)
    }

    #[inline(always)]
    fn scaled(score: f32, scale: f32) -> f32 {
        score * scale
    }

    #[inline(always)]
    fn weigh(rows: Strided<'_, ScaledByte>, elements: usize, weights: &mut [f32]) {
        for (i, weight) in weights.iter_mut().enumerate() {
            // What has no weight has no influence, whatever it holds.
            if *weight != 0.0 {
                *weight *= scaled_rows::scale(&rows.data[i * rows.row_stride..], elements);
            }
        }
    }

    fn widened<'m>(
        rows: Strided<'m, ScaledByte>,
        [count, width]: [usize; 2],
        memory: &'m mut [f32],
    ) -> Strided<'m> {
        for (i, to) in memory.chunks_exact_mut(width).enumerate().take(count) {
            let row = &rows.data[i * rows.row_stride..];
            let scale = scaled_rows::scale(row, width);
            int8_to_f32(bytemuck::cast_slice(&row[..width]), scale, to);
        }
        Strided {
            data: memory,
            row_stride: width,
            column_stride: 1,
        }
    }
}

/// A problem of the fast ways, with keys and values stored as `K`.
pub(super) struct Heads<'a, K> {
    pub q: Matrices<'a>,
    pub k: Matrices<'a, K>,
    pub v: Matrices<'a, K>,
    pub visibility: Visibility<'a>,
    pub scale: f32,
    pub shape: Shape,
    pub out: (SharedOutput<'a>, &'a Layout),
    pub logarithms: Option<(SharedOutput<'a>, &'a Layout)>,
}

impl<K: Stored> Heads<'_, K> {
    /// Whether both problems have the same keys and values: the same memory, not only equal ones.
    pub fn shares(&self, other: &Heads<'_, K>) -> bool {
        let same = |a: &Matrices<'_, K>, b: &Matrices<'_, K>| {
            std::ptr::eq(a.data, b.data) && a.layout == b.layout
        };
        same(&self.k, &other.k) && same(&self.v, &other.v)
    }

    /// The same problem for the definition.
    fn definition(&self) -> Definition<'_, f32, K> {
        Definition {
            q: (self.q.data, self.q.layout),
            k: (self.k.data, self.k.layout),
            v: (self.v.data, self.v.layout),
            shape: &self.shape,
            visibility: &self.visibility,
            scale: self.scale as f64,
        }
    }

    /// Writes elements of the result of a query, from number `first` on: weighted sums, divided by
    /// the sum of the exponentials. If one is NaN, all are computed again by the definition.
    ///
    /// # Safety
    /// No other thread does the same query at the same time, and the layouts do not overlap
    /// themselves.
    pub unsafe fn finish(&self, [batch, query]: [usize; 2], first: usize, sum: f32, sums: &[f32]) {
        let (output, layout) = &self.out;
        let rank = layout.rank();
        let step = layout.strides[rank - 1];
        let start = matrix_offset(layout, batch) + query * layout.strides[rank - 2] + first * step;
        // Nothing was visible: the weighted sum is 0 as well.
        let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        if step == 1 {
            // SAFETY: by the caller's promise; these are all of the query's.
            let to = unsafe { output.slice(start, sums.len()) };
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
                let to = unsafe { output.slice(start + x * step, 1) };
                to[0] = sum * factor;
            }
            if sums.iter().any(|sum| (sum * factor).is_nan()) {
                let write = |x: usize, value: f64| {
                    // SAFETY: as above.
                    let to = unsafe { output.slice(start + x * step, 1) };
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
    pub unsafe fn log(&self, [batch, query]: [usize; 2], greatest: f32, sum: f32) {
        if let Some((output, layout)) = &self.logarithms {
            let at = batch_offset(layout, layout.rank() - 1, batch)
                + query * layout.strides[layout.rank() - 1];
            // SAFETY: by the caller's promise.
            let to = unsafe { output.slice(at, 1) };
            to[0] = match greatest + sum.ln() {
                _ if sum == 0.0 => 0.0,
                // Which NaN it is depends on how loops were compiled.
                log if log.is_nan() => f32::NAN,
                log => log,
            };
        }
    }
}
