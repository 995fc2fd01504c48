//! Elementwise operators of one tensor: elementary functions, rounding, signs, predicates.

use crosslatch_kernels::DType;
use crosslatch_kernels::complex::Complex;
use crosslatch_kernels::elements::{Class, blockwise};
use crosslatch_kernels::simd::Function;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError};
use crate::ops::elements::complex;
use crate::ops::elements::pointwise::{
    Computation, Operand, Pointwise, common_type, float_type, lower_in_own_type,
};

pub(super) const OPERATORS: Table = &[
    op_with_in_place("aten::exp(Tensor self) -> Tensor", exp)
        .complex(|c| complex::unary(c, Complex::exp)),
    op_with_in_place("aten::expm1(Tensor self) -> Tensor", expm1),
    op_with_in_place("aten::sigmoid(Tensor self) -> Tensor", sigmoid),
    op("aten::special_expit(Tensor self) -> Tensor", sigmoid),
    op_with_in_place("aten::tanh(Tensor self) -> Tensor", tanh),
    op_with_in_place("aten::erf(Tensor self) -> Tensor", erf),
    op("aten::special_erf(Tensor self) -> Tensor", erf),
    op_with_in_place("aten::exp2(Tensor self) -> Tensor", exp2),
    op_with_in_place("aten::log(Tensor self) -> Tensor", log)
        .complex(|c| complex::unary(c, Complex::ln)),
    op_with_in_place("aten::log2(Tensor self) -> Tensor", log2),
    op_with_in_place("aten::log10(Tensor self) -> Tensor", log10),
    op_with_in_place("aten::log1p(Tensor self) -> Tensor", log1p),
    op_with_in_place("aten::sqrt(Tensor self) -> Tensor", sqrt)
        .complex(|c| complex::unary(c, Complex::sqrt)),
    op_with_in_place("aten::rsqrt(Tensor self) -> Tensor", rsqrt),
    op_with_in_place("aten::reciprocal(Tensor self) -> Tensor", reciprocal)
        .complex(|c| complex::unary(c, |x| Complex::real(1.0).divided_by(x))),
    op_with_in_place("aten::sin(Tensor self) -> Tensor", sin),
    op_with_in_place("aten::cos(Tensor self) -> Tensor", cos),
    op_with_in_place("aten::tan(Tensor self) -> Tensor", tan),
    op_with_in_place("aten::asin(Tensor self) -> Tensor", asin),
    op_with_in_place("aten::acos(Tensor self) -> Tensor", acos),
    op_with_in_place("aten::atan(Tensor self) -> Tensor", atan),
    op_with_in_place("aten::sinh(Tensor self) -> Tensor", sinh),
    op_with_in_place("aten::cosh(Tensor self) -> Tensor", cosh),
    op_with_in_place("aten::asinh(Tensor self) -> Tensor", asinh),
    op_with_in_place("aten::acosh(Tensor self) -> Tensor", acosh),
    op_with_in_place("aten::atanh(Tensor self) -> Tensor", atanh),
    op_with_in_place("aten::erfc(Tensor self) -> Tensor", erfc),
    op_with_in_place("aten::lgamma(Tensor self) -> Tensor", lgamma),
    op_with_in_place("aten::deg2rad(Tensor self) -> Tensor", deg2rad),
    op_with_in_place("aten::rad2deg(Tensor self) -> Tensor", rad2deg),
    op_with_in_place("aten::abs(Tensor self) -> Tensor", abs).complex(complex::abs),
    op_with_in_place("aten::absolute(Tensor self) -> Tensor", abs).complex(complex::abs),
    op_with_in_place("aten::neg(Tensor self) -> Tensor", neg)
        .complex(|c| complex::unary(c, |x| -x)),
    op_with_in_place("aten::negative(Tensor self) -> Tensor", neg)
        .complex(|c| complex::unary(c, |x| -x)),
    op_with_in_place("aten::relu(Tensor self) -> Tensor", relu),
    op_with_in_place("aten::floor(Tensor self) -> Tensor", floor),
    op_with_in_place("aten::ceil(Tensor self) -> Tensor", ceil),
    op_with_in_place("aten::trunc(Tensor self) -> Tensor", trunc),
    op_with_in_place("aten::fix(Tensor self) -> Tensor", trunc),
    op_with_in_place("aten::frac(Tensor self) -> Tensor", frac),
    op_with_in_place("aten::round(Tensor self) -> Tensor", round),
    op_with_in_place(
        "aten::round.decimals(Tensor self, *, int decimals) -> Tensor",
        round,
    ),
    op_with_in_place("aten::sign(Tensor self) -> Tensor", sign),
    op_with_in_place("aten::sgn(Tensor self) -> Tensor", sign),
    op_with_in_place("aten::square(Tensor self) -> Tensor", square)
        .complex(|c| complex::unary(c, |x| x * x)),
    op_with_in_place("aten::bitwise_not(Tensor self) -> Tensor", bitwise_not),
    op_with_in_place("aten::logical_not(Tensor self) -> Tensor", logical_not),
    op("aten::isnan(Tensor self) -> Tensor", isnan),
    op("aten::isinf(Tensor self) -> Tensor", isinf),
    op("aten::isposinf(Tensor self) -> Tensor", isposinf),
    op("aten::isneginf(Tensor self) -> Tensor", isneginf),
    op("aten::isfinite(Tensor self) -> Tensor", isfinite),
    op("aten::signbit(Tensor self) -> Tensor", signbit),
    op_with_in_place(
        "aten::nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
        nan_to_num,
    ),
];

/// A function of the kernels, applied to each element: vectorised, or by plain loops if those are
/// asked for. Integers become `f32`.
pub(super) fn lower_function(call: &Call<'_>, function: Function) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = float_type(x.dtype);
    let computation = match Class::of(dtype) {
        Class::F64 => Computation::F64(blockwise(move |[x]| function.exact(x))),
        _ if call.plain() => {
            Computation::F32(blockwise(move |[x]| function.exact(f64::from(x)) as f32))
        }
        _ => {
            return Ok(
                Pointwise::new([Operand::Tensor(x)], dtype)?.lower_function(x.dtype, function)
            );
        }
    };
    Ok(Pointwise::new([Operand::Tensor(x)], dtype)?.lower_with(dtype, computation))
}

fn exp(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_function(call, Function::Exp)
}

fn expm1(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_function(call, Function::Expm1)
}

fn sigmoid(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_function(call, Function::Sigmoid)
}

fn tanh(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_function(call, Function::Tanh)
}

fn erf(call: &Call<'_>) -> Result<Lowering, OpError> {
    lower_function(call, Function::Erf)
}

/// Functions that are computed in floats whatever the type of the operand, given for both widths.
macro_rules! in_floats {
    ($($name:ident: |$x:ident| $f32:expr, $f64:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = call.tensor("self")?;
            let dtype = float_type(x.dtype);
            let of = Pointwise::new([Operand::Tensor(x)], dtype)?;
            Ok(of.lower_floats(dtype, |[$x]: [f32; 1]| $f32, |[$x]: [f64; 1]| $f64))
        })*
    };
}

in_floats! {
    frac: |x| x - x.trunc(), x - x.trunc();
    exp2: |x| x.exp2(), x.exp2();
    log: |x| x.ln(), x.ln();
    log2: |x| x.log2(), x.log2();
    log10: |x| x.log10(), x.log10();
    log1p: |x| x.ln_1p(), x.ln_1p();
    sqrt: |x| x.sqrt(), x.sqrt();
    rsqrt: |x| 1.0 / x.sqrt(), 1.0 / x.sqrt();
    reciprocal: |x| 1.0 / x, 1.0 / x;
    sin: |x| x.sin(), x.sin();
    cos: |x| x.cos(), x.cos();
    tan: |x| x.tan(), x.tan();
    asin: |x| x.asin(), x.asin();
    acos: |x| x.acos(), x.acos();
    atan: |x| x.atan(), x.atan();
    sinh: |x| x.sinh(), x.sinh();
    cosh: |x| x.cosh(), x.cosh();
    asinh: |x| libm::asinh(x as f64) as f32, libm::asinh(x);
    acosh: |x| inverse_cosh(x as f64) as f32, inverse_cosh(x);
    atanh: |x| libm::atanh(x as f64) as f32, libm::atanh(x);
    erfc: |x| libm::erfcf(x), libm::erfc(x);
    lgamma: |x| libm::lgammaf(x), libm::lgamma(x);
    deg2rad: |x| x.to_radians(), x.to_radians();
    rad2deg: |x| x.to_degrees(), x.to_degrees();
}

/// The inverse hyperbolic cosine, NaN below 1.
fn inverse_cosh(x: f64) -> f64 {
    match x < 1.0 {
        true => f64::NAN,
        false => libm::acosh(x),
    }
}

/// Functions that are computed in the type of the operand.
macro_rules! in_own_type {
    ($($name:ident: |$x:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = call.tensor("self")?;
            let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
            Ok(lower_in_own_type!(of, x.dtype, [$x], $float, $int))
        })*
    };
}

in_own_type! {
    abs: |x| x.abs(), x.wrapping_abs();
    neg: |x| -x, x.wrapping_neg();
    relu: |x| if x < 0.0 { 0.0 } else { x }, x.max(0);
    floor: |x| x.floor(), x;
    ceil: |x| x.ceil(), x;
    trunc: |x| x.trunc(), x;
    round_to_integer: |x| x.round_ties_even(), x;
    // 0 for NaN.
    sign: |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }, x.signum();
}

/// A power with an integer exponent, so that bool becomes an integer type.
fn square(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = Operand::of(call, "self")?;
    let dtype = common_type(&[x, Operand::Number(Number::Int(2))]);
    let of = Pointwise::new([x], dtype)?;
    Ok(lower_in_own_type!(of, dtype, [x], x * x, x.wrapping_mul(x)))
}

/// Rounds to integers or to a number of decimals, which may be negative.
fn round(call: &Call<'_>) -> Result<Lowering, OpError> {
    let decimals = match call.has("decimals") {
        true => call.int("decimals")?,
        false => 0,
    };
    if decimals == 0 {
        return round_to_integer(call);
    }
    let x = call.tensor("self")?;
    if !x.dtype.is_float() {
        return Err(OpError::new(
            "rounding to decimals is defined for floats only",
        ));
    }
    let exponent = i32::try_from(decimals.unsigned_abs()).unwrap_or(i32::MAX);
    let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
    let (scale, is_fraction) = (10f64.powi(exponent), decimals > 0);
    let single = scale as f32;
    Ok(of.lower_floats(
        x.dtype,
        move |[x]| match is_fraction {
            true => (x * single).round_ties_even() / single,
            false => (x / single).round_ties_even() * single,
        },
        move |[x]| match is_fraction {
            true => (x * scale).round_ties_even() / scale,
            false => (x / scale).round_ties_even() * scale,
        },
    ))
}

fn bitwise_not(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    if x.dtype.is_float() {
        return Err(OpError::new("bitwise operators are not defined for floats"));
    }
    let is_bool = x.dtype == DType::Bool;
    let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
    Ok(of.lower_integers(
        x.dtype,
        move |[x]| if is_bool { (x == 0) as i64 } else { !x },
    ))
}

/// Predicates, for floats and for integers.
macro_rules! predicates {
    ($($name:ident: |$x:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = call.tensor("self")?;
            let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
            Ok(of.lower(
                DType::Bool,
                |[$x]| ($float) as u8 as f32,
                |[$x]| ($float) as u8 as f64,
                |[$x]| ($int) as i64,
            ))
        })*
    };
}

predicates! {
    logical_not: |x| x == 0.0, x == 0;
    isnan: |x| x.is_nan(), never(x);
    isinf: |x| x.is_infinite(), never(x);
    isposinf: |x| x == x.abs() && x.is_infinite(), never(x);
    isneginf: |x| x != x.abs() && x.is_infinite(), never(x);
    isfinite: |x| x.is_finite(), !never(x);
    signbit: |x| x.is_sign_negative(), x < 0;
}

/// False for every integer: none is NaN or infinite.
fn never(_: i64) -> bool {
    false
}

/// Replaces NaN and the infinities by what is given, or else by 0 and the largest finite numbers.
fn nan_to_num(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let highest = match x.dtype {
        DType::F16 => half::f16::MAX.to_f64(),
        DType::BF16 => half::bf16::MAX.to_f64(),
        DType::F32 => f32::MAX as f64,
        _ => f64::MAX,
    };
    let nan = call.optional_float("nan")?.unwrap_or(0.0);
    let high = call.optional_float("posinf")?.unwrap_or(highest);
    let low = call.optional_float("neginf")?.unwrap_or(-highest);
    let replace = move |x: f64| match x {
        x if x.is_nan() => nan,
        f64::INFINITY => high,
        f64::NEG_INFINITY => low,
        x => x,
    };
    let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
    Ok(of.lower(
        x.dtype,
        move |[x]| replace(x as f64) as f32,
        move |[x]| replace(x),
        |[x]| x,
    ))
}
