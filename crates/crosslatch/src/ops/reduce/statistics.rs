//! Variances, standard deviations and norms.

use crosslatch_kernels::elements::{Class, Compute};
use crosslatch_kernels::reduce::{Fold, reduce};
use crosslatch_kernels::{DType, TensorMut, TensorRef, Threads};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::reduce::reduction::Reduction;
use crate::ops::reduce::sums::float_sum;

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
        std_deviation,
    ),
    op(
        "aten::std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
        std_deviation,
    ),
    op(
        "aten::std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
        std_deviation,
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
        std_deviation_and_mean,
    ),
    op(
        "aten::std_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
        std_deviation_and_mean,
    ),
    op(
        "aten::std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, Tensor)",
        std_deviation_and_mean,
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

/// Sums of the differences between elements and the first one, and of their squares. Relative to an
/// element, no digits are lost where the mean is large.
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

/// The correction: what is subtracted from the number of elements in the divisor of a variance.
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
        false => Err(OpError::new(
            "variance and deviation are defined for floats only",
        )),
    }
}

/// The kernel of the variance, or of its square root, the standard deviation.
fn variance_kernel(
    count: usize,
    correction: f64,
    is_root: bool,
) -> impl Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static {
    let count = count as f64;
    let divisor = (count - correction).max(0.0);
    move |out, x, dims, threads| {
        moments(out, x, dims, threads, |m| {
            let squares = match m.squares == f64::INFINITY && m.sum.is_finite() {
                // The squares overflow, though the variance might not.
                true => f64::INFINITY,
                false => m.squares - m.sum * m.sum / count,
            };
            // Rounding may leave a negative number; NaN stays.
            let variance = if squares < 0.0 { 0.0 } else { squares } / divisor;
            if is_root { variance.sqrt() } else { variance }
        });
    }
}

fn lower_variance(call: &Call<'_>, is_root: bool) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let reduction = Reduction::of(call, x)?;
    let kernel = variance_kernel(reduction.count, correction(call)?, is_root);
    Ok(reduction.lower(x.dtype, kernel))
}

fn variance(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_variance(call, false)
}

fn std_deviation(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_variance(call, true)
}

fn lower_variance_and_mean(call: &Call<'_>, is_root: bool) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let (reduction, ty) = (Reduction::of(call, x)?, x.dtype);
    let (count, n) = (reduction.count, reduction.count as f64);
    let mean =
        move |out: &mut TensorMut<'_>, x: &TensorRef<'_>, dims: &[usize], threads: &Threads| {
            moments(out, x, dims, threads, |m| m.first + m.sum / n);
        };
    Ok(reduction.lower_two(
        (ty, variance_kernel(count, correction(call)?, is_root)),
        (ty, mean),
    ))
}

fn variance_and_mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_variance_and_mean(call, false)
}

fn std_deviation_and_mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_variance_and_mean(call, true)
}

/// Vector norms, of order 2 unless another one is given.
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
        return Err(OpError::new("norms are defined for floats only"));
    }
    let mut reduction = Reduction::of(call, x)?;
    if order.is_infinite() {
        reduction = reduction.not_empty()?;
    }
    Ok(
        reduction.lower(ty, move |out, x, dims, threads| match order {
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
            f64::INFINITY => infinity_norm(out, x, dims, ty, threads, 1.0),
            f64::NEG_INFINITY => infinity_norm(out, x, dims, ty, threads, -1.0),
            p => float_sum(
                out,
                x,
                dims,
                ty,
                threads,
                |x| x.abs().powf(p),
                |sum| sum.powf(1.0 / p),
            ),
        }),
    )
}

/// The largest absolute value, or the smallest one if `sign` is -1.
fn infinity_norm(
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
