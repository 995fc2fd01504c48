//! Scaled dot-product attention.
//!
//! `out = softmax(q k^T * scale + mask) v`. The scores of all queries and keys together are never
//! in memory: keys are taken a block at a time, and for each query the greatest score so far, the
//! sum of the exponentials and the weighted sum of the values are carried along and corrected when
//! a greater score turns up (the "online softmax" of FlashAttention). Few queries, as in a step of
//! a decoder, read keys and values at the speed of memory (`few_queries`); many are done in panels,
//! side by side in the lanes of vectors (`panels`), in `f32` or, if that is allowed, in bf16. Keys
//! and values are read where they lie, in caches with any strides.
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
mod few_queries;
mod heads;
mod panels;
mod problem;
#[cfg(test)]
mod tests;

use half::bf16;
use smallvec::SmallVec;

use crate::matmul::microkernel::short::ShortMicrokernel;
use crate::runtime::shared_output::SharedOutput;
use crate::tensor::matrix::Matrices;
use crate::tensor::scaled_rows::ScaledByte;
use crate::{DType, Element, TensorRef, Threads, with_element};

use definition::Stored;
use heads::{CacheElement, Heads};
use panels::bf16::Bf16Products;
use panels::f32::F32Products;
use problem::Visibility;

pub use problem::AttentionTensors;

/// The most queries of a problem that are few.
const MOST_FEW_QUERIES: usize = 4;

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

/// Solves problems of the same types and shapes. Those of few queries that have the same keys and
/// values, in one place, read them once. Each has the bits that it has alone.
pub fn attention(many: &mut [AttentionTensors<'_>], attention: Attention, threads: &Threads) {
    let microkernel = match attention.allow_bf16 {
        true => ShortMicrokernel::bf16(),
        false => None,
    };
    attention_with(microkernel, many, attention, threads);
}

/// As [`attention`]; products of many queries are in bf16 if there is a loop for them.
fn attention_with(
    microkernel: Option<ShortMicrokernel<f32>>,
    many: &mut [AttentionTensors<'_>],
    attention: Attention,
    threads: &Threads,
) {
    let Some(first) = many.first() else {
        return;
    };
    match (first.out.dtype(), first.k.dtype()) {
        (DType::F32, DType::BF16) => {
            fast_or_definition::<bf16>(microkernel, many, attention, threads);
        }
        (DType::F32, DType::I8) => {
            fast_or_definition::<ScaledByte>(microkernel, many, attention, threads);
        }
        (DType::F32, _) => fast_or_definition::<f32>(microkernel, many, attention, threads),
        (other, _) => with_element!(other, T => {
            for one in many {
                let stored = [&one.k, &one.v].map(|t| t.data::<T>());
                by_definition::<T, T>(one, stored, attention);
            }
        }),
    }
}

fn by_definition<T: Element, K: Stored>(
    tensors: &mut AttentionTensors<'_>,
    stored: [&[K]; 2],
    attention: Attention,
) {
    let (shape, mask) = (tensors.shape(), tensors.mask);
    let visibility = Visibility {
        mask: mask.as_ref(),
        causal: attention.causal,
    };
    definition::compute::<T, K>(tensors, stored, &shape, &visibility, attention.scale);
}

impl AttentionTensors<'_> {
    /// The problem for the fast ways.
    fn heads<K: CacheElement>(&mut self, attention: Attention) -> Heads<'_, K> {
        let shape = self.shape();
        let [k, v] = [&self.k, &self.v].map(|t| Matrices {
            data: K::data(t),
            layout: t.layout(),
        });
        let (out, logarithms) = (self.out.layout(), self.logarithms.as_mut());
        Heads {
            q: Matrices {
                data: self.q.data(),
                layout: self.q.layout(),
            },
            k,
            v,
            visibility: Visibility {
                mask: self.mask.as_ref(),
                causal: attention.causal,
            },
            scale: attention.scale as f32,
            shape,
            out: (SharedOutput::new(self.out.data()), out),
            logarithms: logarithms.map(|t| {
                let layout = t.layout();
                (SharedOutput::new(t.data()), layout)
            }),
        }
    }
}

/// Attention in `f32`, with keys and values stored as `K`.
fn fast_or_definition<K: CacheElement>(
    microkernel: Option<ShortMicrokernel<f32>>,
    many: &mut [AttentionTensors<'_>],
    attention: Attention,
    threads: &Threads,
) {
    let in_f32 = F32Products::best();
    let is_fast = |one: &AttentionTensors<'_>| {
        let shape = one.shape();
        let takes = |t: &TensorRef<'_>| t.layout().strides.last().is_none_or(|s| K::takes(*s));
        let fits = shape.inner > 0
            && shape.width > 0
            && shape.inner.max(shape.width) <= few_queries::LONGEST
            && panels::fits::<_, K>(in_f32, &shape);
        !attention.plain && fits && takes(&one.k) && takes(&one.v)
    };
    let mut fast: SmallVec<[Heads<'_, K>; 1]> = SmallVec::new();
    for one in many {
        if is_fast(one) {
            fast.push(one.heads(attention));
        } else {
            let stored = [&one.k, &one.v].map(K::data);
            by_definition::<f32, K>(one, stored, attention);
        }
    }
    let Some(first) = fast.first() else {
        return;
    };
    if first.shape.queries <= MOST_FEW_QUERIES {
        few_queries::run(&fast, threads);
        return;
    }
    let in_bf16 = microkernel.map(Bf16Products::with);
    let in_bf16 = in_bf16.filter(|way| panels::fits::<_, K>(*way, &first.shape));
    for heads in &fast {
        match in_bf16 {
            Some(in_bf16) => panels::run(in_bf16, heads, threads),
            None => panels::run(in_f32, heads, threads),
        }
    }
}
