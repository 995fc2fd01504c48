//! Operators that choose between values or mix them: `where`, `clamp`, `masked_fill`, `lerp`, …

use crosslatch_kernels::movement::fill::{Value, read_one};
use crosslatch_kernels::movement::masked::fill_masked;
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError};
use crate::ops::elements::pointwise::{
    Operand, Pointwise, common_type, computed_in, joint_shape, lower_in_own_type,
};
use crate::ops::operands::range::{check_value, fitting, integer_range, value_in};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
        choose,
    ),
    op(
        "aten::where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
        choose,
    ),
    op(
        "aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
        choose,
    ),
    op(
        "aten::where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor",
        choose,
    ),
    op_with_in_place(
        "aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
        clamp,
    ),
    op_with_in_place(
        "aten::clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
        clamp,
    ),
    op_with_in_place(
        "aten::clip(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
        clamp,
    ),
    op_with_in_place(
        "aten::clip.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
        clamp,
    ),
    op_with_in_place("aten::clamp_min(Tensor self, Scalar min) -> Tensor", clamp),
    op_with_in_place(
        "aten::clamp_min.Tensor(Tensor self, Tensor min) -> Tensor",
        clamp,
    ),
    op_with_in_place("aten::clamp_max(Tensor self, Scalar max) -> Tensor", clamp),
    op_with_in_place(
        "aten::clamp_max.Tensor(Tensor self, Tensor max) -> Tensor",
        clamp,
    ),
    op_with_in_place(
        "aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor",
        masked_fill,
    ),
    op_with_in_place(
        "aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor",
        masked_fill,
    ),
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

/// `where`: either value may be a number.
fn choose(call: &Call<'_>) -> Result<Lowering, OpError> {
    let condition = call.tensor("condition")?;
    if condition.dtype != DType::Bool && condition.dtype != DType::U8 {
        return Err(OpError::new("the condition is not of type bool"));
    }
    let [a, b] = [Operand::of(call, "self")?, Operand::of(call, "other")?];
    let ty = common_type(&[a, b]);
    for operand in [a, b] {
        if let (Operand::Number(n), false) = (operand, ty.is_float()) {
            fitting(n, ty)?;
        }
    }
    let of = Pointwise::new([Operand::Tensor(condition), a, b], ty)?;
    Ok(lower_in_own_type!(
        of,
        ty,
        [c, x, y],
        if c != 0.0 { x } else { y },
        if c != 0 { x } else { y }
    ))
}

/// Which end of a range a number is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum End {
    Low,
    High,
}

impl End {
    /// This end of a range, for elements of type `ty`. A number that is beyond all of them bounds
    /// nothing and becomes their own end; if nothing would be in the range, that is an error, as in
    /// PyTorch.
    pub(in crate::ops) fn bound(
        self,
        number: Number,
        ty: DType,
    ) -> Result<Operand<'static>, OpError> {
        if ty.is_float() {
            return Ok(Operand::Number(fitting(number, ty)?));
        }
        let (low, high) = integer_range(ty);
        let (name, value) = match self {
            End::Low => ("lower", number.to_i64()),
            End::High => ("upper", number.to_i64()),
        };
        if (self == End::Low && value > high) || (self == End::High && value < low) {
            return Err(OpError::new(format!(
                "the {name} bound {value} is beyond all numbers of the type {ty}"
            )));
        }
        Ok(Operand::Number(Number::Int(value.clamp(low, high))))
    }
}

/// An end that may be given, as [`End::bound`] has it.
fn bounded<'a>(
    which: End,
    end: Option<Operand<'a>>,
    ty: DType,
) -> Result<Option<Operand<'a>>, OpError> {
    match end {
        Some(Operand::Number(n)) => which.bound(n, ty).map(Some),
        tensor => Ok(tensor),
    }
}

/// `clamp` and its relatives: between two ends, or with one of them. If an end is NaN, so is the
/// result.
fn clamp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = Operand::of(call, "self")?;
    let end = |name: &str| match call.has(name) {
        true => Operand::optional(call, name),
        false => Ok(None),
    };
    let (low, high) = (end("min")?, end("max")?);
    let operands: Vec<Operand<'_>> = [Some(x), low, high].into_iter().flatten().collect();
    let ty = common_type(&operands);
    // One bound that is a tensor makes it `maximum` or `minimum`, which PyTorch has for them.
    let is_number = |end: &Option<Operand<'_>>| end.as_ref().is_some_and(Operand::is_number);
    let is_range = operands.len() == 3 || is_number(&low) || is_number(&high);
    if ty == DType::Bool && is_range {
        return Err(OpError::new("truth values have no range"));
    }
    match (bounded(End::Low, low, ty)?, bounded(End::High, high, ty)?) {
        (Some(low), Some(high)) => {
            let of = Pointwise::new([x, low, high], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, low, high],
                {
                    let x = if x >= low || x.is_nan() { x } else { low };
                    if x <= high || x.is_nan() { x } else { high }
                },
                x.max(low).min(high)
            ))
        }
        (Some(low), None) => {
            let of = Pointwise::new([x, low], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, low],
                if x >= low || x.is_nan() { x } else { low },
                x.max(low)
            ))
        }
        (None, Some(high)) => {
            let of = Pointwise::new([x, high], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, high],
                if x <= high || x.is_nan() { x } else { high },
                x.min(high)
            ))
        }
        (None, None) => Err(OpError::new("neither `min` nor `max` is given")),
    }
}

/// `masked_fill`: the operand, with one value where the mask is true.
fn masked_fill(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let value = Operand::of(call, "value")?;
    if mask.dtype != DType::Bool {
        return Err(OpError::new("the mask is not of type bool"));
    }
    if !value.shape().is_empty() {
        return Err(OpError::new("the value has dimensions"));
    }
    let of = [Operand::Tensor(x), Operand::Tensor(mask)];
    if joint_shape(&of)?.as_slice() != x.shape() {
        // The mask makes it larger: the result cannot be the operand, changed.
        if let Operand::Number(n) = value {
            fitting(n, x.dtype)?;
        }
        let of = Pointwise::new([of[0], of[1], value], x.dtype)?;
        return Ok(lower_in_own_type!(
            of,
            x.dtype,
            [x, m, v],
            if m != 0.0 { v } else { x },
            if m != 0 { v } else { x }
        ));
    }
    let (mask, dtype) = (mask.index, x.dtype);
    let value = match value {
        Operand::Tensor(t) => Err(t.index),
        Operand::Number(n) => Ok(value_in(n, dtype)?),
    };
    Ok(Lowering::update(x, move |o: &mut Operands<'_, '_>| {
        let (to, mask, threads) = (&mut o.outputs[0], &o.inputs[mask], o.threads);
        let value = match value {
            Ok(value) => value,
            Err(i) => check_value(read_one(&o.inputs[i]), dtype)?,
        };
        match value {
            Value::Float(x) => fill_masked(to, mask, x, threads),
            Value::Int(i) => fill_masked(to, mask, i, threads),
        }
        Ok(())
    }))
}

/// `a + weight (b - a)`, computed from the nearer end.
fn lerp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [a, b, weight] = [
        Operand::of(call, "self")?,
        Operand::of(call, "end")?,
        Operand::of(call, "weight")?,
    ];
    let ty = common_type(&[a, b]);
    if !ty.is_float() {
        return Err(OpError::new("integers cannot be mixed"));
    }
    let through = match ty {
        // A weight is not rounded to 16 bits.
        DType::F16 | DType::BF16 if weight.is_number() => DType::F32,
        _ => ty,
    };
    let of = Pointwise::each([a, b, weight], [ty, ty, through])?;
    macro_rules! mix {
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
    Ok(of.floats(ty, mix!(), mix!()))
}

/// The three operands of `addcmul` and `addcdiv`, their type and the factor.
fn three<'c>(call: &'c Call<'_>) -> Result<([Operand<'c>; 3], DType, Number), OpError> {
    let operands = [
        Operand::of(call, "self")?,
        Operand::of(call, "tensor1")?,
        Operand::of(call, "tensor2")?,
    ];
    let (ty, value) = (common_type(&operands), call.number("value")?);
    if value.is_float() && !ty.is_float() {
        return Err(OpError::new("`value` is a float and the operands are not"));
    }
    Ok((operands, ty, fitting(value, computed_in(ty))?))
}

fn addcmul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty, value) = three(call)?;
    let (float, int) = (value.to_f64(), value.to_i64());
    let narrow = float as f32;
    Ok(Pointwise::new(operands, ty)?.lower(
        ty,
        move |[x, a, b]| (narrow * a).mul_add(b, x),
        move |[x, a, b]| (float * a).mul_add(b, x),
        move |[x, a, b]| x.wrapping_add(int.wrapping_mul(a).wrapping_mul(b)),
    ))
}

fn addcdiv(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty, value) = three(call)?;
    if !ty.is_float() {
        return Err(OpError::new("integers are not divided by `addcdiv`"));
    }
    let float = value.to_f64();
    let narrow = float as f32;
    Ok(Pointwise::new(operands, ty)?.floats(
        ty,
        move |[x, a, b]| x + narrow * a / b,
        move |[x, a, b]| x + float * a / b,
    ))
}
