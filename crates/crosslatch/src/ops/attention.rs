//! Scaled dot-product attention.
//!
//! Batch dimensions are broadcast by strides. So are grouped heads, where several heads of queries
//! share one head of keys and values: the heads of queries become two dimensions, and keys and values
//! are broadcast along the second. Nothing is copied.
//!
//! Sessions that take the same step solve their problems together, so that those that share keys and
//! values read them once.

use crosslatch_kernels::attention::{Attention, AttentionTensors, attention};
use crosslatch_kernels::kernel::Kernel;
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::tensor::scaled_rows::SCALE_BYTES;
use crosslatch_kernels::{DType, Dims, KernelError, Layout, Operands, Storage};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, KernelSet, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{split_dim, view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
        lower,
    ),
    op(
        "aten::_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, float dropout_p=0.0, bool is_causal=False, *, Tensor? attn_mask=None, float? scale=None) -> (Tensor output, Tensor logsumexp)",
        lower,
    ),
];

fn lower(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [q, k, v] = [
        call.tensor("query")?,
        call.tensor("key")?,
        call.tensor("value")?,
    ];
    let mask = call.optional_tensor("attn_mask")?;
    let causal = call.bool("is_causal")?;
    if call.float("dropout_p")? != 0.0 {
        return Err(OpError::unsupported(
            "attention with dropout is not supported",
        ));
    }
    if causal && mask.is_some() {
        return Err(OpError::new("attention is causal and has a mask as well"));
    }
    let bad = || {
        OpError::new(format!(
            "query {}{:?}, key {}{:?}, value {}{:?} and mask {:?} do not fit together",
            q.dtype,
            q.shape(),
            k.dtype,
            k.shape(),
            v.dtype,
            v.shape(),
            mask.map(|m| m.shape())
        ))
    };
    // Keys and values may be stored in bf16 or as scaled rows (`passes::caches`).
    let stored_as = |dtype| q.dtype == DType::F32 && [k, v].iter().all(|t| t.dtype == dtype);
    let (is_bf16, is_scaled) = (stored_as(DType::BF16), stored_as(DType::I8));
    let extra = if is_scaled { SCALE_BYTES } else { 0 };
    let is_unfit = |t: &TensorArg| t.rank() < 2 || !(t.dtype.is_float() || is_scaled);
    let types_differ = [k, v].iter().any(|t| t.dtype != q.dtype) && !is_bf16 && !is_scaled;
    let is_unfit_mask = |m: &TensorArg| m.dtype != DType::Bool && !m.dtype.is_float();
    if types_differ || [q, k, v].into_iter().any(is_unfit) || mask.is_some_and(is_unfit_mask) {
        return Err(bad());
    }
    let size = |t: &TensorArg, from_end: usize| t.shape()[t.rank() - from_end];
    let (queries, inner, keys) = (size(q, 2), size(q, 1), size(k, 2));
    let Some(width) = size(v, 1).checked_sub(extra) else {
        return Err(bad());
    };
    if size(k, 1).checked_sub(extra) != Some(inner) || size(v, 2) != keys {
        return Err(bad());
    }
    let [mut lq, mut lk, mut lv] = [q, k, v].map(TensorArg::layout_from_start);
    let mut lm = mask.map(TensorArg::layout_from_start);
    let mut groups = None;
    if call.has("enable_gqa") && call.bool("enable_gqa")? {
        if [q, k, v].iter().any(|t| t.rank() < 3) {
            return Err(bad());
        }
        let heads = size(q, 3);
        let own = size(k, 3).max(size(v, 3));
        let fits =
            own > 0 && heads % own == 0 && [k, v].iter().all(|t| [1, own].contains(&size(t, 3)));
        if !fits {
            return Err(bad());
        }
        lq = split_dim(&lq, lq.rank() - 3, own);
        lk = lk.unsqueeze(lk.rank() - 2);
        lv = lv.unsqueeze(lv.rank() - 2);
        // The mask is one for all heads, or one for each.
        lm = lm.map(|l| match l.rank().checked_sub(3) {
            Some(d) if l.shape[d] == heads => split_dim(&l, d, own),
            Some(d) => l.unsqueeze(d),
            None => l,
        });
        groups = Some(own);
    }
    let batch_of = |l: &Layout| Dims::from_slice(&l.shape[..l.rank() - 2]);
    let batch =
        broadcast_shapes(&[&batch_of(&lq), &batch_of(&lk), &batch_of(&lv)]).ok_or_else(bad)?;
    let with = |tail: &[usize]| batch.iter().chain(tail).copied().collect::<Dims>();
    let lq = lq.expand(&with(&[queries, inner])).ok_or_else(bad)?;
    let lk = lk.expand(&with(&[keys, size(k, 1)])).ok_or_else(bad)?;
    let lv = lv.expand(&with(&[keys, size(v, 1)])).ok_or_else(bad)?;
    let lm = match lm {
        None => None,
        Some(l) => Some(l.expand(&with(&[queries, keys])).ok_or_else(bad)?),
    };
    let pairs: usize = with(&[queries, keys]).iter().product();
    let flops = 2 * pairs as u64 * (inner + width) as u64;
    let lo = Layout::contiguous(&checked_shape(with(&[queries, width]))?);
    let ll = Layout::contiguous(&checked_shape(with(&[queries]))?);
    // The program's result has the heads in one dimension.
    let mut shape = lo.shape.clone();
    if groups.is_some() {
        let d = shape.len() - 4;
        let inner = shape.remove(d + 1);
        shape[d] *= inner;
    }
    let mut results = vec![(q.dtype, shape.clone())];
    if call.schema.returns.len() == 2 {
        shape.pop();
        let logsumexp = if q.dtype == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        results.push((logsumexp, shape));
    }
    let options = Attention {
        scale: call
            .optional_float("scale")?
            .unwrap_or(1.0 / (inner as f64).sqrt()),
        causal,
        plain: call.plain(),
        allow_bf16: call.kernels == KernelSet::LowPrecision,
    };
    let kernel = AttentionKernel {
        operands: [q, k, v].map(|t| t.index),
        mask: mask.map(|m| m.index).zip(lm),
        layouts: [lq, lk, lv],
        result: lo,
        logarithms: ll,
        is_grouped: groups.is_some(),
        options,
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)).with_flops(flops))
}

/// Attention with operands of known layouts.
struct AttentionKernel {
    /// Indices of queries, keys and values.
    operands: [usize; 3],
    layouts: [Layout; 3],
    /// Index and layout of the mask.
    mask: Option<(usize, Layout)>,
    result: Layout,
    logarithms: Layout,
    /// Whether the heads of queries are two dimensions here and one in the program.
    is_grouped: bool,
    options: Attention,
}

impl AttentionKernel {
    fn tensors<'o>(
        &'o self,
        o: &'o mut Operands<'_, '_>,
    ) -> Result<AttentionTensors<'o>, KernelError> {
        let input = |i: usize| view(&o.inputs[self.operands[i]], &self.layouts[i]);
        let [q, k, v] = [input(0)?, input(1)?, input(2)?];
        let mask = self.mask.as_ref();
        let mask = mask.map(|(i, layout)| view(&o.inputs[*i], layout));
        let [out, logarithms @ ..] = &mut *o.outputs else {
            return Err(KernelError::Assertion("attention has no result".into()));
        };
        // The plan may have chosen another layout: heads after positions, for example.
        let layout = match self.is_grouped {
            false => out.layout(),
            true => &self.result,
        };
        let logarithms = logarithms.first_mut();
        Ok(AttentionTensors {
            out: view_mut(out, layout)?,
            logarithms: logarithms
                .map(|t| view_mut(t, &self.logarithms))
                .transpose()?,
            q,
            k,
            v,
            mask: mask.transpose()?,
        })
    }
}

impl Kernel for AttentionKernel {
    fn accepts(&self, layout: &Layout) -> bool {
        !self.is_grouped && layout.shape == self.result.shape
    }

    fn run(&self, operands: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let threads = operands.threads;
        let mut tensors = self.tensors(operands)?;
        attention(std::slice::from_mut(&mut tensors), self.options, threads);
        Ok(())
    }

    fn run_batched(
        &self,
        many: &mut [Operands<'_, '_>],
        _memory: &mut Storage,
    ) -> Result<(), KernelError> {
        let Some(threads) = many.first().map(|operands| operands.threads) else {
            return Ok(());
        };
        let tensors = many.iter_mut().map(|operands| self.tensors(operands));
        let mut tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        attention(&mut tensors, self.options, threads);
        Ok(())
    }
}
