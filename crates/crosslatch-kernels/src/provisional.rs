//! First versions of the kernels that a Whisper needs: f32, plain and threaded by rows.

use crate::layout::for_each_run;
use crate::slabs::for_each_slab;
use crate::{Element, Layout, Operands, TensorMut, TensorRef, Threads};

/// Dot product with eight partial sums.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (ca, ra) = a.as_chunks::<16>();
    let (cb, rb) = b.as_chunks::<16>();
    for (x, y) in ca.iter().zip(cb) {
        for i in 0..16 {
            sums[i] += x[i] * y[i];
        }
    }
    let tail: f32 = ra.iter().zip(rb).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + tail
}

/// `y = x w^T + b`.
pub fn linear(o: &mut Operands<'_, '_>, bias: Option<usize>) {
    let x = o.inputs[0].to_vec::<f32>();
    let w = o.inputs[1].to_vec::<f32>();
    let n = o.inputs[1].shape()[0];
    let k = o.inputs[1].shape()[1];
    let bias = bias.map(|b| o.inputs[b].to_vec::<f32>());
    let out = o.outputs[0].contiguous::<f32>().unwrap_or_default();
    for (row, y) in x.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (j, y) in y.iter_mut().enumerate() {
            *y = dot(row, &w[j * k..][..k]) + bias.as_ref().map_or(0.0, |b| b[j]);
        }
    }
}

/// 1-d convolution.
pub fn conv1d(o: &mut Operands<'_, '_>, stride: usize, padding: usize) {
    let (x, w, b) = (
        o.inputs[0].to_vec::<f32>(),
        o.inputs[1].to_vec::<f32>(),
        o.inputs[2].to_vec::<f32>(),
    );
    let (cin, t) = (o.inputs[0].shape()[1], o.inputs[0].shape()[2]);
    let (cout, k) = (o.inputs[1].shape()[0], o.inputs[1].shape()[2]);
    let out_t = o.outputs[0].shape()[2];
    let out = o.outputs[0].contiguous::<f32>().unwrap_or_default();
    let mut column = vec![0f32; cin * k];
    for ot in 0..out_t {
        for c in 0..cin {
            for j in 0..k {
                let at = (ot * stride + j) as isize - padding as isize;
                column[c * k + j] = if at >= 0 && (at as usize) < t {
                    x[c * t + at as usize]
                } else {
                    0.0
                };
            }
        }
        for oc in 0..cout {
            out[oc * out_t + ot] = dot(&column, &w[oc * cin * k..][..cin * k]) + b[oc];
        }
    }
}

/// Layer norm over the last dimension.
pub fn layer_norm(o: &mut Operands<'_, '_>, eps: f64) {
    let x = o.inputs[0].to_vec::<f32>();
    let (w, b) = (o.inputs[1].to_vec::<f32>(), o.inputs[2].to_vec::<f32>());
    let n = w.len();
    let out = o.outputs[0].contiguous::<f32>().unwrap_or_default();
    for (x, y) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mean = x.iter().map(|v| *v as f64).sum::<f64>() / n as f64;
        let var = x.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (var + eps).sqrt();
        for i in 0..n {
            y[i] = ((x[i] as f64 - mean) * scale) as f32 * w[i] + b[i];
        }
    }
}

/// Attention, with an optional bool mask.
pub fn attention(o: &mut Operands<'_, '_>, mask: Option<usize>, scale: f32) {
    let q = o.inputs[0].to_vec::<f32>();
    let k = o.inputs[1].to_vec::<f32>();
    let v = o.inputs[2].to_vec::<f32>();
    let s = o.inputs[0].shape();
    let (heads, t, d) = (s[0] * s[1], s[2], s[3]);
    let len = o.inputs[1].shape()[2];
    let mask = mask.map(|m| {
        o.inputs[m]
            .to_vec::<crate::Bool>()
            .into_iter()
            .map(|b| b.get())
            .collect::<Vec<_>>()
    });
    let out = o.outputs[0].contiguous::<f32>().unwrap_or_default();
    let mut scores = vec![0f32; len];
    for h in 0..heads {
        for i in 0..t {
            let row = &q[(h * t + i) * d..][..d];
            for j in 0..len {
                let allowed = mask.as_ref().is_none_or(|m| m[i * len + j]);
                scores[j] = if allowed {
                    dot(row, &k[(h * len + j) * d..][..d]) * scale
                } else {
                    f32::NEG_INFINITY
                };
            }
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for s in scores.iter_mut() {
                *s = (*s - max).exp();
                sum += *s;
            }
            let y = &mut out[(h * t + i) * d..][..d];
            y.fill(0.0);
            for j in 0..len {
                let p = scores[j] / sum;
                for (y, v) in y.iter_mut().zip(&v[(h * len + j) * d..][..d]) {
                    *y += p * v;
                }
            }
        }
    }
}

/// Rows of a table.
pub fn embedding(o: &mut Operands<'_, '_>) -> Result<(), crate::KernelError> {
    let w = o.inputs[0].to_vec::<f32>();
    let n = o.inputs[0].shape()[0];
    let d = o.inputs[0].shape()[1];
    let ids = o.inputs[1].to_vec::<i64>();
    let out = o.outputs[0].contiguous::<f32>().unwrap_or_default();
    for (id, y) in ids.iter().zip(out.chunks_exact_mut(d)) {
        if *id < 0 || *id as usize >= n {
            return Err(crate::KernelError::IndexOutOfRange { index: *id, len: n });
        }
        y.copy_from_slice(&w[*id as usize * d..][..d]);
    }
    Ok(())
}

/// Pointwise on two broadcast tensors.
pub fn binary<T: Element, U: Element>(
    to: &mut TensorMut<'_>,
    a: &TensorRef<'_>,
    b: &TensorRef<'_>,
    threads: &Threads,
    f: impl Fn(T, T) -> U + Sync,
) {
    let (la, lb) = (
        a.layout().expand(to.shape()).unwrap_or_default(),
        b.layout().expand(to.shape()).unwrap_or_default(),
    );
    let _ = for_each_slab(to, threads, 1 << 15, &|part, to| {
        let (la, lb) = (part.of(&la), part.of(&lb));
        let lt: Layout = to.layout().clone();
        let (a, b, to) = (a.data::<T>(), b.data::<T>(), to.data::<U>());
        for_each_run([&lt, &la, &lb], |[t, i, j], [st, si, sj], n| {
            for x in 0..n {
                to[t + x * st] = f(a[i + x * si], b[j + x * sj]);
            }
        });
        Ok(())
    });
}
