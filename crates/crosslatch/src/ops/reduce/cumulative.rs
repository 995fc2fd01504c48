//! Cumulative sums, products and extremes along a dimension.

use crosslatch_kernels::elements::{Class, Compute};
use crosslatch_kernels::reduce::cumulate;
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{self, Call, Lowering, OpError};
use crate::ops::elements::pointwise::float_type;
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
