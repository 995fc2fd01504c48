//! Powers; those with common exponents are computed without a logarithm.

use crosslatch_kernels::DType;
use crosslatch_kernels::complex::Complex;

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::elements::complex;
use crate::ops::elements::pointwise::{Operand, Pointwise, binary_operands, common_type};
use crate::ops::operands::range::checked_number;

pub(super) const OPERATORS: Table = &[
    op_with_in_place(
        "aten::pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
        pow,
    )
    .complex(|c| complex::binary(c, Complex::pow)),
    op_with_in_place(
        "aten::pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
        pow,
    )
    .complex(|c| complex::binary(c, Complex::pow)),
    op(
        "aten::pow.Scalar(Scalar self, Tensor exponent) -> Tensor",
        pow,
    )
    .complex(|c| complex::binary(c, Complex::pow)),
    op_with_in_place(
        "aten::float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
        float_power,
    ),
    op_with_in_place(
        "aten::float_power.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
        float_power,
    ),
    op(
        "aten::float_power.Scalar(Scalar self, Tensor exponent) -> Tensor",
        float_power,
    ),
];

fn pow(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [base, exponent] = binary_operands(call)?;
    let ty = common_type(&[base, exponent]);
    if ty == DType::Bool {
        return Err(OpError::new("`pow` is not defined for bool"));
    }
    if let Operand::Number(n) = exponent {
        if ty != DType::F32 && ty != DType::F64 {
            checked_number(n, ty)?;
        }
        if ty.is_int() && n.to_i64() < 0 {
            return Err(OpError::new(
                "integers cannot be raised to a negative power",
            ));
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
        |[x, y]| match u64::try_from(y) {
            Ok(y) => wrapping_power(x, y),
            // Negative exponents, from a tensor. Only 1 and -1 have integers as reciprocals.
            Err(_) => match x {
                1 => 1,
                -1 => 1 - 2 * (y & 1),
                _ => 0,
            },
        },
    ))
}

/// `base` to a power of any size, modulo 2^64.
fn wrapping_power(base: i64, mut exponent: u64) -> i64 {
    let (mut power, mut square) = (1i64, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent >>= 1;
    }
    power
}

/// A power that needs no logarithm, if the exponent is one of these.
fn simple_power(base: Operand<'_>, exponent: f64, ty: DType) -> Result<Option<Lowering>, OpError> {
    let x = Pointwise::new([base], ty)?;
    macro_rules! powers {
        ($($value:literal => |$x:ident| $power:expr;)*) => {
            match exponent {
                $(e if e == $value => Some(x.lower_floats(ty, |[$x]| $power, |[$x]| $power)),)*
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

/// Always computed in double precision.
fn float_power(call: &Call<'_>) -> Result<Lowering, OpError> {
    let power = Pointwise::new(binary_operands(call)?, DType::F64)?;
    Ok(power.lower_floats(
        DType::F64,
        |[x, y]: [f32; 2]| x.powf(y),
        |[x, y]: [f64; 2]| x.powf(y),
    ))
}
