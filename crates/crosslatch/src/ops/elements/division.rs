//! Division: true, floor and truncating, and the remainders of the latter two.
//!
//! Floats follow IEEE 754. A division of integers by zero is an error at run time, as in PyTorch.

use crosslatch_kernels::complex::Complex;
use crosslatch_kernels::elements::{self, contains_zero};
use crosslatch_kernels::{DType, KernelError, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Compute, Lowering, OpError};
use crate::ops::elements::arithmetic::product_types;
use crate::ops::elements::complex;
use crate::ops::elements::pointwise::{
    Operand, Pointwise, binary_operands, broadcast_shape, common_float_type, common_type,
    lower_in_own_type, number_in, round_to,
};

pub(super) const OPERATORS: Table = &[
    op_with_in_place("aten::div.Tensor(Tensor self, Tensor other) -> Tensor", div)
        .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place("aten::div.Scalar(Tensor self, Scalar other) -> Tensor", div)
        .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::divide.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::divide.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::true_divide.Tensor(Tensor self, Tensor other) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
    op_with_in_place(
        "aten::true_divide.Scalar(Tensor self, Scalar other) -> Tensor",
        div,
    )
    .complex(|c| complex::binary(c, Complex::divided_by)),
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
            let operands = binary_operands(call)?;
            let ty = common_float_type(&operands);
            let quotient = Pointwise::with_types(operands, product_types(&operands, ty))?;
            Ok(quotient.lower_floats(ty, |[x, y]| x / y, |[x, y]| x / y))
        }
        Some("floor") => floor_divide(call),
        Some("trunc") => {
            let operands = binary_operands(call)?;
            let ty = quotient_type(call)?;
            let rounding = Rounding::of(&operands, ty);
            let lowering = lower_in_own_type!(
                Pointwise::with_types(operands, product_types(&operands, ty))?,
                ty,
                [x, y],
                rounding.round(x / y).trunc(),
                x.checked_div(y).unwrap_or(x)
            );
            check_divisors(call, lowering)
        }
        Some(other) => Err(OpError::unsupported(format!(
            "unknown rounding mode `{other}`"
        ))),
    }
}

/// The common type of the operands of a division that rounds.
fn quotient_type(call: &Call<'_>) -> Result<DType, OpError> {
    match common_type(&binary_operands(call)?) {
        DType::Bool => Err(OpError::new("rounding division is not defined for bool")),
        ty => Ok(ty),
    }
}

/// The division with a check that fails if integers are divided by zero.
fn check_divisors(call: &Call<'_>, lowering: Lowering) -> Result<Lowering, OpError> {
    let [a, b] = binary_operands(call)?;
    let ty = common_type(&[a, b]);
    let Lowering::Compute(compute) = lowering else {
        return Ok(lowering);
    };
    let is_empty = broadcast_shape(&[a, b])?.contains(&0);
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

/// How intermediate results of a division that rounds are rounded in 16 bits. PyTorch rounds each of
/// them, but none if the divisor is a single number.
#[derive(Clone, Copy)]
struct Rounding {
    ty: DType,
}

impl Rounding {
    fn of([_, divisor]: &[Operand<'_>; 2], ty: DType) -> Rounding {
        match divisor.is_single() {
            true => Rounding { ty: DType::F32 },
            false => Rounding { ty },
        }
    }

    fn round<C: elements::Compute>(self, x: C) -> C {
        round_to(x, self.ty)
    }
}

/// The floor of the exact quotient: to round the quotient first and take its floor then would be
/// wrong near integers.
macro_rules! floor_quotient {
    ($name:ident, $type:ty) => {
        fn $name([x, y]: [$type; 2], rounding: Rounding) -> $type {
            if y == 0.0 {
                return x / y;
            }
            let rest = x % y;
            let mut quotient = rounding.round(rounding.round(x - rest) / y);
            if rest != 0.0 && (y < 0.0) != (rest < 0.0) {
                quotient = rounding.round(quotient - 1.0);
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

floor_quotient!(floor_quotient_f32, f32);
floor_quotient!(floor_quotient_f64, f64);

fn floor_divide(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty) = (binary_operands(call)?, quotient_type(call)?);
    let rounding = Rounding::of(&operands, ty);
    let quotient = Pointwise::with_types(operands, product_types(&operands, ty))?;
    let lowering = quotient.lower(
        ty,
        move |operands| floor_quotient_f32(operands, rounding),
        move |operands| floor_quotient_f64(operands, rounding),
        |[x, y]| {
            match x.checked_div(y) {
                Some(q) if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) => q - 1,
                Some(q) => q,
                // The divisor is not 0, so this is the one quotient that overflows.
                None => x,
            }
        },
    );
    check_divisors(call, lowering)
}

/// The remainder of floor division, which has the sign of the divisor.
fn remainder(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = quotient_type(call)?;
    let rest = Pointwise::new(binary_operands(call)?, ty)?;
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
    check_divisors(call, lowering)
}

/// The remainder of truncating division, which has the sign of the dividend.
fn fmod(call: &Call<'_>) -> Result<Lowering, OpError> {
    let ty = quotient_type(call)?;
    let rest = Pointwise::new(binary_operands(call)?, ty)?;
    let lowering = lower_in_own_type!(rest, ty, [x, y], x % y, x.checked_rem(y).unwrap_or(0));
    check_divisors(call, lowering)
}
