//! The largest and the smallest of many, and where they stand.
//!
//! NaN is larger and smaller than everything; of equal elements the first counts.

use crosslatch_kernels::elements::Class;
use crosslatch_kernels::elements::Compute;
use crosslatch_kernels::reduce::{Fold, find_first, reduce};
use crosslatch_kernels::{DType, TensorMut, TensorRef, Threads};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::reduce::reductions::Reduced;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        largest,
    ),
    op(
        "aten::amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
        smallest,
    ),
    op("aten::max(Tensor self) -> Tensor", largest),
    op("aten::min(Tensor self) -> Tensor", smallest),
    op(
        "aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        largest_and_place,
    ),
    op(
        "aten::min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        smallest_and_place,
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

/// Which end is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Largest,
    Smallest,
}

/// What is wanted of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Value,
    Place,
}

/// The kernel.
fn extreme(
    end: End,
    what: What,
) -> impl Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static {
    move |out, x, dims, threads| match (Class::of(x.dtype()), end) {
        (Class::F32, End::Largest) => find(out, x, dims, threads, what, larger::<f32>),
        (Class::F32, End::Smallest) => find(out, x, dims, threads, what, smaller::<f32>),
        (Class::F64, End::Largest) => find(out, x, dims, threads, what, larger::<f64>),
        (Class::F64, End::Smallest) => find(out, x, dims, threads, what, smaller::<f64>),
        (Class::I64, End::Largest) => find(out, x, dims, threads, what, larger::<i64>),
        (Class::I64, End::Smallest) => find(out, x, dims, threads, what, smaller::<i64>),
    }
}

fn find<C: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    what: What,
    better: impl Fn(C, C) -> C + Sync,
) {
    let fold = Fold {
        begin: |first: C| first,
        step: &better,
        join: &better,
    };
    let through = x.dtype();
    match what {
        What::Value => reduce(out, x, dims, through, threads, &fold, |best: C, _| best),
        // Found in a second pass, because the first is many times faster without the places.
        What::Place => reduce(out, x, dims, through, threads, &fold, |best: C, from| {
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

fn value(call: &Call<'_>, end: End) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    Ok(Reduced::of(call, x)?
        .not_empty()?
        .lower(x.dtype, extreme(end, What::Value)))
}

fn largest(call: &Call<'_>) -> Result<Lowering, OpError> {
    value(call, End::Largest)
}

fn smallest(call: &Call<'_>) -> Result<Lowering, OpError> {
    value(call, End::Smallest)
}

fn place(call: &Call<'_>, end: End) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    Ok(Reduced::of(call, x)?
        .not_empty()?
        .lower(DType::I64, extreme(end, What::Place)))
}

fn argmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    place(call, End::Largest)
}

fn argmin(call: &Call<'_>) -> Result<Lowering, OpError> {
    place(call, End::Smallest)
}

fn value_and_place(call: &Call<'_>, end: End) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduced = Reduced::of(call, x)?.not_empty()?;
    let (values, places) = (extreme(end, What::Value), extreme(end, What::Place));
    Ok(reduced.lower_two((x.dtype, values), (DType::I64, places)))
}

fn largest_and_place(call: &Call<'_>) -> Result<Lowering, OpError> {
    value_and_place(call, End::Largest)
}

fn smallest_and_place(call: &Call<'_>) -> Result<Lowering, OpError> {
    value_and_place(call, End::Smallest)
}

/// Both ends.
fn aminmax(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let reduced = Reduced::of(call, x)?.not_empty()?;
    let [low, high] = [End::Smallest, End::Largest].map(|end| extreme(end, What::Value));
    Ok(reduced.lower_two((x.dtype, low), (x.dtype, high)))
}
