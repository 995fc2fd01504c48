//! Scales and zero points that fit the contents of a tensor.

use crosslatch_kernels::movement::convert;
use crosslatch_kernels::tensor::for_each_run;
use crosslatch_kernels::{DType, Dims, Element, KernelError, Operands, TensorRef, with_element};

use super::blocks::Blocks;
use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op(
        "quantized_decomposed::choose_qparams.tensor(Tensor input, int quant_min, int quant_max, float eps, ScalarType dtype) -> (Tensor, Tensor)",
        |c| {
            let range = [c.int("quant_min")? as f64, c.int("quant_max")? as f64];
            let blocks = Blocks::whole(c.tensor("input")?.shape())?;
            let choice = Choice::new(Mapping::Asymmetric, range, c.float("eps")? as f32);
            choose(
                c,
                blocks,
                choice,
                Dims::from_slice(&[1]),
                [DType::F64, DType::I64],
            )
        },
    ),
    op(
        "quantized_decomposed::choose_qparams_per_token_asymmetric(Tensor input, ScalarType dtype) -> (Tensor, Tensor)",
        per_token,
    ),
    op(
        "quantized_decomposed::_choose_qparams_per_token_asymmetric_impl(Tensor input, ScalarType dtype) -> (Tensor, Tensor)",
        per_token,
    ),
    op(
        "torchao::choose_qparams_affine(Tensor? input, str mapping_type, SymInt[] block_size, ScalarType target_dtype, Scalar? quant_min=None, Scalar? quant_max=None, float? eps=None, ScalarType? scale_dtype=None, ScalarType? zero_point_dtype=None, bool keepdim=False) -> (Tensor, Tensor)",
        affine,
    ),
];

/// How the range of the contents becomes that of the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    /// From the least to the greatest element, and zero.
    Asymmetric,
    /// `choose_qparams_per_token_asymmetric` takes the zero point at the end that it errs less at.
    AsymmetricByError,
    /// As far below zero as above.
    Symmetric,
    /// Each end by itself, so that nothing is cut off.
    SymmetricWithoutClipping,
}

struct Choice {
    mapping: Mapping,
    range: [f32; 2],
    /// The least scale.
    eps: f32,
}

impl Choice {
    fn new(mapping: Mapping, range: [f64; 2], eps: f32) -> Choice {
        Choice {
            mapping,
            range: range.map(|end| end as f32),
            eps,
        }
    }

    /// Scale and zero point for numbers from `least` to `greatest`.
    fn of(&self, least: f32, greatest: f32) -> (f32, f32) {
        let (low, high) = (least.min(0.0), greatest.max(0.0));
        let [first, last] = self.range;
        let clamp = |zero: f32| zero.max(first).min(last);
        match self.mapping {
            Mapping::Asymmetric => {
                let scale = ((high - low) / (last - first)).max(self.eps);
                (scale, clamp(first - (low / scale).round_ties_even()))
            }
            Mapping::AsymmetricByError => {
                let scale = ((high - low) / (last - first)).max(self.eps);
                let (low, high) = (low / scale, high / scale);
                let by_low = first + low + last + high > 0.0;
                let zero = if by_low { first - low } else { last - high };
                (scale, clamp(zero).round_ties_even())
            }
            Mapping::Symmetric => {
                let scale = high.max(-low) / ((last - first) / 2.0);
                (scale.max(self.eps), self.middle())
            }
            Mapping::SymmetricWithoutClipping => {
                let scale = (low / first).max(high / last);
                (scale.max(self.eps), self.middle())
            }
        }
    }

    fn middle(&self) -> f32 {
        ((self.range[0] + self.range[1] + 1.0) / 2.0).trunc()
    }
}

fn per_token(call: &Call<'_>) -> Result<Lowering, OpError> {
    let shape = call.tensor("input")?.shape();
    let mut reduced = Dims::from_slice(shape);
    if let Some(last) = reduced.last_mut() {
        *last = 1;
    }
    let choice = Choice::new(Mapping::AsymmetricByError, [-128.0, 127.0], f32::EPSILON);
    choose(
        call,
        Blocks::rows(shape)?,
        choice,
        reduced,
        [DType::F64, DType::I64],
    )
}

fn affine(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    let mapping = match call.optional_str("mapping_type")?.unwrap_or_default() {
        "ASYMMETRIC" => Mapping::Asymmetric,
        "SYMMETRIC" => Mapping::Symmetric,
        "SYMMETRIC_NO_CLIPPING_ERR" => Mapping::SymmetricWithoutClipping,
        other => return Err(OpError::new(format!("there is no mapping `{other}`"))),
    };
    let of_type = match call.optional_dtype("target_dtype")? {
        Some(DType::I8) => [-128.0, 127.0],
        Some(DType::U8) => [0.0, 255.0],
        _ => return Err(OpError::unsupported("numbers are quantized to bytes only")),
    };
    let bound = |name: &str, otherwise: f64| -> Result<f64, OpError> {
        Ok(call
            .optional_number(name)?
            .map_or(otherwise, |n| n.to_f64()))
    };
    let range = [
        bound("quant_min", of_type[0])?,
        bound("quant_max", of_type[1])?,
    ];
    let eps = match call.optional_float("eps")? {
        Some(eps) => eps as f32,
        // The smallest normal number of the type.
        None => match x.dtype {
            DType::F16 => 2f32.powi(-14),
            _ => f32::MIN_POSITIVE,
        },
    };
    let types = [
        call.optional_dtype("scale_dtype")?.unwrap_or(x.dtype),
        // A symmetric zero point has the type of the contents, unless another one is asked for.
        match (call.optional_dtype("zero_point_dtype")?, mapping) {
            (Some(dtype), _) => dtype,
            (None, Mapping::Asymmetric) => DType::I32,
            (None, _) => x.dtype,
        },
    ];
    let blocks = Blocks::given(call, x.shape())?;
    let reduced = blocks.reduced(call.bool("keepdim")?);
    choose(
        call,
        blocks,
        Choice::new(mapping, range, eps),
        reduced,
        types,
    )
}

/// A scale and a zero point for each block of `input`.
fn choose(
    call: &Call<'_>,
    blocks: Blocks,
    choice: Choice,
    reduced: Dims,
    types: [DType; 2],
) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    if !matches!(x.dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(OpError::unsupported(format!(
            "a range of {} is not chosen",
            x.dtype
        )));
    }
    if x.layout.numel() == 0 {
        return Err(OpError::new("an empty tensor has no range"));
    }
    let index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let x = o.inputs[index];
        let layouts = blocks.layouts(x.layout());
        let misfit = || KernelError::Assertion("the blocks do not fit the tensor".to_owned());
        let [firsts, block] = layouts.ok_or_else(misfit)?;
        let mut ranges = Vec::new();
        for_each_run([&firsts], |[first], [step], len| {
            ranges.extend((0..len).map(|k| range(&x, &block, first + k * step)));
        });
        let chosen: Vec<(f32, f32)> = ranges.iter().map(|(a, b)| choice.of(*a, *b)).collect();
        let (scales, zeros) = o.outputs.split_at_mut(1);
        store(&mut scales[0], chosen.iter().map(|(scale, _)| *scale));
        store(&mut zeros[0], chosen.iter().map(|(_, zero)| *zero));
        Ok(())
    };
    let [scale, zero] = types;
    let results = vec![(scale, reduced.clone()), (zero, reduced)];
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}

/// The least and the greatest element of the block that begins here.
fn range(x: &TensorRef<'_>, block: &crosslatch_kernels::Layout, first: usize) -> (f32, f32) {
    let mut range = (f32::INFINITY, f32::NEG_INFINITY);
    with_element!(x.dtype(), T => {
        let data = x.data::<T>();
        for_each_run([block], |[at], [step], len| {
            for k in 0..len {
                let value = convert::<T, f32>(data[first + at + k * step]);
                range = (range.0.min(value), range.1.max(value));
            }
        });
    });
    range
}

fn store(to: &mut crosslatch_kernels::TensorMut<'_>, values: impl Iterator<Item = f32>) {
    let layout = to.layout().clone();
    let mut values = values;
    with_element!(to.dtype(), T => {
        let data = to.data::<T>();
        for_each_run([&layout], |[at], [step], len| {
            for k in 0..len {
                if let Some(value) = values.next() {
                    data[at + k * step] = <T as Element>::from_f64(f64::from(value));
                }
            }
        });
    });
}
