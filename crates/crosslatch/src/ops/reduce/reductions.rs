//! Reductions: which dimensions go, and sums, means, products and truth of many.

use crosslatch_kernels::elements::Class;
use crosslatch_kernels::elements::Compute;
use crosslatch_kernels::reduce::{self as kernels, Fold, reduce};
use crosslatch_kernels::{
    DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef, Threads,
};

use crate::ir::catalogue::{Table, op};
use crate::ir::{self, Call, CallArg, Lowering, OpError, TensorArg};
use crate::ops::elements::pointwise::float_type;
use crate::ops::operands::layouts::view_mut;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        sum,
    ),
    op(
        "aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        sum,
    ),
    op(
        "aten::nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        nansum,
    ),
    op(
        "aten::mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
        mean,
    ),
    op(
        "aten::mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        mean,
    ),
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
    op("aten::any(Tensor self) -> Tensor", any),
    op(
        "aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        any,
    ),
    op(
        "aten::any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
        any,
    ),
    op("aten::all(Tensor self) -> Tensor", all),
    op(
        "aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
        all,
    ),
    op(
        "aten::all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
        all,
    ),
    op(
        "aten::logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
        logsumexp,
    ),
];

/// Which dimensions go, and what is left of the shape.
pub(in crate::ops) struct Reduced {
    pub(in crate::ops) dims: Dims,
    /// Shape of the result, with dimensions of 1 where they are kept.
    pub(in crate::ops) shape: Dims,
    /// Shape without the reduced dimensions, which kernels fill.
    kept: Layout,
    /// Number of elements that become one.
    pub(in crate::ops) count: usize,
}

/// A kernel that fills a result that has the kept dimensions only.
pub(in crate::ops) trait Reduce:
    Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static
{
}

impl<F> Reduce for F where
    F: Fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize], &Threads) + Send + Sync + 'static
{
}

impl Reduced {
    /// The dimensions that argument `dim` names. None named means all of them.
    pub(in crate::ops) fn of(call: &Call<'_>, x: &TensorArg) -> Result<Reduced, OpError> {
        let mut named = match call.has("dim") {
            true => call.optional_ints("dim")?.unwrap_or_default(),
            false => Vec::new(),
        };
        if named.is_empty() {
            named = (0..x.rank() as i64).collect();
        }
        let mut dims = Dims::new();
        for dim in named {
            let dim = x.dim(dim)?;
            if dims.contains(&dim) {
                return Err(OpError::new(format!("dimension {dim} is named twice")));
            }
            // A tensor without dimensions takes 0 for one.
            if dim < x.rank() {
                dims.push(dim);
            }
        }
        let keep = call.has("keepdim") && call.bool("keepdim")?;
        let (mut shape, mut kept, mut count) = (Dims::new(), Dims::new(), 1usize);
        for (d, &size) in x.shape().iter().enumerate() {
            if !dims.contains(&d) {
                shape.push(size);
                kept.push(size);
                continue;
            }
            count = count.saturating_mul(size);
            if keep {
                shape.push(1);
            }
        }
        Ok(Reduced {
            dims,
            shape,
            kept: Layout::contiguous(&kept),
            count,
        })
    }

    /// Extremes of nothing do not exist.
    pub(in crate::ops) fn not_empty(self) -> Result<Reduced, OpError> {
        match self.count == 0 && !self.kept.shape.contains(&0) {
            true => Err(OpError::new("the extreme of no elements is not defined")),
            false => Ok(self),
        }
    }

    /// One result.
    pub(in crate::ops) fn lower(self, dtype: DType, kernel: impl Reduce) -> Lowering {
        let (dims, kept) = (self.dims, self.kept);
        Lowering::compute(dtype, &self.shape, move |o: &mut Operands<'_, '_>| {
            fill(
                &mut o.outputs[0],
                &kept,
                &o.inputs[0],
                &dims,
                o.threads,
                &kernel,
            )
        })
    }

    /// Two results.
    pub(in crate::ops) fn lower_two(
        self,
        (first_type, first): (DType, impl Reduce),
        (second_type, second): (DType, impl Reduce),
    ) -> Lowering {
        let (dims, kept, shape) = (self.dims, self.kept, self.shape);
        let results = vec![(first_type, shape.clone()), (second_type, shape)];
        let kernel = move |o: &mut Operands<'_, '_>| {
            let x = &o.inputs[0];
            fill(&mut o.outputs[0], &kept, x, &dims, o.threads, &first)?;
            fill(&mut o.outputs[1], &kept, x, &dims, o.threads, &second)
        };
        Lowering::Compute(ir::Compute::new(results, kernel))
    }
}

/// Runs a kernel on a result whose dimensions of 1, where they were kept, are taken away.
fn fill(
    out: &mut TensorMut<'_>,
    kept: &Layout,
    x: &TensorRef<'_>,
    dims: &[usize],
    threads: &Threads,
    kernel: &impl Reduce,
) -> Result<(), KernelError> {
    let mut layout = out.layout().clone();
    let keeps_dims = layout.rank() == x.layout().rank();
    if layout.rank() != kept.rank() && keeps_dims {
        for d in (0..layout.rank()).rev() {
            if dims.contains(&d) {
                layout = layout.squeeze(d);
            }
        }
    }
    kernel(&mut view_mut(out, &layout)?, x, dims, threads);
    Ok(())
}

/// The type of a sum: the one asked for, or 64 bits for integers.
pub(in crate::ops) fn sum_type(call: &Call<'_>, x: &TensorArg) -> Result<DType, OpError> {
    let otherwise = if x.dtype.is_float() {
        x.dtype
    } else {
        DType::I64
    };
    match call.has("dtype") {
        true => Ok(call.optional_dtype("dtype")?.unwrap_or(otherwise)),
        false => Ok(otherwise),
    }
}

/// `finish(sum of term(x))` in double precision, where `x` is converted to the float type `through`
/// first.
pub(in crate::ops) fn float_sum(
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
        Reduced::of(call, x)?.lower(ty, move |out, x, dims, threads| {
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

/// The sum without what is NaN.
fn nansum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = sum_type(call, x)?;
    if !ty.is_float() {
        return sum(call);
    }
    Ok(
        Reduced::of(call, x)?.lower(ty, move |out, x, dims, threads| {
            let term = |x: f64| if x.is_nan() { 0.0 } else { x };
            float_sum(out, x, dims, ty, threads, term, |sum| sum);
        }),
    )
}

fn mean(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = call.optional_dtype("dtype")?.unwrap_or(x.dtype);
    if !ty.is_float() {
        return Err(OpError::new("the mean is defined for floats"));
    }
    let reduced = Reduced::of(call, x)?;
    let count = reduced.count as f64;
    Ok(reduced.lower(ty, move |out, x, dims, threads| {
        float_sum(out, x, dims, ty, threads, |x| x, |sum| sum / count);
    }))
}

fn prod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = sum_type(call, x)?;
    Ok(
        Reduced::of(call, x)?.lower(ty, move |out, x, dims, threads| {
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
        Reduced::of(call, x)?.lower(DType::I64, move |out, x, dims, threads| {
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

/// Truth of many; for `u8` the result is `u8`, as PyTorch has it.
fn truth_of(
    call: &Call<'_>,
    kernel: fn(&mut TensorMut<'_>, &TensorRef<'_>, &[usize]),
) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = if x.dtype == DType::U8 {
        DType::U8
    } else {
        DType::Bool
    };
    let mut reduced = Reduced::of(call, x)?;
    // Only here an empty list is not the same as none.
    let position = call.schema.position("dim");
    if let Some(CallArg::Ints(named)) = position.and_then(|i| call.args.get(i))
        && named.is_empty()
    {
        reduced = Reduced {
            dims: Dims::new(),
            shape: x.shape().into(),
            kept: Layout::contiguous(x.shape()),
            count: 1,
        };
    }
    Ok(reduced.lower(dtype, move |out, x, dims, _| kernel(out, x, dims)))
}

fn any(call: &Call<'_>) -> Result<Lowering, OpError> {
    truth_of(call, kernels::any)
}

fn all(call: &Call<'_>) -> Result<Lowering, OpError> {
    truth_of(call, kernels::all)
}

/// `log(sum(exp(x)))`, relative to the largest element that has been met so far.
fn logsumexp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let ty = float_type(x.dtype);
    let join = |(m, sum): (f64, f64), (other, more): (f64, f64)| {
        // Equal ones first: infinities have no difference.
        if other == m {
            (m, sum + more)
        } else if other > m {
            (other, sum * (m - other).exp() + more)
        } else {
            (m, sum + more * (other - m).exp())
        }
    };
    Ok(
        Reduced::of(call, x)?.lower(ty, move |out, x, dims, threads| {
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
