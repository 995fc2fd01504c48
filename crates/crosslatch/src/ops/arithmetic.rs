//! Arithmetic of two operands: sums, products, quotients, remainders, powers.

use crosslatch_kernels::elementwise::contains_zero;
use crosslatch_kernels::{DType, KernelError, Operands};

use super::Table;
use super::pointwise::{
    Operand, Pointwise, common_float, common_type, joint_shape, lower_in_own_type, number_in,
};
use crate::ir::operator::{Call, Compute, Lowering, Number, OpError};

pub(super) const OPERATORS: Table = &[
    (
        "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        add,
    ),
    (
        "aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        add,
    ),
    (
        "aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    ),
    (
        "aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    ),
    (
        "aten::subtract.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        sub,
    ),
    (
        "aten::subtract.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        sub,
    ),
    (
        "aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
        rsub,
    ),
    (
        "aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
        rsub,
    ),
    ("aten::mul.Tensor(Tensor self, Tensor other) -> Tensor", mul),
    ("aten::mul.Scalar(Tensor self, Scalar other) -> Tensor", mul),
    (
        "aten::multiply.Tensor(Tensor self, Tensor other) -> Tensor",
        mul,
    ),
    (
        "aten::multiply.Scalar(Tensor self, Scalar other) -> Tensor",
        mul,
    ),
    ("aten::div.Tensor(Tensor self, Tensor other) -> Tensor", div),
    ("aten::div.Scalar(Tensor self, Scalar other) -> Tensor", div),
    (
        "aten::div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    (
        "aten::div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    (
        "aten::divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    ),
    (
        "aten::divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    ),
    (
        "aten::divide.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    (
        "aten::divide.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    (
        "aten::true_divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    ),
    (
        "aten::true_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    ),
    (
        "aten::floor_divide(Tensor self, Tensor other) -> Tensor",
        floor_divide,
    ),
    (
        "aten::floor_divide_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)",
        floor_divide,
    ),
    (
        "aten::floor_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        floor_divide,
    ),
    (
        "aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor",
        remainder,
    ),
    (
        "aten::remainder.Scalar(Tensor self, Scalar other) -> Tensor",
        remainder,
    ),
    (
        "aten::remainder.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        remainder,
    ),
    (
        "aten::fmod.Tensor(Tensor self, Tensor other) -> Tensor",
        fmod,
    ),
    (
        "aten::fmod.Scalar(Tensor self, Scalar other) -> Tensor",
        fmod,
    ),
    (
        "aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
        pow,
    ),
    (
        "aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
        pow,
    ),
    (
        "aten::pow.Scalar(Scalar self, Tensor exponent) -> Tensor",
        pow,
    ),
    (
        "aten::float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
        float_power,
    ),
    (
        "aten::float_power.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
        float_power,
    ),
    (
        "aten::float_power.Scalar(Scalar self, Tensor exponent) -> Tensor",
        float_power,
    ),
    (
        "aten::maximum(Tensor self, Tensor other) -> Tensor",
        maximum,
    ),
    (
        "aten::minimum(Tensor self, Tensor other) -> Tensor",
        minimum,
    ),
    (
        "aten::max.other(Tensor self, Tensor other) -> Tensor",
        maximum,
    ),
    (
        "aten::min.other(Tensor self, Tensor other) -> Tensor",
        minimum,
    ),
    ("aten::fmax(Tensor self, Tensor other) -> Tensor", fmax),
    ("aten::fmin(Tensor self, Tensor other) -> Tensor", fmin),
    (
        "aten::heaviside(Tensor self, Tensor values) -> Tensor",
        heaviside,
    ),
    ("aten::atan2(Tensor self, Tensor other) -> Tensor", atan2),
    ("aten::arctan2(Tensor self, Tensor other) -> Tensor", atan2),
    (
        "aten::copysign.Tensor(Tensor self, Tensor other) -> Tensor",
        copysign,
    ),
    (
        "aten::copysign.Scalar(Tensor self, Scalar other) -> Tensor",
        copysign,
    ),
    ("aten::hypot(Tensor self, Tensor other) -> Tensor", hypot),
    (
        "aten::xlogy.Tensor(Tensor self, Tensor other) -> Tensor",
        xlogy,
    ),
    (
        "aten::xlogy.Scalar_Self(Scalar self, Tensor other) -> Tensor",
        xlogy,
    ),
    (
        "aten::xlogy.Scalar_Other(Tensor self, Scalar other) -> Tensor",
        xlogy,
    ),
    (
        "aten::logaddexp(Tensor self, Tensor other) -> Tensor",
        logaddexp,
    ),
    (
        "aten::gcd(Tensor self, Tensor other) -> Tensor",
        greatest_common_divisor,
    ),
];

/// The two operands, whatever the second is called.
pub(super) fn pair<'c>(call: &'c Call<'_>) -> Result<[Operand<'c>; 2], OpError> {
    let second = ["other", "exponent", "values"]
        .into_iter()
        .find(|name| call.has(name));
    Ok([
        Operand::of(call, "self")?,
        Operand::of(call, second.unwrap_or("other"))?,
    ])
}

/// The type that operands of a sum, product or quotient are taken through. A number, or a tensor
/// without dimensions, is not rounded to 16 bits before it is computed with.
fn through(operands: &[Operand<'_>], ty: DType) -> DType {
    match ty {
        DType::F16 | DType::BF16 if operands.iter().any(Operand::is_single) => DType::F32,
        _ => ty,
    }
}

/// `a + scale * b`.
fn scaled_sum(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    let ty = common_type(&[a, b]);
    if scale.is_float() && !ty.is_float() {
        return Err(OpError::new("`alpha` is a float and the operands are not"));
    }
    let sum = Pointwise::new([a, b], through(&[a, b], ty))?;
    let (float, int) = (scale.to_f64(), scale.to_i64());
    let narrow = float as f32;
    Ok(sum.lower(
        ty,
        move |[x, y]| x + narrow * y,
        move |[x, y]| x + float * y,
        move |[x, y]| x.wrapping_add(int.wrapping_mul(y)),
    ))
}

fn alpha(call: &Call<'_>) -> Result<Number, OpError> {
    match call.has("alpha") {
        true => call.number("alpha"),
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
    scaled_sum(a, b, alpha(call)?)
}

fn difference(a: Operand<'_>, b: Operand<'_>, scale: Number) -> Result<Lowering, OpError> {
    if common_type(&[a, b]) == DType::Bool {
        return Err(OpError::new("truth values cannot be subtracted"));
    }
    scaled_sum(a, b, negated(scale))
}

fn sub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    difference(a, b, alpha(call)?)
}

fn rsub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    difference(b, a, alpha(call)?)
}

fn mul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = pair(call)?;
    let ty = common_type(&operands);
    let product = Pointwise::new(operands, through(&operands, ty))?;
    Ok(lower_in_own_type!(
        product,
        ty,
        [x, y],
        x * y,
        x.wrapping_mul(y)
    ))
}

fn div(call: &Call<'_>) -> Result<Lowering, OpError> {
    let mode = match call.has("rounding_mode") {
        true => call.optional_str("rounding_mode")?,
        false => None,
    };
    match mode {
        None => {
            let operands = pair(call)?;
            let ty = common_float(&operands);
            let quotient = Pointwise::new(operands, through(&operands, ty))?;
            Ok(quotient.floats(ty, |[x, y]| x / y, |[x, y]| x / y))
        }
        Some("floor") => floor_divide(call),
        Some("trunc") => {
            let quotient = Pointwise::new(pair(call)?, dividing_type(call)?)?;
            let ty = dividing_type(call)?;
            let lowering = lower_in_own_type!(
                quotient,
                ty,
                [x, y],
                (x / y).trunc(),
                x.checked_div(y).unwrap_or(x)
            );
            without_zero(call, lowering)
        }
        Some(other) => Err(OpError::new(format!("`rounding_mode` is `{other}`"))),
    }
}

/// The common type of the operands of a whole division.
fn dividing_type(call: &Call<'_>) -> Result<DType, OpError> {
    match common_type(&pair(call)?) {
        DType::Bool => Err(OpError::new(
            "truth values cannot be divided into whole numbers",
        )),
        ty => Ok(ty),
    }
}

/// A division of integers, which fails if one of the divisors is zero.
fn without_zero(call: &Call<'_>, lowering: Lowering) -> Result<Lowering, OpError> {
    let [a, b] = pair(call)?;
    let ty = common_type(&[a, b]);
    let Lowering::Compute(compute) = lowering else {
        return Ok(lowering);
    };
    let is_empty = joint_shape(&[a, b])?.contains(&0);
    if ty.is_float() || is_empty {
        return Ok(Lowering::Compute(compute));
    }
    let Compute {
        results, kernel, ..
    } = compute;
    let divide = move |o: &mut Operands<'_, '_>, zero: bool| match zero {
        true => Err(KernelError::DivisionByZero),
        false => kernel.run(o),
    };
    Ok(Lowering::Compute(match b {
        Operand::Tensor(divisor) => {
            let index = divisor.index;
            Compute::new(results, move |o: &mut Operands<'_, '_>| {
                let zero = contains_zero(&o.inputs[index], ty);
                divide(o, zero)
            })
        }
        Operand::Number(divisor) => {
            let zero = number_in::<i64>(divisor, ty) == 0;
            Compute::new(results, move |o: &mut Operands<'_, '_>| divide(o, zero))
        }
    }))
}

/// The quotient rounded down, without the error that rounding the quotient first would make.
macro_rules! floor_of_quotient {
    ($name:ident, $type:ty) => {
        fn $name([x, y]: [$type; 2]) -> $type {
            if y == 0.0 {
                return x / y;
            }
            let rest = x % y;
            let mut quotient = (x - rest) / y;
            if rest != 0.0 && (y < 0.0) != (rest < 0.0) {
                quotient -= 1.0;
            }
            if quotient == 0.0 {
                return (0.0 as $type).copysign(x / y);
            }
            let floor = quotient.floor();
            if quotient - floor > 0.5 {
                floor + 1.0
            } else {
                floor
            }
        }
    };
}

floor_of_quotient!(floor_of_quotient_f32, f32);
floor_of_quotient!(floor_of_quotient_f64, f64);

fn floor_divide(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = dividing_type(call)?;
    let quotient = Pointwise::new(pair(call)?, ty)?;
    let lowering = quotient.lower(
        ty,
        floor_of_quotient_f32,
        floor_of_quotient_f64,
        |[x, y]| {
            match x.checked_div(y) {
                Some(q) if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) => q - 1,
                Some(q) => q,
                // Divisors of 0 do not come here; what is left is the one overflow.
                None => x,
            }
        },
    );
    without_zero(call, lowering)
}

/// What is left by a quotient rounded down: it has the sign of the divisor.
fn remainder(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = dividing_type(call)?;
    let rest = Pointwise::new(pair(call)?, ty)?;
    let lowering = lower_in_own_type!(
        rest,
        ty,
        [x, y],
        {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) {
                r + y
            } else {
                r
            }
        },
        {
            let r = x.checked_rem(y).unwrap_or(0);
            if r != 0 && (r < 0) != (y < 0) {
                r + y
            } else {
                r
            }
        }
    );
    without_zero(call, lowering)
}

/// What is left by a quotient cut off: it has the sign of the dividend.
fn fmod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = dividing_type(call)?;
    let rest = Pointwise::new(pair(call)?, ty)?;
    let lowering = lower_in_own_type!(rest, ty, [x, y], x % y, x.checked_rem(y).unwrap_or(0));
    without_zero(call, lowering)
}

fn pow(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [base, exponent] = pair(call)?;
    let ty = common_type(&[base, exponent]);
    if ty == DType::Bool {
        return Err(OpError::new("truth values have no powers"));
    }
    if let Operand::Number(n) = exponent {
        if ty.is_int() && n.to_i64() < 0 {
            return Err(OpError::new("an integer to a negative power is no integer"));
        }
        if ty.is_float()
            && let Some(lowering) = simple_power(base, n.to_f64(), ty)?
        {
            return Ok(lowering);
        }
    }
    Ok(Pointwise::new([base, exponent], ty)?.lower(
        ty,
        |[x, y]| x.powf(y),
        |[x, y]| x.powf(y),
        |[x, y]| match u32::try_from(y) {
            Ok(y) => x.wrapping_pow(y),
            // Of whole numbers only 1 and -1 have whole reciprocals; and what is too large an
            // exponent for anything else is none for them.
            Err(_) => match x {
                1 => 1,
                -1 => 1 - 2 * (y & 1),
                _ => 0,
            },
        },
    ))
}

/// Powers that take no logarithm.
fn simple_power(base: Operand<'_>, exponent: f64, ty: DType) -> Result<Option<Lowering>, OpError> {
    let x = Pointwise::new([base], ty)?;
    macro_rules! powers {
        ($($value:literal => |$x:ident| $power:expr;)*) => {
            match exponent {
                $(e if e == $value => Some(x.floats(ty, |[$x]| $power, |[$x]| $power)),)*
                _ => None,
            }
        };
    }
    Ok(powers! {
        2.0 => |x| x * x;
        3.0 => |x| x * x * x;
        0.5 => |x| x.sqrt();
        -0.5 => |x| 1.0 / x.sqrt();
        -1.0 => |x| 1.0 / x;
        -2.0 => |x| 1.0 / (x * x);
    })
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
    xlogy: |x, y| if y.is_nan() { y } else if x == 0.0 { 0.0 } else { x * y.ln() };
    // Two equal infinities have no difference.
    logaddexp: |x, y| if x == y { x + x.signum().abs().ln_1p() } else {
        x.max(y) + (-(x - y).abs()).exp().ln_1p()
    };
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

/// `float_power` is always computed in double precision.
fn float_power(call: &Call<'_>) -> Result<Lowering, OpError> {
    let power = Pointwise::new(pair(call)?, DType::F64)?;
    Ok(power.floats(
        DType::F64,
        |[x, y]: [f32; 2]| x.powf(y),
        |[x, y]: [f64; 2]| x.powf(y),
    ))
}
