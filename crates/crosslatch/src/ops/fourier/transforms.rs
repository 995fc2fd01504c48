//! Discrete Fourier transforms, as PyTorch's `fft` functions, `stft` and `istft` become them.

use crosslatch_kernels::complex::{Form, Fourier, Transform};
use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::{DType, Dims, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Tensor",
        from_real,
    )
    .takes_complex(),
    op(
        "aten::_fft_c2r(Tensor self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor",
        to_real,
    )
    .takes_complex(),
    op(
        "aten::_fft_c2c(Tensor self, SymInt[] dim, int normalization, bool forward) -> Tensor",
        complex,
    )
    .takes_complex(),
];

/// The dimensions that are transformed, which are not empty.
fn dims(call: &Call<'_>, x: &TensorArg) -> Result<Dims, OpError> {
    let mut dims = Dims::new();
    for dim in call.ints("dim")? {
        let dim = x.dim(dim)?;
        if dim >= x.rank() || dims.contains(&dim) || x.shape()[dim] == 0 {
            return Err(OpError::new(format!(
                "dimension {dim} of {:?} is not transformed",
                x.shape()
            )));
        }
        dims.push(dim);
    }
    Ok(dims)
}

/// The factor of a transform of this many elements to one.
fn scale(call: &Call<'_>, shape: &[usize], dims: &[usize]) -> Result<f64, OpError> {
    let count: f64 = dims.iter().map(|d| shape[*d] as f64).product();
    match call.int("normalization")? {
        0 => Ok(1.0),
        1 => Ok(1.0 / count.sqrt()),
        2 => Ok(1.0 / count),
        other => Err(OpError::new(format!("there is no normalization {other}"))),
    }
}

fn wrong_type(x: &TensorArg) -> OpError {
    OpError::new(format!(
        "numbers of type {} are not transformed so",
        x.dtype
    ))
}

fn from_real(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dims = dims(call, x)?;
    let dtype = x.dtype.of_pairs().ok_or_else(|| wrong_type(x))?;
    let scale = scale(call, x.shape(), &dims)?;
    let mut shape: Dims = x.shape().into();
    let last = dims.last().copied();
    let last = last.ok_or_else(|| OpError::new("no dimension is transformed"))?;
    let form = match call.bool("onesided")? {
        true => {
            shape[last] = shape[last] / 2 + 1;
            Form::FromReal
        }
        false => Form::Complex,
    };
    lower(
        x,
        Transform {
            form,
            dims,
            forward: true,
            scale,
            plain: call.plain(),
        },
        (dtype, shape),
    )
}

fn to_real(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dims = dims(call, x)?;
    let last = *dims
        .last()
        .ok_or_else(|| OpError::new("no dimension is transformed"))?;
    if !x.dtype.is_complex() {
        return Err(wrong_type(x));
    }
    let len = length(call.int("last_dim_size")?, "`last_dim_size`")?;
    if len == 0 || len / 2 + 1 != x.shape()[last] {
        return Err(OpError::new(format!(
            "{} numbers are not the half of the transform of {len}",
            x.shape()[last]
        )));
    }
    let mut shape: Dims = x.shape().into();
    shape[last] = len;
    let scale = scale(call, &shape, &dims)?;
    let result = (x.dtype.of_parts(), shape);
    lower(
        x,
        Transform {
            form: Form::ToReal,
            dims,
            forward: false,
            scale,
            plain: call.plain(),
        },
        result,
    )
}

fn complex(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let dims = dims(call, x)?;
    if !x.dtype.is_complex() {
        return Err(wrong_type(x));
    }
    let scale = scale(call, x.shape(), &dims)?;
    let forward = call.bool("forward")?;
    if dims.is_empty() {
        return Ok(Lowering::copy(x));
    }
    lower(
        x,
        Transform {
            form: Form::Complex,
            dims,
            forward,
            scale,
            plain: call.plain(),
        },
        (x.dtype, x.shape().into()),
    )
}

fn lower(
    x: &TensorArg,
    transform: Transform,
    (dtype, shape): (DType, Dims),
) -> Result<Lowering, OpError> {
    let shape = checked_shape(shape)?;
    // As many operations as an algorithm for powers of two has.
    let lengths = transform.dims.iter().map(|d| (x.shape()[*d] as f64).log2());
    let flops = (5.0 * lengths.sum::<f64>() * x.layout.numel() as f64) as u64;
    let fourier = Fourier::new(transform, dtype.of_parts());
    let (index, is_empty) = (x.index, x.layout.numel() == 0);
    let bytes = fourier.scratch_bytes(x.layout.numel());
    let run = move |o: &mut Operands<'_, '_>| {
        if !is_empty {
            fourier.run(&mut o.outputs[0], &o.inputs[index], o.scratch, o.threads);
        }
        Ok(())
    };
    let compute = Compute::new(vec![(dtype, shape)], WithScratch { bytes, run });
    Ok(Lowering::Compute(compute).with_flops(flops))
}
