//! Operators that choose between values or mix them: `where`, `clamp`, `masked_fill`, `lerp`, …

use crosslatch_kernels::blocks::first;
use crosslatch_kernels::masked::fill_masked;
use crosslatch_kernels::{DType, Operands};

use super::Table;
use super::pointwise::{
    Operand, Pointwise, common_type, joint_shape, lower_in_own_type, number_as,
};
use crate::ir::operator::{Call, Lowering, Number, OpError};

pub(super) const OPERATORS: Table = &[
    (
        "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
        choose,
    ),
    (
        "aten::where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
        choose,
    ),
    (
        "aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
        choose,
    ),
    (
        "aten::where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor",
        choose,
    ),
    (
        "aten::clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
        clamp,
    ),
    (
        "aten::clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
        clamp,
    ),
    (
        "aten::clip(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
        clamp,
    ),
    (
        "aten::clip.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
        clamp,
    ),
    ("aten::clamp_min(Tensor self, Scalar min) -> Tensor", clamp),
    (
        "aten::clamp_min.Tensor(Tensor self, Tensor min) -> Tensor",
        clamp,
    ),
    ("aten::clamp_max(Tensor self, Scalar max) -> Tensor", clamp),
    (
        "aten::clamp_max.Tensor(Tensor self, Tensor max) -> Tensor",
        clamp,
    ),
    (
        "aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor",
        masked_fill,
    ),
    (
        "aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor",
        masked_fill,
    ),
    (
        "aten::lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor",
        lerp,
    ),
    (
        "aten::lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
        lerp,
    ),
    (
        "aten::addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
        addcmul,
    ),
    (
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
    let of = Pointwise::new([Operand::Tensor(condition), a, b], ty)?;
    Ok(lower_in_own_type!(
        of,
        ty,
        [c, x, y],
        if c != 0.0 { x } else { y },
        if c != 0 { x } else { y }
    ))
}

/// `clamp` and its relatives: between two ends, or with one of them. If an end is NaN, so is the
/// result.
fn clamp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = Operand::of(call, "self")?;
    let end = |name: &str| match call.has(name) {
        true => Operand::optional(call, name),
        false => Ok(None),
    };
    match (end("min")?, end("max")?) {
        (Some(low), Some(high)) => {
            let ty = common_type(&[x, low, high]);
            let of = Pointwise::new([x, low, high], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, low, high],
                {
                    let x = if x > low || x.is_nan() { x } else { low };
                    if x < high || x.is_nan() { x } else { high }
                },
                x.max(low).min(high)
            ))
        }
        (Some(low), None) => {
            let ty = common_type(&[x, low]);
            let of = Pointwise::new([x, low], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, low],
                if x > low || x.is_nan() { x } else { low },
                x.max(low)
            ))
        }
        (None, Some(high)) => {
            let ty = common_type(&[x, high]);
            let of = Pointwise::new([x, high], ty)?;
            Ok(lower_in_own_type!(
                of,
                ty,
                [x, high],
                if x < high || x.is_nan() { x } else { high },
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
        let of = Pointwise::new([of[0], of[1], value], x.dtype)?;
        return Ok(lower_in_own_type!(
            of,
            x.dtype,
            [x, m, v],
            if m != 0.0 { v } else { x },
            if m != 0 { v } else { x }
        ));
    }
    let (mask, floats) = (mask.index, x.dtype.is_float());
    let value = match value {
        Operand::Tensor(t) => Err(t.index),
        Operand::Number(n) => Ok(n),
    };
    Ok(Lowering::update(x, move |o: &mut Operands<'_, '_>| {
        let (to, mask, threads) = (&mut o.outputs[0], &o.inputs[mask], o.threads);
        match (floats, value) {
            (true, Ok(n)) => fill_masked(to, mask, number_as::<f64>(n), threads),
            (true, Err(i)) => fill_masked(to, mask, first::<f64>(&o.inputs[i]), threads),
            (false, Ok(n)) => fill_masked(to, mask, number_as::<i64>(n), threads),
            (false, Err(i)) => fill_masked(to, mask, first::<i64>(&o.inputs[i]), threads),
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
    let of = Pointwise::new([a, b, weight], through)?;
    macro_rules! mix {
        () => {
            |[a, b, w]| {
                if w.abs() < 0.5 {
                    a + w * (b - a)
                } else {
                    b - (b - a) * (1.0 - w)
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
    Ok((operands, ty, value))
}

fn addcmul(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (operands, ty, value) = three(call)?;
    let (float, int) = (value.to_f64(), value.to_i64());
    let narrow = float as f32;
    Ok(Pointwise::new(operands, ty)?.lower(
        ty,
        move |[x, a, b]| x + narrow * a * b,
        move |[x, a, b]| x + float * a * b,
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
