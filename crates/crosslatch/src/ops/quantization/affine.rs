//! To integers with scales, and back.

use crosslatch_kernels::elements::{Blockwise, Class, Compute, Source, apply, blockwise};
use crosslatch_kernels::movement::{Scalar, read_one};
use crosslatch_kernels::{DType, KernelError, Layout, Operands, TensorRef};

use super::blocks::Blocks;
use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::{view, view_mut};

pub(super) const OPERATORS: Table = &[
    op(
        "quantized_decomposed::quantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int quant_max, ScalarType dtype) -> Tensor",
        |c| to_integers(c, Blocks::whole, Rounding::OfProducts),
    ),
    op(
        "quantized_decomposed::quantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, int quant_max, ScalarType dtype) -> Tensor",
        |c| to_integers(c, Blocks::whole, Rounding::OfProducts),
    ),
    op(
        "quantized_decomposed::quantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, int quant_min, int quant_max, ScalarType dtype) -> Tensor",
        |c| {
            let blocks = Blocks::channels(c.tensor("input")?, c.int("axis")?)?;
            to_integers(c, |_| Ok(blocks), Rounding::BeforeTheShift)
        },
    ),
    op(
        "quantized_decomposed::quantize_per_token(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int quant_max, ScalarType dtype) -> Tensor",
        |c| to_integers(c, Blocks::rows, Rounding::BehindTheShift),
    ),
    op(
        "quantized_decomposed::quantize_per_channel_group(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int quant_max, ScalarType dtype, int group_size) -> Tensor",
        |c| {
            let blocks = groups(c)?;
            to_integers(c, |_| Ok(blocks), Rounding::OfQuotients)
        },
    ),
    op(
        "torchao::quantize_affine(Tensor input, SymInt[] block_size, Tensor scale, Tensor? zero_point, ScalarType output_dtype, Scalar? quant_min=None, Scalar? quant_max=None) -> Tensor",
        |c| to_integers(c, |shape| Blocks::given(c, shape), Rounding::BeforeTheShift),
    ),
    op(
        "quantized_decomposed::dequantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
        |c| from_integers(c, Blocks::whole, Given::Numbers),
    ),
    op(
        "quantized_decomposed::dequantize_per_tensor.tensor(Tensor input, Tensor scale, Tensor zero_point, int quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
        |c| from_integers(c, Blocks::whole, Given::Numbers),
    ),
    op(
        "quantized_decomposed::dequantize_per_channel(Tensor input, Tensor scales, Tensor? zero_points, int axis, int quant_min, int quant_max, ScalarType dtype, *, ScalarType? out_dtype=None) -> Tensor",
        |c| {
            let blocks = Blocks::channels(c.tensor("input")?, c.int("axis")?)?;
            from_integers(c, |_| Ok(blocks), Given::Tensors)
        },
    ),
    op(
        "quantized_decomposed::dequantize_per_token(Tensor input, Tensor scales, Tensor zero_points, int quant_min, int quant_max, ScalarType dtype, ScalarType output_dtype) -> Tensor",
        |c| from_integers(c, Blocks::rows, Given::Tensors),
    ),
    op(
        "quantized_decomposed::dequantize_per_channel_group(Tensor input, Tensor scales, Tensor? zero_points, int quant_min, int quant_max, ScalarType dtype, int group_size, ScalarType output_dtype) -> Tensor",
        |c| {
            let blocks = groups(c)?;
            from_integers(c, |_| Ok(blocks), Given::Tensors)
        },
    ),
    op(
        "torchao::dequantize_affine(Tensor input, SymInt[] block_size, Tensor scale, Tensor? zero_point, ScalarType input_dtype, Scalar? quant_min=None, Scalar? quant_max=None, ScalarType? output_dtype=None) -> Tensor",
        |c| from_integers(c, |shape| Blocks::given(c, shape), Given::Tensors),
    ),
];

/// Where an operator rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    /// `round(x * inverse) + zero_point`, where the scale is a number, and its inverse is computed in `f64`.
    OfProducts,
    /// `round(x * (1 / scale)) + zero_point`, with a tensor of scales.
    BeforeTheShift,
    /// `round(x * (1 / scale) + zero_point)`.
    BehindTheShift,
    /// `round(x / scale + zero_point)`.
    OfQuotients,
}

/// The blocks of `group_size` neighbours. A group that is longer than a row is the row.
fn groups(call: &Call<'_>) -> Result<Blocks, OpError> {
    let shape = call.tensor("input")?.shape();
    let row = shape.last().copied().unwrap_or(1);
    let length = usize::try_from(call.int("group_size")?);
    let length = length.map_err(|_| OpError::new("`group_size` is negative"))?;
    Blocks::groups(shape, length.min(row))
}

/// How an operator takes a scale and a zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// As numbers, or as tensors of one element, which PyTorch reads before it computes.
    Numbers,
    /// As tensors with an element for each block, with which PyTorch computes.
    Tensors,
}

/// A scale or a zero point.
enum Parameter {
    Number(f64),
    /// The one element of an operand.
    One(usize),
    /// An operand with an element for each block.
    Each(usize),
}

impl Parameter {
    /// The argument with this name; `None` if it is left out.
    fn of(
        call: &Call<'_>,
        name: &str,
        blocks: &Blocks,
        given: Given,
    ) -> Result<Option<Self>, OpError> {
        let Ok(tensor) = call.optional_tensor(name) else {
            return Ok(Some(Parameter::Number(call.number(name)?.to_f64())));
        };
        let Some(tensor) = tensor else {
            return Ok(None);
        };
        let (wanted, parameter) = match given {
            Given::Numbers => (1, Parameter::One(tensor.index)),
            Given::Tensors => (blocks.count(), Parameter::Each(tensor.index)),
        };
        match tensor.layout.numel() {
            count if count == wanted => Ok(Some(parameter)),
            count => Err(OpError::new(format!(
                "`{name}` has {count} elements where there are to be {wanted}"
            ))),
        }
    }
}

/// The one of two names of an argument that the operator has.
fn either<'n>(call: &Call<'_>, names: [&'n str; 2]) -> &'n str {
    names[usize::from(!call.has(names[0]))]
}

fn to_integers(
    call: &Call<'_>,
    blocks: impl FnOnce(&[usize]) -> Result<Blocks, OpError>,
    rounding: Rounding,
) -> Result<Lowering, OpError> {
    let blocks = blocks(call.tensor("input")?.shape())?;
    let name = either(call, ["dtype", "output_dtype"]);
    let dtype = call.optional_dtype(name)?;
    let dtype = dtype.ok_or_else(|| OpError::new(format!("`{name}` is missing")))?;
    let [least, most] = bounds(call, dtype)?;
    let clamp = move |q: f64| if q.is_nan() { q } else { q.clamp(least, most) };
    let f32s = move |[x, s, zero]: [f32; 3]| {
        let q = match rounding {
            Rounding::OfProducts => (x * s).round_ties_even() + zero,
            Rounding::BeforeTheShift => (x * (1.0 / s)).round_ties_even() + zero,
            Rounding::BehindTheShift => (x * (1.0 / s) + zero).round_ties_even(),
            Rounding::OfQuotients => (x / s + zero).round_ties_even(),
        };
        clamp(f64::from(q)) as f32
    };
    let f64s = move |[x, s, zero]: [f64; 3]| {
        clamp(match rounding {
            Rounding::OfProducts => (x * s).round_ties_even() + zero,
            Rounding::BeforeTheShift => (x * (1.0 / s)).round_ties_even() + zero,
            Rounding::BehindTheShift => (x * (1.0 / s) + zero).round_ties_even(),
            Rounding::OfQuotients => (x / s + zero).round_ties_even(),
        })
    };
    let (given, of_scale): (_, fn(f64) -> f64) = match rounding {
        Rounding::OfProducts => (Given::Numbers, |scale| 1.0 / scale),
        _ => (Given::Tensors, |scale| scale),
    };
    lower(call, blocks, dtype, given, of_scale, f32s, f64s)
}

/// The least and the greatest integer, as arguments or as the type has them.
fn bounds(call: &Call<'_>, dtype: DType) -> Result<[f64; 2], OpError> {
    let of_type = match dtype {
        DType::U8 => [0.0, 255.0],
        DType::I8 => [-128.0, 127.0],
        DType::I16 => [-32768.0, 32767.0],
        DType::I32 => [f64::from(i32::MIN), f64::from(i32::MAX)],
        other => {
            return Err(OpError::unsupported(format!(
                "numbers are not quantized to {other}"
            )));
        }
    };
    let bound = |name: &str, otherwise: f64| -> Result<f64, OpError> {
        Ok(call
            .optional_number(name)?
            .map_or(otherwise, |n| n.to_f64()))
    };
    let [least, most] = [
        bound("quant_min", of_type[0])?,
        bound("quant_max", of_type[1])?,
    ];
    match least <= most && least >= of_type[0] && most <= of_type[1] {
        true => Ok([least, most]),
        false => Err(OpError::new(format!(
            "{dtype} does not hold {least} to {most}"
        ))),
    }
}

fn from_integers(
    call: &Call<'_>,
    blocks: impl FnOnce(&[usize]) -> Result<Blocks, OpError>,
    given: Given,
) -> Result<Lowering, OpError> {
    let blocks = blocks(call.tensor("input")?.shape())?;
    let name = either(call, ["out_dtype", "output_dtype"]);
    let dtype = call.optional_dtype(name)?.unwrap_or(DType::F32);
    lower(
        call,
        blocks,
        dtype,
        given,
        |scale| scale,
        |[q, scale, zero]| (q - zero) * scale,
        |[q, scale, zero]| (q - zero) * scale,
    )
}

/// The elementwise function of `input`, the scale and the zero point of its block. `of_scale` is what the
/// function takes of a scale that is a number.
fn lower(
    call: &Call<'_>,
    blocks: Blocks,
    result: DType,
    given: Given,
    of_scale: fn(f64) -> f64,
    f32s: impl Fn([f32; 3]) -> f32 + Send + Sync + 'static,
    f64s: impl Fn([f64; 3]) -> f64 + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let names = [
        either(call, ["scale", "scales"]),
        either(call, ["zero_point", "zero_points"]),
    ];
    let [scale, zero] = names.map(|name| Parameter::of(call, name, &blocks, given));
    let scale = scale?.ok_or_else(|| OpError::new("the scale is missing"))?;
    let zero = zero?;
    // A tensor of scales in `f64` makes PyTorch compute in `f64`.
    let wide = match &scale {
        Parameter::Each(_) => call.tensor(names[0])?.dtype == DType::F64,
        Parameter::Number(_) | Parameter::One(_) => false,
    };
    let class = if wide { Class::F64 } else { Class::F32 };
    let (f32s, f64s) = (blockwise(f32s), blockwise(f64s));
    let affine = Affine {
        of: x.index,
        scale,
        zero: zero.unwrap_or(Parameter::Number(0.0)),
        of_scale,
        blocks,
    };
    Ok(Lowering::compute(
        result,
        x.shape(),
        move |o: &mut Operands<'_, '_>| match class {
            Class::F64 => affine.run(o, DType::F64, &f64s, |x| x),
            _ => affine.run(o, DType::F32, &f32s, |x| x as f32),
        },
    ))
}

struct Affine {
    of: usize,
    scale: Parameter,
    zero: Parameter,
    of_scale: fn(f64) -> f64,
    blocks: Blocks,
}

impl Affine {
    fn run<C: Compute>(
        &self,
        o: &mut Operands<'_, '_>,
        dtype: DType,
        function: &Blockwise<C, 3>,
        number: impl Fn(f64) -> C,
    ) -> Result<(), KernelError> {
        let misfit = || KernelError::Assertion("the blocks do not fit the tensor".to_owned());
        let split = self.blocks.split();
        let inputs = o.inputs;
        let layout = inputs[self.of]
            .layout()
            .reshape(&split)
            .ok_or_else(misfit)?;
        let x = view(&inputs[self.of], &layout)?;
        // The layout of a parameter that has an element for each block.
        let layout = |parameter: &Parameter| match parameter {
            Parameter::Each(index) => {
                let layout = inputs[*index].layout().reshape(&self.blocks.of_blocks());
                let layout = layout.and_then(|layout| layout.expand(&split));
                layout.map(Some).ok_or_else(misfit)
            }
            Parameter::Number(_) | Parameter::One(_) => Ok(None),
        };
        let layouts = [layout(&self.scale)?, layout(&self.zero)?];
        let value = |parameter: &Parameter| match parameter {
            Parameter::Number(n) => *n,
            Parameter::One(index) | Parameter::Each(index) => match read_one(&inputs[*index]) {
                Scalar::Int(i) => i as f64,
                Scalar::Float(x) => x,
            },
        };
        let scales = each_of(inputs, &self.scale, &layouts[0])?;
        let zeros = each_of(inputs, &self.zero, &layouts[1])?;
        let scale = match &scales {
            Some(tensor) => Source::Tensor(tensor),
            None => Source::Number(number((self.of_scale)(value(&self.scale)))),
        };
        let zero = match &zeros {
            Some(tensor) => Source::Tensor(tensor),
            None => Source::Number(number(value(&self.zero))),
        };
        let layout = o.outputs[0].layout().reshape(&split).ok_or_else(misfit)?;
        let mut out = view_mut(&mut o.outputs[0], &layout)?;
        let sources = [Source::Tensor(&x), scale, zero];
        apply(&mut out, sources, [dtype; 3], o.threads, function);
        Ok(())
    }
}

/// An operand that has an element for each block, under this layout.
fn each_of<'l>(
    inputs: &[TensorRef<'l>],
    parameter: &Parameter,
    layout: &'l Option<Layout>,
) -> Result<Option<TensorRef<'l>>, KernelError> {
    match (parameter, layout) {
        (Parameter::Each(index), Some(layout)) => view(&inputs[*index], layout).map(Some),
        _ => Ok(None),
    }
}
