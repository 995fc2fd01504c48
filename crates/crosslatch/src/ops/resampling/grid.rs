//! Images sampled at the places that a grid says.
//!
//! Two and three dimensions are one kernel over three.

use crosslatch_kernels::resampling::{Beyond, GridSampling, Sample, sample_grid};
use crosslatch_kernels::{Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        |c| lower(c, c.tensor("input")?.rank().saturating_sub(2)),
    ),
    op(
        "aten::grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        |c| lower(c, 2),
    ),
    op(
        "aten::grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        |c| lower(c, 3),
    ),
];

/// The numbers are those of PyTorch's `GridSamplerInterpolation` and `GridSamplerPadding`.
fn sampling(call: &Call<'_>) -> Result<GridSampling, OpError> {
    let sample = match call.int("interpolation_mode")? {
        0 => Sample::Linear,
        1 => Sample::Nearest,
        2 => Sample::Cubic,
        other => {
            return Err(OpError::new(format!("there is no interpolation {other}")));
        }
    };
    let beyond = match call.int("padding_mode")? {
        0 => Beyond::Zeros,
        1 => Beyond::End,
        2 => Beyond::Mirror,
        other => return Err(OpError::new(format!("there is no padding {other}"))),
    };
    Ok(GridSampling {
        sample,
        beyond,
        align_corners: call.bool("align_corners")?,
    })
}

fn lower(call: &Call<'_>, dims: usize) -> Result<Lowering, OpError> {
    let (x, grid) = (call.tensor("input")?, call.tensor("grid")?);
    let unfit = || {
        OpError::new(format!(
            "an input of {}{:?} is not sampled at a grid of {}{:?}",
            x.dtype,
            x.shape(),
            grid.dtype,
            grid.shape()
        ))
    };
    let is_fit = (2..=3).contains(&dims)
        && x.rank() == dims + 2
        && grid.rank() == dims + 2
        && x.shape()[0] == grid.shape()[0]
        && grid.shape()[dims + 1] == dims
        && !x.shape()[2..].contains(&0)
        && x.dtype == grid.dtype
        && x.dtype.is_float();
    if !is_fit {
        return Err(unfit());
    }
    let sampling = sampling(call)?;
    let mut shape = Dims::from_slice(&x.shape()[..2]);
    shape.extend_from_slice(&grid.shape()[1..=dims]);
    let shape = checked_shape(shape)?;
    let with_depth = |layout: Layout, at: usize| match dims {
        2 => layout.unsqueeze(at),
        _ => layout,
    };
    let from = with_depth(x.layout_from_start(), 2);
    let places = with_depth(grid.layout_from_start(), 1);
    let to = with_depth(Layout::contiguous(&shape), 2);
    let (ix, ig) = (x.index, grid.index);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (x, grid) = (view(&o.inputs[ix], &from)?, view(&o.inputs[ig], &places)?);
        let mut out = view_mut(&mut o.outputs[0], &to)?;
        sample_grid(&mut out, &x, &grid, sampling, o.threads);
        Ok(())
    };
    Ok(Lowering::compute(x.dtype, &shape, kernel))
}
