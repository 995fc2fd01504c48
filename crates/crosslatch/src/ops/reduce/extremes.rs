//! The largest and the smallest elements, and their indices.
//!
//! NaN is more extreme than everything; of equal elements the first counts.

use crosslatch_kernels::elements::{Class, Compute};
use crosslatch_kernels::reduce::{Fold, find_first, reduce};
use crosslatch_kernels::{DType, TensorMut, TensorRef, Threads};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::reduce::reduction::Reduction;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        max,
    ),
    op(
        "aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        min,
    ),
    op("aten::max(Tensor self) -> Tensor", max),
    op("aten::min(Tensor self) -> Tensor", min),
    op(
        "aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        max_dim,
    ),
    op(
        "aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        min_dim,
    ),
    op(
        "aten::aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
        aminmax,
    ),
    op(
        "aten::argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
        argmax,
    ),
    op(
        "aten::argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
        argmin,
    ),
];

/// An extreme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extreme {
    Max,
    Min,
}

/// What is returned of an extreme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Returned {
    Value,
    Index,
}

/// The kernel that finds an extreme.
fn kernel(
    extreme: Extreme,
    returned: Returned,
) -> impl Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static {
    move |out, x, dims, threads| match (Class::of(x.dtype()), extreme) {
        (Class::F32, Extreme::Max) => find(out, x, dims, threads, returned, larger::<f32>),
        (Class::F32, Extreme::Min) => find(out, x, dims, threads, returned, smaller::<f32>),
        (Class::F64, Extreme::Max) => find(out, x, dims, threads, returned, larger::<f64>),
        (Class::F64, Extreme::Min) => find(out, x, dims, threads, returned, smaller::<f64>),
        (Class::I64, Extreme::Max) => find(out, x, dims, threads, returned, larger::<i64>),
        (Class::I64, Extreme::Min) => find(out, x, dims, threads, returned, smaller::<i64>),
    }
}

fn find<C: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    returned: Returned,
    better: impl Fn(C, C) -> C + Sync,
) {
    let fold = Fold {
        begin: |first: C| first,
        step: &better,
        join: &better,
    };
    let through = x.dtype();
    match returned {
        Returned::Value => reduce(out, x, dims, through, threads, &fold, |best: C, _| best),
        // Found in a second pass: the first is many times faster without the indices.
        Returned::Index => reduce(out, x, dims, through, threads, &fold, |best: C, from| {
            find_first(x, from, dims, best) as i64
        }),
    }
}

#[inline(always)]
#[allow(clippy::eq_op)]
fn larger<C: Compute>(best: C, x: C) -> C {
    if x > best || x != x { x } else { best }
}

#[inline(always)]
#[allow(clippy::eq_op)]
fn smaller<C: Compute>(best: C, x: C) -> C {
    if x < best || x != x { x } else { best }
}

fn lower_value(call: &Call<'_>, extreme: Extreme) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    Ok(Reduction::of(call, x)?
        .not_empty()?
        .lower(x.dtype, kernel(extreme, Returned::Value)))
}

fn max(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_value(call, Extreme::Max)
}

fn min(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_value(call, Extreme::Min)
}

fn lower_index(call: &Call<'_>, extreme: Extreme) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    Ok(Reduction::of(call, x)?
        .not_empty()?
        .lower(DType::I64, kernel(extreme, Returned::Index)))
}

fn argmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_index(call, Extreme::Max)
}

fn argmin(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_index(call, Extreme::Min)
}

fn lower_value_and_index(call: &Call<'_>, extreme: Extreme) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduction = Reduction::of(call, x)?.not_empty()?;
    let (values, indices) = (
        kernel(extreme, Returned::Value),
        kernel(extreme, Returned::Index),
    );
    Ok(reduction.lower_two((x.dtype, values), (DType::I64, indices)))
}

fn max_dim(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_value_and_index(call, Extreme::Max)
}

fn min_dim(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_value_and_index(call, Extreme::Min)
}

fn aminmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduction = Reduction::of(call, x)?.not_empty()?;
    let [low, high] = [Extreme::Min, Extreme::Max].map(|e| kernel(e, Returned::Value));
    Ok(reduction.lower_two((x.dtype, low), (x.dtype, high)))
}
