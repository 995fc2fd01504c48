//! Pointwise operators of one, two and three tensors.
//!
//! A row of a table names an operator and the numbers' function in each of the three types that
//! kernels compute in; type promotion and broadcasting are the same for all of them.

use crosslatch_kernels::elementwise::{Class, apply, erf_f32, exp_f32};
use crosslatch_kernels::layout::broadcast_shapes;
use crosslatch_kernels::{DType, Dims, Operands};

use super::Table;
use super::promotion::promote;
use crate::ir::operator::{Call, CallArg, Lowering, Number, OpError, TensorArg};

/// `call` of one tensor, computed in floats whatever its type: `exp`, `tanh`, …
macro_rules! float_unary {
    ($($name:ident: |$x:ident| $f32:expr, $f64:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let plain = call.plain();
            let (x, dtype) = float_operand(call)?;
            Ok(Lowering::compute(dtype, x.shape(), move |o: &mut Operands<'_, '_>| {
                let x = &o.inputs[0];
                match Class::of(dtype) {
                    Class::F64 => apply::<f64, 1>(&mut o.outputs[0], [x], o.threads, |[$x]| $f64),
                    _ if plain => apply::<f32, 1>(&mut o.outputs[0], [x], o.threads, |[x]| {
                        let $x = x as f64;
                        ($f64) as f32
                    }),
                    _ => apply::<f32, 1>(&mut o.outputs[0], [x], o.threads, |[$x]| $f32),
                }
                Ok(())
            }))
        })*
    };
}

/// Operand `self`, and the float type that it is computed in.
fn float_operand<'c>(call: &'c Call<'_>) -> Result<(&'c TensorArg, DType), OpError> {
    let x = call.tensor("self")?;
    let dtype = if x.dtype.is_float() {
        x.dtype
    } else {
        DType::F32
    };
    Ok((x, dtype))
}

float_unary! {
    exp: |x| exp_f32(x), x.exp();
    log: |x| x.ln(), x.ln();
    log2: |x| x.log2(), x.log2();
    log10: |x| x.log10(), x.log10();
    log1p: |x| x.ln_1p(), x.ln_1p();
    expm1: |x| x.exp_m1(), x.exp_m1();
    sqrt: |x| x.sqrt(), x.sqrt();
    rsqrt: |x| 1.0 / x.sqrt(), 1.0 / x.sqrt();
    reciprocal: |x| 1.0 / x, 1.0 / x;
    sin: |x| x.sin(), x.sin();
    cos: |x| x.cos(), x.cos();
    tanh: |x| x.tanh(), x.tanh();
    sigmoid: |x| 1.0 / (1.0 + exp_f32(-x)), 1.0 / (1.0 + (-x).exp());
    erf: |x| libm::erff(x), libm::erf(x);
    silu: |x| x / (1.0 + exp_f32(-x)), x / (1.0 + (-x).exp());
    gelu_erf:
        |x| 0.5 * x * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2)),
        0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    gelu_tanh:
        |x| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
        0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh());
}

fn gelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    match call.optional_str("approximate")? {
        Some("tanh") => gelu_tanh(call),
        Some("none") | None => gelu_erf(call),
        Some(other) => Err(OpError::new(format!("`approximate` is `{other}`"))),
    }
}

/// `call` of one tensor, computed in its own type.
macro_rules! same_type_unary {
    ($($name:ident: |$x:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = call.tensor("self")?;
            let dtype = x.dtype;
            Ok(Lowering::compute(dtype, x.shape(), move |o: &mut Operands<'_, '_>| {
                let x = &o.inputs[0];
                let (out, threads) = (&mut o.outputs[0], o.threads);
                match Class::of(dtype) {
                    Class::F32 => apply::<f32, 1>(out, [x], threads, |[$x]| $float),
                    Class::F64 => apply::<f64, 1>(out, [x], threads, |[$x]| $float),
                    Class::I64 => apply::<i64, 1>(out, [x], threads, |[$x]| $int),
                }
                Ok(())
            }))
        })*
    };
}

same_type_unary! {
    abs: |x| x.abs(), x.wrapping_abs();
    neg: |x| -x, x.wrapping_neg();
    relu: |x| if x < 0.0 { 0.0 } else { x }, x.max(0);
    square: |x| x * x, x.wrapping_mul(x);
    floor: |x| x.floor(), x;
    ceil: |x| x.ceil(), x;
    trunc: |x| x.trunc(), x;
    round: |x| x.round_ties_even(), x;
    sign: |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }, x.signum();
}

fn bitwise_not(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let is_bool = x.dtype == DType::Bool;
    Ok(Lowering::compute(
        x.dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let x = &o.inputs[0];
            apply::<i64, 1>(&mut o.outputs[0], [x], o.threads, |[x]| {
                if is_bool { (x == 0) as i64 } else { !x }
            });
            Ok(())
        },
    ))
}

/// A question about each element of a float.
macro_rules! test_unary {
    ($($name:ident: |$x:ident| $test:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = call.tensor("self")?;
            Ok(Lowering::compute(DType::Bool, x.shape(), move |o: &mut Operands<'_, '_>| {
                let x = &o.inputs[0];
                apply::<f64, 1>(&mut o.outputs[0], [x], o.threads, |[$x]| ($test) as u8 as f64);
                Ok(())
            }))
        })*
    };
}

test_unary! {
    logical_not: |x| x == 0.0;
    isnan: |x| x.is_nan();
    isinf: |x| x.is_infinite();
    isfinite: |x| x.is_finite();
}

/// An operand of an operator of two: a tensor, or a number.
enum Side<'a> {
    Tensor(&'a TensorArg),
    Number(Number),
}

impl Side<'_> {
    fn of<'c>(call: &'c Call<'_>, name: &str) -> Result<Side<'c>, OpError> {
        let position = call.schema.position(name);
        match position.and_then(|i| call.args.get(i)) {
            Some(CallArg::Tensor(t)) => Ok(Side::Tensor(t)),
            Some(CallArg::Number(n)) => Ok(Side::Number(*n)),
            _ => Err(OpError::new(format!(
                "argument `{name}` is no tensor and no number"
            ))),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Side::Tensor(t) => t.shape(),
            Side::Number(_) => &[],
        }
    }

    fn number(&self) -> Option<Number> {
        match self {
            Side::Number(n) => Some(*n),
            Side::Tensor(_) => None,
        }
    }
}

/// The type that operands meet in: tensors with dimensions first, then those without, then
/// numbers; a later rank counts only if it is of a higher kind (truth, integer, float).
fn common_type(sides: &[&Side<'_>]) -> DType {
    let kind = |d: DType| match d {
        DType::Bool => 0,
        d if d.is_int() => 1,
        _ => 2,
    };
    let rank = |wanted: bool| {
        sides
            .iter()
            .filter_map(|s| match s {
                Side::Tensor(t) if (t.rank() > 0) == wanted => Some(t.dtype),
                _ => None,
            })
            .reduce(promote)
    };
    let numbers = sides
        .iter()
        .filter_map(|s| s.number())
        .map(|n| match n {
            Number::Bool(_) => DType::Bool,
            Number::Int(_) => DType::I64,
            Number::Float(_) => DType::F32,
        })
        .reduce(promote);
    [rank(true), rank(false), numbers]
        .into_iter()
        .flatten()
        .reduce(|first, later| {
            if kind(later) > kind(first) {
                later
            } else {
                first
            }
        })
        .unwrap_or(DType::F32)
}

fn joint_shape(sides: &[&Side<'_>]) -> Result<Dims, OpError> {
    let shapes: Vec<&[usize]> = sides.iter().map(|s| s.shape()).collect();
    broadcast_shapes(&shapes)
        .ok_or_else(|| OpError::new(format!("shapes {shapes:?} do not broadcast")))
}

/// Lowers an operator of two operands. `ty` is the type that they are converted to, `result` that
/// of the result.
fn pair(
    [a, b]: [Side<'_>; 2],
    ty: DType,
    result: DType,
    f32s: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
    f64s: impl Fn(f64, f64) -> f64 + Send + Sync + 'static,
    i64s: impl Fn(i64, i64) -> i64 + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let shape = joint_shape(&[&a, &b])?;
    let numbers = [a.number(), b.number()];
    Ok(Lowering::compute(
        result,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (out, threads) = (&mut o.outputs[0], o.threads);
            macro_rules! run {
                ($C:ty, $f:expr, $number:expr) => {
                    match numbers.map(|n| n.map($number)) {
                        [None, None] => {
                            apply::<$C, 2>(out, [&o.inputs[0], &o.inputs[1]], threads, |[x, y]| {
                                $f(x, y)
                            })
                        }
                        [Some(x), _] => {
                            apply::<$C, 1>(out, [&o.inputs[0]], threads, |[y]| $f(x, y))
                        }
                        [_, Some(y)] => {
                            apply::<$C, 1>(out, [&o.inputs[0]], threads, |[x]| $f(x, y))
                        }
                    }
                };
            }
            match Class::of(ty) {
                Class::F32 => run!(f32, f32s, |n: Number| n.to_f64() as f32),
                Class::F64 => run!(f64, f64s, |n: Number| n.to_f64()),
                Class::I64 => run!(i64, i64s, |n: Number| n.to_i64()),
            }
            Ok(())
        },
    ))
}

fn sides<'c>(call: &'c Call<'_>) -> Result<[Side<'c>; 2], OpError> {
    let exponent = call.has("exponent");
    Ok([
        Side::of(call, "self")?,
        Side::of(call, if exponent { "exponent" } else { "other" })?,
    ])
}

/// Arithmetic whose result has the common type.
macro_rules! arithmetic {
    ($($name:ident: |$x:ident, $y:ident| $float:expr, $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let sides = sides(call)?;
            let ty = common_type(&[&sides[0], &sides[1]]);
            pair(sides, ty, ty, |$x, $y| $float, |$x, $y| $float, |$x, $y| $int)
        })*
    };
}

arithmetic! {
    mul: |x, y| x * y, x.wrapping_mul(y);
    maximum: |x, y| if x > y || x.is_nan() { x } else { y }, x.max(y);
    minimum: |x, y| if x < y || x.is_nan() { x } else { y }, x.min(y);
    fmod: |x, y| x % y, x.checked_rem(y).unwrap_or(0);
    remainder: |x, y| {
        let r = x % y;
        if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
    }, {
        let r = x.checked_rem(y).unwrap_or(0);
        if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
    };
    floor_divide: |x, y| (x / y).floor(), floor_div(x, y);
}

fn floor_div(x: i64, y: i64) -> i64 {
    match x.checked_div(y) {
        Some(q) if x % y != 0 && (x < 0) != (y < 0) => q - 1,
        Some(q) => q,
        None => 0,
    }
}

/// Operators on bits, for integers and truth values.
macro_rules! bitwise {
    ($($name:ident: |$x:ident, $y:ident| $int:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let sides = sides(call)?;
            let ty = common_type(&[&sides[0], &sides[1]]);
            if ty.is_float() {
                return Err(OpError::new("floats have no bitwise operators"));
            }
            pair(sides, ty, ty, |x, _| x, |x, _| x, |$x, $y| $int)
        })*
    };
}

bitwise! {
    bitwise_and: |x, y| x & y;
    bitwise_or: |x, y| x | y;
    bitwise_xor: |x, y| x ^ y;
}

/// `self + alpha * other`, with the sign given.
fn scaled_sum(call: &Call<'_>, sign: f64) -> Result<Lowering, OpError> {
    let sides = sides(call)?;
    let ty = common_type(&[&sides[0], &sides[1]]);
    let alpha = match call.has("alpha") {
        true => call.number("alpha")?,
        false => Number::Int(1),
    };
    let (float, int) = (
        sign * alpha.to_f64(),
        (sign as i64).wrapping_mul(alpha.to_i64()),
    );
    pair(
        sides,
        ty,
        ty,
        move |x, y| x + float as f32 * y,
        move |x, y| x + float * y,
        move |x, y| x.wrapping_add(int.wrapping_mul(y)),
    )
}

fn add(call: &Call<'_>) -> Result<Lowering, OpError> {
    scaled_sum(call, 1.0)
}

fn sub(call: &Call<'_>) -> Result<Lowering, OpError> {
    scaled_sum(call, -1.0)
}

/// `other - alpha * self`.
fn rsub(call: &Call<'_>) -> Result<Lowering, OpError> {
    let sides = sides(call)?;
    let ty = common_type(&[&sides[0], &sides[1]]);
    let alpha = call.number("alpha")?;
    let (float, int) = (alpha.to_f64(), alpha.to_i64());
    pair(
        sides,
        ty,
        ty,
        move |x, y| y - float as f32 * x,
        move |x, y| y - float * x,
        move |x, y| y.wrapping_sub(int.wrapping_mul(x)),
    )
}

fn div(call: &Call<'_>) -> Result<Lowering, OpError> {
    let sides = sides(call)?;
    let ty = common_type(&[&sides[0], &sides[1]]);
    let mode = match call.has("rounding_mode") {
        true => call.optional_str("rounding_mode")?.map(str::to_owned),
        false => None,
    };
    match mode.as_deref() {
        None => {
            let ty = if ty.is_float() { ty } else { DType::F32 };
            pair(sides, ty, ty, |x, y| x / y, |x, y| x / y, |x, _| x)
        }
        Some("floor") => floor_divide(call),
        Some("trunc") => pair(
            sides,
            ty,
            ty,
            |x, y| (x / y).trunc(),
            |x, y| (x / y).trunc(),
            |x, y| x.checked_div(y).unwrap_or(0),
        ),
        Some(other) => Err(OpError::new(format!("`rounding_mode` is `{other}`"))),
    }
}

fn pow(call: &Call<'_>) -> Result<Lowering, OpError> {
    let sides = sides(call)?;
    let ty = common_type(&[&sides[0], &sides[1]]);
    pair(
        sides,
        ty,
        ty,
        |x, y| if y == 2.0 { x * x } else { x.powf(y) },
        |x, y| if y == 2.0 { x * x } else { x.powf(y) },
        |x, y| match u32::try_from(y) {
            Ok(y) => x.wrapping_pow(y),
            // Of whole numbers only 1 and -1 have whole reciprocals.
            Err(_) => match x {
                1 => 1,
                -1 => 1 - 2 * (y & 1),
                _ => 0,
            },
        },
    )
}

/// Comparisons: operands meet in the common type, the result is a truth value.
macro_rules! comparison {
    ($($name:ident: |$x:ident, $y:ident| $test:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let sides = sides(call)?;
            let ty = common_type(&[&sides[0], &sides[1]]);
            pair(
                sides,
                ty,
                DType::Bool,
                |$x, $y| ($test) as u8 as f32,
                |$x, $y| ($test) as u8 as f64,
                |$x, $y| ($test) as i64,
            )
        })*
    };
}

comparison! {
    eq: |x, y| x == y;
    ne: |x, y| x != y;
    lt: |x, y| x < y;
    le: |x, y| x <= y;
    gt: |x, y| x > y;
    ge: |x, y| x >= y;
    logical_and: |x, y| is_true(x) && is_true(y);
    logical_or: |x, y| is_true(x) || is_true(y);
    logical_xor: |x, y| is_true(x) != is_true(y);
}

fn is_true<C: Default + PartialEq>(x: C) -> bool {
    x != C::default()
}

/// `where`: either operand may be a number.
fn choose(call: &Call<'_>) -> Result<Lowering, OpError> {
    let condition = call.tensor("condition")?;
    let (a, b) = (Side::of(call, "self")?, Side::of(call, "other")?);
    let ty = common_type(&[&a, &b]);
    let shape = joint_shape(&[&Side::Tensor(condition), &a, &b])?;
    let numbers = [a.number(), b.number()];
    Ok(Lowering::compute(
        ty,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (out, threads) = (&mut o.outputs[0], o.threads);
            let i = o.inputs;
            macro_rules! run {
                ($C:ty, $number:expr, $zero:expr) => {
                    match numbers.map(|n| n.map($number)) {
                        [None, None] => {
                            apply::<$C, 3>(out, [&i[0], &i[1], &i[2]], threads, |[c, x, y]| {
                                if c != $zero { x } else { y }
                            })
                        }
                        [Some(x), None] => {
                            apply::<$C, 2>(out, [&i[0], &i[1]], threads, |[c, y]| {
                                if c != $zero { x } else { y }
                            })
                        }
                        [None, Some(y)] => {
                            apply::<$C, 2>(out, [&i[0], &i[1]], threads, |[c, x]| {
                                if c != $zero { x } else { y }
                            })
                        }
                        [Some(x), Some(y)] => {
                            apply::<$C, 1>(
                                out,
                                [&i[0]],
                                threads,
                                |[c]| {
                                    if c != $zero { x } else { y }
                                },
                            )
                        }
                    }
                };
            }
            match Class::of(ty) {
                Class::F32 => run!(f32, |n: Number| n.to_f64() as f32, 0.0),
                Class::F64 => run!(f64, |n: Number| n.to_f64(), 0.0),
                Class::I64 => run!(i64, |n: Number| n.to_i64(), 0),
            }
            Ok(())
        },
    ))
}

/// `clamp` with numbers for its ends.
fn clamp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let end = |name: &str| match call.has(name) {
        true => call.optional_number(name),
        false => Ok(None),
    };
    let (low, high) = match call.has("min_val") {
        true => (end("min_val")?, end("max_val")?),
        false => (end("min")?, end("max")?),
    };
    let numbers: Vec<Side<'_>> = [low, high]
        .into_iter()
        .flatten()
        .map(Side::Number)
        .collect();
    let mut all = vec![Side::Tensor(x)];
    all.extend(numbers);
    let ty = common_type(&all.iter().collect::<Vec<_>>());
    Ok(Lowering::compute(
        ty,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let (out, threads, x) = (&mut o.outputs[0], o.threads, &o.inputs[0]);
            macro_rules! run {
                ($C:ty, $number:expr) => {{
                    let (low, high) = (low.map($number), high.map($number));
                    apply::<$C, 1>(out, [x], threads, |[x]| {
                        // Written so that NaN stays.
                        let x = if low.is_some_and(|l| x < l) {
                            low.unwrap_or(x)
                        } else {
                            x
                        };
                        if high.is_some_and(|h| x > h) {
                            high.unwrap_or(x)
                        } else {
                            x
                        }
                    });
                }};
            }
            match Class::of(ty) {
                Class::F32 => run!(f32, |n: Number| n.to_f64() as f32),
                Class::F64 => run!(f64, |n: Number| n.to_f64()),
                Class::I64 => run!(i64, |n: Number| n.to_i64()),
            }
            Ok(())
        },
    ))
}

/// `masked_fill`: the operand, with a value where the mask is true.
fn masked_fill(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, mask, value) = (
        call.tensor("self")?,
        call.tensor("mask")?,
        Side::of(call, "value")?,
    );
    let shape = joint_shape(&[&Side::Tensor(x), &Side::Tensor(mask)])?;
    let (number, ty) = (value.number(), x.dtype);
    Ok(Lowering::compute(
        ty,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (out, threads, i) = (&mut o.outputs[0], o.threads, o.inputs);
            macro_rules! run {
                ($C:ty, $number:expr, $zero:expr) => {
                    match number.map($number) {
                        Some(v) => apply::<$C, 2>(out, [&i[0], &i[1]], threads, |[x, m]| {
                            if m != $zero { v } else { x }
                        }),
                        None => apply::<$C, 3>(out, [&i[0], &i[1], &i[2]], threads, |[x, m, v]| {
                            if m != $zero { v } else { x }
                        }),
                    }
                };
            }
            match Class::of(ty) {
                Class::F32 => run!(f32, |n: Number| n.to_f64() as f32, 0.0),
                Class::F64 => run!(f64, |n: Number| n.to_f64(), 0.0),
                Class::I64 => run!(i64, |n: Number| n.to_i64(), 0),
            }
            Ok(())
        },
    ))
}

/// Conversion of the element type; the operand itself where it has the type already.
fn convert(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = match call.has("dtype") {
        true => call.optional_dtype("dtype")?.unwrap_or(x.dtype),
        false => call.tensor("other")?.dtype,
    };
    let copies = match call.has("copy") {
        true => call.bool("copy")?,
        false => call.schema.name == "aten::_to_copy",
    };
    if dtype == x.dtype {
        return Ok(match copies {
            true => Lowering::Copy(x.index),
            false => Lowering::view(x, x.layout.clone()),
        });
    }
    let index = x.index;
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            crosslatch_kernels::copy::copy(&mut o.outputs[0], &o.inputs[index], o.threads);
            Ok(())
        },
    ))
}

macro_rules! rows {
    ($($text:literal => $lower:ident,)*) => { &[$(($text, $lower)),*] };
}

pub(super) const OPERATORS: Table = rows! {
    "aten::exp(Tensor self) -> Tensor" => exp,
    "aten::expm1(Tensor self) -> Tensor" => expm1,
    "aten::log(Tensor self) -> Tensor" => log,
    "aten::log2(Tensor self) -> Tensor" => log2,
    "aten::log10(Tensor self) -> Tensor" => log10,
    "aten::log1p(Tensor self) -> Tensor" => log1p,
    "aten::sqrt(Tensor self) -> Tensor" => sqrt,
    "aten::rsqrt(Tensor self) -> Tensor" => rsqrt,
    "aten::reciprocal(Tensor self) -> Tensor" => reciprocal,
    "aten::sin(Tensor self) -> Tensor" => sin,
    "aten::cos(Tensor self) -> Tensor" => cos,
    "aten::tanh(Tensor self) -> Tensor" => tanh,
    "aten::sigmoid(Tensor self) -> Tensor" => sigmoid,
    "aten::erf(Tensor self) -> Tensor" => erf,
    "aten::silu(Tensor self) -> Tensor" => silu,
    "aten::gelu(Tensor self, *, str approximate='none') -> Tensor" => gelu,
    "aten::abs(Tensor self) -> Tensor" => abs,
    "aten::neg(Tensor self) -> Tensor" => neg,
    "aten::relu(Tensor self) -> Tensor" => relu,
    "aten::square(Tensor self) -> Tensor" => square,
    "aten::floor(Tensor self) -> Tensor" => floor,
    "aten::ceil(Tensor self) -> Tensor" => ceil,
    "aten::trunc(Tensor self) -> Tensor" => trunc,
    "aten::round(Tensor self) -> Tensor" => round,
    "aten::sign(Tensor self) -> Tensor" => sign,
    "aten::bitwise_not(Tensor self) -> Tensor" => bitwise_not,
    "aten::logical_not(Tensor self) -> Tensor" => logical_not,
    "aten::isnan(Tensor self) -> Tensor" => isnan,
    "aten::isinf(Tensor self) -> Tensor" => isinf,
    "aten::isfinite(Tensor self) -> Tensor" => isfinite,
    "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor" => add,
    "aten::add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor" => add,
    "aten::sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor" => sub,
    "aten::sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor" => sub,
    "aten::rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor" => rsub,
    "aten::rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor" => rsub,
    "aten::mul.Tensor(Tensor self, Tensor other) -> Tensor" => mul,
    "aten::mul.Scalar(Tensor self, Scalar other) -> Tensor" => mul,
    "aten::div.Tensor(Tensor self, Tensor other) -> Tensor" => div,
    "aten::div.Scalar(Tensor self, Scalar other) -> Tensor" => div,
    "aten::div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor" => div,
    "aten::div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor" => div,
    "aten::floor_divide(Tensor self, Tensor other) -> Tensor" => floor_divide,
    "aten::floor_divide.Scalar(Tensor self, Scalar other) -> Tensor" => floor_divide,
    "aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor" => remainder,
    "aten::remainder.Scalar(Tensor self, Scalar other) -> Tensor" => remainder,
    "aten::fmod.Tensor(Tensor self, Tensor other) -> Tensor" => fmod,
    "aten::fmod.Scalar(Tensor self, Scalar other) -> Tensor" => fmod,
    "aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor" => pow,
    "aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor" => pow,
    "aten::pow.Scalar(Scalar self, Tensor exponent) -> Tensor" => pow,
    "aten::maximum(Tensor self, Tensor other) -> Tensor" => maximum,
    "aten::minimum(Tensor self, Tensor other) -> Tensor" => minimum,
    "aten::max.other(Tensor self, Tensor other) -> Tensor" => maximum,
    "aten::min.other(Tensor self, Tensor other) -> Tensor" => minimum,
    "aten::bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor" => bitwise_and,
    "aten::bitwise_and.Scalar(Tensor self, Scalar other) -> Tensor" => bitwise_and,
    "aten::bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor" => bitwise_or,
    "aten::bitwise_or.Scalar(Tensor self, Scalar other) -> Tensor" => bitwise_or,
    "aten::bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor" => bitwise_xor,
    "aten::bitwise_xor.Scalar(Tensor self, Scalar other) -> Tensor" => bitwise_xor,
    "aten::logical_and(Tensor self, Tensor other) -> Tensor" => logical_and,
    "aten::logical_or(Tensor self, Tensor other) -> Tensor" => logical_or,
    "aten::logical_xor(Tensor self, Tensor other) -> Tensor" => logical_xor,
    "aten::eq.Tensor(Tensor self, Tensor other) -> Tensor" => eq,
    "aten::eq.Scalar(Tensor self, Scalar other) -> Tensor" => eq,
    "aten::ne.Tensor(Tensor self, Tensor other) -> Tensor" => ne,
    "aten::ne.Scalar(Tensor self, Scalar other) -> Tensor" => ne,
    "aten::lt.Tensor(Tensor self, Tensor other) -> Tensor" => lt,
    "aten::lt.Scalar(Tensor self, Scalar other) -> Tensor" => lt,
    "aten::le.Tensor(Tensor self, Tensor other) -> Tensor" => le,
    "aten::le.Scalar(Tensor self, Scalar other) -> Tensor" => le,
    "aten::gt.Tensor(Tensor self, Tensor other) -> Tensor" => gt,
    "aten::gt.Scalar(Tensor self, Scalar other) -> Tensor" => gt,
    "aten::ge.Tensor(Tensor self, Tensor other) -> Tensor" => ge,
    "aten::ge.Scalar(Tensor self, Scalar other) -> Tensor" => ge,
    "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor" => choose,
    "aten::where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor" => choose,
    "aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor" => choose,
    "aten::where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor" => choose,
    "aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor" => clamp,
    "aten::clamp_min(Tensor self, Scalar min) -> Tensor" => clamp,
    "aten::clamp_max(Tensor self, Scalar max) -> Tensor" => clamp,
    "aten::hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor" => clamp,
    "aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor" => masked_fill,
    "aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor" => masked_fill,
    "aten::to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)" => convert,
    "aten::to.dtype_layout(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)" => convert,
    "aten::to.device(Tensor(a) self, Device device, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)" => convert,
    "aten::to.other(Tensor(a) self, Tensor other, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)" => convert,
    "aten::type_as(Tensor(a) self, Tensor other) -> Tensor(a)" => convert,
    "aten::_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor" => convert,
};
