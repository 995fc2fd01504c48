//! Scaled dot-product attention, one query at a time.
//!
//! `out = softmax(q k^T * scale + mask) v`. For one query the scores of all keys are one row; it
//! is made, normalised and used without anything larger ever being in memory. Queries are shared
//! among the threads. Keys and values are read with the strides of the caches that they lie in.
//! A row whose keys are all masked gives NaN with a float mask and 0 with a truth mask, as
//! PyTorch's CPU operator does.

use std::cell::RefCell;

use crate::slabs::for_each_slab;
use crate::{Bool, DType, Element, Layout, TensorMut, TensorRef, Threads, vector, with_element};

/// What attention is asked to do beside its operands.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Factor of the scores.
    pub scale: f64,
    /// Whether query `i` sees keys up to `i` only.
    pub causal: bool,
    /// Plain loops in double precision.
    pub plain: bool,
}

thread_local! {
    // Scores of one query; grows to the longest row once per thread.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `out[b, h, t, d]` from `q[b, h, t, e]`, `k[b, h, s, e]`, `v[b, h, s, d]` and a mask that is
/// expanded to `[b, h, t, s]`; grouped heads and broadcasting have been expanded by strides.
pub fn attention(
    out: &mut TensorMut<'_>,
    [q, k, v]: [&TensorRef<'_>; 3],
    mask: Option<&TensorRef<'_>>,
    attention: Attention,
    threads: &Threads,
) {
    let flops = k.shape()[2] * (q.shape()[3] + v.shape()[3]);
    let d = v.shape()[3].max(1);
    let grain = (16 * 1024 * d / flops.max(1)).max(d);
    let result = for_each_slab(out, threads, grain, &|part, out| {
        let (lq, lm) = (
            part_of(&part, q.layout()),
            mask.map(|m| part_of(&part, m.layout())),
        );
        let (lk, lv) = (keys_of(&part, k.layout()), keys_of(&part, v.layout()));
        let first_query = part.start(2);
        let is_fast = out.dtype() == DType::F32
            && !attention.plain
            && lq.strides[3] == 1
            && lk.strides[3] == 1
            && lv.strides[3] == 1
            && out.layout().strides[3] == 1;
        let rows = Rows {
            layouts: [&lq, &lk, &lv],
            mask: mask.zip(lm.as_ref()),
            first_query,
            attention,
        };
        if is_fast {
            rows.fast(out, [q.data(), k.data(), v.data()]);
        } else {
            with_element!(out.dtype(), T => rows.plain::<T>(out, [q.data(), k.data(), v.data()]));
        }
        Ok(())
    });
    debug_assert!(result.is_ok());
}

use crate::slabs::Part;

/// The part of queries or masks that belongs to a part of the output.
fn part_of(part: &Part, layout: &Layout) -> Layout {
    match part {
        // The last dimension of the output is not a dimension of theirs.
        Part::Along { dim: 3, .. } => layout.clone(),
        _ => part.of(layout),
    }
}

/// The part of keys or values: only batch and head cut them.
fn keys_of(part: &Part, layout: &Layout) -> Layout {
    match part {
        Part::Along { dim: 0 | 1, .. } => part.of(layout),
        _ => layout.clone(),
    }
}

struct Rows<'a> {
    layouts: [&'a Layout; 3],
    mask: Option<(&'a TensorRef<'a>, &'a Layout)>,
    first_query: usize,
    attention: Attention,
}

impl Rows<'_> {
    /// What is added to a score; `None` where the key is not seen.
    fn bias(&self, at: [usize; 3], key: usize) -> Option<f64> {
        if self.attention.causal && key > self.first_query + at[2] {
            return None;
        }
        let Some((mask, layout)) = self.mask else {
            return Some(0.0);
        };
        let s = &layout.strides;
        let position = layout.offset + at[0] * s[0] + at[1] * s[1] + at[2] * s[2] + key * s[3];
        if mask.dtype() == DType::Bool {
            return mask.data::<Bool>()[position].get().then_some(0.0);
        }
        Some(with_element!(mask.dtype(), M => mask.data::<M>()[position].to_f64()))
    }

    fn offset(layout: &Layout, at: [usize; 3]) -> usize {
        layout.offset + (0..3).map(|d| at[d] * layout.strides[d]).sum::<usize>()
    }

    fn each_query(&self, layout: &Layout, mut visit: impl FnMut([usize; 3])) {
        for b in 0..layout.shape[0] {
            for h in 0..layout.shape[1] {
                for t in 0..layout.shape[2] {
                    visit([b, h, t]);
                }
            }
        }
    }

    fn fast(&self, out: &mut TensorMut<'_>, [q, k, v]: [&[f32]; 3]) {
        let lo = out.layout().clone();
        let [lq, lk, lv] = self.layouts;
        let (e, d, keys) = (lq.shape[3], lv.shape[3], lk.shape[2]);
        let out = out.data::<f32>();
        let plain_mask = self.mask.is_none() && !self.attention.causal;
        SCORES.with_borrow_mut(|scores| {
            scores.resize(keys, 0.0);
            self.each_query(&lo, |at| {
                let query = &q[Self::offset(lq, at)..][..e];
                let head = Self::offset(lk, [at[0], at[1], 0]);
                for (j, score) in scores.iter_mut().enumerate() {
                    let bias = match plain_mask {
                        true => Some(0.0),
                        false => self.bias(at, j),
                    };
                    *score = match bias {
                        Some(bias) => {
                            let key = &k[head + j * lk.strides[2]..][..e];
                            vector::dot(query, key) * self.attention.scale as f32 + bias as f32
                        }
                        None => f32::NEG_INFINITY,
                    };
                }
                let target = &mut out[Self::offset(&lo, at)..][..d];
                target.fill(0.0);
                let shift = vector::max(scores);
                if shift == f32::NEG_INFINITY && !plain_mask && self.hides_by_truth() {
                    return;
                }
                let sum = vector::exp_and_sum(scores, shift);
                let head = Self::offset(lv, [at[0], at[1], 0]);
                for (j, weight) in scores.iter().enumerate() {
                    if *weight != 0.0 {
                        let value = &v[head + j * lv.strides[2]..][..d];
                        vector::add_scaled(target, value, *weight);
                    }
                }
                vector::scale(target, 1.0 / sum);
            });
        });
    }

    /// Whether keys are hidden by truth values or causality, not by adding minus infinity.
    fn hides_by_truth(&self) -> bool {
        self.mask.is_none_or(|(m, _)| m.dtype() == DType::Bool)
    }

    fn plain<T: Element>(&self, out: &mut TensorMut<'_>, [q, k, v]: [&[T]; 3]) {
        let lo = out.layout().clone();
        let [lq, lk, lv] = self.layouts;
        let (e, d, keys) = (lq.shape[3], lv.shape[3], lk.shape[2]);
        let out = out.data::<T>();
        // Two passes over the keys instead of a row of scores: nothing is allocated.
        self.each_query(&lo, |at| {
            let score = |j: usize| -> f64 {
                let Some(bias) = self.bias(at, j) else {
                    return f64::NEG_INFINITY;
                };
                let key = Self::offset(lk, [at[0], at[1], j]);
                let query = Self::offset(lq, at);
                let product: f64 = (0..e)
                    .map(|x| {
                        q[query + x * lq.strides[3]].to_f64() * k[key + x * lk.strides[3]].to_f64()
                    })
                    .sum();
                product * self.attention.scale + bias
            };
            let shift = (0..keys).map(score).fold(f64::NEG_INFINITY, f64::max);
            let hidden = shift == f64::NEG_INFINITY && self.hides_by_truth();
            let sum: f64 = (0..keys).map(|j| (score(j) - shift).exp()).sum();
            for x in 0..d {
                let mut total = 0.0;
                for j in 0..keys {
                    if hidden {
                        break;
                    }
                    let value = v[Self::offset(lv, [at[0], at[1], j]) + x * lv.strides[3]];
                    let weight = (score(j) - shift).exp() / sum;
                    if weight != 0.0 {
                        total += weight * value.to_f64();
                    }
                }
                out[Self::offset(&lo, at) + x * lo.strides[3]] = T::from_f64(total);
            }
        });
    }
}
