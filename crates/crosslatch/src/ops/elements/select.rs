//! Operators that select: `where`, `clamp`, `masked_fill`.

use crosslatch_kernels::movement::{Scalar, fill_masked, read_one};
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError};
use crate::ops::elements::pointwise::{
    Operand, Pointwise, broadcast_shape, common_type, lower_in_own_type,
};
use crate::ops::operands::range::{check_value, checked_number, checked_value, integer_range};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
        where_,
    ),
    op(
        "aten::where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
        where_,
    ),
    op(
        "aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
        where_,
    ),
    op(
        "aten::where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor",
        where_,
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
];

/// Either value may be a number.
fn where_(call: &Call<'_>) -> Result<Lowering, OpError> {
    let condition = call.tensor("condition")?;
    if condition.dtype != DType::Bool && condition.dtype != DType::U8 {
        return Err(OpError::new("`condition` is not of type bool"));
    }
    let [a, b] = [Operand::of(call, "self")?, Operand::of(call, "other")?];
    let ty = common_type(&[a, b]);
    for operand in [a, b] {
        if let (Operand::Number(n), false) = (operand, ty.is_float()) {
            checked_number(n, ty)?;
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

/// A bound of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Lower,
    Upper,
}

impl Bound {
    /// This bound as an operand beside elements of type `ty`. A bound that all elements satisfy is
    /// replaced by the smallest or largest element; one that none can satisfy is an error, as in
    /// PyTorch.
    pub(super) fn operand(self, number: Number, ty: DType) -> Result<Operand<'static>, OpError> {
        if ty.is_float() {
            return Ok(Operand::Number(checked_number(number, ty)?));
        }
        let (low, high) = integer_range(ty);
        let (name, value) = match self {
            Bound::Lower => ("lower", number.to_i64()),
            Bound::Upper => ("upper", number.to_i64()),
        };
        if (self == Bound::Lower && value > high) || (self == Bound::Upper && value < low) {
            return Err(OpError::new(format!(
                "no element of type {ty} satisfies the {name} bound {value}"
            )));
        }
        Ok(Operand::Number(Number::Int(value.clamp(low, high))))
    }
}

/// A bound that may be given, as [`Bound::operand`] has it.
fn bound_operand<'a>(
    which: Bound,
    given: Option<Operand<'a>>,
    ty: DType,
) -> Result<Option<Operand<'a>>, OpError> {
    match given {
        Some(Operand::Number(n)) => which.operand(n, ty).map(Some),
        tensor => Ok(tensor),
    }
}

/// `clamp` and its relatives, with one bound or both. NaN if a bound is.
fn clamp(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = Operand::of(call, "self")?;
    let given = |name: &str| match call.has(name) {
        true => Operand::optional(call, name),
        false => Ok(None),
    };
    let (low, high) = (given("min")?, given("max")?);
    let operands: Vec<Operand<'_>> = [Some(x), low, high].into_iter().flatten().collect();
    let ty = common_type(&operands);
    // With one bound that is a tensor this is `maximum` or `minimum`, which bool has.
    let is_number = |bound: &Option<Operand<'_>>| bound.as_ref().is_some_and(Operand::is_number);
    let is_range = operands.len() == 3 || is_number(&low) || is_number(&high);
    if ty == DType::Bool && is_range {
        return Err(OpError::new("`clamp` is not defined for bool"));
    }
    match (
        bound_operand(Bound::Lower, low, ty)?,
        bound_operand(Bound::Upper, high, ty)?,
    ) {
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

/// The operand, with one value where the mask is true.
fn masked_fill(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let value = Operand::of(call, "value")?;
    if mask.dtype != DType::Bool {
        return Err(OpError::new("`mask` is not of type bool"));
    }
    if !value.shape().is_empty() {
        return Err(OpError::new("`value` is not a single number"));
    }
    let of = [Operand::Tensor(x), Operand::Tensor(mask)];
    if broadcast_shape(&of)?.as_slice() != x.shape() {
        // The result is larger than the operand, so it is not an update of it.
        if let Operand::Number(n) = value {
            checked_number(n, x.dtype)?;
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
        Operand::Number(n) => Ok(checked_value(n, dtype)?),
    };
    Ok(Lowering::update(x, move |o: &mut Operands<'_, '_>| {
        let (to, mask, threads) = (&mut o.outputs[0], &o.inputs[mask], o.threads);
        let value = match value {
            Ok(value) => value,
            Err(i) => check_value(read_one(&o.inputs[i]), dtype)?,
        };
        match value {
            Scalar::Float(x) => fill_masked(to, mask, x, threads),
            Scalar::Int(i) => fill_masked(to, mask, i, threads),
        }
        Ok(())
    }))
}
