//! Transforms of short times, and back: `stft` and `istft`.

use crosslatch_kernels::complex::{Form, Fourier, Transform, Window, overlap, windowed};
use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::{DType, Dims, Layout, Operands, TensorMut};

use super::functions::parts_of;
use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::view;
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::stft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Tensor",
        stft,
    )
    .takes_complex(),
    op(
        "aten::istft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, bool normalized=False, bool? onesided=None, int? length=None, bool return_complex=False) -> Tensor",
        istft,
    )
    .takes_complex(),
];

/// The length of frames, the distance between them, and the window.
struct Frames<'c> {
    len: usize,
    hop: usize,
    width: usize,
    window: Option<&'c TensorArg>,
}

impl<'c> Frames<'c> {
    fn of(call: &'c Call<'_>) -> Result<Frames<'c>, OpError> {
        let len = length(call.int("n_fft")?, "`n_fft`")?;
        let hop = match call.optional_int("hop_length")? {
            Some(hop) => length(hop, "`hop_length`")?,
            None => len / 4,
        };
        let width = match call.optional_int("win_length")? {
            Some(width) => length(width, "`win_length`")?,
            None => len,
        };
        let window = call.optional_tensor("window")?;
        let fits =
            window.is_none_or(|w| w.rank() == 1 && w.shape()[0] == width && w.dtype.is_float());
        if len == 0 || hop == 0 || width == 0 || width > len || !fits {
            return Err(OpError::new(format!(
                "frames of {len} samples, every {hop}, with a window of {width} and {:?}, are not defined",
                window.map(|w| w.shape())
            )));
        }
        Ok(Frames {
            len,
            hop,
            width,
            window,
        })
    }

    fn factor(&self, call: &Call<'_>, otherwise: f64) -> Result<f64, OpError> {
        Ok(match call.bool("normalized")? {
            true => 1.0 / (self.len as f64).sqrt(),
            false => otherwise,
        })
    }
}

fn is_set(call: &Call<'_>, name: &str) -> Result<Option<bool>, OpError> {
    Ok(call.optional_int(name)?.map(|i| i != 0))
}

fn too_large() -> OpError {
    OpError::new("the sizes of a transform overflow")
}

/// The bytes of a tensor in working memory, and those in front of what follows.
fn bytes_of(layout: &Layout, dtype: DType) -> Result<usize, OpError> {
    let bytes = layout.numel().checked_mul(dtype.size());
    Ok(bytes.ok_or_else(too_large)?.next_multiple_of(64))
}

fn stft(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let frames = Frames::of(call)?;
    let parts = parts_of(x)?;
    let Some(pairs) = parts.of_pairs().filter(|_| x.dtype.of_parts() == parts) else {
        return Err(OpError::new(format!(
            "{} has no short-time transform",
            x.dtype
        )));
    };
    if is_set(call, "align_to_window")? == Some(true) {
        return Err(OpError::unsupported(
            "a transform that is aligned to the window",
        ));
    }
    let is_complex = x.dtype.is_complex() || frames.window.is_some_and(|w| w.dtype.is_complex());
    let onesided = is_set(call, "onesided")?.unwrap_or(!is_complex);
    let returns_pairs = !is_set(call, "return_complex")?.unwrap_or(is_complex);
    if !(1..=2).contains(&x.rank()) || (onesided && is_complex) {
        return Err(OpError::new(format!(
            "{}{:?} has no such short-time transform",
            x.dtype,
            x.shape()
        )));
    }
    let mut from = x.layout_from_start();
    if from.rank() == 1 {
        from = from.unsqueeze(0);
    }
    let (batch, samples) = (from.shape[0], from.shape[1]);
    let Some(rest) = samples.checked_sub(frames.len) else {
        return Err(OpError::new(format!(
            "{samples} samples are less than a frame of {}",
            frames.len
        )));
    };
    let count = rest / frames.hop + 1;
    let overlapping = Layout {
        shape: Dims::from_slice(&[batch, count, frames.len]),
        strides: Dims::from_slice(&[
            from.strides[0],
            from.strides[1].saturating_mul(frames.hop),
            from.strides[1],
        ]),
        offset: 0,
    };
    let between = Layout::contiguous(&checked_shape(overlapping.shape.clone())?);
    let frequencies = if onesided {
        frames.len / 2 + 1
    } else {
        frames.len
    };
    let full = checked_shape(Dims::from_slice(&[batch, frequencies, count, 2]))?;
    let out = Layout::contiguous(&full[..3]).transpose(1, 2);
    let mut shape = full.clone();
    if x.rank() == 1 {
        shape.remove(0);
    }
    if !returns_pairs {
        shape.pop();
    }
    let transform = Transform {
        form: if onesided {
            Form::FromReal
        } else {
            Form::Complex
        },
        dims: Dims::from_slice(&[2]),
        forward: true,
        scale: frames.factor(call, 1.0)?,
        plain: call.plain(),
    };
    let fourier = Fourier::new(transform, parts);
    let operand = if is_complex { pairs } else { parts };
    let bytes = bytes_of(&between, operand)?;
    let (window, width) = (frames.window.map(|w| w.index), frames.width);
    let (index, is_empty) = (x.index, batch == 0);
    let run = move |o: &mut Operands<'_, '_>| {
        if is_empty {
            return Ok(());
        }
        let x = view(&o.inputs[index], &overlapping)?;
        let values = window.map(|i| o.inputs[i]);
        let mut memory = TensorMut::new(operand, &between, &mut o.scratch[..bytes])?;
        windowed(&mut memory, &x, Window { values, width }, o.threads)?;
        // Complex numbers lie in memory as pairs of their parts.
        let mut out = TensorMut::new(pairs, &out, o.outputs[0].bytes_mut())?;
        fourier.run(&mut out, &memory.as_ref(), &mut [], o.threads);
        Ok(())
    };
    let result = if returns_pairs { parts } else { pairs };
    let flops = 5.0 * (frames.len as f64).log2() * (batch * count * frames.len) as f64;
    let compute = Compute::new(vec![(result, shape)], WithScratch { bytes, run });
    Ok(Lowering::Compute(compute).with_flops(flops as u64))
}

fn istft(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let frames = Frames::of(call)?;
    let parts = parts_of(x)?;
    if call.bool("return_complex")? {
        return Err(OpError::unsupported("a complex signal from `istft`"));
    }
    let mut from = x.layout_from_start();
    if from.rank() == 2 {
        from = from.unsqueeze(0);
    }
    let half = frames.len / 2 + 1;
    let is_window_real = frames.window.is_none_or(|w| w.dtype == parts);
    if from.rank() != 3 || !x.dtype.is_complex() || from.shape[2] == 0 || !is_window_real {
        return Err(OpError::new(format!(
            "{}{:?} is no short-time transform with this window",
            x.dtype,
            x.shape()
        )));
    }
    // [batch, frames, frequencies]
    let mut from = from.transpose(1, 2);
    let onesided = is_set(call, "onesided")?.unwrap_or(from.shape[2] != frames.len);
    if from.shape[2] != if onesided { half } else { frames.len } {
        return Err(OpError::new(format!(
            "{} frequencies are not those of frames of {}",
            from.shape[2], frames.len
        )));
    }
    // The result is real, so that half of the frequencies say everything.
    from = from.slice(2, 0, half, 1);
    let (batch, count) = (from.shape[0], from.shape[1]);
    let total = (count - 1).checked_mul(frames.hop);
    let total = total
        .and_then(|n| n.checked_add(frames.len))
        .ok_or_else(too_large)?;
    let start = if call.bool("center")? {
        frames.len / 2
    } else {
        0
    };
    let samples = match call.optional_int("length")? {
        Some(len) => length(len, "`length`")?,
        None => total.saturating_sub(2 * start),
    };
    let mut shape = checked_shape(Dims::from_slice(&[batch, samples]))?;
    let out = Layout::contiguous(&shape);
    if x.rank() == 2 {
        shape.remove(0);
    }
    let between = Layout::contiguous(&checked_shape(Dims::from_slice(&[
        batch, count, frames.len,
    ]))?);
    let transform = Transform {
        form: Form::ToReal,
        dims: Dims::from_slice(&[2]),
        forward: false,
        scale: frames.factor(call, 1.0 / frames.len as f64)?,
        plain: call.plain(),
    };
    let fourier = Fourier::new(transform, parts);
    let bytes = bytes_of(&between, parts)?;
    let (index, window) = (x.index, frames.window.map(|w| w.index));
    let (hop, width) = (frames.hop, frames.width);
    let run = move |o: &mut Operands<'_, '_>| {
        if batch == 0 {
            return Ok(());
        }
        let mut memory = TensorMut::new(parts, &between, &mut o.scratch[..bytes])?;
        fourier.run(
            &mut memory,
            &view(&o.inputs[index], &from)?,
            &mut [],
            o.threads,
        );
        let values = window.map(|i| o.inputs[i]);
        let mut out = o.outputs[0].with_layout(&out)?;
        let window = Window { values, width };
        overlap(&mut out, &memory.as_ref(), window, [hop, start], o.threads)
    };
    let flops = 5.0 * (frames.len as f64).log2() * (batch * count * frames.len) as f64;
    let compute = Compute::new(vec![(parts, shape)], WithScratch { bytes, run });
    Ok(Lowering::Compute(compute).with_flops(flops as u64))
}
