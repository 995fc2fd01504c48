//! Reductions that add up or multiply: sums, means, products, counts.
//!
//! Floats are accumulated in double precision, integers in 64 bits.

use crosslatch_kernels::complex;
use crosslatch_kernels::elements::{Class, Compute};
use crosslatch_kernels::reduce::{Fold, reduce};
use crosslatch_kernels::{DType, TensorMut, TensorRef, Threads};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::elements::pointwise::float_type;
use crate::ops::reduce::reduction::Reduction;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        sum,
    )
    .complex(|c| complex_sum(c, false)),
    op(
        "aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        sum,
    )
    .complex(|c| complex_sum(c, false)),
    op(
        "aten::nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        nansum,
    ),
    op(
        "aten::mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        mean,
    )
    .complex(|c| complex_sum(c, true)),
    op(
        "aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        mean,
    )
    .complex(|c| complex_sum(c, true)),
    op(
        "aten::prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        prod,
    ),
    op(
        "aten::prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        prod,
    ),
    op(
        "aten::count_nonzero(Tensor self, int? dim=None) -> Tensor",
        count_nonzero,
    ),
    op(
        "aten::count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor",
        count_nonzero,
    ),
    op(
        "aten::logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
        logsumexp,
    ),
];

/// The type of a sum: the one that is asked for, else that of the operand, or `i64` for integers.
pub(super) fn sum_type(call: &Call<'_>, x: &TensorArg) -> Result<DType, OpError> {
    let default = if x.dtype.is_float() {
        x.dtype
    } else {
        DType::I64
    };
    match call.has("dtype") {
        true => Ok(call.optional_dtype("dtype")?.unwrap_or(default)),
        false => Ok(default),
    }
}

/// Computes `finish(sum of term(x))` in double precision; `x` is first converted to the float type
/// `through`.
pub(super) fn float_sum(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dims: &[usize],
    through: DType,
    threads: &Threads,
    term: impl Fn(f64) -> f64 + Sync,
    finish: impl Fn(f64) -> f64 + Sync,
) {
    macro_rules! run {
        ($C:ty) => {{
            let fold = Fold {
                begin: |_: $C| 0.0,
                step: |sum, x: $C| sum + term(f64::load(x)),
                join: |a, b| a + b,
            };
            reduce(out, x, dims, through, threads, &fold, |sum: f64, _| {
                finish(sum)
            });
        }};
    }
    match Class::of(through) {
        Class::F64 => run!(f64),
        _ => run!(f32),
    }
}

fn sum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = sum_type(call, x)?;
    Ok(
        Reduction::of(call, x)?.lower(ty, move |out, x, dims, threads| {
            if ty.is_float() {
                return float_sum(out, x, dims, ty, threads, |x| x, |sum| sum);
            }
            let fold = Fold {
                begin: |_: i64| 0i64,
                step: |sum: i64, x: i64| sum.wrapping_add(x),
                join: |a: i64, b: i64| a.wrapping_add(b),
            };
            reduce(out, x, dims, ty, threads, &fold, |sum: i64, _| sum);
        }),
    )
}

/// The sum without NaNs.
/// The sum or the mean of complex numbers.
fn complex_sum(call: &Call<'_>, is_mean: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = call.optional_dtype("dtype")?.unwrap_or(x.dtype);
    let reduction = Reduction::of(call, x)?;
    let factor = match is_mean {
        true => 1.0 / reduction.count as f64,
        false => 1.0,
    };
    Ok(reduction.lower(
        dtype,
        move |out: &mut TensorMut<'_>, x: &TensorRef<'_>, dims: &[usize], _: &Threads| {
            complex::sum(out, x, dims, factor);
        },
    ))
}

fn nansum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = sum_type(call, x)?;
    if !ty.is_float() {
        return sum(call);
    }
    Ok(
        Reduction::of(call, x)?.lower(ty, move |out, x, dims, threads| {
            let term = |x: f64| if x.is_nan() { 0.0 } else { x };
            float_sum(out, x, dims, ty, threads, term, |sum| sum);
        }),
    )
}

fn mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = call.optional_dtype("dtype")?.unwrap_or(x.dtype);
    if !ty.is_float() {
        return Err(OpError::new("`mean` is defined for floats only"));
    }
    let reduction = Reduction::of(call, x)?;
    let count = reduction.count as f64;
    Ok(reduction.lower(ty, move |out, x, dims, threads| {
        float_sum(out, x, dims, ty, threads, |x| x, |sum| sum / count);
    }))
}

fn prod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = sum_type(call, x)?;
    Ok(
        Reduction::of(call, x)?.lower(ty, move |out, x, dims, threads| {
            macro_rules! floats {
                ($C:ty) => {{
                    let fold = Fold {
                        begin: |_: $C| 1.0,
                        step: |product, x: $C| product * f64::load(x),
                        join: |a, b| a * b,
                    };
                    reduce(out, x, dims, ty, threads, &fold, |product: f64, _| product);
                }};
            }
            match Class::of(ty) {
                Class::F32 => floats!(f32),
                Class::F64 => floats!(f64),
                Class::I64 => {
                    let fold = Fold {
                        begin: |_: i64| 1i64,
                        step: |product: i64, x: i64| product.wrapping_mul(x),
                        join: |a: i64, b: i64| a.wrapping_mul(b),
                    };
                    reduce(out, x, dims, ty, threads, &fold, |product: i64, _| product);
                }
            }
        }),
    )
}

fn count_nonzero(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let floats = x.dtype.is_float();
    let ty = x.dtype;
    Ok(
        Reduction::of(call, x)?.lower(DType::I64, move |out, x, dims, threads| {
            if floats {
                return float_sum(
                    out,
                    x,
                    dims,
                    ty,
                    threads,
                    |x| (x != 0.0) as u8 as f64,
                    |n| n,
                );
            }
            let fold = Fold {
                begin: |_: i64| 0i64,
                step: |count: i64, x: i64| count + (x != 0) as i64,
                join: |a: i64, b: i64| a + b,
            };
            reduce(out, x, dims, ty, threads, &fold, |count: i64, _| count);
        }),
    )
}

/// `log(sum(exp(x)))`, computed relative to the largest element so far.
fn logsumexp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = float_type(x.dtype);
    let join = |(m, sum): (f64, f64), (other, more): (f64, f64)| {
        // Equal ones first, because infinity minus infinity is NaN.
        if other == m {
            (m, sum + more)
        } else if other > m {
            (other, sum * (m - other).exp() + more)
        } else {
            (m, sum + more * (other - m).exp())
        }
    };
    Ok(
        Reduction::of(call, x)?.lower(ty, move |out, x, dims, threads| {
            let fold = Fold {
                begin: |_: f64| (f64::NEG_INFINITY, 0.0),
                step: |part, x: f64| join(part, (x, 1.0)),
                join,
            };
            reduce(
                out,
                x,
                dims,
                ty,
                threads,
                &fold,
                |(m, sum): (f64, f64), _| m + sum.ln(),
            );
        }),
    )
}
