//! One index for each element, and writes into a part of a tensor.
//!
//! `gather` and `take` read; `scatter` and its relatives write, with a changed copy of the operand
//! as their result: they are updates, which a plan does in place where it may. The operators that
//! write a view (`slice_scatter`, `copy`) are copies into that view.

use crosslatch_kernels::kernel::WithScratch;
use crosslatch_kernels::movement::Negative;
use crosslatch_kernels::movement::{
    Combine, ScatterSource, forget, mean_scratch_bytes, scatter, scatter_mean,
};
use crosslatch_kernels::movement::{gather, take};
use crosslatch_kernels::{Dims, KernelError, Layout, Operands, movement::copy};

use crate::ir::catalogue::{Table, op, op_with_in_place};
use crate::ir::{Assign, Call, Lowering, OpError, TensorArg};
use crate::ops::movement::indexing::{check_index, with_a_dim};
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
            gathered(
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
        taken(c.tensor("self")?, index, shape, Negative::FromEnd)
    }),
    op_with_in_place(
        "aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
        |c| scattered(c, How::With(Combine::Replace)),
    ),
    op_with_in_place(
        "aten::scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
        |c| scattered(c, How::With(Combine::Replace)),
    ),
    op_with_in_place(
        "aten::scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
        |c| scattered(c, How::named(c)?),
    ),
    op_with_in_place(
        "aten::scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
        |c| scattered(c, How::named(c)?),
    ),
    op_with_in_place(
        "aten::scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
        |c| scattered(c, How::With(Combine::Add)),
    ),
    op_with_in_place(
        "aten::scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> Tensor",
        |c| scattered(c, How::named(c)?),
    ),
    op(
        "aten::slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
        |c| {
            let slice = Slice::of(c, c.tensor("self")?)?;
            write_part(c, move |layout| Ok(slice.layout(layout)))
        },
    ),
    op(
        "aten::select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor",
        |c| {
            let (dim, place) = selected(c, c.tensor("self")?)?;
            write_part(c, move |layout| Ok(layout.select(dim, place)))
        },
    ),
    op(
        "aten::diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
        |c| {
            let (offset, dim1, dim2) = (c.int("offset")?, c.int("dim1")?, c.int("dim2")?);
            write_part(c, move |layout| diagonal_of(layout, offset, dim1, dim2))
        },
    ),
    op(
        "aten::as_strided_scatter(Tensor self, Tensor src, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor",
        as_strided_scatter,
    ),
    op_with_in_place(
        "aten::copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor",
        copy_whole,
    ),
];

/// Whether an index fits a tensor: as many dimensions, and none longer than the tensor's but for
/// the one that is indexed.
fn check_fit(this: &TensorArg, index: &TensorArg, dim: Option<usize>) -> Result<(), OpError> {
    let (whole, part) = (with_a_dim(&this.layout), with_a_dim(&index.layout));
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

/// `gather` by an index that is broadcast to `shape`, which both have but along the dimension.
fn gathered(
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
            let from_layout = with_a_dim(o.inputs[of].layout());
            let to_layout = with_a_dim(o.outputs[0].layout());
            let misfit = || KernelError::Assertion("the index does not fit".into());
            let index = o.inputs[by].layout().expand(&shape).ok_or_else(misfit)?;
            let index = with_a_dim(&index);
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

fn taken(
    this: &TensorArg,
    index: &TensorArg,
    shape: Dims,
    negative: Negative,
) -> Result<Lowering, OpError> {
    check_index(index)?;
    if this.layout.numel() == 0 && index.layout.numel() > 0 {
        return Err(OpError::new("elements are taken from a tensor without any"));
    }
    let (of, by) = (this.index, index.index);
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            // `take` keeps the shape of the index; along no dimension, the result is flat.
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
        return taken(this, index, shape, Negative::Outside);
    };
    let d = this.dim(dim)?;
    if this.rank() != index.rank() || this.rank() == 0 {
        return Err(OpError::new(
            "take_along_dim of tensors that differ in rank",
        ));
    }
    // All other dimensions broadcast, of both.
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
        return gathered(this, dim, index, shape, Negative::FromEnd);
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

/// How scattered values are combined with what is there.
#[derive(Clone, Copy)]
enum How {
    /// With the values that are there.
    With(Combine),
    /// Among themselves only.
    Without(Combine),
    /// Their mean, with or without the values that are there.
    Mean(bool),
}

impl How {
    /// The reduction that `reduce` of a call names, in either operator's words.
    fn named(call: &Call<'_>) -> Result<How, OpError> {
        let include_self = !call.has("include_self") || call.bool("include_self")?;
        let reduce = match call.optional_str("reduce")?.unwrap_or_default() {
            "add" | "sum" => Combine::Add,
            "multiply" | "prod" => Combine::Multiply,
            "amax" => Combine::Max,
            "amin" => Combine::Min,
            "mean" => return Ok(How::Mean(include_self)),
            other => {
                return Err(OpError::new(format!(
                    "reduction `{other}` is not supported"
                )));
            }
        };
        Ok(if include_self {
            How::With(reduce)
        } else {
            How::Without(reduce)
        })
    }
}

fn scattered(call: &Call<'_>, how: How) -> Result<Lowering, OpError> {
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
    let bytes = match how {
        How::Mean(_) => mean_scratch_bytes(this.layout.numel())
            .ok_or_else(|| OpError::new("the tensor is too large"))?,
        _ => 0,
    };
    let by = index.index;
    let run = move |o: &mut Operands<'_, '_>| {
        let index_layout = with_a_dim(o.inputs[by].layout());
        let index = view(&o.inputs[by], &index_layout)?;
        let to_layout = with_a_dim(o.outputs[0].layout());
        let src_layout;
        let source = match (src, value) {
            (Some(src), _) => {
                let mut layout = with_a_dim(o.inputs[src].layout());
                layout.shape = index_layout.shape.clone();
                src_layout = layout;
                ScatterSource::Tensor(view(&o.inputs[src], &src_layout)?)
            }
            (None, Some(value)) => ScatterSource::Scalar(value),
            (None, None) => return Ok(()),
        };
        let to = &mut view_mut(&mut o.outputs[0], &to_layout)?;
        match how {
            How::With(reduce) => scatter(to, dim, &index, source, reduce),
            How::Without(reduce) => {
                forget(to, dim, &index, source, reduce)?;
                scatter(to, dim, &index, source, reduce)
            }
            How::Mean(include_self) => {
                scatter_mean(to, dim, &index, source, include_self, o.scratch)
            }
        }
    };
    Ok(Lowering::update(this, WithScratch { bytes, run }))
}

/// `src` is copied into a part of `self`; `part` finds it in any layout of `self`.
fn write_part(
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

/// All of `self` replaced by `src`. Where that is a new tensor, `self` lends it no more than shape
/// and type.
fn copy_whole(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, src) = (call.tensor("self")?, call.tensor("src")?);
    if call.is_in_place() {
        return write_part(call, |layout| Ok(layout.clone()));
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
            let misfit = || KernelError::Assertion("the source does not fit its place".into());
            let layout = o.inputs[of].layout().expand(&shape).ok_or_else(misfit)?;
            copy(&mut o.outputs[0], &view(&o.inputs[of], &layout)?, o.threads);
            Ok(())
        },
    ))
}

fn as_strided_scatter(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let part = as_strided_layout(call, this)?;
    // The copy that is changed is contiguous; only then are strides of the operand its strides.
    let start = part.offset.checked_sub(this.layout.offset);
    let (true, Some(start)) = (this.layout.is_contiguous(), start) else {
        return Err(OpError::new(
            "as_strided_scatter into a tensor that is not contiguous",
        ));
    };
    write_part(call, move |layout| {
        let offset = layout.offset + start;
        Ok(Layout {
            offset,
            ..part.clone()
        })
    })
}
