//! Arithmetic of two operands: sums, products, extremes and functions of two numbers.

use crosslatch_kernels::DType;
use crosslatch_kernels::elements::blocks::Compute;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError};
use crate::ops::elements::pointwise::{
    Operand, Pointwise, common_float, common_type, lower_in_own_type, number_in,
};
use crate::ops::operands::range::fitting;

pub(super) const OPERATORS: Table = &[
    op_with_in_place(
        "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        add,
    ),
    op_with_in_place(
        "aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        add,
    ),
    op_with_in_place(
        "aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    ),
    op_with_in_place(
        "aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    ),
    op_with_in_place(
        "aten::subtract.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    ),
    op_with_in_place(
        "aten::subtract.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    ),
    op(
        "aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        rsub,
    ),
    op(
        "aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        rsub,
    ),
    op_with_in_place("aten::mul.Tensor(Tensor self, Tensor other) -> Tensor", mul),
    op_with_in_place("aten::mul.Scalar(Tensor self, Scalar other) -> Tensor", mul),
    op_with_in_place(
        "aten::multiply.Tensor(Tensor self, Tensor other) -> Tensor",
        mul,
    ),
    op_with_in_place(
        "aten::multiply.Scalar(Tensor self, Scalar other) -> Tensor",
        mul,
    ),
    op(
        "aten::maximum(Tensor self, Tensor other) -> Tensor",
        maximum,
    ),
    op(
        "aten::minimum(Tensor self, Tensor other) -> Tensor",
        minimum,
    ),
    op(
        "aten::max.other(Tensor self, Tensor other) -> Tensor",
        maximum,
    ),
    op(
        "aten::min.other(Tensor self, Tensor other) -> Tensor",
        minimum,
    ),
    op("aten::fmax(Tensor self, Tensor other) -> Tensor", fmax),
    op("aten::fmin(Tensor self, Tensor other) -> Tensor", fmin),
    op_with_in_place(
        "aten::heaviside(Tensor self, Tensor values) -> Tensor",
        heaviside,
    ),
    op_with_in_place("aten::atan2(Tensor self, Tensor other) -> Tensor", atan2),
    op_with_in_place("aten::arctan2(Tensor self, Tensor other) -> Tensor", atan2),
    op_with_in_place(
        "aten::copysign.Tensor(Tensor self, Tensor other) -> Tensor",
        copysign,
    ),
    op_with_in_place(
        "aten::copysign.Scalar(Tensor self, Scalar other) -> Tensor",
        copysign,
    ),
    op_with_in_place("aten::hypot(Tensor self, Tensor other) -> Tensor", hypot),
    op_with_in_place(
        "aten::xlogy.Tensor(Tensor self, Tensor other) -> Tensor",
        xlogy,
    ),
    op(
        "aten::xlogy.Scalar_Self(Scalar self, Tensor other) -> Tensor",
        xlogy,
    ),
    op_with_in_place(
        "aten::xlogy.Scalar_Other(Tensor self, Scalar other) -> Tensor",
        xlogy,
    ),
    op(
        "aten::logaddexp(Tensor self, Tensor other) -> Tensor",
        logaddexp,
    ),
    op_with_in_place(
        "aten::gcd(Tensor self, Tensor other) -> Tensor",
        greatest_common_divisor,
    ),
];

/// The two operands, whatever the second is called.
pub(in crate::ops) fn pair<'c>(call: &'c Call<'_>) -> Result<[Operand<'c>; 2], OpError> {
    let second = ["other", "exponent", "values"]
        .into_iter()
        .find(|name| call.has(name));
    Ok([
        Operand::of(call, "self")?,
        Operand::of(call, second.unwrap_or("other"))?,
    ])
}

/// The types that the operands of a product or quotient are taken through. If the second one is a
/// number, or a tensor with one element, PyTorch does not round it to 16 bits before it computes.
pub(in crate::ops) fn through([_, second]: &[Operand<'_>; 2], ty: DType) -> [DType; 2] {
    match ty {
        DType::F16 | DType::BF16 if second.is_one() => [ty, DType::F32],
        _ => [ty, ty],
    }
}

/// `a + scale * b`.
fn scaled_sum(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    let ty = common_type(&[a, b]);
    if scale.is_float() && !ty.is_float() {
        return Err(OpError::new("`alpha` is a float and the operands are not"));
    }
    let sum = Pointwise::new([a, b], ty)?;
    let int = scale.to_i64();
    let (narrow, float) = (number_in::<f32>(scale, ty), number_in::<f64>(scale, ty));
    if float.abs() == 1.0 || !ty.is_float() {
        return Ok(sum.lower(
            ty,
            move |[x, y]| x + narrow * y,
            move |[x, y]| x + float * y,
            move |[x, y]| x.wrapping_add(int.wrapping_mul(y)),
        ));
    }
    // Rounded once, as in PyTorch's vectors.
    Ok(sum.floats(
        ty,
        move |[x, y]| narrow.mul_add(y, x),
        move |[x, y]| float.mul_add(y, x),
    ))
}

fn alpha(call: &Call<'_>, operands: [Operand<'_>; 2]) -> Result<Number, OpError> {
    match call.has("alpha") {
        true => fitting(call.number("alpha")?, common_type(&operands)),
        false => Ok(Number::Int(1)),
    }
}

fn negated(number: Number) -> Number {
    match number {
        Number::Float(x) => Number::Float(-x),
        other => Number::Int(other.to_i64().wrapping_neg()),
    }
}

fn add(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    scaled_sum(a, b, alpha(call, [a, b])?)
}

fn difference(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    if common_type(&[a, b]) == DType::Bool {
        return Err(OpError::new("truth values cannot be subtracted"));
    }
    scaled_sum(a, b, negated(scale))
}

fn sub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    difference(a, b, alpha(call, [a, b])?)
}

fn rsub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    difference(b, a, alpha(call, [a, b])?)
}

fn mul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = pair(call)?;
    let ty = common_type(&operands);
    let product = Pointwise::each(operands, through(&operands, ty))?;
    Ok(lower_in_own_type!(
        product,
        ty,
        [x, y],
        x * y,
        x.wrapping_mul(y)
    ))
}

/// Functions of two operands in their common type.
macro_rules! in_common_type {
    ($($name:ident: |$x:ident, $y:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let operands = pair(call)?;
            let ty = common_type(&operands);
            let of = Pointwise::new(operands, ty)?;
            Ok(lower_in_own_type!(of, ty, [$x, $y], $float, $int))
        })*
    };
}

in_common_type! {
    // If one is NaN, so is the result.
    maximum: |x, y| if x > y || x.is_nan() { x } else { y }, x.max(y);
    minimum: |x, y| if x < y || x.is_nan() { x } else { y }, x.min(y);
    // If one is NaN, the result is the other.
    fmax: |x, y| if x >= y || y.is_nan() { x } else { y }, x.max(y);
    fmin: |x, y| if x <= y || y.is_nan() { x } else { y }, x.min(y);
    heaviside: |x, y| if x == 0.0 { y } else if x > 0.0 { 1.0 } else { 0.0 },
        if x == 0 { y } else { (x > 0) as i64 };
}

/// Functions of two operands that are computed in floats.
macro_rules! in_common_float {
    ($($name:ident: |$x:ident, $y:ident| $float:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let operands = pair(call)?;
            let ty = common_float(&operands);
            let of = Pointwise::new(operands, ty)?;
            Ok(of.floats(ty, |[$x, $y]: [f32; 2]| $float, |[$x, $y]: [f64; 2]| $float))
        })*
    };
}

in_common_float! {
    atan2: |x, y| x.atan2(y);
    copysign: |x, y| x.copysign(y);
    hypot: |x, y| x.hypot(y);
    // Two equal infinities have no difference.
    logaddexp: |x, y| if x == y { x + x.signum().abs().ln_1p() } else {
        x.max(y) + (-(x - y).abs()).exp().ln_1p()
    };
}

/// `x log y`, and 0 where `x` is 0. Of 16 bits, PyTorch rounds the logarithm, too.
fn xlogy(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = pair(call)?;
    let ty = common_float(&operands);
    macro_rules! xlogy {
        ($C:ty) => {
            move |[x, y]: [$C; 2]| match x == 0.0 {
                _ if y.is_nan() => y,
                true => 0.0,
                false => x * rounded(y.ln(), ty),
            }
        };
    }
    Ok(Pointwise::new(operands, ty)?.floats(ty, xlogy!(f32), xlogy!(f64)))
}

/// A number as elements of a float type have it.
pub(in crate::ops) fn rounded<C: Compute>(x: C, ty: DType) -> C {
    match ty {
        DType::F16 | DType::BF16 => x.through(ty),
        _ => x,
    }
}

fn greatest_common_divisor(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = pair(call)?;
    let ty = common_type(&operands);
    if !ty.is_int() {
        return Err(OpError::new("a common divisor is defined for integers"));
    }
    Ok(Pointwise::new(operands, ty)?.integers(ty, |[x, y]| {
        let (mut a, mut b) = (x.wrapping_abs(), y.wrapping_abs());
        while b != 0 {
            (a, b) = (b, a.checked_rem(b).unwrap_or(0));
        }
        a
    }))
}
