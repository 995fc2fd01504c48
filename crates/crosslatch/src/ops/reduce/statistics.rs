//! Variances, standard deviations and norms.

use crosslatch_kernels::elements::Class;
use crosslatch_kernels::elements::Compute;
use crosslatch_kernels::reduce::{Fold, reduce};
use crosslatch_kernels::{DType, TensorMut, TensorRef, Threads};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::reduce::reductions::{Reduced, float_sum};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::var(Tensor self, bool unbiased=True) -> Tensor",
        variance,
    ),
    op(
        "aten::var.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
        variance,
    ),
    op(
        "aten::var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
        variance,
    ),
    op(
        "aten::std(Tensor self, bool unbiased=True) -> Tensor",
        deviation,
    ),
    op(
        "aten::std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
        deviation,
    ),
    op(
        "aten::std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
        deviation,
    ),
    op(
        "aten::var_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)",
        variance_and_mean,
    ),
    op(
        "aten::var_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
        variance_and_mean,
    ),
    op(
        "aten::var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, Tensor)",
        variance_and_mean,
    ),
    op(
        "aten::std_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)",
        deviation_and_mean,
    ),
    op(
        "aten::std_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
        deviation_and_mean,
    ),
    op(
        "aten::std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, Tensor)",
        deviation_and_mean,
    ),
    op("aten::norm.Scalar(Tensor self, Scalar p=2) -> Tensor", norm),
    op(
        "aten::norm.ScalarOpt_dim(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor",
        norm,
    ),
    op(
        "aten::norm.ScalarOpt_dim_dtype(Tensor self, Scalar? p, int[1] dim, bool keepdim, *, ScalarType dtype) -> Tensor",
        norm,
    ),
    op(
        "aten::norm.ScalarOpt_dtype(Tensor self, Scalar? p, *, ScalarType dtype) -> Tensor",
        norm,
    ),
    op(
        "aten::linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        norm,
    ),
];

/// Sums of the elements of a run, and of their squares, relative to the first one: thus no digits
/// are lost where the mean is large.
#[derive(Clone, Copy)]
struct Moments {
    first: f64,
    sum: f64,
    squares: f64,
}

fn moments(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    finish: impl Fn(Moments) -> f64 + Sync,
) {
    macro_rules! run {
        ($C:ty) => {{
            let fold = Fold {
                begin: |first: $C| Moments {
                    first: f64::load(first),
                    sum: 0.0,
                    squares: 0.0,
                },
                step: |m: Moments, x: $C| {
                    let difference = f64::load(x) - m.first;
                    Moments {
                        first: m.first,
                        sum: m.sum + difference,
                        squares: m.squares + difference * difference,
                    }
                },
                join: |a: Moments, b: Moments| Moments {
                    first: a.first,
                    sum: a.sum + b.sum,
                    squares: a.squares + b.squares,
                },
            };
            reduce(out, x, dims, x.dtype(), threads, &fold, |m: Moments, _| {
                finish(m)
            });
        }};
    }
    match Class::of(x.dtype()) {
        Class::F64 => run!(f64),
        _ => run!(f32),
    }
}

/// What a spread is divided by: the number of elements less the correction.
fn correction(call: &Call<'_>) -> Result<f64, OpError> {
    if call.has("correction") {
        return Ok(call.optional_float("correction")?.unwrap_or(1.0));
    }
    Ok(if call.bool("unbiased")? { 1.0 } else { 0.0 })
}

fn float_operand<'c>(call: &'c Call<'_>) -> Result<&'c TensorArg, OpError> {
    let x = call.tensor("self")?;
    match x.dtype.is_float() {
        true => Ok(x),
        false => Err(OpError::new("a variance is defined for floats")),
    }
}

/// The kernel of the variance, or of its square root.
fn spread(
    count: usize,
    correction: f64,
    root: bool,
) -> impl Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static {
    let count = count as f64;
    let divisor = (count - correction).max(0.0);
    move |out, x, dims, threads| {
        moments(out, x, dims, threads, |m| {
            let squares = match m.squares == f64::INFINITY && m.sum.is_finite() {
                // Too large for the type, though what is left of it might not be.
                true => f64::INFINITY,
                false => m.squares - m.sum * m.sum / count,
            };
            // Rounding may leave less than nothing; NaN stays.
            let variance = if squares < 0.0 { 0.0 } else { squares } / divisor;
            if root { variance.sqrt() } else { variance }
        });
    }
}

fn spread_alone(call: &Call<'_>, root: bool) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let reduced = Reduced::of(call, x)?;
    let kernel = spread(reduced.count, correction(call)?, root);
    Ok(reduced.lower(x.dtype, kernel))
}

fn variance(call: &Call<'_>) -> Result<Lowering, OpError> {
    spread_alone(call, false)
}

fn deviation(call: &Call<'_>) -> Result<Lowering, OpError> {
    spread_alone(call, true)
}

fn spread_and_mean(call: &Call<'_>, root: bool) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let (reduced, ty) = (Reduced::of(call, x)?, x.dtype);
    let (count, n) = (reduced.count, reduced.count as f64);
    let mean =
        move |out: &mut TensorMut<'_>, x: &TensorRef<'_>, dims: &[usize], threads: &Threads| {
            moments(out, x, dims, threads, |m| m.first + m.sum / n);
        };
    Ok(reduced.lower_two((ty, spread(count, correction(call)?, root)), (ty, mean)))
}

fn variance_and_mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    spread_and_mean(call, false)
}

fn deviation_and_mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    spread_and_mean(call, true)
}

/// Norms of vectors: of order 2 unless another one is given.
fn norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let name = if call.has("ord") { "ord" } else { "p" };
    let order = call
        .optional_number(name)?
        .unwrap_or(Number::Int(2))
        .to_f64();
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?,
        false => None,
    };
    let ty = dtype.unwrap_or(x.dtype);
    if !ty.is_float() || !x.dtype.is_float() {
        return Err(OpError::new("a norm is defined for floats"));
    }
    let mut reduced = Reduced::of(call, x)?;
    if order.is_infinite() {
        reduced = reduced.not_empty()?;
    }
    Ok(reduced.lower(ty, move |out, x, dims, threads| match order {
        0.0 => float_sum(
            out,
            x,
            dims,
            ty,
            threads,
            |x| (x != 0.0) as u8 as f64,
            |n| n,
        ),
        1.0 => float_sum(out, x, dims, ty, threads, f64::abs, |sum| sum),
        2.0 => float_sum(out, x, dims, ty, threads, |x| x * x, f64::sqrt),
        f64::INFINITY => largest_size(out, x, dims, ty, threads, 1.0),
        f64::NEG_INFINITY => largest_size(out, x, dims, ty, threads, -1.0),
        p => float_sum(
            out,
            x,
            dims,
            ty,
            threads,
            |x| x.abs().powf(p),
            |sum| sum.powf(1.0 / p),
        ),
    }))
}

/// The largest absolute value, or with `sign` -1 the smallest one.
fn largest_size(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    through: DType,
    threads: &Threads,
    sign: f64,
) {
    let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
    let fold = Fold {
        begin: |_: f64| f64::NEG_INFINITY,
        step: |best, x: f64| larger(best, x.abs() * sign),
        join: larger,
    };
    reduce(out, x, dims, through, threads, &fold, |best: f64, _| {
        best * sign
    });
}
