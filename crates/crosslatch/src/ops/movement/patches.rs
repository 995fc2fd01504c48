//! Patches of images as columns of a matrix (`unfold`), and their sum (`fold`).

use crosslatch_kernels::movement::{Patches, add_windows};
use crosslatch_kernels::{Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg, wrap_dim};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor",
        im2col,
    ),
    op(
        "aten::col2im(Tensor self, SymInt[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor",
        col2im,
    ),
    op(
        "aten::unfold_backward(Tensor grad_in, SymInt[] input_sizes, int dim, int size, int step) -> Tensor",
        unfold_backward,
    ),
];

/// How patches lie in an image of this height and width.
fn patches(call: &Call<'_>, image: [usize; 2]) -> Result<Patches, OpError> {
    let two = |name| match call.sizes(name)?[..] {
        [n] => Ok([n; 2]),
        [a, b] => Ok([a, b]),
        _ => Err(OpError::new(format!("`{name}` does not have two elements"))),
    };
    let mut patches = Patches {
        size: two("kernel_size")?,
        stride: two("stride")?,
        padding: two("padding")?,
        dilation: two("dilation")?,
        count: [0; 2],
    };
    let count = patches.count(image);
    patches.count = count.ok_or_else(|| {
        OpError::new(format!(
            "no patch of {:?} lies in an image of {image:?}",
            patches.size
        ))
    })?;
    Ok(patches)
}

/// The layout with a batch, of which there is one entry where the operand has none.
fn with_batch(x: &TensorArg, rank: usize) -> Result<Layout, OpError> {
    let layout = x.layout_from_start();
    match x.rank() {
        n if n == rank => Ok(layout),
        n if n + 1 == rank => Ok(layout.unsqueeze(0)),
        n => Err(OpError::new(format!("an operand has {n} dimensions"))),
    }
}

/// Windows along a dimension, which lie along the last one, added where they came from.
fn unfold_backward(call: &Call<'_>) -> Result<Lowering, OpError> {
    let windows = call.tensor("grad_in")?;
    let shape = checked_shape(call.sizes("input_sizes")?)?;
    let (size, step) = (call.int("size")?, call.int("step")?);
    let dim = wrap_dim(call.int("dim")?, shape.len())?;
    let (Ok(size), Ok(step)) = (usize::try_from(size), usize::try_from(step)) else {
        return Err(OpError::new("a window has a negative size or step"));
    };
    let mut expected = shape.clone();
    expected.push(size);
    let count = shape.get(dim).and_then(|n| n.checked_sub(size));
    if let (Some(rest), Some(along)) = (count, expected.get_mut(dim)) {
        *along = rest.checked_div(step).map_or(0, |n| n + 1);
    }
    if count.is_none() || step == 0 || windows.shape() != &expected[..] {
        return Err(OpError::new(format!(
            "{:?} are not the windows of {size} elements, every {step}, of {:?}",
            windows.shape(),
            shape.as_slice()
        )));
    }
    let (index, dtype) = (windows.index, windows.dtype);
    let kernel = move |o: &mut Operands<'_, '_>| {
        add_windows(&mut o.outputs[0], &o.inputs[index], dim, step);
        Ok(())
    };
    Ok(Lowering::compute(dtype, &shape, kernel))
}

fn im2col(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let from = with_batch(x, 4)?;
    let patches = patches(call, [from.shape[2], from.shape[3]])?;
    let count = patches.count[0].checked_mul(patches.count[1]);
    let lines = patches.size[0].checked_mul(patches.size[1]);
    let lines = lines.and_then(|taps| taps.checked_mul(from.shape[1]));
    let (Some(count), Some(lines)) = (count, lines) else {
        return Err(OpError::new("the sizes of patches overflow"));
    };
    let full = checked_shape(Dims::from_slice(&[from.shape[0], lines, count]))?;
    let shape = Dims::from_slice(&full[4 - x.rank()..]);
    let (index, to) = (x.index, Layout::contiguous(&full));
    let kernel = move |o: &mut Operands<'_, '_>| {
        let x = view(&o.inputs[index], &from)?;
        patches.take(&mut view_mut(&mut o.outputs[0], &to)?, &x, o.threads);
        Ok(())
    };
    Ok(Lowering::compute(x.dtype, &shape, kernel))
}

fn col2im(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let from = with_batch(x, 3)?;
    let [height, width] = call.sizes("output_size")?[..] else {
        return Err(OpError::new("`output_size` does not have two elements"));
    };
    let patches = patches(call, [height, width])?;
    let taps = patches.size[0].checked_mul(patches.size[1]).unwrap_or(0);
    let count = patches.count[0].checked_mul(patches.count[1]);
    let is_fit = taps > 0 && from.shape[1] % taps == 0 && count == Some(from.shape[2]);
    if !is_fit || !x.dtype.is_float() {
        return Err(OpError::new(format!(
            "{}{:?} are not patches of {:?} of an image of {height} × {width}",
            x.dtype,
            x.shape(),
            patches.size
        )));
    }
    let full = [from.shape[0], from.shape[1] / taps, height, width];
    let full = checked_shape(Dims::from_slice(&full))?;
    let shape = Dims::from_slice(&full[3 - x.rank()..]);
    let (index, to) = (x.index, Layout::contiguous(&full));
    let kernel = move |o: &mut Operands<'_, '_>| {
        let x = view(&o.inputs[index], &from)?;
        patches.sum(&mut view_mut(&mut o.outputs[0], &to)?, &x, None, o.threads);
        Ok(())
    };
    Ok(Lowering::compute(x.dtype, &shape, kernel))
}
