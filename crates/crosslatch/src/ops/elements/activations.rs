//! Activation functions.

use crosslatch_kernels::simd::Function;
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Call, Lowering, Number, OpError, TensorArg};
use crate::ops::elements::pointwise::{
    Computation, Operand, Pointwise, compute_type, float_type, lower_in_own_type, number_as,
    round_to,
};
use crate::ops::elements::select::Bound;
use crate::ops::elements::unary::lower_function;
use crate::ops::operands::layouts::view;
use crate::ops::operands::range::checked_number;

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

/// The operand `self`, which must be of a float type.
fn float_operand<'c>(call: &'c Call<'_>) -> Result<&'c TensorArg, OpError> {
    let x = call.tensor("self")?;
    match x.dtype.is_float() {
        true => Ok(x),
        false => Err(OpError::new(format!(
            "the activation is not defined for {}",
            x.dtype
        ))),
    }
}

fn gelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    float_operand(call)?;
    match call.optional_str("approximate")? {
        Some("tanh") => lower_function(call, Function::GeluTanh),
        Some("none") | None => lower_function(call, Function::Gelu),
        Some(other) => Err(OpError::unsupported(format!(
            "unknown approximation `{other}`"
        ))),
    }
}

fn silu(call: &Call<'_>) -> Result<Lowering, OpError> {
    float_operand(call)?;
    lower_function(call, Function::Silu)
}

/// An activation and its parameters, as one formula for both widths of floats. The parameters are
/// numbers of the width that it computes in.
macro_rules! activations {
    ($($name:ident($($parameter:ident),*): |$x:ident| $formula:expr;)*) => {
        $(fn $name(call: &Call<'_>) -> Result<Lowering, OpError> {
            let x = float_operand(call)?;
            $(let $parameter = call.number(stringify!($parameter))?;)*
            let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
            Ok(of.lower_floats(
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
    // Written so that `exp` does not overflow for either sign.
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

/// `elu` with the parameters that preserve mean and variance (Klambauer et al. 2017).
fn selu(call: &Call<'_>) -> Result<Lowering, OpError> {
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    const SCALE: f64 = 1.050_700_987_355_480_5;
    let selu = |x: f64| SCALE * if x < 0.0 { ALPHA * x.exp_m1() } else { x };
    let x = float_operand(call)?;
    let of = Pointwise::new([Operand::Tensor(x)], x.dtype)?;
    Ok(of.lower_floats(
        x.dtype,
        move |[x]: [f32; 1]| selu(x as f64) as f32,
        move |[x]| selu(x),
    ))
}

/// `log(x / (1 - x))`, where `x` is clamped to `eps..1 - eps` if `eps` is given. In 16 bits PyTorch
/// rounds each step.
fn logit(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dtype = float_type(x.dtype);
    let eps = call.optional_float("eps")?;
    let of = Pointwise::new([Operand::Tensor(x)], dtype)?;
    macro_rules! logit {
        ($C:ty) => {{
            let bounds = eps.map(|eps| {
                let low = round_to(eps as $C, dtype);
                (low, round_to(1.0 - low, dtype))
            });
            move |[x]: [$C; 1]| {
                let x = match bounds {
                    Some((low, _)) if x < low => low,
                    Some((_, high)) if x > high => high,
                    _ => x,
                };
                round_to(x / round_to(1.0 - x, dtype), dtype).ln()
            }
        }};
    }
    Ok(of.lower_floats(dtype, logit!(f32), logit!(f64)))
}

/// `x` clamped to two numbers, in its own type.
fn clamp_between(call: &Call<'_>, low: Number, high: Number) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    if x.dtype == DType::Bool {
        return Err(OpError::new("the activation is not defined for bool"));
    }
    if low.to_f64() > high.to_f64() {
        return Err(OpError::new("the lower bound is above the upper bound"));
    }
    let bounds = [
        Bound::Lower.operand(low, x.dtype)?,
        Bound::Upper.operand(high, x.dtype)?,
    ];
    let of = Pointwise::new([Operand::Tensor(x), bounds[0], bounds[1]], x.dtype)?;
    // These comparisons leave NaN as it is.
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
    clamp_between(call, call.number("min_val")?, call.number("max_val")?)
}

fn relu6(call: &Call<'_>) -> Result<Lowering, OpError> {
    clamp_between(call, Number::Int(0), Number::Int(6))
}

/// `x` where it is above the threshold or NaN, else `value`.
fn threshold(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let [limit, value] = [
        checked_number(call.number("threshold")?, x.dtype)?,
        checked_number(call.number("value")?, x.dtype)?,
    ]
    .map(Operand::Number);
    // PyTorch does not round the threshold to 16 bits.
    let types = [x.dtype, compute_type(x.dtype), x.dtype];
    let of = Pointwise::with_types([Operand::Tensor(x), limit, value], types)?;
    Ok(lower_in_own_type!(
        of,
        x.dtype,
        [x, limit, value],
        if x <= limit { value } else { x },
        if x <= limit { value } else { x }
    ))
}

/// The first half of a dimension, multiplied by the sigmoid of the second half.
fn glu(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = float_operand(call)?;
    let dim = x.dim(call.int("dim")?)?;
    let Some(&whole) = x.shape().get(dim) else {
        return Err(OpError::new(
            "a tensor without dimensions cannot be split in halves",
        ));
    };
    if whole % 2 != 0 {
        return Err(OpError::new(format!(
            "dimension {dim} of length {whole} cannot be split in halves"
        )));
    }
    let (dtype, half) = (x.dtype, whole / 2);
    let mut shape = x.layout.shape.clone();
    shape[dim] = half;
    macro_rules! glu {
        ($C:ty) => {
            |[value, gate]: [$C; 2]| value / (1.0 + (-gate).exp())
        };
    }
    let glu = Computation::floats(dtype, glu!(f32), glu!(f64));
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (out, x, threads) = (&mut o.outputs[0], &o.inputs[0], o.threads);
            let halves = [0, half].map(|start| x.layout().slice(dim, start, half, 1));
            let (value, gate) = (view(x, &halves[0])?, view(x, &halves[1])?);
            glu.apply(out, [&value, &gate], dtype, threads);
            Ok(())
        },
    ))
}

/// `x` where it is positive, else multiplied by a slope, which is a tensor. `prelu` has one slope for
/// each channel (dimension 1) or one for all; that of `_prelu_kernel` broadcasts.
fn prelu(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, slope) = (float_operand(call)?, call.tensor("weight")?);
    let per_channel = call.schema.name == "aten::prelu" && slope.layout.numel() != 1;
    if per_channel && (slope.rank() != 1 || x.rank() < 2 || slope.shape()[0] != x.shape()[1]) {
        return Err(OpError::new(
            "`weight` does not have one slope for each channel",
        ));
    }
    if !per_channel && slope.layout.expand(x.shape()).is_none() && slope.layout.numel() != 1 {
        return Err(OpError::new("`weight` does not broadcast to `self`"));
    }
    // Number of dimensions after the channels.
    let trailing = if per_channel { x.rank() - 2 } else { 0 };
    let (dtype, slope_at) = (x.dtype, slope.index);
    macro_rules! prelu {
        ($C:ty) => {
            |[x, slope]: [$C; 2]| if x > 0.0 { x } else { x * slope }
        };
    }
    let prelu = Computation::floats(dtype, prelu!(f32), prelu!(f64));
    Ok(Lowering::compute(
        dtype,
        x.shape(),
        move |o: &mut Operands<'_, '_>| {
            let given = o.inputs[slope_at];
            let mut layout = given.layout().clone();
            if !per_channel && layout.numel() == 1 {
                layout.shape.clear();
                layout.strides.clear();
            }
            for _ in 0..trailing {
                layout = layout.unsqueeze(layout.rank());
            }
            let slope = view(&given, &layout)?;
            let (out, x, threads) = (&mut o.outputs[0], &o.inputs[0], o.threads);
            prelu.apply(out, [x, &slope], dtype, threads);
            Ok(())
        },
    ))
}
