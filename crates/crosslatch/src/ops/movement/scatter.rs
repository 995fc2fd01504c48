//! Gather and scatter: one index for each element; and writes into a part of a tensor.
//!
//! `gather` and `take` read. `scatter` and its relatives return a changed copy of their operand: they
//! are updates, which a plan makes in place where it may. Operators that write a view
//! (`slice_scatter`, `copy`) are assignments to that view.

use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::movement::{
    Combine, Negative, ScatterSource, clear_scattered, copy, gather, mean_scratch_bytes, scatter,
    scatter_masked, scatter_mean, take,
};
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{DType, Dims, KernelError, Layout, Operands};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Assign, Call, Lowering, OpError, TensorArg};
use crate::ops::movement::indexing::{at_least_1d, check_index};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::range::checked_value;
use crate::ops::operands::shapes::checked_shape;
use crate::ops::views::dims::diagonal_of;
use crate::ops::views::expand::expanded;
use crate::ops::views::reshape::as_strided_layout;
use crate::ops::views::slice::{Slice, selected};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
        |c| {
            let index = c.tensor("index")?;
            gather_along(
                c.tensor("self")?,
                c.int("dim")?,
                index,
                index.layout.shape.clone(),
                Negative::Outside,
            )
        },
    ),
    op(
        "aten::take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
        take_along_dim,
    ),
    op("aten::take(Tensor self, Tensor index) -> Tensor", |c| {
        let index = c.tensor("index")?;
        let shape = index.layout.shape.clone();
        take_flat(c.tensor("self")?, index, shape, Negative::FromEnd)
    }),
    op_with_in_place(
        "aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
        |c| lower_scatter(c, ScatterMode::IncludeSelf(Combine::Replace)),
    ),
    op_with_in_place(
        "aten::scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
        |c| lower_scatter(c, ScatterMode::IncludeSelf(Combine::Replace)),
    ),
    op_with_in_place(
        "aten::scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
        |c| lower_scatter(c, ScatterMode::named(c)?),
    ),
    op_with_in_place(
        "aten::scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
        |c| lower_scatter(c, ScatterMode::named(c)?),
    ),
    op_with_in_place(
        "aten::scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
        |c| lower_scatter(c, ScatterMode::IncludeSelf(Combine::Add)),
    ),
    op_with_in_place(
        "aten::scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> Tensor",
        |c| lower_scatter(c, ScatterMode::named(c)?),
    ),
    op(
        "aten::slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
        |c| {
            let slice = Slice::of(c, c.tensor("self")?)?;
            assign_part(c, move |layout| Ok(slice.layout(layout)))
        },
    ),
    op(
        "aten::select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor",
        |c| {
            let (dim, place) = selected(c, c.tensor("self")?)?;
            assign_part(c, move |layout| Ok(layout.select(dim, place)))
        },
    ),
    op(
        "aten::diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
        |c| {
            let (offset, dim1, dim2) = (c.int("offset")?, c.int("dim1")?, c.int("dim2")?);
            assign_part(c, move |layout| diagonal_of(layout, offset, dim1, dim2))
        },
    ),
    op(
        "aten::as_strided_scatter(Tensor self, Tensor src, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor",
        as_strided_scatter,
    ),
    op_with_in_place(
        "aten::masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor",
        masked_scatter,
    ),
    op_with_in_place(
        "aten::copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor",
        lower_copy,
    ),
];

/// A copy of `self`, broadcast to the mask, with the elements of `source` in order where the mask is true.
fn masked_scatter(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, mask) = (call.tensor("self")?, call.tensor("mask")?);
    let source = call.tensor("source")?;
    let shape = broadcast_shapes(&[this.shape(), mask.shape()]);
    let fits = mask.dtype == DType::Bool && source.dtype == this.dtype;
    let Some(shape) = shape.filter(|_| fits) else {
        return Err(OpError::new(format!(
            "{}{:?}, a mask {}{:?} and a source of {} do not fit together",
            this.dtype,
            this.shape(),
            mask.dtype,
            mask.shape(),
            source.dtype
        )));
    };
    let shape = checked_shape(shape)?;
    let repeated = this.layout_from_start().expand(&shape);
    let repeated = repeated.ok_or_else(|| OpError::new("the shape of the result overflows"))?;
    let [this_index, mask, source] = [this, mask, source].map(|t| t.index);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let out = &mut o.outputs[0];
        copy(out, &view(&o.inputs[this_index], &repeated)?, o.threads);
        match scatter_masked(out, &o.inputs[mask], &o.inputs[source]) {
            true => Ok(()),
            false => Err(KernelError::Assertion(
                "the mask is true for more elements than the source has".to_owned(),
            )),
        }
    };
    Ok(Lowering::compute(this.dtype, &shape, kernel))
}

/// Fails if an index does not fit a tensor: it must have as many dimensions, and none may be longer
/// than that of the tensor, except the one that is indexed.
fn check_fit(this: &TensorArg, index: &TensorArg, dim: Option<usize>) -> Result<(), OpError> {
    let (whole, part) = (at_least_1d(&this.layout), at_least_1d(&index.layout));
    let fits = whole.rank() == part.rank()
        && (0..whole.rank()).all(|d| Some(d) == dim || part.shape[d] <= whole.shape[d]);
    match fits || index.layout.numel() == 0 && whole.rank() == part.rank() {
        true => Ok(()),
        false => Err(OpError::new(format!(
            "an index of shape {:?} does not fit a tensor of shape {:?}",
            index.shape(),
            this.shape()
        ))),
    }
}

/// `gather` by an index that is broadcast to `shape`.
fn gather_along(
    this: &TensorArg,
    dim: i64,
    index: &TensorArg,
    shape: Dims,
    negative: Negative,
) -> Result<Lowering, OpError> {
    let dim = this.dim(dim)?;
    check_index(index)?;
    if shape.contains(&0) {
        // An empty index may have any rank.
        return Ok(Lowering::compute(
            this.dtype,
            &shape,
            |_: &mut Operands<'_, '_>| Ok(()),
        ));
    }
    let broadcast = TensorArg {
        layout: expanded(index, &shape)?,
        ..index.clone()
    };
    check_fit(this, &broadcast, Some(dim))?;
    let (of, by) = (this.index, index.index);
    let result = checked_shape(shape.clone())?;
    Ok(Lowering::compute(
        this.dtype,
        &result,
        move |o: &mut Operands<'_, '_>| {
            let from_layout = at_least_1d(o.inputs[of].layout());
            let to_layout = at_least_1d(o.outputs[0].layout());
            let misfit = || KernelError::Assertion("the index does not fit".into());
            let index = o.inputs[by].layout().expand(&shape).ok_or_else(misfit)?;
            let index = at_least_1d(&index);
            let from = view(&o.inputs[of], &from_layout)?;
            let index = view(&o.inputs[by], &index)?;
            gather(
                &mut view_mut(&mut o.outputs[0], &to_layout)?,
                &from,
                dim,
                &index,
                negative,
                o.threads,
            )
        },
    ))
}

fn take_flat(
    this: &TensorArg,
    index: &TensorArg,
    shape: Dims,
    negative: Negative,
) -> Result<Lowering, OpError> {
    check_index(index)?;
    if this.layout.numel() == 0 && index.layout.numel() > 0 {
        return Err(OpError::new("elements are taken from an empty tensor"));
    }
    let (of, by) = (this.index, index.index);
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            // The result has the shape of the index, or is flat for `take_along_dim`.
            let layout = Layout {
                offset: o.outputs[0].layout().offset,
                ..Layout::contiguous(o.inputs[by].shape())
            };
            take(
                &mut view_mut(&mut o.outputs[0], &layout)?,
                &o.inputs[of],
                &o.inputs[by],
                negative,
            )
        },
    ))
}

fn take_along_dim(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, index) = (call.tensor("self")?, call.tensor("indices")?);
    let Some(dim) = call.optional_int("dim")? else {
        let shape = Dims::from_slice(&[index.layout.numel()]);
        return take_flat(this, index, shape, Negative::Outside);
    };
    let d = this.dim(dim)?;
    if this.rank() != index.rank() || this.rank() == 0 {
        return Err(OpError::new("`self` and `indices` differ in rank"));
    }
    // All other dimensions are broadcast, of the tensor and of the index.
    let mut whole = this.layout.shape.clone();
    let mut shape = index.layout.shape.clone();
    for e in (0..this.rank()).filter(|&e| e != d) {
        match (whole[e], shape[e]) {
            (a, 1) => shape[e] = a,
            (1, b) => whole[e] = b,
            _ => {}
        }
    }
    if whole == this.layout.shape {
        return gather_along(this, dim, index, shape, Negative::FromEnd);
    }
    let (of, by, result) = (this.index, index.index, checked_shape(shape.clone())?);
    let stretched = TensorArg {
        layout: expanded(this, &whole)?,
        ..this.clone()
    };
    check_index(index)?;
    check_fit(
        &stretched,
        &TensorArg {
            layout: expanded(index, &shape)?,
            ..index.clone()
        },
        Some(d),
    )?;
    Ok(Lowering::compute(
        this.dtype,
        &result,
        move |o: &mut Operands<'_, '_>| {
            let misfit = || KernelError::Assertion("the index does not fit".into());
            let from = o.inputs[of].layout().expand(&whole).ok_or_else(misfit)?;
            let index = o.inputs[by].layout().expand(&shape).ok_or_else(misfit)?;
            let from = view(&o.inputs[of], &from)?;
            let index = view(&o.inputs[by], &index)?;
            gather(
                &mut o.outputs[0],
                &from,
                d,
                &index,
                Negative::FromEnd,
                o.threads,
            )
        },
    ))
}

/// How scattered values are combined.
#[derive(Clone, Copy)]
enum ScatterMode {
    /// With each other and the element that they are scattered to.
    IncludeSelf(Combine),
    /// With each other only.
    ExcludeSelf(Combine),
    /// By their mean, including the element that they are scattered to or not.
    Mean(bool),
}

impl ScatterMode {
    /// The reduction that the argument `reduce` names, in the words of `scatter` or of `scatter_reduce`.
    fn named(call: &Call<'_>) -> Result<ScatterMode, OpError> {
        let include_self = !call.has("include_self") || call.bool("include_self")?;
        let reduce = match call.optional_str("reduce")?.unwrap_or_default() {
            "add" | "sum" => Combine::Add,
            "multiply" | "prod" => Combine::Multiply,
            "amax" => Combine::Max,
            "amin" => Combine::Min,
            "mean" => return Ok(ScatterMode::Mean(include_self)),
            other => {
                return Err(OpError::unsupported(format!(
                    "reduction `{other}` is not supported"
                )));
            }
        };
        Ok(if include_self {
            ScatterMode::IncludeSelf(reduce)
        } else {
            ScatterMode::ExcludeSelf(reduce)
        })
    }
}

fn lower_scatter(call: &Call<'_>, mode: ScatterMode) -> Result<Lowering, OpError> {
    let (this, index) = (call.tensor("self")?, call.tensor("index")?);
    let dim = this.dim(call.int("dim")?)?;
    check_index(index)?;
    check_fit(this, index, Some(dim))?;
    let value = match call.has("src") {
        true => None,
        false => Some(checked_value(call.number("value")?, this.dtype)?),
    };
    let mut src = None;
    if value.is_none() {
        let tensor = call.tensor("src")?;
        check_fit(tensor, index, None)?;
        if tensor.dtype != this.dtype {
            return Err(OpError::new(format!(
                "values of type {} are scattered to a tensor of type {}",
                tensor.dtype, this.dtype
            )));
        }
        src = Some(tensor.index);
    }
    let bytes = match mode {
        ScatterMode::Mean(_) => mean_scratch_bytes(this.layout.numel())
            .ok_or_else(|| OpError::new("the tensor is too large"))?,
        _ => 0,
    };
    let by = index.index;
    let run = move |o: &mut Operands<'_, '_>| {
        let index_layout = at_least_1d(o.inputs[by].layout());
        let index = view(&o.inputs[by], &index_layout)?;
        let to_layout = at_least_1d(o.outputs[0].layout());
        let src_layout;
        let source = match (src, value) {
            (Some(src), _) => {
                let mut layout = at_least_1d(o.inputs[src].layout());
                layout.shape = index_layout.shape.clone();
                src_layout = layout;
                ScatterSource::Tensor(view(&o.inputs[src], &src_layout)?)
            }
            (None, Some(value)) => ScatterSource::Scalar(value),
            (None, None) => return Ok(()),
        };
        let to = &mut view_mut(&mut o.outputs[0], &to_layout)?;
        match mode {
            ScatterMode::IncludeSelf(reduce) => scatter(to, dim, &index, source, reduce),
            ScatterMode::ExcludeSelf(reduce) => {
                clear_scattered(to, dim, &index, source, reduce)?;
                scatter(to, dim, &index, source, reduce)
            }
            ScatterMode::Mean(include_self) => {
                scatter_mean(to, dim, &index, source, include_self, o.scratch)
            }
        }
    };
    Ok(Lowering::update(this, WithScratch { bytes, run }))
}

/// Copies `src` into a part of `self`, which `part` finds in any layout of `self`.
fn assign_part(
    call: &Call<'_>,
    part: impl Fn(&Layout) -> Result<Layout, OpError> + 'static,
) -> Result<Lowering, OpError> {
    let (this, src) = (call.tensor("self")?, call.tensor("src")?);
    Ok(Lowering::Assign(Assign {
        of: this.index,
        part: Box::new(part),
        from: src.index,
    }))
}

/// Replaces all of `self` by `src`. If the result is a fresh tensor, it takes only shape and type from
/// `self`.
fn lower_copy(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, src) = (call.tensor("self")?, call.tensor("src")?);
    if call.is_in_place() {
        return assign_part(call, |layout| Ok(layout.clone()));
    }
    let shape = this.layout.shape.clone();
    if (src.dtype, src.shape()) == (this.dtype, this.shape()) {
        return Ok(Lowering::copy(src));
    }
    expanded(src, &shape)?;
    let of = src.index;
    Ok(Lowering::compute(
        this.dtype,
        this.shape(),
        move |o: &mut Operands<'_, '_>| {
            let misfit = || KernelError::Assertion("`src` does not broadcast to `self`".into());
            let layout = o.inputs[of].layout().expand(&shape).ok_or_else(misfit)?;
            copy(&mut o.outputs[0], &view(&o.inputs[of], &layout)?, o.threads);
            Ok(())
        },
    ))
}

fn as_strided_scatter(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let part = as_strided_layout(call, this)?;
    // The copy that is changed is contiguous: its strides are those of the operand only if that is
    // contiguous as well.
    let start = part.offset.checked_sub(this.layout.offset);
    let (true, Some(start)) = (this.layout.is_contiguous(), start) else {
        return Err(OpError::unsupported(
            "as_strided_scatter into a tensor that is not contiguous is not supported",
        ));
    };
    assign_part(call, move |layout| {
        let offset = layout.offset + start;
        Ok(Layout {
            offset,
            ..part.clone()
        })
    })
}
