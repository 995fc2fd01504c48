//! Arithmetic on sizes: what Python computed while the model was exported.
//!
//! A graph with symbolic sizes has nodes for sums and products of them. All that they depend on is
//! known when a plan is made, so they are computed then, by Python's rules: integers do not wrap
//! around (overflow is an error), `//` and `%` round towards minus infinity, `/` gives a float. Where an
//! operator makes a number of a tensor's contents, the program is cut ([`crate::passes::segments`]); what is
//! met here is inside a branch or a loop, and refused.

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, Number, OpError};

pub(super) const OPERATORS: Table = &[
    op("aten::sym_size.int(Tensor self, int dim) -> SymInt", |c| {
        let this = c.tensor("self")?;
        int(this.shape().get(this.dim(c.int("dim")?)?).copied())
    }),
    op(
        "aten::sym_stride.int(Tensor self, int dim) -> SymInt",
        |c| {
            let this = c.tensor("self")?;
            int(this.layout.strides.get(this.dim(c.int("dim")?)?).copied())
        },
    ),
    op("aten::sym_numel(Tensor self) -> SymInt", |c| {
        int(Some(c.tensor("self")?.layout.numel()))
    }),
    op("aten::sym_storage_offset(Tensor self) -> SymInt", |c| {
        int(Some(c.tensor("self")?.layout.offset))
    }),
    op("aten::size.int(Tensor self, int dim) -> int", |c| {
        let this = c.tensor("self")?;
        int(this.shape().get(this.dim(c.int("dim")?)?).copied())
    }),
    op(
        "aten::sym_is_contiguous(Tensor self, MemoryFormat memory_format=0) -> SymBool",
        |c| number(Number::Bool(c.tensor("self")?.layout.is_contiguous())),
    ),
    op("aten::dim(Tensor self) -> int", |c| {
        int(Some(c.tensor("self")?.rank()))
    }),
    op("aten::numel(Tensor self) -> int", |c| {
        int(Some(c.tensor("self")?.layout.numel()))
    }),
    op("python::add(Scalar a, Scalar b) -> Scalar", |c| {
        binary(c, i64::checked_add, |a, b| a + b)
    }),
    op("python::sub(Scalar a, Scalar b) -> Scalar", |c| {
        binary(c, i64::checked_sub, |a, b| a - b)
    }),
    op("python::mul(Scalar a, Scalar b) -> Scalar", |c| {
        binary(c, i64::checked_mul, |a, b| a * b)
    }),
    op("python::floordiv(Scalar a, Scalar b) -> Scalar", |c| {
        check_divisor(c)?;
        binary(c, floor_div, |a, b| (a / b).floor())
    }),
    op("python::mod(Scalar a, Scalar b) -> Scalar", |c| {
        check_divisor(c)?;
        binary(c, floor_mod, |a, b| a - (a / b).floor() * b)
    }),
    op("python::truediv(Scalar a, Scalar b) -> Scalar", |c| {
        check_divisor(c)?;
        let (a, b) = operands(c)?;
        number(Number::Float(a.to_f64() / b.to_f64()))
    }),
    op("python::pow(Scalar a, Scalar b) -> Scalar", pow),
    op("python::neg(Scalar a) -> Scalar", |c| {
        number(match c.number("a")? {
            Number::Float(x) => Number::Float(-x),
            other => Number::Int(other.to_i64().checked_neg().ok_or_else(too_large)?),
        })
    }),
    op("python::pos(Scalar a) -> Scalar", |c| {
        number(bool_to_int(c.number("a")?))
    }),
    op("python::eq(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_eq(), false)
    }),
    op("python::ne(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_ne(), true)
    }),
    op("python::lt(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_lt(), false)
    }),
    op("python::le(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_le(), false)
    }),
    op("python::gt(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_gt(), false)
    }),
    op("python::ge(Scalar a, Scalar b) -> Scalar", |c| {
        compare(c, |o| o.is_ge(), false)
    }),
    op("python::and_(Scalar a, Scalar b) -> Scalar", |c| {
        bitwise(c, |a, b| a & b)
    }),
    op("python::or_(Scalar a, Scalar b) -> Scalar", |c| {
        bitwise(c, |a, b| a | b)
    }),
    op("python::xor(Scalar a, Scalar b) -> Scalar", |c| {
        bitwise(c, |a, b| a ^ b)
    }),
    op("python::lshift(Scalar a, Scalar b) -> Scalar", |c| {
        let (a, b) = operands(c)?;
        let factor = u32::try_from(b.to_i64())
            .ok()
            .and_then(|b| 2i64.checked_pow(b));
        let value = factor.and_then(|f| a.to_i64().checked_mul(f));
        number(Number::Int(value.ok_or_else(too_large)?))
    }),
    op("python::rshift(Scalar a, Scalar b) -> Scalar", |c| {
        let (a, b) = operands(c)?;
        match u32::try_from(b.to_i64()) {
            Ok(b) => number(Number::Int(a.to_i64() >> b.min(63))),
            Err(_) => Err(OpError::new(format!("a shift by {} bits", b.to_i64()))),
        }
    }),
    op("python::sym_max(Scalar a, Scalar b) -> Scalar", |c| {
        let (a, b) = operands(c)?;
        select(a, b, order(a, b).is_some_and(|o| o.is_lt()))
    }),
    op("python::sym_min(Scalar a, Scalar b) -> Scalar", |c| {
        let (a, b) = operands(c)?;
        select(a, b, order(a, b).is_some_and(|o| o.is_gt()))
    }),
    op("python::sym_not(Scalar a) -> Scalar", |c| {
        number(Number::Bool(!is_true(c.number("a")?)))
    }),
    op("python::sym_float(Scalar a) -> Scalar", |c| {
        number(Number::Float(c.float("a")?))
    }),
    op("python::sym_int(Scalar a) -> Scalar", |c| {
        round_with(c, "a", f64::trunc)
    }),
    op(
        "python::sym_ite(Scalar b, Scalar t, Scalar f) -> Scalar",
        |c| {
            number(if is_true(c.number("b")?) {
                c.number("t")?
            } else {
                c.number("f")?
            })
        },
    ),
    op("python::_sym_sqrt(Scalar a) -> Scalar", |c| {
        number(Number::Float(c.float("a")?.sqrt()))
    }),
    op("python::math_ceil(Scalar x) -> Scalar", |c| {
        round_with(c, "x", f64::ceil)
    }),
    op("python::math_floor(Scalar x) -> Scalar", |c| {
        round_with(c, "x", f64::floor)
    }),
    op("python::math_trunc(Scalar x) -> Scalar", |c| {
        round_with(c, "x", f64::trunc)
    }),
    op("aten::item(Tensor self) -> Scalar", refuse_data_dependence),
    op(
        "aten::_local_scalar_dense(Tensor self) -> Scalar",
        refuse_data_dependence,
    ),
];

fn number(number: Number) -> Result<Lowering, OpError> {
    Ok(Lowering::Numbers(vec![number]))
}

fn int(value: Option<usize>) -> Result<Lowering, OpError> {
    let value = value.ok_or_else(|| OpError::new("a tensor without dimensions has no sizes"))?;
    number(Number::Int(i64::try_from(value).map_err(|_| too_large())?))
}

fn too_large() -> OpError {
    OpError::new("a number computed from sizes overflows")
}

fn refuse_data_dependence(call: &Call<'_>) -> Result<Lowering, OpError> {
    Err(OpError::unsupported(format!(
        "`{}` makes a number of a tensor's contents, on which sizes could depend, which is not \
         supported in a branch or a loop: keep it a tensor in the model",
        call.schema.name
    )))
}

fn operands(call: &Call<'_>) -> Result<(Number, Number), OpError> {
    Ok((call.number("a")?, call.number("b")?))
}

fn is_true(number: Number) -> bool {
    match number {
        Number::Float(x) => x != 0.0,
        other => other.to_i64() != 0,
    }
}

/// A bool as the integer that it is in Python's arithmetic.
fn bool_to_int(number: Number) -> Number {
    match number {
        Number::Bool(b) => Number::Int(b as i64),
        other => other,
    }
}

fn select(a: Number, b: Number, second: bool) -> Result<Lowering, OpError> {
    let selected = if second { b } else { a };
    // As with sizes in Python, the result is a float if either operand is.
    number(match a.is_float() || b.is_float() {
        true => Number::Float(selected.to_f64()),
        false => bool_to_int(selected),
    })
}

fn binary(
    call: &Call<'_>,
    ints: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Result<Lowering, OpError> {
    let (a, b) = operands(call)?;
    number(match a.is_float() || b.is_float() {
        true => Number::Float(floats(a.to_f64(), b.to_f64())),
        false => Number::Int(ints(a.to_i64(), b.to_i64()).ok_or_else(too_large)?),
    })
}

fn check_divisor(call: &Call<'_>) -> Result<(), OpError> {
    match is_true(call.number("b")?) {
        true => Ok(()),
        false => Err(OpError::new("division of a size by zero")),
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(quotient - (a % b != 0 && (a < 0) != (b < 0)) as i64)
}

fn floor_mod(a: i64, b: i64) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) {
        rest + b
    } else {
        rest
    })
}

fn pow(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = operands(call)?;
    let exponent = u32::try_from(b.to_i64());
    match exponent {
        Ok(exponent) if !a.is_float() && !b.is_float() => number(Number::Int(
            a.to_i64().checked_pow(exponent).ok_or_else(too_large)?,
        )),
        _ => number(Number::Float(a.to_f64().powf(b.to_f64()))),
    }
}

fn bitwise(call: &Call<'_>, op: fn(i64, i64) -> i64) -> Result<Lowering, OpError> {
    let (a, b) = operands(call)?;
    let value = op(a.to_i64(), b.to_i64());
    number(match (a, b) {
        (Number::Bool(_), Number::Bool(_)) => Number::Bool(value != 0),
        _ => Number::Int(value),
    })
}

/// How two numbers compare; `None` if one is NaN.
fn order(a: Number, b: Number) -> Option<std::cmp::Ordering> {
    match a.is_float() || b.is_float() {
        true => a.to_f64().partial_cmp(&b.to_f64()),
        false => Some(a.to_i64().cmp(&b.to_i64())),
    }
}

fn compare(
    call: &Call<'_>,
    holds: fn(std::cmp::Ordering) -> bool,
    unordered: bool,
) -> Result<Lowering, OpError> {
    let (a, b) = operands(call)?;
    number(Number::Bool(order(a, b).map_or(unordered, holds)))
}

/// A float rounded to an integer, or an integer as it is.
fn round_with(call: &Call<'_>, name: &str, round: fn(f64) -> f64) -> Result<Lowering, OpError> {
    match call.number(name)? {
        Number::Float(x) => match round(x) {
            y if y.abs() < i64::MAX as f64 => number(Number::Int(y as i64)),
            _ => Err(too_large()),
        },
        other => number(bool_to_int(other)),
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::{Call, CallArg, KernelSet, Lowering, Number};
    use crate::ops::Catalogue;

    fn eval(name: &str, args: &[Number]) -> Result<Number, String> {
        let op = Catalogue::builtin().get(name).unwrap();
        let args: Vec<CallArg> = args.iter().map(|n| CallArg::Number(*n)).collect();
        let call = Call {
            schema: &op.schema,
            args: &args,
            kernels: KernelSet::Fast,
            results: None,
        };
        match op.lower(&call).map_err(|e| e.to_string())? {
            Lowering::Numbers(numbers) => Ok(numbers[0]),
            _ => Err("not a number".into()),
        }
    }

    #[test]
    fn arithmetic_on_sizes_is_pythons() {
        use Number::{Bool, Float, Int};
        for (name, args, result) in [
            ("python::floordiv", [Int(-7), Int(2)], Int(-4)),
            ("python::floordiv", [Int(7), Int(-2)], Int(-4)),
            ("python::floordiv", [Float(7.0), Int(2)], Float(3.0)),
            ("python::mod", [Int(-7), Int(2)], Int(1)),
            ("python::mod", [Int(7), Int(-2)], Int(-1)),
            ("python::mod", [Int(-6), Int(3)], Int(0)),
            ("python::truediv", [Int(1), Int(2)], Float(0.5)),
            ("python::pow", [Int(2), Int(10)], Int(1024)),
            ("python::pow", [Int(2), Int(-1)], Float(0.5)),
            ("python::eq", [Int(2), Float(2.0)], Bool(true)),
            ("python::and_", [Bool(true), Bool(false)], Bool(false)),
            ("python::sym_max", [Int(2), Int(5)], Int(5)),
            ("python::sym_min", [Int(2), Float(5.0)], Float(2.0)),
        ] {
            assert_eq!(eval(name, &args), Ok(result), "{name} {args:?}");
        }
        assert_eq!(eval("python::math_ceil", &[Float(1.2)]), Ok(Int(2)));
        assert!(eval("python::add", &[Int(i64::MAX), Int(1)]).is_err());
        assert!(eval("python::floordiv", &[Int(i64::MIN), Int(-1)]).is_err());
        assert!(eval("python::mod", &[Int(1), Int(0)]).is_err());
    }
}
