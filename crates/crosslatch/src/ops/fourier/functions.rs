//! The functions of `torch.fft`: over one dimension, over two, and over several.
//!
//! They give the transformed dimensions lengths of their own: what is missing counts as zero, and
//! what is too much is left out. So the operand is first copied into working memory, in the type
//! that is transformed.

use crosslatch_kernels::complex::{Form, Fourier, Transform};
use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::movement::{Scalar, copy, fill};
use crosslatch_kernels::{DType, Dims, Layout, Operands, TensorMut, TensorRef};

use crate::ir::catalogue::{Row, Table, op};
use crate::ir::{Call, Compute, Lower, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::view;
use crate::ops::operands::shapes::{checked_shape, length};

/// A function of one dimension.
macro_rules! one {
    ($name:literal, $kind:expr, $forward:expr) => {
        row(
            concat!(
                "aten::fft_",
                $name,
                "(Tensor self, SymInt? n=None, int dim=-1, str? norm=None) -> Tensor"
            ),
            |c| lower(c, $kind, $forward),
        )
    };
}

/// A function of the last two dimensions.
macro_rules! two {
    ($name:literal, $kind:expr, $forward:expr) => {
        row(
            concat!(
                "aten::fft_",
                $name,
                "(Tensor self, SymInt[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"
            ),
            |c| lower(c, $kind, $forward),
        )
    };
}

/// A function of several dimensions.
macro_rules! several {
    ($name:literal, $kind:expr, $forward:expr) => {
        row(
            concat!(
                "aten::fft_",
                $name,
                "(Tensor self, SymInt[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"
            ),
            |c| lower(c, $kind, $forward),
        )
    };
}

const fn row(schema: &'static str, lower: Lower) -> Row {
    op(schema, lower).takes_complex()
}

pub(super) const OPERATORS: Table = &[
    one!("fft", Form::Complex, true),
    one!("ifft", Form::Complex, false),
    one!("rfft", Form::FromReal, true),
    one!("irfft", Form::ToReal, false),
    one!("hfft", Form::ToReal, true),
    one!("ihfft", Form::FromReal, false),
    two!("fft2", Form::Complex, true),
    two!("ifft2", Form::Complex, false),
    two!("rfft2", Form::FromReal, true),
    two!("irfft2", Form::ToReal, false),
    several!("fftn", Form::Complex, true),
    several!("ifftn", Form::Complex, false),
    several!("rfftn", Form::FromReal, true),
    several!("irfftn", Form::ToReal, false),
];

/// The transformed dimensions, and the length that each is given, if any.
fn dims_and_lengths(call: &Call<'_>, x: &TensorArg) -> Result<(Dims, Vec<Option<usize>>), OpError> {
    if call.has("n") {
        let n = call.optional_int("n")?;
        let n = n.map(|n| length(n, "a length")).transpose()?;
        return Ok((Dims::from_slice(&[x.dim(call.int("dim")?)?]), vec![n]));
    }
    let lengths = call.optional_ints("s")?;
    let named = match (call.optional_ints("dim")?, &lengths) {
        (Some(dims), _) => dims,
        (None, Some(lengths)) => (-(lengths.len() as i64)..0).collect(),
        (None, None) => (0..x.rank() as i64).collect(),
    };
    let mut dims = Dims::new();
    for dim in named {
        let dim = x.dim(dim)?;
        if dims.contains(&dim) {
            return Err(OpError::new(format!("dimension {dim} is named twice")));
        }
        dims.push(dim);
    }
    let lengths = match lengths {
        None => vec![None; dims.len()],
        // -1 keeps the length.
        Some(lengths) => lengths
            .into_iter()
            .map(|n| {
                if n == -1 {
                    Ok(None)
                } else {
                    length(n, "a length").map(Some)
                }
            })
            .collect::<Result<_, _>>()?,
    };
    match lengths.len() == dims.len() {
        true => Ok((dims, lengths)),
        false => Err(OpError::new("`s` and `dim` differ in length")),
    }
}

/// The factor of a transform of so many elements.
pub(super) fn scale(norm: Option<&str>, forward: bool, count: f64) -> Result<f64, OpError> {
    match (norm, forward) {
        (None | Some("backward"), true) | (Some("forward"), false) => Ok(1.0),
        (None | Some("backward"), false) | (Some("forward"), true) => Ok(1.0 / count),
        (Some("ortho"), _) => Ok(1.0 / count.sqrt()),
        (Some(other), _) => Err(OpError::new(format!("there is no norm `{other}`"))),
    }
}

/// The type of real numbers that is computed in.
pub(super) fn parts_of(x: &TensorArg) -> Result<DType, OpError> {
    match x.dtype.of_parts() {
        DType::F16 | DType::BF16 => Err(OpError::unsupported(format!(
            "transforms of {} are not supported",
            x.dtype
        ))),
        DType::F64 => Ok(DType::F64),
        _ => Ok(DType::F32),
    }
}

fn lower(call: &Call<'_>, form: Form, forward: bool) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let (dims, given) = dims_and_lengths(call, x)?;
    let Some((&last, parts)) = dims.last().zip(Some(parts_of(x)?)) else {
        return Ok(Lowering::copy(x));
    };
    if x.rank() == 0 || (form == Form::FromReal && x.dtype.is_complex()) {
        return Err(OpError::new(format!(
            "{}{:?} is not transformed so",
            x.dtype,
            x.shape()
        )));
    }
    // The shapes of what is transformed and of the result, and the number of elements.
    let (mut from, mut to): (Dims, Dims) = (x.shape().into(), x.shape().into());
    let mut count = 1.0;
    for (dim, given) in dims.iter().zip(given) {
        let is_last = *dim == last;
        let len = match (given, form) {
            (Some(len), _) => len,
            (None, Form::ToReal) if is_last => 2 * x.shape()[*dim].saturating_sub(1),
            (None, _) => x.shape()[*dim],
        };
        if len == 0 {
            return Err(OpError::new("a transform of no elements is not defined"));
        }
        (from[*dim], to[*dim]) = match form {
            Form::FromReal if is_last => (len, len / 2 + 1),
            Form::ToReal if is_last => (len / 2 + 1, len),
            _ => (len, len),
        };
        count *= len as f64;
    }
    let (from, to) = (checked_shape(from)?, checked_shape(to)?);
    let pairs = parts.of_pairs().unwrap_or(DType::C64);
    let (operand, result) = match form {
        Form::FromReal => (parts, pairs),
        Form::ToReal => (pairs, parts),
        Form::Complex => (pairs, pairs),
    };
    let norm = call.optional_str("norm")?;
    let transform = Transform {
        form,
        dims,
        forward,
        scale: scale(norm, forward, count)?,
        plain: call.plain(),
    };
    let fourier = Fourier::new(transform, parts);
    let resized = Layout::contiguous(&from);
    let too_large = || OpError::new("the sizes of a transform overflow");
    let bytes = resized.numel().checked_mul(operand.size());
    let bytes = bytes.ok_or_else(too_large)?.next_multiple_of(64);
    let more = fourier.scratch_bytes(resized.numel());
    let all = bytes.checked_add(more).ok_or_else(too_large)?;
    let (index, is_empty) = (x.index, to.contains(&0));
    let run = move |o: &mut Operands<'_, '_>| {
        if is_empty {
            return Ok(());
        }
        let (memory, scratch) = o.scratch.split_at_mut(bytes);
        resize(memory, operand, &resized, &o.inputs[index], o.threads)?;
        let operand = TensorRef::new(operand, &resized, memory)?;
        fourier.run(&mut o.outputs[0], &operand, scratch, o.threads);
        Ok(())
    };
    let compute = Compute::new(vec![(result, to)], WithScratch { bytes: all, run });
    let flops = 5.0 * count.log2().max(1.0) * from.iter().product::<usize>() as f64;
    Ok(Lowering::Compute(compute).with_flops(flops as u64))
}

/// Writes what of `x` lies within a shape, and zeros elsewhere.
fn resize(
    memory: &mut [u8],
    dtype: DType,
    layout: &Layout,
    x: &TensorRef<'_>,
    threads: &crosslatch_kernels::Threads,
) -> Result<(), crosslatch_kernels::KernelError> {
    let (mut from, mut to) = (x.layout().clone(), layout.clone());
    let mut is_padded = false;
    for d in 0..to.rank() {
        let common = from.shape[d].min(to.shape[d]);
        is_padded |= common < to.shape[d];
        (from, to) = (from.slice(d, 0, common, 1), to.slice(d, 0, common, 1));
    }
    if is_padded {
        fill(&mut TensorMut::new(dtype, layout, memory)?, Scalar::Int(0));
    }
    copy(
        &mut TensorMut::new(dtype, &to, memory)?,
        &view(x, &from)?,
        threads,
    );
    Ok(())
}
