//! Layers that are not matrix products: convolution, embedding, norms, softmax, attention.

use crosslatch_kernels::attention::{Attention, attention};
use crosslatch_kernels::convolution::Conv1d;
use crosslatch_kernels::embedding::embedding as embed;
use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::layout::broadcast_shapes;
use crosslatch_kernels::normalization::{Norm, norm, softmax as softmax_kernel};
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use super::Table;
use super::matrices::{from_start, internal};
use crate::ir::operator::{Call, Compute, Lowering, OpError, TensorArg};

pub(super) const OPERATORS: Table = &[
    (
        "aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
        embedding,
    ),
    (
        "aten::conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] dilation=1, SymInt groups=1) -> Tensor",
        conv1d,
    ),
    (
        "aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor",
        layer_norm,
    ),
    (
        "aten::native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
        layer_norm,
    ),
    (
        "aten::rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
        rms_norm,
    ),
    (
        "aten::softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        softmax,
    ),
    (
        "aten::_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        softmax,
    ),
    (
        "aten::log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        softmax,
    ),
    (
        "aten::_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor",
        softmax,
    ),
    (
        "aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
        scaled_dot_product_attention,
    ),
    (
        "aten::dropout(Tensor(a) input, float p, bool train) -> Tensor(a)",
        dropout,
    ),
];

fn embedding(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    if table.rank() != 2 || indices.dtype.is_float() {
        return Err(OpError::new(
            "`weight` must be a matrix and `indices` integers",
        ));
    }
    let mut shape = indices.layout.shape.clone();
    shape.push(table.shape()[1]);
    let (table_index, indices_index) = (table.index, indices.index);
    Ok(Lowering::compute(
        table.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (table, indices) = (&o.inputs[table_index], &o.inputs[indices_index]);
            embed(&mut o.outputs[0], table, indices, o.threads)
        },
    ))
}

fn conv1d(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    let one = |name: &str| -> Result<usize, OpError> {
        call.sizes(name)?
            .first()
            .copied()
            .ok_or_else(|| OpError::new(format!("`{name}` is empty")))
    };
    let conv = Conv1d {
        stride: one("stride")?,
        padding: one("padding")?,
        dilation: one("dilation")?,
        groups: usize::try_from(call.int("groups")?).unwrap_or(0),
    };
    let batched = x.rank() == 3;
    let (xl, wl) = (from_start(x), from_start(w));
    let xl = if batched {
        xl
    } else if x.rank() == 2 {
        xl.unsqueeze(0)
    } else {
        return Err(OpError::new("`input` must have 2 or 3 dimensions"));
    };
    let fits = w.rank() == 3
        && conv.groups > 0
        && conv.stride > 0
        && conv.dilation > 0
        && w.shape()[2] > 0
        && w.shape()[0] % conv.groups == 0
        && w.shape()[1].checked_mul(conv.groups) == Some(xl.shape[1])
        && x.dtype == w.dtype
        && bias.is_none_or(|b| b.shape() == &w.shape()[..1] && b.dtype == x.dtype);
    if !fits {
        return Err(OpError::new(format!(
            "an input of shape {:?}, a weight of shape {:?} and these strides and groups do not fit",
            x.shape(),
            w.shape()
        )));
    }
    let too_large = || OpError::new("the sizes overflow");
    let reach = (w.shape()[2] - 1)
        .checked_mul(conv.dilation)
        .ok_or_else(too_large)?;
    let padded = conv
        .padding
        .checked_mul(2)
        .and_then(|p| p.checked_add(xl.shape[2]))
        .ok_or_else(too_large)?;
    let outputs = padded
        .checked_sub(reach + 1)
        .ok_or_else(|| OpError::new("the kernel is longer than the padded input"))?
        / conv.stride
        + 1;
    let full = [xl.shape[0], w.shape()[0], outputs];
    let shape = if batched { &full[..] } else { &full[1..] };
    let scratch = conv
        .scratch_bytes(w.shape(), outputs)
        .ok_or_else(too_large)?;
    let (ix, iw, ib, plain) = (x.index, w.index, bias.map(|b| b.index), call.plain());
    let out = Layout::contiguous(&full);
    Ok(Lowering::compute(
        x.dtype,
        shape,
        WithScratch {
            bytes: scratch,
            run: move |o: &mut Operands<'_, '_>| {
                let x = o.inputs[ix].with_layout(&xl).map_err(internal)?;
                let w = o.inputs[iw].with_layout(&wl).map_err(internal)?;
                let bias = ib.map(|i| &o.inputs[i]);
                let mut out = o.outputs[0].with_layout(&out).map_err(internal)?;
                conv.run(&mut out, &x, (&w, bias), o.scratch, plain, o.threads);
                Ok(())
            },
        },
    ))
}

/// Dropout, which does nothing outside of training.
fn dropout(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    match call.bool("train")? && call.float("p")? != 0.0 {
        false => Ok(Lowering::view(x, x.layout.clone())),
        true => Err(OpError::new(
            "the program was exported for training; call .eval() before",
        )),
    }
}

/// Rows that are normalised: their length, and a check of the parameters.
fn row_length(call: &Call<'_>, x: &TensorArg) -> Result<usize, OpError> {
    let normalized = call.sizes("normalized_shape")?;
    if normalized.is_empty() || !x.shape().ends_with(&normalized) {
        return Err(OpError::new(
            "`normalized_shape` is not the end of the input's shape",
        ));
    }
    for name in ["weight", "bias"] {
        if call.has(name)
            && let Some(t) = call.optional_tensor(name)?
            && t.shape() != &normalized[..]
        {
            return Err(OpError::new(format!(
                "`{name}` does not have the normalised shape"
            )));
        }
    }
    Ok(normalized.iter().product())
}

fn layer_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let row = row_length(call, x)?;
    let index = |name: &str| Ok::<_, OpError>(call.optional_tensor(name)?.map(|t| t.index));
    let (weight, bias, epsilon) = (index("weight")?, index("bias")?, call.float("eps")?);
    let statistics = call.schema.returns.len() == 3;
    let normalized = call.sizes("normalized_shape")?.len();
    let mut results = vec![(x.dtype, x.layout.shape.clone())];
    if statistics {
        let mut shape: Dims = x.shape()[..x.rank() - normalized].into();
        shape.extend(std::iter::repeat_n(1, normalized));
        // Statistics of 16-bit inputs are kept in f32.
        let dtype = if x.dtype == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        results.extend([(dtype, shape.clone()), (dtype, shape)]);
    }
    let x_index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (out, rest) = match o.outputs.split_first_mut() {
            Some(split) => split,
            None => return Ok(()),
        };
        let what = Norm {
            weight: weight.map(|i| &o.inputs[i]),
            bias: bias.map(|i| &o.inputs[i]),
            epsilon,
            centred: true,
        };
        let mut statistics: smallvec::SmallVec<[_; 2]> = rest.iter_mut().collect();
        norm(
            out,
            &o.inputs[x_index],
            what,
            row,
            &mut statistics,
            o.threads,
        );
        Ok(())
    };
    needs_rows(x, row)?;
    Ok(Lowering::Compute(Compute {
        results,
        kernel: Box::new(kernel),
    }))
}

/// The norms walk rows by one stride; other layouts must be copied first, which exporters do.
fn needs_rows(x: &TensorArg, row: usize) -> Result<(), OpError> {
    let rows = x.layout.numel() / row.max(1);
    match x.layout.reshape(&[rows, row]) {
        Some(_) => Ok(()),
        None => Err(OpError::new(
            "a norm over dimensions that do not lie together is not supported",
        )),
    }
}

fn rms_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let row = row_length(call, x)?;
    let weight = call.optional_tensor("weight")?.map(|t| t.index);
    let smallest = match x.dtype {
        DType::F64 => f64::EPSILON,
        _ => f32::EPSILON as f64,
    };
    let epsilon = call.optional_float("eps")?.unwrap_or(smallest);
    let x_index = x.index;
    needs_rows(x, row)?;
    Ok(Lowering::compute(
        x.dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let what = Norm {
                weight: weight.map(|i| &o.inputs[i]),
                bias: None,
                epsilon,
                centred: false,
            };
            norm(
                &mut o.outputs[0],
                &o.inputs[x_index],
                what,
                row,
                &mut [],
                o.threads,
            );
            Ok(())
        },
    ))
}

fn softmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?.unwrap_or(x.dtype),
        false if call.bool("half_to_float")? => DType::F32,
        false => x.dtype,
    };
    if !dtype.is_float() {
        return Err(OpError::new("softmax is defined for floats"));
    }
    // A tensor without dimensions is a row of one.
    let layout = match x.rank() {
        0 => from_start(x).unsqueeze(0),
        _ => from_start(x),
    };
    let out = Layout::contiguous(&layout.shape);
    let log = call.schema.name.contains("log");
    let (index, plain) = (x.index, call.plain());
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let x = o.inputs[index].with_layout(&layout).map_err(internal)?;
            let mut to = o.outputs[0].with_layout(&out).map_err(internal)?;
            softmax_kernel(&mut to, &x, dim, log, plain, o.threads);
            Ok(())
        },
    ))
}

fn scaled_dot_product_attention(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (q, k, v) = (
        call.tensor("query")?,
        call.tensor("key")?,
        call.tensor("value")?,
    );
    let mask = call.optional_tensor("attn_mask")?;
    if call.float("dropout_p")? != 0.0 {
        return Err(OpError::new("attention with dropout is not supported"));
    }
    let bad = || {
        OpError::new(format!(
            "query {:?}, key {:?} and value {:?} do not fit",
            q.shape(),
            k.shape(),
            v.shape()
        ))
    };
    if [q, k, v]
        .iter()
        .any(|t| t.rank() < 2 || t.dtype != q.dtype || !t.dtype.is_float())
    {
        return Err(bad());
    }
    let [rq, rk, rv] = [q, k, v].map(|t| t.rank());
    let (t, e) = (q.shape()[rq - 2], q.shape()[rq - 1]);
    let (s, d) = (k.shape()[rk - 2], v.shape()[rv - 1]);
    if k.shape()[rk - 1] != e || v.shape()[rv - 2] != s {
        return Err(bad());
    }
    // Four dimensions: batch, heads, positions, width.
    let four = |x: &TensorArg| {
        let mut layout = from_start(x);
        while layout.rank() < 4 {
            layout = layout.unsqueeze(0);
        }
        match layout.rank() {
            4 => Some(layout),
            rank => {
                let mut shape: Dims = smallvec::smallvec![1];
                shape[0] = layout.shape[..rank - 3].iter().product();
                shape.extend_from_slice(&layout.shape[rank - 3..]);
                layout.reshape(&shape)
            }
        }
    };
    let (lq, mut lk, mut lv) = (
        four(q).ok_or_else(bad)?,
        four(k).ok_or_else(bad)?,
        four(v).ok_or_else(bad)?,
    );
    if call.bool("enable_gqa")? {
        lk = group_heads(&lk, lq.shape[1]).ok_or_else(bad)?;
        lv = group_heads(&lv, lq.shape[1]).ok_or_else(bad)?;
    }
    let batch =
        broadcast_shapes(&[&lq.shape[..2], &lk.shape[..2], &lv.shape[..2]]).ok_or_else(bad)?;
    let sized = |rows, columns| [batch[0], batch[1], rows, columns];
    let lq = lq.expand(&sized(t, e)).ok_or_else(bad)?;
    let lk = lk.expand(&sized(s, e)).ok_or_else(bad)?;
    let lv = lv.expand(&sized(s, d)).ok_or_else(bad)?;
    let lm = match mask {
        None => None,
        Some(m) => Some((
            m.index,
            four(m)
                .and_then(|l| l.expand(&sized(t, s)))
                .ok_or_else(bad)?,
        )),
    };
    let mut shape: Dims = broadcast_shapes(&[
        &q.shape()[..rq - 2],
        &if call.bool("enable_gqa")? {
            Dims::new()
        } else {
            k.shape()[..rk - 2].into()
        },
    ])
    .ok_or_else(bad)?;
    shape.extend([t, d]);
    let what = Attention {
        scale: call
            .optional_float("scale")?
            .unwrap_or(1.0 / (e as f64).sqrt()),
        causal: call.bool("is_causal")?,
        plain: call.plain(),
    };
    let out = Layout::contiguous(&sized(t, d));
    let (iq, ik, iv) = (q.index, k.index, v.index);
    Ok(Lowering::compute(
        q.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let q = o.inputs[iq].with_layout(&lq).map_err(internal)?;
            let k = o.inputs[ik].with_layout(&lk).map_err(internal)?;
            let v = o.inputs[iv].with_layout(&lv).map_err(internal)?;
            let mask = match &lm {
                None => None,
                Some((i, l)) => Some(o.inputs[*i].with_layout(l).map_err(internal)?),
            };
            let mut out = o.outputs[0].with_layout(&out).map_err(internal)?;
            attention(&mut out, [&q, &k, &v], mask.as_ref(), what, o.threads);
            Ok(())
        },
    ))
}

/// Grouped heads: each head of keys or values serves several heads of queries in a row. Heads are
/// copied nowhere if there is one to share; other groups become a view where strides allow it.
fn group_heads(layout: &Layout, heads: usize) -> Option<Layout> {
    let own = layout.shape[1];
    if own == heads {
        return Some(layout.clone());
    }
    if own == 1 {
        let mut shape = layout.shape.clone();
        shape[1] = heads;
        return layout.expand(&shape);
    }
    None
}
