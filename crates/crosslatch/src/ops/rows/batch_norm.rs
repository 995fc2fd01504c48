//! Batch normalization: by statistics that the model keeps, or by those of the batch.
//!
//! By those of the batch it is the norm of rows, where a row is a channel with the batch. A program that
//! also changes the statistics that the model keeps is one for training, and refused.

use crosslatch_kernels::rows::{ChannelNorm, Norm, norm};
use crosslatch_kernels::{Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{optional_view, view, view_mut};
use crate::ops::rows::normalization::{grouped, statistics_type};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        by_kept_statistics,
    ),
    // It writes the statistics in training only, which is refused: here it writes nothing.
    op(
        "aten::_native_batch_norm_legit(Tensor input, Tensor? weight, Tensor? bias, Tensor running_mean, Tensor running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        lower,
    ),
    op(
        "aten::_native_batch_norm_legit.no_stats(Tensor input, Tensor? weight, Tensor? bias, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        lower,
    ),
    op(
        "aten::native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        lower,
    ),
    op(
        "aten::batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        lower,
    ),
    op(
        "aten::instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        instance_norm,
    ),
];

fn lower(call: &Call<'_>) -> Result<Lowering, OpError> {
    if !call.bool("training")? {
        return by_kept_statistics(call);
    }
    let keeps = |name| Ok::<_, OpError>(call.has(name) && call.optional_tensor(name)?.is_some());
    if keeps("running_mean")? || keeps("running_var")? {
        return Err(OpError::unsupported(
            "batch normalization that changes the statistics of the model is not supported: export the model after \
             `model.eval()`",
        ));
    }
    by_statistics_of_the_batch(call)
}

/// Each channel of each entry of the batch by itself: a group norm with a group for each channel.
fn instance_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    if !call.bool("use_input_stats")? {
        return by_kept_statistics(call);
    }
    let x = input(call)?;
    grouped(call, x, x.shape()[1])
}

/// The input, if it has channels.
fn input<'c>(call: &'c Call<'_>) -> Result<&'c TensorArg, OpError> {
    let x = call.tensor("input")?;
    match x.rank() >= 2 && x.dtype.is_float() {
        true => Ok(x),
        false => Err(OpError::new(format!(
            "batch normalization takes floats with a dimension of channels behind that of the batch, not {}{:?}",
            x.dtype,
            x.shape()
        ))),
    }
}

/// An argument with a number for each channel, repeated to the shape of the input.
fn for_channels(x: &TensorArg, name: &str, t: &TensorArg) -> Result<(usize, Layout), OpError> {
    if t.shape() != &x.shape()[1..2] || !t.dtype.is_float() {
        return Err(OpError::new(format!(
            "`{name}` is {}{:?}, not a number for each of {} channels",
            t.dtype,
            t.shape(),
            x.shape()[1]
        )));
    }
    let mut layout = t.layout_from_start();
    for _ in 2..x.rank() {
        layout = layout.unsqueeze(layout.rank());
    }
    let layout = layout.expand(x.shape());
    let layout = layout.ok_or_else(|| OpError::new("the sizes of batch normalization overflow"))?;
    Ok((t.index, layout))
}

fn optional_for_channels(
    call: &Call<'_>,
    x: &TensorArg,
    name: &str,
) -> Result<Option<(usize, Layout)>, OpError> {
    let t = call.optional_tensor(name)?;
    t.map(|t| for_channels(x, name, t)).transpose()
}

fn by_kept_statistics(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = input(call)?;
    let kept = |name| {
        let missing = || OpError::new(format!("`{name}` is needed where `training` is not set"));
        match call.has(name) {
            true => optional_for_channels(call, x, name)?.ok_or_else(missing),
            false => Err(missing()),
        }
    };
    let (mean, variance) = (kept("running_mean")?, kept("running_var")?);
    let weight = optional_for_channels(call, x, "weight")?;
    let bias = optional_for_channels(call, x, "bias")?;
    let (index, epsilon) = (x.index, call.float("eps")?);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let norm = ChannelNorm {
            mean: view(&o.inputs[mean.0], &mean.1)?,
            variance: view(&o.inputs[variance.0], &variance.1)?,
            weight: optional_view(o.inputs, &weight)?,
            bias: optional_view(o.inputs, &bias)?,
            epsilon,
        };
        norm.run(&mut o.outputs[0], &o.inputs[index], o.threads);
        Ok(())
    };
    let mut results = vec![(x.dtype, Dims::from_slice(x.shape()))];
    // PyTorch returns no statistics then.
    let statistic = (x.dtype, Dims::from_slice(&[0]));
    results.resize(call.schema.returns.len(), statistic);
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}

fn by_statistics_of_the_batch(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = input(call)?;
    if x.layout.numel() == 0 {
        return Err(OpError::new("an empty batch has no statistics"));
    }
    let with_channels_first = |layout: &Layout| layout.transpose(0, 1);
    let parameter = |name| {
        let found = optional_for_channels(call, x, name)?;
        Ok::<_, OpError>(found.map(|(i, layout)| (i, with_channels_first(&layout))))
    };
    let (weight, bias) = (parameter("weight")?, parameter("bias")?);
    let from = with_channels_first(&x.layout_from_start());
    let to = with_channels_first(&Layout::contiguous(x.shape()));
    let (index, dims, plain) = (x.index, x.rank() - 1, call.plain());
    let (epsilon, statistic) = (call.float("eps")?, statistics_type(call, x)?);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let options = Norm {
            weight: optional_view(o.inputs, &weight)?,
            bias: optional_view(o.inputs, &bias)?,
            epsilon,
            centred: true,
            plain,
        };
        let x = view(&o.inputs[index], &from)?;
        let mut outputs = o.outputs.iter_mut();
        let Some(out) = outputs.next() else {
            return Ok(());
        };
        let statistics = [outputs.next(), outputs.next()];
        norm(
            &mut view_mut(out, &to)?,
            statistics,
            &x,
            &options,
            dims,
            o.threads,
        );
        Ok(())
    };
    let mut results = vec![(x.dtype, Dims::from_slice(x.shape()))];
    let statistic = (statistic, Dims::from_slice(&x.shape()[1..2]));
    results.resize(call.schema.returns.len(), statistic);
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
