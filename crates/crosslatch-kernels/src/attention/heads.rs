//! The operands of the fast ways, and how their results are written.

use half::bf16;

use super::definition::Definition;
use super::problem::{Shape, Visibility};
use crate::runtime::shared_output::SharedOutput;
use crate::simd::axpy::AxpyElement;
use crate::simd::dot_products::DotElement;
use crate::tensor::matrix::{Matrices, Strided, batch_offset, matrix_offset};
use crate::{Element, Layout};

/// What keys and values are stored as.
pub(super) trait CacheElement: DotElement + AxpyElement {
    /// Whether they are what attention computes in.
    const IS_F32: bool;

    /// Rows in `f32`: as they lie, or widened into `memory`.
    fn widened<'m>(rows: Strided<'m, Self>, size: [usize; 2], memory: &'m mut [f32])
    -> Strided<'m>;
}

impl CacheElement for f32 {
    const IS_F32: bool = true;

    fn widened<'m>(rows: Strided<'m>, _size: [usize; 2], _memory: &'m mut [f32]) -> Strided<'m> {
        rows
    }
}

impl CacheElement for bf16 {
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

impl<K: Element> Heads<'_, K> {
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
            to[0] = if sum == 0.0 { 0.0 } else { greatest + sum.ln() };
        }
    }
}
