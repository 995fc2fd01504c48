//! Layer norm, root-mean-square norm and softmax: a row is reduced, then rewritten.
//!
//! Rows are the trailing elements of contiguous inputs for the norms, and the elements along one
//! dimension, wherever it lies, for softmax. Sums are accumulated in double precision, which costs
//! nothing that can be measured beside reading the row, and makes results independent of the
//! order in which threads take rows.

use crate::slabs::for_each_slab;
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, vector, with_element};

/// Elements below which another thread is not worth waking.
const GRAIN: usize = 8 * 1024;

/// What a norm is made of.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Scale of each element of a row.
    pub weight: Option<&'a TensorRef<'a>>,
    /// What is added to each element of a row.
    pub bias: Option<&'a TensorRef<'a>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
    /// Whether the mean is taken off first: layer norm, not root-mean-square norm.
    pub centred: bool,
}

/// Normalises each row of `row` elements. `statistics`, if given, gets the mean (if centred) and
/// the reciprocal deviation of each row.
pub fn norm(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    norm: Norm<'_>,
    row: usize,
    statistics: &mut [&mut TensorMut<'_>],
    threads: &Threads,
) {
    let rows = out.layout().numel() / row.max(1);
    // As a matrix, so that only whole rows are cut apart.
    let Some(matrix) = x.layout().reshape(&[rows, row]) else {
        unreachable!("lowering asks for contiguous rows");
    };
    if statistics.is_empty()
        && let Some(flat) = out.layout().reshape(&[rows, row])
        && let Ok(mut out) = out.with_layout(&flat)
    {
        // A single row is not cut.
        let grain = GRAIN.max(row);
        let result = for_each_slab(&mut out, threads, grain, &|part, out| {
            let layout = part.of(&matrix);
            with_element!(out.dtype(), T => norm_rows::<T>(out, x, &layout, norm, &mut |_, _, _| {}));
            Ok(())
        });
        debug_assert!(result.is_ok());
        return;
    }
    let Some(flat) = out.layout().reshape(&[rows, row]) else {
        unreachable!("results are contiguous");
    };
    let Ok(mut out) = out.with_layout(&flat) else {
        return;
    };
    with_element!(out.dtype(), T => norm_rows::<T>(&mut out, x, &matrix, norm, &mut |r, mean, scale| {
        let values = if norm.centred { [mean, scale] } else { [scale, scale] };
        for (tensor, value) in statistics.iter_mut().zip(values) {
            let position = tensor.layout().positions().nth(r);
            with_element!(tensor.dtype(), S => {
                if let Some(p) = position {
                    tensor.data::<S>()[p] = S::from_f64(value);
                }
            });
        }
    }));
}

fn norm_rows<T: Element>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    layout: &Layout,
    norm: Norm<'_>,
    statistics: &mut dyn FnMut(usize, f64, f64),
) {
    let lo = out.layout().clone();
    let [rows, n] = [lo.shape[0], lo.shape[1]];
    let (x, out) = (x.data::<T>(), out.data::<T>());
    let parameter = |t: Option<&TensorRef<'_>>, i: usize, default: f64| match t {
        None => default,
        Some(t) => {
            let at = element(t.layout(), i);
            with_element!(t.dtype(), P => t.data::<P>()[at].to_f64())
        }
    };
    for r in 0..rows {
        let at = |i: usize| layout.offset + r * layout.strides[0] + i * layout.strides[1];
        let mean = match norm.centred {
            true => (0..n).map(|i| x[at(i)].to_f64()).sum::<f64>() / n as f64,
            false => 0.0,
        };
        let square: f64 = (0..n).map(|i| (x[at(i)].to_f64() - mean).powi(2)).sum();
        let scale = 1.0 / (square / n as f64 + norm.epsilon).sqrt();
        statistics(r, mean, scale);
        for i in 0..n {
            let y = (x[at(i)].to_f64() - mean) * scale * parameter(norm.weight, i, 1.0)
                + parameter(norm.bias, i, 0.0);
            out[lo.offset + r * lo.strides[0] + i * lo.strides[1]] = T::from_f64(y);
        }
    }
}

/// Position of the `i`-th element in row-major order.
fn element(layout: &Layout, mut i: usize) -> usize {
    let mut at = layout.offset;
    for (size, stride) in layout.shape.iter().zip(&layout.strides).rev() {
        at += i % size * stride;
        i /= size;
    }
    at
}

/// Softmax, or its logarithm, along dimension `dim`; shapes are equal.
pub fn softmax(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dim: usize,
    log: bool,
    plain: bool,
    threads: &Threads,
) {
    // Rows must stay whole; a cut is made along the dimension with the longest stride.
    let longest = out.layout().strides.iter().copied().max();
    let grain = match longest == Some(out.layout().strides[dim]) {
        true => usize::MAX,
        false => GRAIN,
    };
    let result = for_each_slab(out, threads, grain, &|part, out| {
        let layout = part.of(x.layout());
        let fast = !log
            && !plain
            && out.dtype() == DType::F32
            && x.dtype() == DType::F32
            && layout.strides[dim] == 1
            && out.layout().strides[dim] == 1;
        if fast {
            softmax_rows_f32(out, x, &layout, dim);
        } else {
            with_element!(x.dtype(), X => with_element!(out.dtype(), T => {
                softmax_rows::<X, T>(out, x, &layout, dim, log)
            }));
        }
        Ok(())
    });
    debug_assert!(result.is_ok());
}

/// First position of each row along `dim`, in both layouts.
fn each_row(a: &Layout, b: &Layout, dim: usize, visit: &mut dyn FnMut(usize, usize)) {
    let (a, b) = (a.slice(dim, 0, 1, 1), b.slice(dim, 0, 1, 1));
    crate::layout::for_each_run([&a, &b], |[p, q], [s, t], n| {
        for i in 0..n {
            visit(p + i * s, q + i * t);
        }
    });
}

fn softmax_rows_f32(out: &mut TensorMut<'_>, x: &TensorRef<'_>, layout: &Layout, dim: usize) {
    let lo = out.layout().clone();
    let n = lo.shape[dim];
    let (x, out) = (x.data::<f32>(), out.data::<f32>());
    each_row(&lo, layout, dim, &mut |to, from| {
        let row = &mut out[to..][..n];
        row.copy_from_slice(&x[from..][..n]);
        let sum = vector::exp_and_sum(row, vector::max(&x[from..][..n]));
        vector::scale(row, 1.0 / sum);
    });
}

fn softmax_rows<X: Element, T: Element>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    layout: &Layout,
    dim: usize,
    log: bool,
) {
    let lo = out.layout().clone();
    let n = lo.shape[dim];
    let (x, out) = (x.data::<X>(), out.data::<T>());
    each_row(&lo, layout, dim, &mut |to, from| {
        let value = |i: usize| x[from + i * layout.strides[dim]].to_f64();
        let shift = (0..n).map(value).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..n).map(|i| (value(i) - shift).exp()).sum();
        for i in 0..n {
            let y = match log {
                true => value(i) - shift - sum.ln(),
                false => (value(i) - shift).exp() / sum,
            };
            out[to + i * lo.strides[dim]] = T::from_f64(y);
        }
    });
}
