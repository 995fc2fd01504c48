//! Scaled dot-product attention.
//!
//! `out = softmax(q k^T * scale + mask) v`. The scores of all queries and keys together are never
//! in memory: keys are taken a block at a time, and for each query the greatest score so far, the
//! sum of the exponentials and the weighted sum of the values are carried along and corrected when
//! a greater score turns up (the "online softmax" of FlashAttention). Few queries, as in a step of
//! a decoder, are done one by one (`one_query`); many are done in panels, side by side in the lanes
//! of vectors (`panels`), in `f32` or, if that is allowed, in bf16. Keys and values are read where
//! they lie, in caches with any strides.
//!
//! Which way is taken, and where the keys are cut, depends on the shape and the machine alone, so
//! that results are the same for any strides and any number of threads.
//!
//! A hidden key, whether a boolean, causality or minus infinity in a mask of numbers hides it, has
//! no influence whatever it holds, nor has the value of a key whose weight is 0. (PyTorch
//! multiplies such values by 0, so that NaN and the infinities show.) A query that sees no key gets
//! 0, as in PyTorch; one that sees a key with a score of NaN gets NaN. The fast ways may let a
//! hidden NaN through: a result that is NaN is therefore computed again by the definition
//! (`definition`), so that all ways agree.

mod definition;
mod heads;
mod one_query;
mod panels;
mod problem;
#[cfg(test)]
mod tests;

use half::bf16;

use crate::matmul::microkernel::short::ShortMicrokernel;
use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::Matrices;
use crate::{DType, TensorMut, TensorRef, Threads, with_element};

use heads::{CacheElement, Heads};
use panels::bf16::Bf16Products;
use panels::f32::F32Products;
use problem::{Shape, Visibility};

/// The most queries that are done one by one.
const MOST_SINGLE_QUERIES: usize = 4;

/// The parameters of attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Factor of the scores.
    pub scale: f64,
    /// Whether query `i` sees keys up to `i` only.
    pub causal: bool,
    /// Plain loops in double precision.
    pub plain: bool,
    /// Whether products of many queries may be computed in bf16, where the machine does that
    /// faster.
    pub allow_bf16: bool,
}

/// `out[…, t, d]` from `q[…, t, e]`, `k[…, s, e]`, `v[…, s, d]` and a mask `[…, t, s]` of booleans
/// or of numbers to be added. The dimensions in front are the same for all, broadcast by strides.
/// `logarithms`, `[…, t]`, gets the logarithm of the sum of the exponentials of each query's
/// scores. Keys and values may be stored in bf16 where all else is `f32`.
pub fn attention(
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    let microkernel = match attention.allow_bf16 {
        true => ShortMicrokernel::bf16(),
        false => None,
    };
    attention_with(
        microkernel,
        out,
        logarithms,
        [q, k, v],
        mask,
        attention,
        threads,
    );
}

/// As [`attention`]; products of many queries are in bf16 if there is a loop for them.
fn attention_with(
    microkernel: Option<ShortMicrokernel<f32>>,
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    match (out.dtype(), k.dtype()) {
        (DType::F32, DType::BF16) => {
            fast_or_definition::<bf16>(
                microkernel,
                out,
                logarithms,
                [q, k, v],
                mask,
                attention,
                threads,
            );
        }
        (DType::F32, _) => {
            fast_or_definition::<f32>(
                microkernel,
                out,
                logarithms,
                [q, k, v],
                mask,
                attention,
                threads,
            );
        }
        (other, _) => {
            let (shape, visibility) = problem(out, [q, k], mask, attention);
            with_element!(other, T => {
                definition::compute::<T, T>(out, logarithms, [q, k, v], &shape, &visibility, attention.scale);
            });
        }
    }
}

fn problem<'a>(
    out: &TensorMut<'_>,
    [q, k]: [&TensorRef<'_>; 2],
    mask: Option<&'a TensorRef<'a>>,
    attention: Attention,
) -> (Shape, Visibility<'a>) {
    let shape = out.layout().shape.clone();
    let rank = shape.len();
    let shape = Shape {
        batches: shape[..rank - 2].iter().product(),
        queries: shape[rank - 2],
        keys: k.shape()[rank - 2],
        inner: q.shape()[rank - 1],
        width: shape[rank - 1],
    };
    let visibility = Visibility {
        mask,
        causal: attention.causal,
    };
    (shape, visibility)
}

/// Attention in `f32`, with keys and values stored as `K`.
fn fast_or_definition<K: CacheElement>(
    microkernel: Option<ShortMicrokernel<f32>>,
    out: &mut TensorMut<'_>,
    logarithms: Option<&mut TensorMut<'_>>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    let (shape, visibility) = problem(out, [q, k], mask, attention);
    let in_f32 = F32Products::best();
    let fits = shape.inner > 0
        && shape.width > 0
        && shape.inner.max(shape.width) <= one_query::LONGEST
        && panels::fits::<_, K>(in_f32, &shape);
    if attention.plain || !fits {
        definition::compute::<f32, K>(
            out,
            logarithms,
            [q, k, v],
            &shape,
            &visibility,
            attention.scale,
        );
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
        visibility,
        scale: attention.scale as f32,
        shape,
        out: (SharedOutput::new(out.data()), &layout),
        logarithms: logarithms
            .zip(log_layout.as_ref())
            .map(|(t, l)| (SharedOutput::new(t.data()), l)),
    };
    if heads.shape.queries <= MOST_SINGLE_QUERIES {
        one_query::run(&heads, threads);
        return;
    }
    let in_bf16 = microkernel.map(Bf16Products::with);
    match in_bf16.filter(|way| panels::fits::<_, K>(*way, &heads.shape)) {
        Some(in_bf16) => panels::run(in_bf16, &heads, threads),
        None => panels::run(in_f32, &heads, threads),
    }
}
