//! Comparisons, logical and bitwise operators.

use crosslatch_kernels::DType;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::elements::complex;
use crate::ops::elements::pointwise::{Operand, Pointwise, binary_operands, common_type};

pub(super) const OPERATORS: Table = &[
    op_with_in_place("aten::eq.Tensor(Tensor self, Tensor other) -> Tensor", eq)
        .complex(|c| complex::equal(c, true)),
    op_with_in_place("aten::eq.Scalar(Tensor self, Scalar other) -> Tensor", eq)
        .complex(|c| complex::equal(c, true)),
    op_with_in_place("aten::ne.Tensor(Tensor self, Tensor other) -> Tensor", ne)
        .complex(|c| complex::equal(c, false)),
    op_with_in_place("aten::ne.Scalar(Tensor self, Scalar other) -> Tensor", ne)
        .complex(|c| complex::equal(c, false)),
    op_with_in_place(
        "aten::not_equal.Tensor(Tensor self, Tensor other) -> Tensor",
        ne,
    ),
    op_with_in_place(
        "aten::not_equal.Scalar(Tensor self, Scalar other) -> Tensor",
        ne,
    ),
    op_with_in_place("aten::lt.Tensor(Tensor self, Tensor other) -> Tensor", lt),
    op_with_in_place("aten::lt.Scalar(Tensor self, Scalar other) -> Tensor", lt),
    op_with_in_place("aten::less.Tensor(Tensor self, Tensor other) -> Tensor", lt),
    op_with_in_place("aten::less.Scalar(Tensor self, Scalar other) -> Tensor", lt),
    op_with_in_place("aten::le.Tensor(Tensor self, Tensor other) -> Tensor", le),
    op_with_in_place("aten::le.Scalar(Tensor self, Scalar other) -> Tensor", le),
    op_with_in_place(
        "aten::less_equal.Tensor(Tensor self, Tensor other) -> Tensor",
        le,
    ),
    op_with_in_place(
        "aten::less_equal.Scalar(Tensor self, Scalar other) -> Tensor",
        le,
    ),
    op_with_in_place("aten::gt.Tensor(Tensor self, Tensor other) -> Tensor", gt),
    op_with_in_place("aten::gt.Scalar(Tensor self, Scalar other) -> Tensor", gt),
    op_with_in_place(
        "aten::greater.Tensor(Tensor self, Tensor other) -> Tensor",
        gt,
    ),
    op_with_in_place(
        "aten::greater.Scalar(Tensor self, Scalar other) -> Tensor",
        gt,
    ),
    op_with_in_place("aten::ge.Tensor(Tensor self, Tensor other) -> Tensor", ge),
    op_with_in_place("aten::ge.Scalar(Tensor self, Scalar other) -> Tensor", ge),
    op_with_in_place(
        "aten::greater_equal.Tensor(Tensor self, Tensor other) -> Tensor",
        ge,
    ),
    op_with_in_place(
        "aten::greater_equal.Scalar(Tensor self, Scalar other) -> Tensor",
        ge,
    ),
    op_with_in_place(
        "aten::logical_and(Tensor self, Tensor other) -> Tensor",
        logical_and,
    ),
    op_with_in_place(
        "aten::logical_or(Tensor self, Tensor other) -> Tensor",
        logical_or,
    ),
    op_with_in_place(
        "aten::logical_xor(Tensor self, Tensor other) -> Tensor",
        logical_xor,
    ),
    op(
        "aten::isclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
        isclose,
    ),
    op_with_in_place(
        "aten::bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_and,
    ),
    op_with_in_place(
        "aten::bitwise_and.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_and,
    ),
    op(
        "aten::bitwise_and.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        bitwise_and,
    ),
    op_with_in_place(
        "aten::bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_or,
    ),
    op_with_in_place(
        "aten::bitwise_or.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_or,
    ),
    op(
        "aten::bitwise_or.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        bitwise_or,
    ),
    op_with_in_place(
        "aten::bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_xor,
    ),
    op_with_in_place(
        "aten::bitwise_xor.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_xor,
    ),
    op(
        "aten::bitwise_xor.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        bitwise_xor,
    ),
    op(
        "aten::__and__.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_and,
    ),
    op(
        "aten::__and__.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_and,
    ),
    op(
        "aten::__or__.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_or,
    ),
    op(
        "aten::__or__.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_or,
    ),
    op(
        "aten::__xor__.Tensor(Tensor self, Tensor other) -> Tensor",
        bitwise_xor,
    ),
    op(
        "aten::__xor__.Scalar(Tensor self, Scalar other) -> Tensor",
        bitwise_xor,
    ),
    op(
        "aten::__lshift__.Tensor(Tensor self, Tensor other) -> Tensor",
        shift_left,
    ),
    op(
        "aten::__lshift__.Scalar(Tensor self, Scalar other) -> Tensor",
        shift_left,
    ),
    op(
        "aten::__rshift__.Tensor(Tensor self, Tensor other) -> Tensor",
        shift_right,
    ),
    op(
        "aten::__rshift__.Scalar(Tensor self, Scalar other) -> Tensor",
        shift_right,
    ),
    op_with_in_place(
        "aten::bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor",
        shift_left,
    ),
    op(
        "aten::bitwise_left_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
        shift_left,
    ),
    op(
        "aten::bitwise_left_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        shift_left,
    ),
    op_with_in_place(
        "aten::bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor",
        shift_right,
    ),
    op(
        "aten::bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
        shift_right,
    ),
    op(
        "aten::bitwise_right_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        shift_right,
    ),
];

/// Operators that compare in the common type of their operands and return bools.
macro_rules! comparisons {
    ($($name:ident: |$x:ident, $y:ident| $test:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let operands = binary_operands(call)?;
            let of = Pointwise::new(operands, common_type(&operands))?;
            Ok(of.lower(
                DType::Bool,
                |[$x, $y]| ($test) as u8 as f32,
                |[$x, $y]| ($test) as u8 as f64,
                |[$x, $y]| ($test) as i64,
            ))
        })*
    };
}

comparisons! {
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

/// Whether two numbers are equal within tolerances: `|x - y| <= atol + rtol |y|`.
fn isclose(call: &Call<'_>) -> Result<Lowering, OpError> {
    let operands = binary_operands(call)?;
    let (relative, absolute) = (call.float("rtol")?, call.float("atol")?);
    let equal_nan = call.bool("equal_nan")?;
    let close = move |x: f64, y: f64| {
        x == y
            || (equal_nan && x.is_nan() && y.is_nan())
            || ((x - y).is_finite() && (x - y).abs() <= absolute + (relative * y).abs())
    };
    let of = Pointwise::new(operands, common_type(&operands))?;
    Ok(of.lower(
        DType::Bool,
        move |[x, y]| close(x as f64, y as f64) as u8 as f32,
        move |[x, y]| close(x, y) as u8 as f64,
        move |[x, y]| (x == y || close(x as f64, y as f64)) as i64,
    ))
}

/// The operands of a bitwise operator and their common type.
fn integer_operands<'c>(call: &'c Call<'_>) -> Result<([Operand<'c>; 2], DType), OpError> {
    let operands = binary_operands(call)?;
    match common_type(&operands) {
        ty if ty.is_float() => Err(OpError::new("bitwise operators are not defined for floats")),
        ty => Ok((operands, ty)),
    }
}

macro_rules! bitwise {
    ($($name:ident: |$x:ident, $y:ident| $bits:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let (operands, ty) = integer_operands(call)?;
            Ok(Pointwise::new(operands, ty)?.lower_integers(ty, |[$x, $y]| $bits))
        })*
    };
}

bitwise! {
    bitwise_and: |x, y| x & y;
    bitwise_or: |x, y| x | y;
    bitwise_xor: |x, y| x ^ y;
}

/// A shift by a negative number of bits, or by the width of the type or more, gives 0.
fn shift_left(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty) = integer_operands(call)?;
    let width = 8 * ty.size() as i64;
    let of = Pointwise::new(operands, ty)?;
    Ok(of.lower_integers(
        ty,
        move |[x, y]| if (0..width).contains(&y) { x << y } else { 0 },
    ))
}

/// To the right, such a shift leaves the sign.
fn shift_right(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty) = integer_operands(call)?;
    let last = 8 * ty.size() as i64 - 1;
    let of = Pointwise::new(operands, ty)?;
    Ok(
        of.lower_integers(ty, move |[x, y]| match (0..=last).contains(&y) {
            true => x >> y,
            false => x >> 63,
        }),
    )
}
