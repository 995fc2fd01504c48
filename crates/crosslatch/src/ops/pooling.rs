//! Pooling over one, two or three dimensions: greatest elements with or without their places, and means.
//!
//! All forms become one kernel over three dimensions; those that an operator lacks have length 1. What
//! differs between the forms is which windows there are.

use crosslatch_kernels::kernel::Kernel;
use crosslatch_kernels::pooling::{Pooling, Strided, Windows, pool};
use crosslatch_kernels::{DType, Dims, KernelError, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::max_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, int[1] dilation=1, bool ceil_mode=False) -> Tensor",
        |c| lower_max(c, 1),
    ),
    op(
        "aten::max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, int[1] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        |c| lower_max(c, 1),
    ),
    op(
        "aten::max_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] dilation=1, bool ceil_mode=False) -> Tensor",
        |c| lower_max(c, 2),
    ),
    op(
        "aten::max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        |c| lower_max(c, 2),
    ),
    op(
        "aten::max_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3] dilation=1, bool ceil_mode=False) -> Tensor",
        |c| lower_max(c, 3),
    ),
    op(
        "aten::max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        |c| lower_max(c, 3),
    ),
    op(
        "aten::avg_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, bool ceil_mode=False, bool count_include_pad=True) -> Tensor",
        |c| lower_mean(c, 1),
    ),
    op(
        "aten::avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        |c| lower_mean(c, 2),
    ),
    op(
        "aten::avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        |c| lower_mean(c, 3),
    ),
    op(
        "aten::adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor",
        |c| lower_adaptive(c, 1, Pooling::Mean(None)),
    ),
    op(
        "aten::adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
        |c| lower_adaptive(c, 2, Pooling::Mean(None)),
    ),
    op(
        "aten::_adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
        |c| lower_adaptive(c, 2, Pooling::Mean(None)),
    ),
    op(
        "aten::adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor",
        |c| lower_adaptive(c, 3, Pooling::Mean(None)),
    ),
    op(
        "aten::_adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor",
        |c| lower_adaptive(c, 3, Pooling::Mean(None)),
    ),
    op(
        "aten::adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)",
        |c| lower_adaptive(c, 1, Pooling::Greatest),
    ),
    op(
        "aten::adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)",
        |c| lower_adaptive(c, 2, Pooling::Greatest),
    ),
    op(
        "aten::adaptive_max_pool3d(Tensor self, int[3] output_size) -> (Tensor, Tensor)",
        |c| lower_adaptive(c, 3, Pooling::Greatest),
    ),
];

/// How windows lie along each dimension.
fn strided(call: &Call<'_>, dims: usize, counts_padding: bool) -> Result<Vec<Strided>, OpError> {
    let len = per_dimension(call, "kernel_size", dims)?;
    let stride = match call.ints("stride")?.is_empty() {
        true => len.clone(),
        false => per_dimension(call, "stride", dims)?,
    };
    let padding = per_dimension(call, "padding", dims)?;
    let dilation = match call.has("dilation") {
        true => per_dimension(call, "dilation", dims)?,
        false => vec![1; dims],
    };
    let ceil = call.bool("ceil_mode")?;
    let along = |d: usize| Strided {
        len: len[d],
        dilation: dilation[d],
        stride: stride[d],
        padding: padding[d],
        ceil,
        counts_padding,
    };
    Ok((0..dims).map(along).collect())
}

fn windows(form: Strided, size: usize) -> Result<Windows, OpError> {
    Windows::strided(form, size).ok_or_else(|| {
        let Strided { len, dilation, stride, padding, .. } = form;
        OpError::new(format!(
            "windows of {len} elements, {dilation} apart, every {stride} elements, do not lie in {size} elements with \
             {padding} of padding on both sides: all must be greater than 0, and padding at most half of a window"
        ))
    })
}

fn lower_max(call: &Call<'_>, dims: usize) -> Result<Lowering, OpError> {
    let forms = strided(call, dims, false)?;
    lower(call, dims, Pooling::Greatest, &|d, size| {
        windows(forms[d], size)
    })
}

fn lower_mean(call: &Call<'_>, dims: usize) -> Result<Lowering, OpError> {
    let forms = strided(call, dims, call.bool("count_include_pad")?)?;
    let divisor = match call.has("divisor_override") {
        true => call.optional_int("divisor_override")?,
        false => None,
    };
    if divisor == Some(0) {
        return Err(OpError::new("`divisor_override` is 0"));
    }
    lower(call, dims, Pooling::Mean(divisor), &|d, size| {
        windows(forms[d], size)
    })
}

/// Pooling into a given number of windows.
fn lower_adaptive(call: &Call<'_>, dims: usize, pooling: Pooling) -> Result<Lowering, OpError> {
    let counts = per_dimension(call, "output_size", dims)?;
    lower(call, dims, pooling, &|d, size| {
        let windows = Windows::adaptive(counts[d], size);
        windows.ok_or_else(|| OpError::new("the sizes of pooling overflow"))
    })
}

/// Pools the last `dims` dimensions by the windows that `along` gives for each and its size.
fn lower(
    call: &Call<'_>,
    dims: usize,
    pooling: Pooling,
    along: &dyn Fn(usize, usize) -> Result<Windows, OpError>,
) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let is_unfit = x.rank() != dims + 1 && x.rank() != dims + 2;
    let outer = x.rank().saturating_sub(dims);
    let is_empty = || x.shape()[x.rank() - dims - 1..].contains(&0);
    if is_unfit || x.dtype == DType::Bool || is_empty() {
        return Err(OpError::new(format!(
            "pooling over {dims} dimensions does not take {}{:?}",
            x.dtype,
            x.shape()
        )));
    }
    let mut shape = Dims::from_slice(&x.shape()[..outer]);
    let whole = || Windows::adaptive(1, 1).ok_or_else(|| OpError::new("no window"));
    let mut windows = [whole()?, whole()?, whole()?];
    for d in 0..dims {
        let along = along(d, x.shape()[outer + d])?;
        shape.push(along.count());
        windows[3 - dims + d] = along;
    }
    let shape = checked_shape(shape)?;
    let cells = windows.iter().map(|w| w.longest() as u64);
    let work = cells.fold(shape.iter().product::<usize>() as u64, u64::saturating_mul);
    let results = match (call.schema.returns.len(), pooling) {
        (2, Pooling::Greatest) => vec![(x.dtype, shape.clone()), (DType::I64, shape.clone())],
        _ => vec![(x.dtype, shape.clone())],
    };
    let kernel = PoolKernel {
        x: x.index,
        from: in_three_dimensions(x, dims),
        to: Layout::contiguous(&full_shape(&shape, dims)),
        windows,
        pooling,
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)).with_flops(work))
}

/// The kernel, with layouts in five dimensions.
struct PoolKernel {
    x: usize,
    from: Layout,
    to: Layout,
    windows: [Windows; 3],
    pooling: Pooling,
}

impl Kernel for PoolKernel {
    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let x = view(&o.inputs[self.x], &self.from)?;
        for (out, pooling) in o.outputs.iter_mut().zip([self.pooling, Pooling::Place]) {
            let mut out = view_mut(out, &self.to)?;
            pool(&mut out, &x, &self.windows, pooling, o.threads);
        }
        Ok(())
    }
}

/// A shape with batch, channels and three dimensions.
fn full_shape(shape: &[usize], dims: usize) -> Dims {
    let outer = shape.len() - dims;
    let mut full = Dims::from_slice(&[1, 1, 1, 1, 1]);
    full[2 - outer..2].copy_from_slice(&shape[..outer]);
    full[5 - dims..].copy_from_slice(&shape[outer..]);
    full
}

/// The layout with batch, channels and three dimensions.
fn in_three_dimensions(x: &TensorArg, dims: usize) -> Layout {
    let mut layout = x.layout_from_start();
    if layout.rank() == dims + 1 {
        layout = layout.unsqueeze(0);
    }
    for _ in dims..3 {
        layout = layout.unsqueeze(2);
    }
    layout
}

/// A number for each dimension; a single number counts for all.
fn per_dimension(call: &Call<'_>, name: &str, dims: usize) -> Result<Vec<usize>, OpError> {
    let list = call.sizes(name)?;
    match list.len() {
        1 => Ok(vec![list[0]; dims]),
        n if n == dims => Ok(list.to_vec()),
        n => Err(OpError::new(format!(
            "`{name}` has {n} elements for {dims} dimensions"
        ))),
    }
}
