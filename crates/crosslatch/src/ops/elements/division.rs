//! Quotients and remainders: true, rounded down, cut off.
//!
//! Floats follow IEEE 754; a division of integers by zero is an error when it runs, as in PyTorch.

use crosslatch_kernels::elements::blocks::Compute as Computed;
use crosslatch_kernels::elements::elementwise::contains_zero;
use crosslatch_kernels::{DType, KernelError, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Compute, Lowering, OpError};
use crate::ops::elements::arithmetic::{pair, rounded, through};
use crate::ops::elements::pointwise::{
    Operand, Pointwise, common_float, common_type, joint_shape, lower_in_own_type, number_in,
};

pub(super) const OPERATORS: Table = &[
    op_with_in_place("aten::div.Tensor(Tensor self, Tensor other) -> Tensor", div),
    op_with_in_place("aten::div.Scalar(Tensor self, Scalar other) -> Tensor", div),
    op_with_in_place(
        "aten::div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::divide.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::divide.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::true_divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    ),
    op_with_in_place(
        "aten::true_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    ),
    op(
        "aten::floor_divide(Tensor self, Tensor other) -> Tensor",
        floor_divide,
    ),
    op(
        "aten::floor_divide_.Tensor(Tensor(a!) self, Tensor other) -> Tensor(a!)",
        floor_divide,
    ),
    op_with_in_place(
        "aten::floor_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        floor_divide,
    ),
    op_with_in_place(
        "aten::remainder.Tensor(Tensor self, Tensor other) -> Tensor",
        remainder,
    ),
    op_with_in_place(
        "aten::remainder.Scalar(Tensor self, Scalar other) -> Tensor",
        remainder,
    ),
    op(
        "aten::remainder.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
        remainder,
    ),
    op_with_in_place(
        "aten::fmod.Tensor(Tensor self, Tensor other) -> Tensor",
        fmod,
    ),
    op_with_in_place(
        "aten::fmod.Scalar(Tensor self, Scalar other) -> Tensor",
        fmod,
    ),
];

fn div(call: &Call<'_>) -> Result<Lowering, OpError> {
    let mode = match call.has("rounding_mode") {
        true => call.optional_str("rounding_mode")?,
        false => None,
    };
    match mode {
        None => {
            let operands = pair(call)?;
            let ty = common_float(&operands);
            let quotient = Pointwise::each(operands, through(&operands, ty))?;
            Ok(quotient.floats(ty, |[x, y]| x / y, |[x, y]| x / y))
        }
        Some("floor") => floor_divide(call),
        Some("trunc") => {
            let operands = pair(call)?;
            let ty = dividing_type(call)?;
            let steps = Steps::of(&operands, ty);
            let lowering = lower_in_own_type!(
                Pointwise::each(operands, through(&operands, ty))?,
                ty,
                [x, y],
                steps.round(x / y).trunc(),
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

/// How the steps of a whole division of floats are rounded. PyTorch rounds each of them to 16 bits
/// where both operands are tensors of such a type, and none where the divisor is one number.
#[derive(Clone, Copy)]
struct Steps {
    ty: DType,
}

impl Steps {
    fn of([_, divisor]: &[Operand<'_>; 2], ty: DType) -> Steps {
        match divisor.is_one() {
            true => Steps { ty: DType::F32 },
            false => Steps { ty },
        }
    }

    fn round<C: Computed>(self, x: C) -> C {
        rounded(x, self.ty)
    }
}

/// The quotient rounded down, without the error that rounding the quotient first would make.
macro_rules! floor_of_quotient {
    ($name:ident, $type:ty) => {
        fn $name([x, y]: [$type; 2], steps: Steps) -> $type {
            if y == 0.0 {
                return x / y;
            }
            let rest = x % y;
            let mut quotient = steps.round(steps.round(x - rest) / y);
            if rest != 0.0 && (y < 0.0) != (rest < 0.0) {
                quotient = steps.round(quotient - 1.0);
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
    let (operands, ty) = (pair(call)?, dividing_type(call)?);
    let steps = Steps::of(&operands, ty);
    let quotient = Pointwise::each(operands, through(&operands, ty))?;
    let lowering = quotient.lower(
        ty,
        move |operands| floor_of_quotient_f32(operands, steps),
        move |operands| floor_of_quotient_f64(operands, steps),
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
