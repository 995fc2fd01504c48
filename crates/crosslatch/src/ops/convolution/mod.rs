//! Convolution over one, two or three dimensions.
//!
//! All forms become one kernel over two dimensions; over one, the other has length 1, and over
//! three, the first one is made channels (`volume`). Transposed convolution is a product and a sum
//! of patches (`transposed`).

mod transposed;
mod volume;

use crosslatch_kernels::convolution::Convolution;
use crosslatch_kernels::simd::Function;
use crosslatch_kernels::{DType, Dims, Kernel, KernelError, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::schema::ArgType;
use crate::ir::{Call, KernelSet, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::conv1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(1)),
    ),
    op(
        "aten::conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, str padding='valid', SymInt[1] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(1)),
    ),
    op(
        "aten::conv2d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0, SymInt[2] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(2)),
    ),
    op(
        "aten::conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, str padding='valid', SymInt[2] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(2)),
    ),
    op(
        "aten::conv3d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, SymInt[3] padding=0, SymInt[3] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(3)),
    ),
    op(
        "aten::conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, SymInt[3] stride=1, str padding='valid', SymInt[3] dilation=1, SymInt groups=1) -> Tensor",
        |c| lower(c, Some(3)),
    ),
    op(
        "aten::conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[1] stride=1, SymInt[1] padding=0, SymInt[1] output_padding=0, SymInt groups=1, SymInt[1] dilation=1) -> Tensor",
        |c| lower(c, Some(1)),
    ),
    op(
        "aten::conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0, SymInt[2] output_padding=0, SymInt groups=1, SymInt[2] dilation=1) -> Tensor",
        |c| lower(c, Some(2)),
    ),
    op(
        "aten::convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor",
        |c| lower(c, None),
    ),
    op(
        "aten::_convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups, bool benchmark, bool deterministic, bool cudnn_enabled, bool allow_tf32) -> Tensor",
        |c| lower(c, None),
    ),
];

/// `named_dims` is the number of dimensions, if the operator's name says it.
fn lower(call: &Call<'_>, named_dims: Option<usize>) -> Result<Lowering, OpError> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    let dims = named_dims.unwrap_or(w.rank().saturating_sub(2));
    // The operators that are always transposed have no argument that says so.
    let is_transposed = match call.has("transposed") {
        true => call.bool("transposed")?,
        false => call.has("output_padding"),
    };
    if !(1..=3).contains(&dims) || (is_transposed && dims == 3) {
        let kind = if is_transposed { "transposed " } else { "" };
        return Err(OpError::unsupported(format!(
            "{kind}convolution over {dims} dimensions is not supported"
        )));
    }
    if dims == 3 {
        return volume::lower(call, [x, w], bias);
    }
    if is_transposed {
        return transposed::lower(call, [x, w], bias, dims);
    }
    let stride = per_dimension(call, "stride", dims)?;
    let dilation = per_dimension(call, "dilation", dims)?;
    let groups = usize::try_from(call.int("groups")?).unwrap_or(0);
    let fits = w.rank() == dims + 2
        && (x.rank() == dims + 2 || x.rank() == dims + 1)
        && groups > 0
        && stride.iter().chain(&dilation).all(|n| *n > 0)
        && w.shape()[2..].iter().all(|n| *n > 0)
        && w.shape()[0] % groups == 0
        && w.shape()[1].checked_mul(groups) == Some(x.shape()[x.rank() - dims - 1])
        && x.dtype == w.dtype
        && bias.is_none_or(|b| b.shape() == &w.shape()[..1] && b.dtype == x.dtype);
    if !fits {
        return Err(unfit([x, w], groups));
    }
    let layouts = [x, w].map(|t| in_two_dimensions(t, dims));
    let (padding, outputs) = padding_and_outputs(call, &layouts, stride, dilation, dims)?;
    let [lx, lw] = layouts;
    let full = Dims::from_slice(&[lx.shape[0], w.shape()[0], outputs[0], outputs[1]]);
    let full = checked_shape(full)?;
    let mut shape = full.clone();
    if dims == 1 {
        shape.remove(2);
    }
    if x.rank() == dims + 1 {
        shape.remove(0);
    }
    let convolution = Convolution {
        stride,
        padding,
        dilation,
        groups,
        epilogue: None,
        allow_bf16: call.kernels == KernelSet::LowPrecision,
    };
    let taps: usize = w.shape()[1..].iter().product();
    let flops = 2 * (full.iter().product::<usize>() as u64) * taps as u64;
    let kernel = ConvolutionKernel {
        convolution,
        x: (x.index, lx),
        weight: (w.index, lw),
        bias: bias.map(|b| b.index),
        out: Layout::contiguous(&full),
        plain: call.plain(),
        is_f32: x.dtype == DType::F32,
    };
    Ok(Lowering::compute(x.dtype, &shape, kernel).with_flops(flops))
}

/// Operands of which no convolution can be made.
fn unfit([x, w]: [&TensorArg; 2], groups: usize) -> OpError {
    OpError::new(format!(
        "input {}{:?}, weight {}{:?}, {groups} groups and the bias do not fit together",
        x.dtype,
        x.shape(),
        w.dtype,
        w.shape()
    ))
}

/// The kernel. Operands are given by their index among the inputs and their layout in two
/// dimensions.
#[derive(Clone)]
struct ConvolutionKernel {
    convolution: Convolution,
    x: (usize, Layout),
    weight: (usize, Layout),
    bias: Option<usize>,
    out: Layout,
    plain: bool,
    is_f32: bool,
}

impl Kernel for ConvolutionKernel {
    fn with_epilogue(&self, function: Function) -> Option<Box<dyn Kernel>> {
        let may = self.is_f32 && !self.plain && self.convolution.epilogue.is_none();
        may.then(|| -> Box<dyn Kernel> {
            let mut kernel = self.clone();
            kernel.convolution.epilogue = Some(function);
            Box::new(kernel)
        })
    }

    fn run(&self, o: &mut Operands<'_, '_>) -> Result<(), KernelError> {
        let [x, w] = [&self.x, &self.weight].map(|(i, layout)| view(&o.inputs[*i], layout));
        let (x, w) = (x?, w?);
        let bias = self.bias.map(|i| &o.inputs[i]);
        let mut out = view_mut(&mut o.outputs[0], &self.out)?;
        self.convolution
            .run(&mut out, &x, &w, bias, self.plain, o.threads);
        Ok(())
    }
}

/// A number for each of two dimensions; a single number counts for both.
fn per_dimension(call: &Call<'_>, name: &str, dims: usize) -> Result<[usize; 2], OpError> {
    match (&call.sizes(name)?[..], dims) {
        // The dimension that is added has one input and one tap.
        (&[n], 1) => Ok([if name == "padding" { 0 } else { 1 }, n]),
        (&[n], 2) => Ok([n, n]),
        (&[a, b], 2) => Ok([a, b]),
        (list, _) => Err(OpError::new(format!(
            "`{name}` has {} elements for {dims} dimensions",
            list.len()
        ))),
    }
}

/// The layout with a batch dimension and two dimensions to convolve over.
fn in_two_dimensions(t: &TensorArg, dims: usize) -> Layout {
    let mut layout = t.layout_from_start();
    if layout.rank() == dims + 1 {
        layout = layout.unsqueeze(0);
    }
    if dims == 1 {
        layout = layout.unsqueeze(2);
    }
    layout
}

/// Padding in front, and number of outputs, for each dimension.
fn padding_and_outputs(
    call: &Call<'_>,
    [x, weight]: &[Layout; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    dims: usize,
) -> Result<([usize; 2], [usize; 2]), OpError> {
    let too_large = || OpError::new("the sizes of a convolution overflow");
    let mut reach = [0; 2];
    for d in 0..2 {
        reach[d] = (weight.shape[2 + d] - 1)
            .checked_mul(dilation[d])
            .ok_or_else(too_large)?;
    }
    // Padding in front, and on both sides together.
    let (front, both) = match call.arg_type("padding") {
        Some(ArgType::Str) => match call.optional_str("padding")? {
            Some("valid") => ([0; 2], [0; 2]),
            Some("same") if stride == [1; 2] => (reach.map(|r| r / 2), reach),
            Some("same") => {
                return Err(OpError::new("padding `same` needs a stride of 1"));
            }
            other => return Err(OpError::new(format!("unknown padding {other:?}"))),
        },
        _ => {
            let front = per_dimension(call, "padding", dims)?;
            let mut both = [0; 2];
            for d in 0..2 {
                both[d] = front[d].checked_mul(2).ok_or_else(too_large)?;
            }
            (front, both)
        }
    };
    let mut outputs = [0; 2];
    for d in 0..2 {
        let padded = x.shape[2 + d].checked_add(both[d]).ok_or_else(too_large)?;
        let last = padded
            .checked_sub(reach[d])
            .and_then(|n| n.checked_sub(1))
            .ok_or_else(|| OpError::new("the kernel is longer than the padded input"))?;
        outputs[d] = last / stride[d] + 1;
    }
    Ok((front, outputs))
}
