//! Activation functions.

use crosslatch_kernels::simd::functions::Function;
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::elements::arithmetic::rounded;
use crate::ops::elements::pointwise::{
    Computation, Operand, Pointwise, computed_in, float_type, lower_in_own_type, number_as,
};
use crate::ops::elements::select::End;
use crate::ops::elements::unary::vectorised;
use crate::ops::operands::layouts::view;
use crate::ops::operands::range::fitting;

pub(super) const OPERATORS: Table = &[
    op_with_in_place(
        "aten::gelu(Tensor self, *, str approximate='none') -> Tensor",
        gelu,
    ),
    op_with_in_place("aten::silu(Tensor self) -> Tensor", silu),
    op_with_in_place("aten::mish(Tensor self) -> Tensor", mish),
    op("aten::glu(Tensor self, int dim=-1) -> Tensor", glu),
    op(
        "aten::softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
        softplus,
    ),
    op("aten::log_sigmoid(Tensor self) -> Tensor", log_sigmoid),
    op_with_in_place("aten::logit(Tensor self, float? eps=None) -> Tensor", logit),
    op_with_in_place(
        "aten::leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
        leaky_relu,
    ),
    op_with_in_place(
        "aten::elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
        elu,
    ),
    op_with_in_place("aten::celu(Tensor self, Scalar alpha=1.) -> Tensor", celu),
    op_with_in_place("aten::selu(Tensor self) -> Tensor", selu),
    op_with_in_place(
        "aten::hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
        hardtanh,
    ),
    op_with_in_place("aten::relu6(Tensor self) -> Tensor", relu6),
    op_with_in_place("aten::hardswish(Tensor self) -> Tensor", hardswish),
    op_with_in_place("aten::hardsigmoid(Tensor self) -> Tensor", hardsigmoid),
    op(
        "aten::softshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
        softshrink,
    ),
    op(
        "aten::hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
        hardshrink,
    ),
    op_with_in_place(
        "aten::threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor",
        threshold,
    ),
    op("aten::prelu(Tensor self, Tensor weight) -> Tensor", prelu),
    op(
        "aten::_prelu_kernel(Tensor self, Tensor weight) -> Tensor",
        prelu,
    ),
];

/// Operand `self`, which must be of a float type.
fn float_operand<'c>(call: &'c Call<'_>) -> Result<&'c TensorArg, OpError> {
    let x = call.tensor("self")?;
    match x.dtype.is_float() {
        true => Ok(x),
        false => Err(OpError::new(format!(
            "an activation of {} is not defined",
            x.dtype
        ))),
    }
}

fn gelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    float_operand(call)?;
    match call.optional_str("approximate")? {
        Some("tanh") => vectorised(call, Function::GeluTanh),
        Some("none") | None => vectorised(call, Function::Gelu),
        Some(other) => Err(OpError::new(format!("`approximate` is `{other}`"))),
    }
}

fn silu(call: &Call<'_>) -> Result<Lowering, OpError> {
    float_operand(call)?;
    vectorised(call, Function::Silu)
}

/// An activation with its parameters, in one formula for both widths. The formula is given the
/// parameters as numbers of its own type.
macro_rules! activations {
    ($($name:ident($($parameter:ident),*): |$x:ident| $formula:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = float_operand(call)?;
            $(let $parameter = call.number(stringify!($parameter))?;)*
            let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
            Ok(of.floats(
                x.dtype,
                {
                    $(let $parameter = number_as::<f32>($parameter);)*
                    move |[$x]: [f32; 1]| $formula
                },
                {
                    $(let $parameter = number_as::<f64>($parameter);)*
                    move |[$x]: [f64; 1]| $formula
                },
            ))
        })*
    };
}

activations! {
    leaky_relu(negative_slope): |x| if x > 0.0 { x } else { x * negative_slope };
    elu(alpha, scale, input_scale): |x| {
        if x < 0.0 { (x * input_scale).exp_m1() * alpha * scale } else { x * scale }
    };
    celu(alpha): |x| if x < 0.0 { (x / alpha).exp_m1() * alpha } else { x };
    hardswish(): |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0;
    hardsigmoid(): |x| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    softplus(beta, threshold): |x| {
        let scaled = x * beta;
        if scaled > threshold { x } else { scaled.exp().ln_1p() / beta }
    };
    // Written for either sign so that nothing overflows.
    log_sigmoid(): |x| x.min(0.0) - (-x.abs()).exp().ln_1p();
    mish(): |x| {
        let softplus = if x > 20.0 { x } else { x.exp().ln_1p() };
        x * softplus.tanh()
    };
    softshrink(lambd): |x| {
        if x > lambd { x - lambd } else if x < -lambd { x + lambd } else { x * 0.0 }
    };
    hardshrink(lambd): |x| if x >= -lambd && x <= lambd { 0.0 } else { x };
}

/// `elu` with the parameters that keep mean and variance of its inputs (Klambauer et al. 2017).
fn selu(call: &Call<'_>) -> Result<Lowering, OpError> {
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    const SCALE: f64 = 1.050_700_987_355_480_5;
    let selu = |x: f64| SCALE * if x < 0.0 { ALPHA * x.exp_m1() } else { x };
    let x = float_operand(call)?;
    let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
    Ok(of.floats(
        x.dtype,
        move |[x]: [f32; 1]| selu(x as f64) as f32,
        move |[x]| selu(x),
    ))
}

/// `log(x / (1 - x))`, where `x` is kept off the ends by `eps`, if that is given. In 16 bits PyTorch
/// rounds each step.
fn logit(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = float_type(x.dtype);
    let eps = call.optional_float("eps")?;
    let of = Pointwise::new([Operand::Tensor(x)], dtype)?;
    macro_rules! logit {
        ($C:ty) => {{
            let ends = eps.map(|eps| {
                let low = rounded(eps as $C, dtype);
                (low, rounded(1.0 - low, dtype))
            });
            move |[x]: [$C; 1]| {
                let x = match ends {
                    Some((low, _)) if x < low => low,
                    Some((_, high)) if x > high => high,
                    _ => x,
                };
                rounded(x / rounded(1.0 - x, dtype), dtype).ln()
            }
        }};
    }
    Ok(of.floats(dtype, logit!(f32), logit!(f64)))
}

/// `x` between two numbers, in its own type.
fn between(call: &Call<'_>, low: Number, high: Number) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    if x.dtype == DType::Bool {
        return Err(OpError::new("truth values have no range"));
    }
    if low.to_f64() > high.to_f64() {
        return Err(OpError::new("the lower bound is above the upper one"));
    }
    let bounds = [
        End::Low.bound(low, x.dtype)?,
        End::High.bound(high, x.dtype)?,
    ];
    let of = Pointwise::new([Operand::Tensor(x), bounds[0], bounds[1]], x.dtype)?;
    // Comparisons that leave NaN as it is.
    Ok(lower_in_own_type!(
        of,
        x.dtype,
        [x, low, high],
        {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        },
        x.max(low).min(high)
    ))
}

fn hardtanh(call: &Call<'_>) -> Result<Lowering, OpError> {
    between(call, call.number("min_val")?, call.number("max_val")?)
}

fn relu6(call: &Call<'_>) -> Result<Lowering, OpError> {
    between(call, Number::Int(0), Number::Int(6))
}

/// `x` where it is above the threshold (or NaN), else a number.
fn threshold(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let [limit, value] = [
        fitting(call.number("threshold")?, x.dtype)?,
        fitting(call.number("value")?, x.dtype)?,
    ]
    .map(Operand::Number);
    // The limit is not rounded to 16 bits.
    let through = [x.dtype, computed_in(x.dtype), x.dtype];
    let of = Pointwise::each([Operand::Tensor(x), limit, value], through)?;
    Ok(lower_in_own_type!(
        of,
        x.dtype,
        [x, limit, value],
        if x <= limit { value } else { x },
        if x <= limit { value } else { x }
    ))
}

/// The first half of a dimension, gated: multiplied by the sigmoid of the second half.
fn glu(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let dim = x.dim(call.int("dim")?)?;
    let Some(&whole) = x.shape().get(dim) else {
        return Err(OpError::new("a number has no halves"));
    };
    if whole % 2 != 0 {
        return Err(OpError::new(format!(
            "dimension {dim} of length {whole} has no halves"
        )));
    }
    let (dtype, half) = (x.dtype, whole / 2);
    let mut shape = x.layout.shape.clone();
    shape[dim] = half;
    macro_rules! gate {
        ($C:ty) => {
            |[value, gate]: [$C; 2]| value / (1.0 + (-gate).exp())
        };
    }
    let gated = Computation::floats(dtype, gate!(f32), gate!(f64));
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (out, x, threads) = (&mut o.outputs[0], &o.inputs[0], o.threads);
            let halves = [0, half].map(|start| x.layout().slice(dim, start, half, 1));
            let (value, gate) = (view(x, &halves[0])?, view(x, &halves[1])?);
            gated.apply(out, [&value, &gate], dtype, threads);
            Ok(())
        },
    ))
}

/// `x` where it is positive, else multiplied by a slope that is a tensor of its own. For `prelu` it
/// has one entry for each of dimension 1, or one for all; for `_prelu_kernel` it broadcasts.
fn prelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, slope) = (float_operand(call)?, call.tensor("weight")?);
    let along = call.schema.name == "aten::prelu" && slope.layout.numel() != 1;
    if along && (slope.rank() != 1 || x.rank() < 2 || slope.shape()[0] != x.shape()[1]) {
        return Err(OpError::new("there is not one slope for each channel"));
    }
    if !along && slope.layout.expand(x.shape()).is_none() && slope.layout.numel() != 1 {
        return Err(OpError::new("the slopes do not broadcast to the tensor"));
    }
    // Dimensions that follow dimension 1.
    let behind = if along { x.rank() - 2 } else { 0 };
    let (dtype, slope_at) = (x.dtype, slope.index);
    macro_rules! bent {
        ($C:ty) => {
            |[x, slope]: [$C; 2]| if x > 0.0 { x } else { x * slope }
        };
    }
    let bent = Computation::floats(dtype, bent!(f32), bent!(f64));
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let given = o.inputs[slope_at];
            let mut layout = given.layout().clone();
            if !along && layout.numel() == 1 {
                layout.shape.clear();
                layout.strides.clear();
            }
            for _ in 0..behind {
                layout = layout.unsqueeze(layout.rank());
            }
            let slope = view(&given, &layout)?;
            let (out, x, threads) = (&mut o.outputs[0], &o.inputs[0], o.threads);
            bent.apply(out, [x, &slope], dtype, threads);
            Ok(())
        },
    ))
}
