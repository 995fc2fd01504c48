//! Arithmetic: sums, products, the larger and the smaller of two, functions of two numbers, and the
//! combinations `addcmul`, `addcdiv` and `lerp`.

use crosslatch_kernels::DType;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Compute, Lowering, Number, OpError, Update};
use crate::ops::elements::complex;
use crate::ops::elements::pointwise::{
    Operand, Pointwise, binary_operands, common_float_type, common_type, compute_type,
    lower_in_own_type, number_in, round_to,
};
use crate::ops::operands::range::checked_number;

pub(super) const OPERATORS: Table = &[
    op_with_in_place(
        "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        add,
    )
    .complex(|c| complex::binary(c, |x, y| x + y)),
    op_with_in_place(
        "aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        add,
    )
    .complex(|c| complex::binary(c, |x, y| x + y)),
    op_with_in_place(
        "aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    )
    .complex(|c| complex::binary(c, |x, y| x - y)),
    op_with_in_place(
        "aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    )
    .complex(|c| complex::binary(c, |x, y| x - y)),
    op_with_in_place(
        "aten::subtract.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    )
    .complex(|c| complex::binary(c, |x, y| x - y)),
    op_with_in_place(
        "aten::subtract.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    )
    .complex(|c| complex::binary(c, |x, y| x - y)),
    op(
        "aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        rsub,
    )
    .complex(complex::rsub),
    op(
        "aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        rsub,
    )
    .complex(complex::rsub),
    op_with_in_place("aten::mul.Tensor(Tensor self, Tensor other) -> Tensor", mul)
        .complex(|c| complex::binary(c, |x, y| x * y)),
    op_with_in_place("aten::mul.Scalar(Tensor self, Scalar other) -> Tensor", mul)
        .complex(|c| complex::binary(c, |x, y| x * y)),
    op_with_in_place(
        "aten::multiply.Tensor(Tensor self, Tensor other) -> Tensor",
        mul,
    )
    .complex(|c| complex::binary(c, |x, y| x * y)),
    op_with_in_place(
        "aten::multiply.Scalar(Tensor self, Scalar other) -> Tensor",
        mul,
    )
    .complex(|c| complex::binary(c, |x, y| x * y)),
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
    op(
        "aten::atan2.out(Tensor self, Tensor other, *, Tensor(a!) out) -> Tensor(a!)",
        |c| into_out(c, atan2(c)?),
    ),
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
    op_with_in_place("aten::gcd(Tensor self, Tensor other) -> Tensor", gcd),
    op_with_in_place(
        "aten::lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor",
        lerp,
    ),
    op_with_in_place(
        "aten::lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
        lerp,
    ),
    op_with_in_place(
        "aten::addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
        addcmul,
    ),
    op_with_in_place(
        "aten::addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
        addcdiv,
    ),
];

/// A computation whose result replaces the contents of the argument `out`.
fn into_out(call: &Call<'_>, computed: Lowering) -> Result<Lowering, OpError> {
    let out = call.tensor("out")?;
    let Lowering::Compute(Compute {
        results, kernel, ..
    }) = computed
    else {
        return Err(OpError::new("the result is not computed"));
    };
    match &results[..] {
        [(dtype, shape)] if *dtype == out.dtype && shape[..] == *out.shape() => {
            Ok(Lowering::Update(Update {
                of: out.index,
                kernel,
            }))
        }
        _ => Err(OpError::unsupported(format!(
            "`out` is {}{:?}, and the result {results:?}: another type or size is not supported",
            out.dtype,
            out.shape()
        ))),
    }
}

/// The types to which the operands of a product or quotient are converted. PyTorch does not round
/// the second one to 16 bits if it is a single number.
pub(super) fn product_types([_, second]: &[Operand<'_>; 2], ty: DType) -> [DType; 2] {
    match ty {
        DType::F16 | DType::BF16 if second.is_single() => [ty, DType::F32],
        _ => [ty, ty],
    }
}

/// `a + scale * b`.
fn add_scaled(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    let ty = common_type(&[a, b]);
    if scale.is_float() && !ty.is_float() {
        return Err(OpError::new("`alpha` is a float but the operands are not"));
    }
    let sum = Pointwise::new([a, b], ty)?;
    let int = scale.to_i64();
    let (single, double) = (number_in::<f32>(scale, ty), number_in::<f64>(scale, ty));
    if double.abs() == 1.0 || !ty.is_float() {
        return Ok(sum.lower(
            ty,
            move |[x, y]| x + single * y,
            move |[x, y]| x + double * y,
            move |[x, y]| x.wrapping_add(int.wrapping_mul(y)),
        ));
    }
    // Rounded once, as PyTorch's vector code does.
    Ok(sum.lower_floats(
        ty,
        move |[x, y]| single.mul_add(y, x),
        move |[x, y]| double.mul_add(y, x),
    ))
}

fn alpha(call: &Call<'_>, operands: [Operand<'_>; 2]) -> Result<Number, OpError> {
    match call.has("alpha") {
        true => checked_number(call.number("alpha")?, common_type(&operands)),
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
    let [a, b] = binary_operands(call)?;
    add_scaled(a, b, alpha(call, [a, b])?)
}

fn subtract(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    if common_type(&[a, b]) == DType::Bool {
        return Err(OpError::new("subtraction is not defined for bool"));
    }
    add_scaled(a, b, negated(scale))
}

fn sub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = binary_operands(call)?;
    subtract(a, b, alpha(call, [a, b])?)
}

fn rsub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = binary_operands(call)?;
    subtract(b, a, alpha(call, [a, b])?)
}

fn mul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    let ty = common_type(&operands);
    let product = Pointwise::with_types(operands, product_types(&operands, ty))?;
    Ok(lower_in_own_type!(
        product,
        ty,
        [x, y],
        x * y,
        x.wrapping_mul(y)
    ))
}

/// Binary operators that compute in the common type of their operands.
macro_rules! in_common_type {
    ($($name:ident: |$x:ident, $y:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let operands = binary_operands(call)?;
            let ty = common_type(&operands);
            let of = Pointwise::new(operands, ty)?;
            Ok(lower_in_own_type!(of, ty, [$x, $y], $float, $int))
        })*
    };
}

in_common_type! {
    // NaN if either is.
    maximum: |x, y| if x > y || x.is_nan() { x } else { y }, x.max(y);
    minimum: |x, y| if x < y || x.is_nan() { x } else { y }, x.min(y);
    // The other one if one is NaN.
    fmax: |x, y| if x >= y || y.is_nan() { x } else { y }, x.max(y);
    fmin: |x, y| if x <= y || y.is_nan() { x } else { y }, x.min(y);
    heaviside: |x, y| if x == 0.0 { y } else if x > 0.0 { 1.0 } else { 0.0 },
        if x == 0 { y } else { (x > 0) as i64 };
}

/// Binary operators that compute in floats.
macro_rules! in_common_float {
    ($($name:ident: |$x:ident, $y:ident| $float:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let operands = binary_operands(call)?;
            let ty = common_float_type(&operands);
            let of = Pointwise::new(operands, ty)?;
            Ok(of.lower_floats(ty, |[$x, $y]: [f32; 2]| $float, |[$x, $y]: [f64; 2]| $float))
        })*
    };
}

in_common_float! {
    atan2: |x, y| x.atan2(y);
    copysign: |x, y| x.copysign(y);
    hypot: |x, y| x.hypot(y);
    // Equal operands apart, because infinity minus infinity is NaN.
    logaddexp: |x, y| if x == y { x + x.signum().abs().ln_1p() } else {
        x.max(y) + (-(x - y).abs()).exp().ln_1p()
    };
}

/// `x log y`, and 0 where `x` is 0. In 16 bits PyTorch rounds the logarithm as well.
fn xlogy(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    let ty = common_float_type(&operands);
    macro_rules! xlogy {
        ($C:ty) => {
            move |[x, y]: [$C; 2]| match x == 0.0 {
                _ if y.is_nan() => y,
                true => 0.0,
                false => x * round_to(y.ln(), ty),
            }
        };
    }
    Ok(Pointwise::new(operands, ty)?.lower_floats(ty, xlogy!(f32), xlogy!(f64)))
}

fn gcd(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    let ty = common_type(&operands);
    if !ty.is_int() {
        return Err(OpError::new("`gcd` is defined for integers only"));
    }
    Ok(Pointwise::new(operands, ty)?.lower_integers(ty, |[x, y]| {
        let (mut a, mut b) = (x.wrapping_abs(), y.wrapping_abs());
        while b != 0 {
            (a, b) = (b, a.checked_rem(b).unwrap_or(0));
        }
        a
    }))
}

/// `a + weight (b - a)`, computed from the end that is nearer.
fn lerp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b, weight] = [
        Operand::of(call, "self")?,
        Operand::of(call, "end")?,
        Operand::of(call, "weight")?,
    ];
    let ty = common_type(&[a, b]);
    if !ty.is_float() {
        return Err(OpError::new("`lerp` is defined for floats only"));
    }
    let weight_type = match ty {
        // PyTorch does not round a number to 16 bits here.
        DType::F16 | DType::BF16 if weight.is_number() => DType::F32,
        _ => ty,
    };
    let of = Pointwise::with_types([a, b, weight], [ty, ty, weight_type])?;
    macro_rules! lerp {
        () => {
            |[a, b, w]| {
                if w.abs() < 0.5 {
                    w.mul_add(b - a, a)
                } else {
                    (b - a).mul_add(w - 1.0, b)
                }
            }
        };
    }
    Ok(of.lower_floats(ty, lerp!(), lerp!()))
}

/// The operands of `addcmul` and `addcdiv`, their common type, and the factor `value`.
fn ternary_operands<'c>(call: &'c Call<'_>) -> Result<([Operand<'c>; 3], DType, Number), OpError> {
    let operands = [
        Operand::of(call, "self")?,
        Operand::of(call, "tensor1")?,
        Operand::of(call, "tensor2")?,
    ];
    let (ty, value) = (common_type(&operands), call.number("value")?);
    if value.is_float() && !ty.is_float() {
        return Err(OpError::new("`value` is a float but the operands are not"));
    }
    Ok((operands, ty, checked_number(value, compute_type(ty))?))
}

fn addcmul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty, value) = ternary_operands(call)?;
    let (double, int) = (value.to_f64(), value.to_i64());
    let single = double as f32;
    Ok(Pointwise::new(operands, ty)?.lower(
        ty,
        move |[x, a, b]| (single * a).mul_add(b, x),
        move |[x, a, b]| (double * a).mul_add(b, x),
        move |[x, a, b]| x.wrapping_add(int.wrapping_mul(a).wrapping_mul(b)),
    ))
}

fn addcdiv(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty, value) = ternary_operands(call)?;
    if !ty.is_float() {
        return Err(OpError::new("`addcdiv` is defined for floats only"));
    }
    let double = value.to_f64();
    let single = double as f32;
    Ok(Pointwise::new(operands, ty)?.lower_floats(
        ty,
        move |[x, a, b]| x + single * a / b,
        move |[x, a, b]| x + double * a / b,
    ))
}
