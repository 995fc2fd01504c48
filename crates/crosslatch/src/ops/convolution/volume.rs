//! Convolution over three dimensions.
//!
//! It is a convolution over the last two of them, where the elements of a window along the first
//! one are further channels: for each output along that dimension, the planes that it sees lie one
//! behind the other in working memory, as the weight has them. What is written in memory is thus as
//! many times the input as the window is deep, of one entry of the batch at a time.

use crosslatch_kernels::convolution::Convolution;
use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::movement::{Scalar, copy, fill};
use crosslatch_kernels::{DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef};

use super::unfit;
use crate::ir::schema::ArgType;
use crate::ir::{Call, Compute, KernelSet, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

/// What is along the first dimension.
#[derive(Clone, Copy)]
struct Depth {
    stride: usize,
    dilation: usize,
    padding: usize,
    taps: usize,
    outputs: usize,
}

fn too_large() -> OpError {
    OpError::new("the sizes of a convolution overflow")
}

/// A number for each dimension; a single number counts for all.
fn per_dimension(call: &Call<'_>, name: &str) -> Result<[usize; 3], OpError> {
    match call.sizes(name)?[..] {
        [n] => Ok([n; 3]),
        [a, b, c] => Ok([a, b, c]),
        ref list => Err(OpError::new(format!(
            "`{name}` has {} elements for 3 dimensions",
            list.len()
        ))),
    }
}

/// Padding in front, and on both sides together, for windows that reach so far.
fn padding(
    call: &Call<'_>,
    reach: [usize; 3],
    stride: [usize; 3],
) -> Result<[[usize; 2]; 3], OpError> {
    if call.arg_type("padding") == Some(ArgType::Str) {
        return match call.optional_str("padding")? {
            Some("valid") => Ok([[0, 0]; 3]),
            Some("same") if stride == [1; 3] => Ok(reach.map(|r| [r / 2, r])),
            other => Err(OpError::new(format!(
                "padding {other:?} with strides {stride:?} is not defined"
            ))),
        };
    }
    let mut all = [[0; 2]; 3];
    for (to, front) in all.iter_mut().zip(per_dimension(call, "padding")?) {
        *to = [front, front.checked_mul(2).ok_or_else(too_large)?];
    }
    Ok(all)
}

/// Lowers a convolution that is not transposed.
pub(super) fn lower(
    call: &Call<'_>,
    [x, w]: [&TensorArg; 2],
    bias: Option<&TensorArg>,
) -> Result<Lowering, OpError> {
    let (stride, dilation) = (
        per_dimension(call, "stride")?,
        per_dimension(call, "dilation")?,
    );
    let groups = usize::try_from(call.int("groups")?).unwrap_or(0);
    let fits = w.rank() == 5
        && (x.rank() == 5 || x.rank() == 4)
        && groups > 0
        && stride.iter().chain(&dilation).all(|n| *n > 0)
        && w.shape()[2..].iter().all(|n| *n > 0)
        && w.shape()[0] % groups == 0
        && w.shape()[1].checked_mul(groups) == Some(x.shape()[x.rank() - 4])
        && x.dtype == w.dtype
        && bias.is_none_or(|b| b.shape() == &w.shape()[..1] && b.dtype == x.dtype);
    if !fits {
        return Err(unfit([x, w], groups));
    }
    let mut lx = x.layout_from_start();
    if lx.rank() == 4 {
        lx = lx.unsqueeze(0);
    }
    let mut reach = [0; 3];
    for d in 0..3 {
        let taps = w.shape()[2 + d] - 1;
        reach[d] = taps.checked_mul(dilation[d]).ok_or_else(too_large)?;
    }
    let padding = padding(call, reach, stride)?;
    let mut full = Dims::from_slice(&[lx.shape[0], w.shape()[0]]);
    for d in 0..3 {
        let padded = lx.shape[2 + d].checked_add(padding[d][1]);
        let last = padded.ok_or_else(too_large)?.checked_sub(reach[d] + 1);
        let last =
            last.ok_or_else(|| OpError::new("the kernel is longer than the padded input"))?;
        full.push(last / stride[d] + 1);
    }
    let full = checked_shape(full)?;
    let mut shape = full.clone();
    if x.rank() == 4 {
        shape.remove(0);
    }
    let depth = Depth {
        stride: stride[0],
        dilation: dilation[0],
        padding: padding[0][0],
        taps: w.shape()[2],
        outputs: full[2],
    };
    let channels = lx.shape[1].checked_mul(depth.taps).ok_or_else(too_large)?;
    let seen = checked_shape(Dims::from_slice(&[
        depth.outputs,
        channels,
        lx.shape[3],
        lx.shape[4],
    ]))?;
    let deep = [
        w.shape()[0],
        w.shape()[1] * depth.taps,
        w.shape()[3],
        w.shape()[4],
    ];
    let weight = w.layout_from_start().reshape(&deep).ok_or_else(|| {
        OpError::unsupported("a convolution over three dimensions with a weight that is a view")
    })?;
    let convolution = Convolution {
        stride: [stride[1], stride[2]],
        padding: [padding[1][0], padding[2][0]],
        dilation: [dilation[1], dilation[2]],
        groups,
        epilogue: None,
        allow_bf16: call.kernels == KernelSet::LowPrecision,
    };
    let taps: usize = w.shape()[1..].iter().product();
    let flops = 2 * (full.iter().product::<usize>() as u64) * taps as u64;
    let bytes = seen.iter().product::<usize>();
    let bytes = bytes.checked_mul(x.dtype.size()).ok_or_else(too_large)?;
    let (seen, out) = (Layout::contiguous(&seen), Layout::contiguous(&full));
    let (ix, iw, ib) = (x.index, w.index, bias.map(|b| b.index));
    let (dtype, plain) = (x.dtype, call.plain());
    let run = move |o: &mut Operands<'_, '_>| {
        let weight = view(&o.inputs[iw], &weight)?;
        let bias = ib.map(|i| &o.inputs[i]);
        for entry in 0..lx.shape[0] {
            let from = lx.select(0, entry);
            depth.gather(
                o.scratch,
                dtype,
                &seen,
                &view(&o.inputs[ix], &from)?,
                o.threads,
            )?;
            let planes = TensorRef::new(dtype, &seen, o.scratch)?;
            // [depth, out, height, width]
            let to = out.select(0, entry).transpose(0, 1);
            let mut to = view_mut(&mut o.outputs[0], &to)?;
            convolution.run(&mut to, &planes, &weight, bias, plain, o.threads);
        }
        Ok(())
    };
    let compute = Compute::new(vec![(dtype, shape)], WithScratch { bytes, run });
    Ok(Lowering::Compute(compute).with_flops(flops))
}

impl Depth {
    /// Fills the working memory, `[outputs, channels * taps, height, width]`, with the planes of
    /// `x`, `[channels, depth, height, width]`, that each output sees.
    fn gather(
        &self,
        scratch: &mut [u8],
        dtype: DType,
        seen: &Layout,
        x: &TensorRef<'_>,
        threads: &crosslatch_kernels::Threads,
    ) -> Result<(), KernelError> {
        let from = x.layout();
        let (channels, len) = (from.shape[0], from.shape[1]);
        let apart = seen.reshape(&[
            self.outputs,
            channels,
            self.taps,
            seen.shape[2],
            seen.shape[3],
        ]);
        let Some(apart) = apart else {
            return Err(KernelError::Assertion(
                "working memory is contiguous".into(),
            ));
        };
        for tap in 0..self.taps {
            let ahead = tap * self.dilation;
            // Outputs whose plane exists: those at or behind `first`, before `end`.
            let first = self.padding.saturating_sub(ahead).div_ceil(self.stride);
            let end = (len + self.padding)
                .saturating_sub(ahead)
                .div_ceil(self.stride);
            let (end, first) = (end.min(self.outputs), first.min(self.outputs));
            let to = apart.select(2, tap);
            for outside in [0..first, end.max(first)..self.outputs] {
                let part = to.slice(0, outside.start, outside.len(), 1);
                fill(&mut TensorMut::new(dtype, &part, scratch)?, Scalar::Int(0));
            }
            if first < end {
                let start = first * self.stride + ahead - self.padding;
                let planes = from
                    .slice(1, start, end - first, self.stride)
                    .transpose(0, 1);
                let part = to.slice(0, first, end - first, 1);
                let planes = x.with_layout(&planes)?;
                copy(
                    &mut TensorMut::new(dtype, &part, scratch)?,
                    &planes,
                    threads,
                );
            }
        }
        Ok(())
    }
}
