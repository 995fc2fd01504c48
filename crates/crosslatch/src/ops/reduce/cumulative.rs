//! Cumulative sums, products and extremes along a dimension.

use crosslatch_kernels::elements::{Class, Compute};
use crosslatch_kernels::reduce::{cumulate, fold_neighbours};
use crosslatch_kernels::{DType, Operands, TensorRef};
use smallvec::SmallVec;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{self, Call, Lowering, OpError};
use crate::ops::elements::pointwise::float_type;
use crate::ops::operands::shapes::length;
use crate::ops::reduce::sums::sum_type;

pub(super) const OPERATORS: Table = &[
    op_with_in_place(
        "aten::cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
        cumsum,
    ),
    op_with_in_place(
        "aten::cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
        cumprod,
    ),
    op(
        "aten::logcumsumexp(Tensor self, int dim) -> Tensor",
        logcumsumexp,
    ),
    op(
        "aten::diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor",
        diff,
    ),
    op(
        "aten::cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)",
        cummax,
    ),
    op(
        "aten::cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)",
        cummin,
    ),
];

/// A cumulative operator: of floats in double precision, or of integers.
fn cumulative(
    call: &Call<'_>,
    ty: DType,
    floats: (f64, impl Fn(f64, f64) -> f64 + Send + Sync + 'static),
    ints: (i64, impl Fn(i64, i64) -> i64 + Send + Sync + 'static),
) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    Ok(Lowering::compute(
        ty,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let (out, x) = (&mut o.outputs[0], &o.inputs[0]);
            match ty.is_float() {
                true => cumulate(out, x, dim, ty, floats.0, &floats.1, |sum: f64| sum),
                false => cumulate(out, x, dim, ty, ints.0, &ints.1, |sum: i64| sum),
            }
            Ok(())
        },
    ))
}

fn cumsum(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = sum_type(call, call.tensor("self")?)?;
    cumulative(call, ty, (0.0, |sum, x| sum + x), (0, i64::wrapping_add))
}

fn cumprod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = sum_type(call, call.tensor("self")?)?;
    cumulative(
        call,
        ty,
        (1.0, |product, x| product * x),
        (1, i64::wrapping_mul),
    )
}

fn logcumsumexp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = float_type(call.tensor("self")?.dtype);
    let add = |sum: f64, x: f64| {
        // Equal ones apart, because infinity minus infinity is NaN.
        if sum == x {
            return sum + std::f64::consts::LN_2;
        }
        let larger = if sum > x { sum } else { x };
        larger + (-(sum - x).abs()).exp().ln_1p()
    };
    cumulative(call, ty, (f64::NEG_INFINITY, add), (0, |_, x| x))
}

/// Differences of neighbours, and differences of these, `n` times: sums of `n + 1` neighbours with binomial
/// coefficients of alternating signs. Of bools, whether an odd number is true.
fn diff(call: &Call<'_>) -> Result<Lowering, OpError> {
    /// Coefficients beyond are no longer whole numbers in double precision.
    const MOST: usize = 50;
    let x = call.tensor("self")?;
    let (dim, n) = (x.dim(call.int("dim")?)?, length(call.int("n")?, "`n`")?);
    let [before, behind] = match n {
        // PyTorch then returns the tensor alone.
        0 => [None, None],
        _ => [
            call.optional_tensor("prepend")?,
            call.optional_tensor("append")?,
        ],
    };
    let mut pieces = Vec::new();
    let mut shape = x.layout.shape.clone();
    let mut whole = 0usize;
    for piece in [before, Some(x), behind].into_iter().flatten() {
        let alike = |d: usize| d == dim || piece.shape()[d] == x.shape()[d];
        if x.rank() == 0
            || piece.rank() != x.rank()
            || !(0..x.rank()).all(alike)
            || piece.dtype != x.dtype
        {
            return Err(OpError::new(format!(
                "{}{:?} and {}{:?} do not lie one behind the other along dimension {dim}",
                piece.dtype,
                piece.shape(),
                x.dtype,
                x.shape()
            )));
        }
        whole = whole.saturating_add(piece.shape()[dim]);
        pieces.push(piece.index);
    }
    shape[dim] = whole.saturating_sub(n);
    if n > MOST && shape[dim] > 0 {
        return Err(OpError::unsupported(format!(
            "differences taken {n} times are not supported"
        )));
    }
    let mut coefficients = vec![1i64];
    for k in 0..n.min(MOST) {
        coefficients.push(-coefficients[k] * (n.min(MOST) - k) as i64 / (k as i64 + 1));
    }
    coefficients.reverse();
    let dtype = x.dtype;
    let kernel = move |o: &mut Operands<'_, '_>| {
        if o.outputs[0].layout().numel() == 0 {
            return Ok(());
        }
        let pieces: SmallVec<[&TensorRef<'_>; 3]> = pieces.iter().map(|i| &o.inputs[*i]).collect();
        let (out, c) = (&mut o.outputs[0], &coefficients);
        match Class::of(dtype) {
            Class::F32 => fold_neighbours(out, &pieces, dim, dtype, n, |sum: f32, x, k| {
                sum + c[k] as f32 * x
            }),
            Class::F64 => fold_neighbours(out, &pieces, dim, dtype, n, |sum: f64, x, k| {
                sum + c[k] as f64 * x
            }),
            Class::I64 => fold_neighbours(out, &pieces, dim, dtype, n, |sum: i64, x, k| {
                let sum = sum.wrapping_add(c[k].wrapping_mul(x));
                if dtype == DType::Bool { sum & 1 } else { sum }
            }),
        }
        Ok(())
    };
    Ok(Lowering::compute(dtype, &shape, kernel))
}

/// Cumulative extremes and their indices. NaN is more extreme than everything; of equal elements the
/// last counts.
fn cumulative_extremes(call: &Call<'_>, largest: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dim = x.dim(call.int("dim")?)?;
    let (ty, shape) = (x.dtype, x.shape());
    let results = vec![(ty, shape.into()), (DType::I64, shape.into())];
    let kernel = move |o: &mut Operands<'_, '_>| {
        match Class::of(ty) {
            Class::F32 => scan_extremes::<f32>(o, dim, ty, largest),
            Class::F64 => scan_extremes::<f64>(o, dim, ty, largest),
            Class::I64 => scan_extremes::<i64>(o, dim, ty, largest),
        }
        Ok(())
    };
    Ok(Lowering::Compute(ir::Compute::new(results, kernel)))
}

/// The extreme so far, its index, and the number of elements so far.
type Extreme<C> = (C, usize, usize);

#[allow(clippy::eq_op)]
fn scan_extremes<C: Compute>(o: &mut Operands<'_, '_>, dim: usize, ty: DType, largest: bool) {
    let step = |(best, index, count): Extreme<C>, x: C| {
        let better = if largest { x >= best } else { x <= best };
        // `x != x` holds for NaN.
        if count == 0 || x != x || (best == best && better) {
            (x, count, count + 1)
        } else {
            (best, index, count + 1)
        }
    };
    let start = (C::default(), 0, 0);
    let x = &o.inputs[0];
    cumulate(
        &mut o.outputs[0],
        x,
        dim,
        ty,
        start,
        step,
        |(best, ..): Extreme<C>| best,
    );
    cumulate(
        &mut o.outputs[1],
        x,
        dim,
        ty,
        start,
        step,
        |(_, index, _): Extreme<C>| index as i64,
    );
}

fn cummax(call: &Call<'_>) -> Result<Lowering, OpError> {
    cumulative_extremes(call, true)
}

fn cummin(call: &Call<'_>) -> Result<Lowering, OpError> {
    cumulative_extremes(call, false)
}
