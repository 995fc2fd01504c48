//! Images and sequences in another size: upsampling by the nearest element, linear and cubic.

use crosslatch_kernels::resampling::{Axis, Interpolation, resample};
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::upsample_nearest1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor",
        |c| lower(c, "self", &["scales"], Interpolation::Nearest),
    ),
    op(
        "aten::upsample_nearest1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 1], Interpolation::Nearest),
    ),
    op(
        "aten::upsample_nearest2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| lower(c, "self", &["scales_h", "scales_w"], Interpolation::Nearest),
    ),
    op(
        "aten::upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 2], Interpolation::Nearest),
    ),
    op(
        "aten::upsample_nearest3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| {
            lower(
                c,
                "self",
                &["scales_d", "scales_h", "scales_w"],
                Interpolation::Nearest,
            )
        },
    ),
    op(
        "aten::upsample_nearest3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 3], Interpolation::Nearest),
    ),
    op(
        "aten::_upsample_nearest_exact1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor",
        |c| lower(c, "self", &["scales"], Interpolation::NearestExact),
    ),
    op(
        "aten::_upsample_nearest_exact1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 1], Interpolation::NearestExact),
    ),
    op(
        "aten::_upsample_nearest_exact2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| {
            lower(
                c,
                "self",
                &["scales_h", "scales_w"],
                Interpolation::NearestExact,
            )
        },
    ),
    op(
        "aten::_upsample_nearest_exact2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 2], Interpolation::NearestExact),
    ),
    op(
        "aten::_upsample_nearest_exact3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| {
            lower(
                c,
                "self",
                &["scales_d", "scales_h", "scales_w"],
                Interpolation::NearestExact,
            )
        },
    ),
    op(
        "aten::_upsample_nearest_exact3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 3], Interpolation::NearestExact),
    ),
    op(
        "aten::upsample_linear1d(Tensor self, SymInt[1] output_size, bool align_corners, float? scales=None) -> Tensor",
        |c| lower(c, "self", &["scales"], linear(c)?),
    ),
    op(
        "aten::upsample_linear1d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 1], linear(c)?),
    ),
    op(
        "aten::upsample_bilinear2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| lower(c, "self", &["scales_h", "scales_w"], linear(c)?),
    ),
    op(
        "aten::upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 2], linear(c)?),
    ),
    op(
        "aten::upsample_trilinear3d(Tensor self, SymInt[3] output_size, bool align_corners, float? scales_d=None, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| lower(c, "self", &["scales_d", "scales_h", "scales_w"], linear(c)?),
    ),
    op(
        "aten::upsample_trilinear3d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 3], linear(c)?),
    ),
    op(
        "aten::upsample_bicubic2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? scales_w=None) -> Tensor",
        |c| lower(c, "self", &["scales_h", "scales_w"], cubic(c)?),
    ),
    op(
        "aten::upsample_bicubic2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> Tensor",
        |c| lower(c, "input", &[""; 2], cubic(c)?),
    ),
];

fn linear(call: &Call<'_>) -> Result<Interpolation, OpError> {
    let align_corners = call.bool("align_corners")?;
    Ok(Interpolation::Linear { align_corners })
}

fn cubic(call: &Call<'_>) -> Result<Interpolation, OpError> {
    let align_corners = call.bool("align_corners")?;
    Ok(Interpolation::Cubic { align_corners })
}

/// The sizes of the output, and a scale for each dimension where there is one. `scales` are the names of the
/// arguments with the scales, or empty ones where `scale_factors` has them all.
fn sizes_and_scales(
    call: &Call<'_>,
    input: &[usize],
    scales: &[&str],
) -> Result<(Vec<usize>, Vec<Option<f64>>), OpError> {
    if !call.has("scale_factors") {
        let given = scales.iter().map(|name| call.optional_float(name));
        return Ok((
            call.sizes("output_size")?.to_vec(),
            given.collect::<Result<_, _>>()?,
        ));
    }
    let wrong = |reason: &str| {
        Err(OpError::new(format!(
            "`output_size` and `scale_factors`: {reason}"
        )))
    };
    match (
        call.optional_ints("output_size")?,
        call.optional_floats("scale_factors")?,
    ) {
        (Some(_), None) => Ok((
            call.sizes("output_size")?.to_vec(),
            vec![None; scales.len()],
        )),
        (None, Some(factors)) if factors.len() == input.len() => {
            let size = |(n, factor): (&usize, &f64)| (*n as f64 * factor) as i64;
            let sizes = input.iter().zip(&factors).map(size);
            let sizes =
                sizes.map(|n| usize::try_from(n).map_err(|_| OpError::new("a size is negative")));
            Ok((
                sizes.collect::<Result<_, _>>()?,
                factors.into_iter().map(Some).collect(),
            ))
        }
        (None, Some(_)) => wrong("there is not a factor for each dimension"),
        _ => wrong("one of them has to be given, and not both"),
    }
}

/// Resamples the last dimensions of the argument `input`, as many as there are `scales`.
fn lower(
    call: &Call<'_>,
    input: &str,
    scales: &[&str],
    interpolation: Interpolation,
) -> Result<Lowering, OpError> {
    let x = call.tensor(input)?;
    let dims = scales.len();
    let unfit = || {
        OpError::new(format!(
            "an input of {}{:?} is not resampled over {dims} dimensions",
            x.dtype,
            x.shape()
        ))
    };
    if x.rank() != dims + 2 || x.dtype == DType::Bool {
        return Err(unfit());
    }
    let (sizes, scales) = sizes_and_scales(call, &x.shape()[2..], scales)?;
    if sizes.len() != dims || sizes.contains(&0) || x.shape()[1..].contains(&0) {
        return Err(unfit());
    }
    let mut shape = Dims::from_slice(&x.shape()[..2]);
    shape.extend_from_slice(&sizes);
    let shape = checked_shape(shape)?;
    let mut axes = [Axis::kept(1); 3];
    for d in 0..dims {
        axes[3 - dims + d] = Axis {
            size: x.shape()[2 + d],
            count: sizes[d],
            scale: scales[d],
            interpolation,
        };
    }
    let in_three_dimensions = |mut layout: Layout| {
        for _ in dims..3 {
            layout = layout.unsqueeze(2);
        }
        layout
    };
    let from = in_three_dimensions(x.layout_from_start());
    let to = in_three_dimensions(Layout::contiguous(&shape));
    let index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let x = view(&o.inputs[index], &from)?;
        let mut out = view_mut(&mut o.outputs[0], &to)?;
        resample(&mut out, &x, &axes, o.threads);
        Ok(())
    };
    Ok(Lowering::compute(x.dtype, &shape, kernel))
}
