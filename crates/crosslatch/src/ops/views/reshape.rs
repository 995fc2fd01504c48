//! Views that keep the order of the elements and change the shape: `view`, `reshape`, `flatten`.
//!
//! If the strides do not allow a view of the new shape, the elements are copied. PyTorch does so for
//! `reshape`, but refuses `view`. Here `view` copies as well, because strides differ: results of this
//! engine are always contiguous, while PyTorch's elementwise operators keep the strides of a
//! transposed operand, so a view that PyTorch allows may not exist here. Only a program that writes
//! through such a view could tell the difference.

use crosslatch_kernels::tensor::checked_numel;
use crosslatch_kernels::{Dims, KernelError, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::copy_views;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)",
        |c| reshape_to(c, "size"),
    ),
    op(
        "aten::_unsafe_view(Tensor(a) self, SymInt[] size) -> Tensor(a)",
        |c| reshape_to(c, "size"),
    ),
    op(
        "aten::reshape(Tensor(a) self, SymInt[] shape) -> Tensor(a)",
        |c| reshape_to(c, "shape"),
    ),
    op(
        "aten::_reshape_copy(Tensor self, SymInt[] size) -> Tensor",
        |c| copy_views(c, reshape_to(c, "size")?),
    ),
    op(
        "aten::view_copy(Tensor self, SymInt[] size) -> Tensor",
        |c| copy_views(c, reshape_to(c, "size")?),
    ),
    op(
        "aten::view_as(Tensor(a) self, Tensor other) -> Tensor(a)",
        reshape_as,
    ),
    op(
        "aten::reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)",
        reshape_as,
    ),
    op(
        "aten::flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)",
        flatten,
    ),
    op("aten::ravel(Tensor(a) self) -> Tensor(a)", |c| {
        let this = c.tensor("self")?;
        reshaped(this, &[this.layout.numel()])
    }),
    op(
        "aten::unflatten.int(Tensor(a) self, int dim, SymInt[] sizes) -> Tensor(a)",
        unflatten,
    ),
    op(
        "aten::contiguous(Tensor(a) self, *, MemoryFormat memory_format=0) -> Tensor(a)",
        |c| {
            let this = c.tensor("self")?;
            Ok(match this.layout.is_contiguous() {
                true => Lowering::view(this, this.layout.clone()),
                false => Lowering::copy(this),
            })
        },
    ),
    op(
        "aten::clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
        |c| {
            let this = c.tensor("self")?;
            Ok(Lowering::copy(this))
        },
    ),
    op(
        "aten::view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)",
        view_dtype,
    )
    .takes_complex(),
    op(
        "aten::view_copy.dtype(Tensor self, ScalarType dtype) -> Tensor",
        |c| copy_views(c, view_dtype(c)?),
    ),
    op(
        "aten::as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor(a)",
        as_strided,
    ),
    op(
        "aten::as_strided_copy(Tensor self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None) -> Tensor",
        |c| copy_views(c, as_strided(c)?),
    ),
];

/// The shape that these sizes mean for `numel` elements: one of them may be -1, and follows.
fn inferred_shape(sizes: &[i64], numel: usize) -> Result<Dims, OpError> {
    let wrong = || OpError::new(format!("{numel} elements do not fit the shape {sizes:?}"));
    let mut unknown = None;
    let mut shape = Dims::new();
    for (d, &size) in sizes.iter().enumerate() {
        shape.push(match usize::try_from(size) {
            Ok(size) => size,
            Err(_) if size == -1 && unknown.is_none() => {
                unknown = Some(d);
                1
            }
            Err(_) => return Err(wrong()),
        });
    }
    let known = checked_numel(&shape).ok_or_else(wrong)?;
    if let Some(d) = unknown {
        if known == 0 || !numel.is_multiple_of(known) {
            return Err(wrong());
        }
        shape[d] = numel / known;
    } else if known != numel {
        return Err(wrong());
    }
    Ok(shape)
}

/// A view under another shape if there is one, else a copy.
fn reshaped(this: &TensorArg, shape: &[usize]) -> Result<Lowering, OpError> {
    if checked_numel(shape) != Some(this.layout.numel()) {
        return Err(OpError::new(format!(
            "the shape {:?} cannot become {shape:?}",
            this.shape()
        )));
    }
    Ok(match this.layout.reshape(shape) {
        Some(layout) => Lowering::view(this, layout),
        None => Lowering::copy_in_shape(this, shape.into()),
    })
}

fn reshape_to(call: &Call<'_>, sizes: &str) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    reshaped(
        this,
        &inferred_shape(&call.ints(sizes)?, this.layout.numel())?,
    )
}

fn reshape_as(call: &Call<'_>) -> Result<Lowering, OpError> {
    reshaped(call.tensor("self")?, call.tensor("other")?.shape())
}

fn flatten(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let (start, end) = (
        this.dim(call.int("start_dim")?)?,
        this.dim(call.int("end_dim")?)?,
    );
    if start > end {
        return Err(OpError::new("`start_dim` is after `end_dim`"));
    }
    if this.rank() == 0 {
        return reshaped(this, &[1]);
    }
    let mut shape: Dims = this.shape()[..start].into();
    shape.push(this.shape()[start..=end].iter().product());
    shape.extend_from_slice(&this.shape()[end + 1..]);
    reshaped(this, &shape)
}

fn unflatten(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = this.dim(call.int("dim")?)?;
    if this.rank() == 0 {
        return Err(OpError::new(
            "a tensor without dimensions cannot be unflattened",
        ));
    }
    let inner = inferred_shape(&call.ints("sizes")?, this.shape()[dim])?;
    let mut shape: Dims = this.shape()[..dim].into();
    shape.extend_from_slice(&inner);
    shape.extend_from_slice(&this.shape()[dim + 1..]);
    reshaped(this, &shape)
}

/// The bytes of a tensor as another type of the same size. They are copied, because views do not
/// change the element type here.
fn view_dtype(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dtype = call.optional_dtype("dtype")?.unwrap_or(this.dtype);
    if dtype == this.dtype {
        return Ok(Lowering::view(this, this.layout.clone()));
    }
    if dtype.size() != this.dtype.size() {
        return Err(OpError::unsupported(format!(
            "a view of {} as {dtype}, which has another size, is not supported",
            this.dtype
        )));
    }
    let of = this.index;
    Ok(Lowering::compute(
        dtype,
        this.shape(),
        move |o: &mut Operands<'_, '_>| {
            let (from, to) = (&o.inputs[of], &mut o.outputs[0]);
            let size = dtype.size();
            let to_layout = to.layout().clone();
            let destination = to.bytes_mut();
            for (b, a) in from.layout().positions().zip(to_layout.positions()) {
                destination[a * size..][..size].copy_from_slice(&from.bytes()[b * size..][..size]);
            }
            Ok::<(), KernelError>(())
        },
    ))
}

/// The layout of `as_strided`, which must stay inside the memory of its operand.
pub(in crate::ops) fn as_strided_layout(
    call: &Call<'_>,
    this: &TensorArg,
) -> Result<Layout, OpError> {
    let offset = match call.optional_int("storage_offset")? {
        Some(offset) => usize::try_from(offset)
            .map_err(|_| OpError::new(format!("`storage_offset` is negative: {offset}")))?,
        None => this.layout.offset,
    };
    let (shape, strides) = (call.sizes("size")?, call.sizes("stride")?);
    if shape.len() != strides.len() {
        return Err(OpError::new("`size` and `stride` differ in length"));
    }
    let layout = Layout {
        shape,
        strides,
        offset,
    };
    let out_of_bounds = || {
        OpError::new(format!(
            "as_strided with size {:?}, stride {:?} and offset {offset} exceeds its operand",
            layout.shape, layout.strides
        ))
    };
    checked_numel(&layout.shape).ok_or_else(out_of_bounds)?;
    let end = layout.end().ok_or_else(out_of_bounds)?;
    if !layout.shape.contains(&0) && Some(end) > this.layout.end() {
        return Err(out_of_bounds());
    }
    Ok(layout)
}

fn as_strided(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    Ok(Lowering::view(this, as_strided_layout(call, this)?))
}
