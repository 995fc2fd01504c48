//! Convolution along one dimension.
//!
//! The fast way writes the input out as a matrix whose column `t` is what output `t` sees, and
//! multiplies: the weight `[out, in / groups * k]` times that matrix gives the output as it lies
//! in memory. The oracle is the definition.

use crate::matmul::{Product, matmul};
use crate::wide::Wide;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element};

/// Shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv1d {
    /// Steps between outputs.
    pub stride: usize,
    /// Zeros in front; behind are as many as the output needs.
    pub padding: usize,
    /// Steps between the inputs of one output.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Conv1d {
    /// Bytes of working memory for inputs and weights of these shapes and this many outputs.
    pub fn scratch_bytes(&self, weight: &[usize], outputs: usize) -> Option<usize> {
        weight[1]
            .checked_mul(weight[2])?
            .checked_mul(outputs)?
            .checked_mul(size_of::<f32>())
    }

    /// `out[b, o, t]` from `x[b, i, s]` and `weight[o, i / groups, k]`.
    pub fn run(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        (weight, bias): (&TensorRef<'_>, Option<&TensorRef<'_>>),
        scratch: &mut [u8],
        plain: bool,
        threads: &Threads,
    ) {
        if out.dtype() == DType::F32 && !plain && weight.layout().is_contiguous() {
            self.by_matrix(out, x, weight, bias, scratch, threads);
        } else {
            with_element!(out.dtype(), T => self.loops::<T>(out, x, weight, bias));
        }
    }

    /// The position that output `t` sees at tap `k`, if it is inside.
    fn source(&self, t: usize, k: usize, len: usize) -> Option<usize> {
        let at = (t * self.stride + k * self.dilation).checked_sub(self.padding)?;
        (at < len).then_some(at)
    }

    fn by_matrix(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        weight: &TensorRef<'_>,
        bias: Option<&TensorRef<'_>>,
        scratch: &mut [u8],
        threads: &Threads,
    ) {
        let (lx, lo) = (x.layout(), out.layout().clone());
        let [outputs, channels, taps] = [weight.shape()[0], weight.shape()[1], weight.shape()[2]];
        let (per_group, len) = (outputs / self.groups, lo.shape[2]);
        let rows = channels * taps;
        let columns = Layout::contiguous(&[rows, len]);
        let data = x.data::<f32>();
        for b in 0..lo.shape[0] {
            for g in 0..self.groups {
                let matrix: &mut [f32] = bytemuck::cast_slice_mut(scratch);
                for (row, line) in matrix.chunks_exact_mut(len.max(1)).enumerate().take(rows) {
                    let (c, k) = (row / taps, row % taps);
                    let from = lx.offset + b * lx.strides[0] + (g * channels + c) * lx.strides[1];
                    for (t, value) in line.iter_mut().enumerate() {
                        *value = match self.source(t, k, lx.shape[2]) {
                            Some(s) => data[from + s * lx.strides[2]],
                            None => 0.0,
                        };
                    }
                }
                let weights = Layout {
                    offset: weight.layout().offset + g * per_group * rows,
                    ..Layout::contiguous(&[per_group, rows])
                };
                let target = lo
                    .slice(0, b, 1, 1)
                    .squeeze(0)
                    .slice(0, g * per_group, per_group, 1);
                let made = (
                    weight.with_layout(&weights),
                    TensorRef::new(DType::F32, &columns, scratch),
                    out.with_layout(&target),
                );
                let (Ok(a), Ok(b), Ok(mut out)) = made else {
                    unreachable!("views of checked memory");
                };
                let product = Product {
                    a,
                    b,
                    bias: None,
                    alpha: 1.0,
                    beta: 1.0,
                };
                matmul(&mut out, &product, false, threads);
            }
        }
        if let Some(bias) = bias {
            let (step, from) = (bias.layout().strides[0], bias.layout().offset);
            let bias = bias.data::<f32>();
            let out = out.data::<f32>();
            for b in 0..lo.shape[0] {
                for o in 0..outputs {
                    let start = lo.offset + b * lo.strides[0] + o * lo.strides[1];
                    for t in 0..len {
                        out[start + t * lo.strides[2]] += bias[from + o * step];
                    }
                }
            }
        }
    }

    fn loops<T: Element>(
        &self,
        out: &mut TensorMut<'_>,
        x: &TensorRef<'_>,
        weight: &TensorRef<'_>,
        bias: Option<&TensorRef<'_>>,
    ) where
        T::Wide: Wide,
    {
        let (lx, lw, lo) = (x.layout(), weight.layout(), out.layout().clone());
        let per_group = lw.shape[0] / self.groups;
        let (x, w) = (x.data::<T>(), weight.data::<T>());
        let bias = bias.map(|t| (t.data::<T>(), t.layout()));
        let out = out.data::<T>();
        for b in 0..lo.shape[0] {
            for o in 0..lo.shape[1] {
                let first = o / per_group.max(1) * lw.shape[1];
                for t in 0..lo.shape[2] {
                    let mut sum = T::Wide::from_f64(0.0);
                    for c in 0..lw.shape[1] {
                        for k in 0..lw.shape[2] {
                            let Some(s) = self.source(t, k, lx.shape[2]) else {
                                continue;
                            };
                            let from = lx.offset
                                + b * lx.strides[0]
                                + (first + c) * lx.strides[1]
                                + s * lx.strides[2];
                            let at = lw.offset
                                + o * lw.strides[0]
                                + c * lw.strides[1]
                                + k * lw.strides[2];
                            sum = sum.add(x[from].widen().mul(w[at].widen()));
                        }
                    }
                    if let Some((bias, l)) = bias {
                        sum = sum.add(bias[l.offset + o * l.strides[0]].widen());
                    }
                    out[lo.offset + b * lo.strides[0] + o * lo.strides[1] + t * lo.strides[2]] =
                        T::narrow(sum);
                }
            }
        }
    }
}
