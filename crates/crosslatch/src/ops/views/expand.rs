//! Views in which an element appears more than once: `expand`, `meshgrid`, `unfold`.
//!
//! Repetition costs nothing: it is a stride of zero, or a stride shorter than the window that it moves.

use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{Dims, Layout};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg, View};
use crate::ops::operands::layouts::copy_views;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)",
        expand,
    ),
    op(
        "aten::expand_copy(Tensor self, SymInt[] size, *, bool implicit=False) -> Tensor",
        |c| copy_views(c, expand(c)?),
    ),
    op(
        "aten::broadcast_to(Tensor(a) self, SymInt[] size) -> Tensor(a)",
        expand,
    ),
    op(
        "aten::expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
        |c| {
            let this = c.tensor("self")?;
            Ok(Lowering::view(
                this,
                expanded(this, c.tensor("other")?.shape())?,
            ))
        },
    ),
    op(
        "aten::broadcast_tensors(Tensor(a)[] tensors) -> Tensor(a)[]",
        broadcast_tensors,
    ),
    op(
        "aten::meshgrid(Tensor(a)[] tensors) -> Tensor(a)[]",
        meshgrid,
    ),
    op(
        "aten::meshgrid.indexing(Tensor(a)[] tensors, *, str indexing) -> Tensor(a)[]",
        meshgrid,
    ),
    op(
        "aten::unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)",
        unfold,
    ),
    op(
        "aten::unfold_copy(Tensor self, int dimension, int size, int step) -> Tensor",
        |c| copy_views(c, unfold(c)?),
    ),
];

/// `this` broadcast to `shape`.
pub(in crate::ops) fn expanded(this: &TensorArg, shape: &[usize]) -> Result<Layout, OpError> {
    this.layout.expand(shape).ok_or_else(|| {
        OpError::new(format!(
            "the shape {:?} does not expand to {shape:?}",
            this.shape()
        ))
    })
}

fn expand(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let sizes = call.ints("size")?;
    let lead = sizes.len().checked_sub(this.rank()).ok_or_else(|| {
        OpError::new(format!(
            "a tensor of rank {} does not expand to {sizes:?}",
            this.rank()
        ))
    })?;
    let shape: Dims = sizes
        .iter()
        .enumerate()
        .map(|(d, &size)| match (size, d.checked_sub(lead)) {
            (-1, Some(own)) => Ok(this.shape()[own]),
            _ => usize::try_from(size)
                .map_err(|_| OpError::new(format!("a new dimension has the size {size}"))),
        })
        .collect::<Result<_, _>>()?;
    Ok(Lowering::view(this, expanded(this, &shape)?))
}

fn broadcast_tensors(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let shapes: Vec<&[usize]> = tensors.iter().map(|t| t.shape()).collect();
    let shape = broadcast_shapes(&shapes)
        .ok_or_else(|| OpError::new(format!("shapes {shapes:?} do not broadcast")))?;
    let views = tensors
        .iter()
        .map(|t| {
            Ok(View {
                of: t.index,
                layout: expanded(t, &shape)?,
            })
        })
        .collect::<Result<_, OpError>>()?;
    Ok(Lowering::Views(views))
}

/// Tensor `i` varies along dimension `i` of the grid; "xy" exchanges the first two dimensions.
fn meshgrid(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let rank = tensors.len();
    if tensors.iter().any(|t| t.rank() > 1) {
        return Err(OpError::new("`tensors` have more than one dimension"));
    }
    let swap = call.has("indexing") && call.optional_str("indexing")? == Some("xy") && rank >= 2;
    let dim_of = |i: usize| if swap && i < 2 { 1 - i } else { i };
    let mut shape = Dims::from_elem(1, rank);
    for (i, t) in tensors.iter().enumerate() {
        shape[dim_of(i)] = t.layout.numel();
    }
    let views = tensors
        .iter()
        .enumerate()
        .map(|(i, t)| {
            let mut strides = Dims::from_elem(0, rank);
            strides[dim_of(i)] = t.layout.strides.first().copied().unwrap_or(0);
            let layout = Layout {
                shape: shape.clone(),
                strides,
                offset: t.layout.offset,
            };
            View {
                of: t.index,
                layout,
            }
        })
        .collect();
    Ok(Lowering::Views(views))
}

fn unfold(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = this.dim(call.int("dimension")?)?;
    let at_least = |name: &str, least: i64| {
        let value = call.int(name)?;
        if value < least {
            return Err(OpError::new(format!(
                "`{name}` is {value}, less than {least}"
            )));
        }
        Ok(value as usize)
    };
    let (size, step) = (at_least("size", 0)?, at_least("step", 1)?);
    let mut layout = this.layout.clone();
    let (len, stride) = match layout.rank() {
        0 => (1, 1),
        _ => (layout.shape[dim], layout.strides[dim]),
    };
    if size > len {
        return Err(OpError::new(format!(
            "a window of {size} is longer than its dimension, {len}"
        )));
    }
    if layout.rank() > 0 {
        layout.shape[dim] = (len - size) / step + 1;
        layout.strides[dim] = stride.saturating_mul(step);
    }
    layout.shape.push(size);
    layout.strides.push(stride);
    Ok(Lowering::view(this, layout))
}
