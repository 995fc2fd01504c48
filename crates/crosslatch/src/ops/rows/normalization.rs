//! Layer norm, root-mean-square norm and group norm.
//!
//! All become one kernel on views: rows are the last dimensions, scale and bias are broadcast to the
//! input. For a group norm, the dimension of the channels is split in two.

use crosslatch_kernels::rows::{Norm, norm};
use crosslatch_kernels::{DType, Dims, Kernel, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{optional_view, split_dim, view, view_mut};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor",
        layer_norm,
    ),
    op(
        "aten::native_layer_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
        layer_norm,
    ),
    op(
        "aten::rms_norm(Tensor input, SymInt[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
        rms_norm,
    ),
    op(
        "aten::_fused_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float? eps) -> (Tensor, Tensor)",
        rms_norm,
    ),
    op(
        "aten::group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enabled=True) -> Tensor",
        group_norm,
    ),
    op(
        "aten::native_group_norm(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, SymInt HxW, int group, float eps) -> (Tensor, Tensor, Tensor)",
        group_norm,
    ),
];

/// A norm to be lowered.
struct NormCall<'a> {
    x: &'a TensorArg,
    /// The input, viewed so that rows are its last dimensions.
    layout: Layout,
    /// Number of these dimensions.
    dims: usize,
    /// Scale and bias, viewed in a shape that broadcasts to that of `layout`.
    weight: Option<(&'a TensorArg, Layout)>,
    bias: Option<(&'a TensorArg, Layout)>,
    epsilon: f64,
    centred: bool,
}

impl NormCall<'_> {
    /// The kernel. Beside the norm it may return statistics: mean and reciprocal deviation, or the
    /// latter alone if the input is not centred.
    fn kernel(&self, plain: bool) -> Result<impl Kernel + use<>, OpError> {
        if !self.x.dtype.is_float() {
            return Err(OpError::new(format!(
                "norms are not defined for {}",
                self.x.dtype
            )));
        }
        let broadcast = |parameter: &Option<(&TensorArg, Layout)>| match parameter {
            None => Ok(None),
            Some((t, _)) if !t.dtype.is_float() => Err(OpError::new(format!(
                "`weight` and `bias` cannot be {}",
                t.dtype
            ))),
            Some((t, l)) => l
                .expand(&self.layout.shape)
                .map(|l| Some((t.index, l)))
                .ok_or_else(|| OpError::new("`weight` or `bias` does not broadcast to the input")),
        };
        let (weight, bias) = (broadcast(&self.weight)?, broadcast(&self.bias)?);
        let (x, layout, dims) = (self.x.index, self.layout.clone(), self.dims);
        let (epsilon, centred) = (self.epsilon, self.centred);
        let out = Layout::contiguous(&layout.shape);
        Ok(move |o: &mut Operands<'_, '_>| {
            let options = Norm {
                weight: optional_view(o.inputs, &weight)?,
                bias: optional_view(o.inputs, &bias)?,
                epsilon,
                centred,
                plain,
            };
            let x = view(&o.inputs[x], &layout)?;
            let mut outputs = o.outputs.iter_mut();
            let Some(to) = outputs.next() else {
                return Ok(());
            };
            let mut to = view_mut(to, &out)?;
            let mean = if centred { outputs.next() } else { None };
            norm(
                &mut to,
                [mean, outputs.next()],
                &x,
                &options,
                dims,
                o.threads,
            );
            Ok(())
        })
    }

    fn lower(self, plain: bool, statistics: &[(DType, Dims)]) -> Result<Lowering, OpError> {
        let mut results = vec![(self.x.dtype, self.x.layout.shape.clone())];
        results.extend_from_slice(statistics);
        Ok(Lowering::Compute(Compute::new(
            results,
            self.kernel(plain)?,
        )))
    }
}

/// The number of normalised dimensions, which scale and bias must have as well.
fn normalized_dims(call: &Call<'_>, x: &TensorArg) -> Result<usize, OpError> {
    let normalized = call.sizes("normalized_shape")?;
    if normalized.is_empty() || !x.shape().ends_with(&normalized) {
        return Err(OpError::new(format!(
            "`normalized_shape` {:?} is not the end of the input's shape {:?}",
            &normalized[..],
            x.shape()
        )));
    }
    for name in ["weight", "bias"] {
        if call.has(name)
            && let Some(t) = call.optional_tensor(name)?
            && t.shape() != &normalized[..]
        {
            return Err(OpError::new(format!(
                "the shape of `{name}` is not `normalized_shape`"
            )));
        }
    }
    Ok(normalized.len())
}

/// The type of statistics: PyTorch keeps those of 16-bit inputs in `f32` if weight or bias is.
pub(super) fn statistics_type(call: &Call<'_>, x: &TensorArg) -> Result<DType, OpError> {
    let mut mixed = false;
    for name in ["weight", "bias"] {
        let is_f32 = |t: &TensorArg| t.dtype == DType::F32;
        mixed |= call.has(name) && call.optional_tensor(name)?.is_some_and(is_f32);
    }
    match mixed && x.dtype.size() == 2 {
        true => Ok(DType::F32),
        false => Ok(x.dtype),
    }
}

/// The shape of statistics: one number a row, with the dimensions of rows kept as 1.
fn statistics_shape(x: &TensorArg, dims: usize) -> Dims {
    let mut shape: Dims = x.shape()[..x.rank() - dims].into();
    shape.extend(std::iter::repeat_n(1, dims));
    shape
}

fn parameter<'c>(
    call: &'c Call<'_>,
    name: &str,
) -> Result<Option<(&'c TensorArg, Layout)>, OpError> {
    Ok(call
        .optional_tensor(name)?
        .map(|t| (t, t.layout_from_start())))
}

fn layer_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let dims = normalized_dims(call, x)?;
    let norm_call = NormCall {
        x,
        layout: x.layout_from_start(),
        dims,
        weight: parameter(call, "weight")?,
        bias: parameter(call, "bias")?,
        epsilon: call.float("eps")?,
        centred: true,
    };
    let statistic = (statistics_type(call, x)?, statistics_shape(x, dims));
    match call.schema.returns.len() {
        1 => norm_call.lower(call.plain(), &[]),
        _ => norm_call.lower(call.plain(), &[statistic.clone(), statistic]),
    }
}

fn rms_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let dims = normalized_dims(call, x)?;
    // By default PyTorch uses the epsilon of the type that it computes in.
    let (compute_type, epsilon) = match x.dtype {
        DType::F64 => (DType::F64, f64::EPSILON),
        _ => (DType::F32, f32::EPSILON as f64),
    };
    let norm_call = NormCall {
        x,
        layout: x.layout_from_start(),
        dims,
        weight: parameter(call, "weight")?,
        bias: None,
        epsilon: call.optional_float("eps")?.unwrap_or(epsilon),
        centred: false,
    };
    let statistic = (compute_type, statistics_shape(x, dims));
    match call.schema.returns.len() {
        1 => norm_call.lower(call.plain(), &[]),
        _ => norm_call.lower(call.plain(), &[statistic]),
    }
}

fn group_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let name = if call.has("num_groups") {
        "num_groups"
    } else {
        "group"
    };
    grouped(call, x, usize::try_from(call.int(name)?).unwrap_or(0))
}

/// A group norm with so many groups.
pub(super) fn grouped(call: &Call<'_>, x: &TensorArg, groups: usize) -> Result<Lowering, OpError> {
    let channels = x.shape().get(1).copied().unwrap_or(0);
    if x.rank() < 2 || groups == 0 || channels % groups != 0 {
        return Err(OpError::new(format!(
            "the channels of an input of shape {:?} cannot be split into {groups} groups",
            x.shape()
        )));
    }
    let norm_call = NormCall {
        x,
        layout: split_dim(&x.layout_from_start(), 1, groups),
        dims: x.rank() - 1,
        weight: channel_parameter(call, "weight", x, groups)?,
        bias: channel_parameter(call, "bias", x, groups)?,
        epsilon: call.float("eps")?,
        centred: true,
    };
    let shape = Dims::from_slice(&[x.shape()[0], groups]);
    let statistic = (statistics_type(call, x)?, shape);
    match call.schema.returns.len() {
        1 => norm_call.lower(call.plain(), &[]),
        _ => norm_call.lower(call.plain(), &[statistic.clone(), statistic]),
    }
}

/// An argument with one number for each channel, viewed as `[groups, channels / groups, 1, …]`.
fn channel_parameter<'c>(
    call: &'c Call<'_>,
    name: &str,
    x: &TensorArg,
    groups: usize,
) -> Result<Option<(&'c TensorArg, Layout)>, OpError> {
    let Some(t) = call.optional_tensor(name)? else {
        return Ok(None);
    };
    if t.shape() != &x.shape()[1..2] {
        return Err(OpError::new(format!(
            "`{name}` does not have one element for each channel"
        )));
    }
    let mut layout = split_dim(&t.layout_from_start(), 0, groups);
    for _ in 2..x.rank() {
        layout = layout.unsqueeze(layout.rank());
    }
    Ok(Some((t, layout)))
}
