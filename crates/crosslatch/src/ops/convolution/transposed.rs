//! Transposed convolution over one or two dimensions.
//!
//! It is a product, of the weight and the input, whose columns are patches of the output, and the
//! sum of these where they overlap.

use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::matmul::{Product, matmul};
use crosslatch_kernels::movement::{Patches, copy};
use crosslatch_kernels::{Dims, KernelError, Layout, Operands, TensorMut, TensorRef};

use super::{in_two_dimensions, per_dimension, unfit};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{outside_memory, view, view_mut};
use crate::ops::operands::shapes::checked_shape;

/// The sizes of a transposed convolution, with two dimensions.
struct Sizes {
    batch: usize,
    /// Channels of input and output.
    channels: [usize; 2],
    groups: usize,
    input: [usize; 2],
    output: [usize; 2],
    patches: Patches,
}

impl Sizes {
    fn of(
        call: &Call<'_>,
        [x, weight]: &[Layout; 2],
        dims: usize,
        groups: usize,
    ) -> Result<Sizes, OpError> {
        let overflow = || OpError::new("the sizes of a transposed convolution overflow");
        let stride = per_dimension(call, "stride", dims)?;
        let dilation = per_dimension(call, "dilation", dims)?;
        let padding = per_dimension(call, "padding", dims)?;
        let mut extra = per_dimension(call, "output_padding", dims)?;
        if dims == 1 {
            extra[0] = 0;
        }
        let (mut input, mut output, mut size) = ([0; 2], [0; 2], [0; 2]);
        for d in 0..2 {
            (input[d], size[d]) = (x.shape[d + 2], weight.shape[d + 2]);
            if stride[d] == 0 || dilation[d] == 0 || size[d] == 0 || input[d] == 0 {
                return Err(OpError::new("a size of a transposed convolution is 0"));
            }
            let reach = (size[d] - 1)
                .checked_mul(dilation[d])
                .ok_or_else(overflow)?;
            let steps = (input[d] - 1).checked_mul(stride[d]).ok_or_else(overflow)?;
            let whole = steps
                .checked_add(reach)
                .and_then(|n| n.checked_add(extra[d]));
            let whole = whole.and_then(|n| n.checked_add(1)).ok_or_else(overflow)?;
            let cut = padding[d].checked_mul(2).ok_or_else(overflow)?;
            let left = whole.checked_sub(cut).filter(|n| *n > 0);
            output[d] =
                left.ok_or_else(|| OpError::new("the padding cuts off the whole output"))?;
        }
        let outputs = weight.shape[1].checked_mul(groups).ok_or_else(overflow)?;
        Ok(Sizes {
            batch: x.shape[0],
            channels: [x.shape[1], outputs],
            groups,
            input,
            output,
            patches: Patches {
                size,
                stride,
                padding,
                dilation,
                count: input,
            },
        })
    }

    /// The shape of the product: a matrix for each group, whose rows are the taps of its outputs.
    fn product(&self) -> Dims {
        let taps = self.patches.size[0] * self.patches.size[1];
        let rows = self.channels[1] / self.groups * taps;
        Dims::from_slice(&[self.batch, self.groups, rows, self.input[0] * self.input[1]])
    }

    fn output(&self) -> Dims {
        Dims::from_slice(&[self.batch, self.channels[1], self.output[0], self.output[1]])
    }
}

/// `x` and `w` fit together but for what the transposition changes.
pub(super) fn lower(
    call: &Call<'_>,
    [x, w]: [&TensorArg; 2],
    bias: Option<&TensorArg>,
    dims: usize,
) -> Result<Lowering, OpError> {
    let groups = usize::try_from(call.int("groups")?).unwrap_or(0);
    let fits = w.rank() == dims + 2
        && (x.rank() == dims + 2 || x.rank() == dims + 1)
        && groups > 0
        && w.shape()[0] == x.shape()[x.rank() - dims - 1]
        && w.shape()[0] % groups == 0
        && x.dtype == w.dtype
        && x.dtype.is_float()
        && bias.is_none_or(|b| b.rank() == 1 && b.dtype == x.dtype)
        && bias.is_none_or(|b| w.shape()[1].checked_mul(groups) == Some(b.shape()[0]));
    if !fits {
        return Err(unfit([x, w], groups));
    }
    let layouts = [x, w].map(|t| in_two_dimensions(t, dims));
    let sizes = Sizes::of(call, &layouts, dims, groups)?;
    let (product, full) = (
        checked_shape(sizes.product())?,
        checked_shape(sizes.output())?,
    );
    let mut shape = full.clone();
    if dims == 1 {
        shape.remove(2);
    }
    if x.rank() == dims + 1 {
        shape.remove(0);
    }
    let [lx, lw] = layouts;
    // Where the dimensions of an operand cannot be merged, it is copied first.
    let inputs = checked_shape(Dims::from_slice(&[
        sizes.batch,
        groups,
        sizes.channels[0] / groups,
        product[3],
    ]))?;
    let weights = checked_shape(Dims::from_slice(&[groups, inputs[2], product[2]]))?;
    let bytes = |shape: &[usize]| {
        let elements: usize = shape.iter().product();
        (elements * x.dtype.size()).next_multiple_of(64)
    };
    let rooms = [bytes(&product), bytes(&inputs), bytes(&weights)];
    let scratch = rooms.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
    let scratch =
        scratch.ok_or_else(|| OpError::new("a transposed convolution needs too much memory"))?;
    let flops = 2 * product.iter().product::<usize>() as u64 * inputs[2] as u64;
    let (dtype, plain, patches) = (x.dtype, call.plain(), sizes.patches);
    let (ix, iw, ib) = (x.index, w.index, bias.map(|b| b.index));
    let run = move |o: &mut Operands<'_, '_>| -> Result<(), KernelError> {
        let (to, rest) = o.scratch.split_at_mut(rooms[0]);
        let (x_room, w_room) = rest.split_at_mut(rooms[1]);
        let (x, w) = (view(&o.inputs[ix], &lx)?, view(&o.inputs[iw], &lw)?);
        let (mut x_copy, mut w_copy) = (Layout::default(), Layout::default());
        let x = merged(&x, &inputs, x_room, &mut x_copy, o.threads)?;
        let w = merged(&w, &weights, w_room, &mut w_copy, o.threads)?;
        let left = w.layout().transpose(1, 2).unsqueeze(0);
        let whole = [product[0], product[1], product[2], inputs[2]];
        let left = left.expand(&whole).unwrap_or_default();
        let of_product = Layout::contiguous(&product);
        let mut columns = TensorMut::new(dtype, &of_product, to).map_err(outside_memory)?;
        let factors = Product {
            a: view(&w, &left)?,
            b: x,
            bias: None,
            alpha: 1.0,
            beta: 1.0,
            epilogue: None,
        };
        matmul(&mut columns, &factors, plain, o.threads);
        let of_patches = Layout::contiguous(&[product[0], product[1] * product[2], product[3]]);
        let columns = TensorRef::new(dtype, &of_patches, to).map_err(outside_memory)?;
        let of_output = Layout::contiguous(&full);
        let mut out = view_mut(&mut o.outputs[0], &of_output)?;
        patches.sum(&mut out, &columns, ib.map(|i| &o.inputs[i]), o.threads);
        Ok(())
    };
    let kernel = WithScratch {
        bytes: scratch,
        run,
    };
    Ok(Lowering::compute(dtype, &shape, kernel).with_flops(flops))
}

/// A tensor in a shape with fewer dimensions, where it lies or copied to `room`. `layout` holds the
/// layout.
fn merged<'t>(
    tensor: &TensorRef<'t>,
    shape: &[usize],
    room: &'t mut [u8],
    layout: &'t mut Layout,
    threads: &crosslatch_kernels::Threads,
) -> Result<TensorRef<'t>, KernelError> {
    if let Some(merged) = tensor.layout().reshape(shape) {
        *layout = merged;
        return tensor.with_layout(layout).map_err(outside_memory);
    }
    let straight = Layout::contiguous(tensor.shape());
    let dtype = tensor.dtype();
    let mut copied = TensorMut::new(dtype, &straight, room).map_err(outside_memory)?;
    copy(&mut copied, tensor, threads);
    *layout = Layout::contiguous(shape);
    TensorRef::new(dtype, layout, room).map_err(outside_memory)
}
