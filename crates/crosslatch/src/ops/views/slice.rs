//! Views of a part of a tensor: `slice`, `select`, `split` and their relatives.

use crosslatch_kernels::Layout;

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg, View};
use crate::ops::operands::layouts::copy_views;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor(a)",
        slice,
    ),
    op(
        "aten::slice_copy.Tensor(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1) -> Tensor",
        |c| copy_views(c, slice(c)?),
    ),
    op(
        "aten::select.int(Tensor(a) self, int dim, SymInt index) -> Tensor(a)",
        select,
    ),
    op(
        "aten::select_copy.int(Tensor self, int dim, SymInt index) -> Tensor",
        |c| copy_views(c, select(c)?),
    ),
    op(
        "aten::narrow(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)",
        narrow,
    ),
    op(
        "aten::narrow_copy(Tensor self, int dim, SymInt start, SymInt length) -> Tensor",
        |c| copy_views(c, narrow(c)?),
    ),
    op(
        "aten::narrow.Tensor(Tensor(a) self, int dim, Tensor start, SymInt length) -> Tensor(a)",
        |_| {
            Err(OpError::unsupported(
                "narrow with a tensor as its start depends on data, which is not supported",
            ))
        },
    ),
    op(
        "aten::split.Tensor(Tensor(a) self, SymInt split_size, int dim=0) -> Tensor(a)[]",
        split,
    ),
    op(
        "aten::split_copy.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
        |c| copy_views(c, split(c)?),
    ),
    op(
        "aten::unsafe_split.Tensor(Tensor(a) self, SymInt split_size, int dim=0) -> Tensor(a)[]",
        split,
    ),
    op(
        "aten::split.sizes(Tensor(a) self, SymInt[] split_size, int dim=0) -> Tensor(a)[]",
        |c| split_sizes(c, "split_size"),
    ),
    op(
        "aten::split_with_sizes(Tensor(a) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]",
        |c| split_sizes(c, "split_sizes"),
    ),
    op(
        "aten::split_with_sizes_copy(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]",
        |c| copy_views(c, split_sizes(c, "split_sizes")?),
    ),
    op(
        "aten::unsafe_split_with_sizes(Tensor(a) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]",
        |c| split_sizes(c, "split_sizes"),
    ),
    op(
        "aten::chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor(a)[]",
        chunk,
    ),
    op(
        "aten::unsafe_chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor(a)[]",
        chunk,
    ),
    op(
        "aten::tensor_split.sections(Tensor(a) self, SymInt sections, int dim=0) -> Tensor(a)[]",
        tensor_split,
    ),
    op(
        "aten::tensor_split.indices(Tensor(a) self, SymInt[] indices, int dim=0) -> Tensor(a)[]",
        tensor_split_at,
    ),
    op(
        "aten::unbind.int(Tensor(a) self, int dim=0) -> Tensor(a)[]",
        unbind,
    ),
    op(
        "aten::unbind_copy.int(Tensor self, int dim=0) -> Tensor[]",
        |c| copy_views(c, unbind(c)?),
    ),
];

/// A dimension of a tensor, which must have some.
fn dim_of(this: &TensorArg, dim: i64) -> Result<usize, OpError> {
    match this.rank() {
        0 => Err(OpError::new("a tensor without dimensions cannot be sliced")),
        _ => this.dim(dim),
    }
}

/// A bound of a slice: counted from the end if negative, and clamped to the length.
fn bound(index: i64, len: usize) -> usize {
    let len = len as i64;
    let index = if index < 0 {
        index.saturating_add(len)
    } else {
        index
    };
    index.clamp(0, len) as usize
}

/// A slice of a dimension, with its bounds resolved.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Slice {
    dim: usize,
    start: usize,
    len: usize,
    step: usize,
}

impl Slice {
    /// The slice that the arguments `dim`, `start`, `end` and `step` describe, by Python's rules.
    pub(in crate::ops) fn of(call: &Call<'_>, this: &TensorArg) -> Result<Slice, OpError> {
        let dim = dim_of(this, call.int("dim")?)?;
        let len = this.shape()[dim];
        let start = bound(call.optional_int("start")?.unwrap_or(0), len);
        let end = bound(call.optional_int("end")?.unwrap_or(i64::MAX), len);
        let step = call.int("step")?;
        let step = match usize::try_from(step) {
            Ok(step) if step > 0 => step,
            _ => {
                return Err(OpError::new(format!(
                    "the step of a slice is {step}, not positive"
                )));
            }
        };
        let len = end.saturating_sub(start).div_ceil(step);
        Ok(Slice {
            dim,
            start,
            len,
            step,
        })
    }

    /// The layout of this slice of a tensor.
    pub(in crate::ops) fn layout(&self, of: &Layout) -> Layout {
        of.slice(self.dim, self.start, self.len, self.step)
    }
}

fn slice(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    Ok(Lowering::view(
        this,
        Slice::of(call, this)?.layout(&this.layout),
    ))
}

/// The dimension and the index in it that the arguments `dim` and `index` name.
pub(in crate::ops) fn selected(
    call: &Call<'_>,
    this: &TensorArg,
) -> Result<(usize, usize), OpError> {
    let dim = dim_of(this, call.int("dim")?)?;
    let (index, len) = (call.int("index")?, this.shape()[dim]);
    let place = if index < 0 {
        index.saturating_add(len as i64)
    } else {
        index
    };
    match usize::try_from(place) {
        Ok(place) if place < len => Ok((dim, place)),
        _ => Err(OpError::new(format!(
            "index {index} is out of range for a dimension of length {len}"
        ))),
    }
}

fn select(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let (dim, place) = selected(call, this)?;
    Ok(Lowering::view(this, this.layout.select(dim, place)))
}

fn narrow(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let (start, length, len) = (call.int("start")?, call.int("length")?, this.shape()[dim]);
    let from = if start < 0 {
        start.saturating_add(len as i64)
    } else {
        start
    };
    match (usize::try_from(from), usize::try_from(length)) {
        (Ok(from), Ok(length)) if from <= len && length <= len - from => Ok(Lowering::view(
            this,
            this.layout.slice(dim, from, length, 1),
        )),
        _ => Err(OpError::new(format!(
            "narrow from {start} by {length} exceeds a dimension of length {len}"
        ))),
    }
}

/// Consecutive parts of a dimension with these lengths, from 0 on.
fn parts(
    call: &Call<'_>,
    this: &TensorArg,
    dim: usize,
    count: usize,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<Lowering, OpError> {
    call.result_count(count)?;
    let mut start = 0;
    let views = lengths
        .into_iter()
        .map(|len| {
            let layout = this.layout.slice(dim, start, len, 1);
            start += len;
            View {
                of: this.index,
                layout,
            }
        })
        .collect();
    Ok(Lowering::Views(views))
}

/// Parts of length `size`, the last of which may be shorter; one part if the dimension is empty.
fn equal_parts(
    call: &Call<'_>,
    this: &TensorArg,
    dim: usize,
    size: usize,
) -> Result<Lowering, OpError> {
    let len = this.shape()[dim];
    let count = if size == 0 {
        1
    } else {
        len.div_ceil(size).max(1)
    };
    let lengths = (0..count).map(move |i| size.min(len - i * size));
    parts(call, this, dim, count, lengths)
}

fn split(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let (size, len) = (call.int("split_size")?, this.shape()[dim]);
    match usize::try_from(size) {
        Ok(size) if size > 0 || len == 0 => equal_parts(call, this, dim, size),
        _ => Err(OpError::new(format!("a split into parts of length {size}"))),
    }
}

fn split_sizes(call: &Call<'_>, name: &str) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let (sizes, len) = (call.sizes(name)?, this.shape()[dim]);
    let sum = sizes
        .iter()
        .try_fold(0usize, |sum, &size| sum.checked_add(size));
    if sum != Some(len) {
        return Err(OpError::new(format!(
            "parts of lengths {:?} do not add up to a dimension of length {len}",
            sizes.as_slice()
        )));
    }
    parts(call, this, dim, sizes.len(), sizes)
}

fn chunk(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let (chunks, len) = (call.int("chunks")?, this.shape()[dim]);
    let Some(chunks) = usize::try_from(chunks).ok().filter(|&c| c > 0) else {
        return Err(OpError::new(format!("a split into {chunks} parts")));
    };
    if len == 0 {
        return parts(call, this, dim, chunks, std::iter::repeat_n(0, chunks));
    }
    equal_parts(call, this, dim, len.div_ceil(chunks))
}

fn tensor_split(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let sections = call.int("sections")?;
    let Some(sections) = usize::try_from(sections).ok().filter(|&s| s > 0) else {
        return Err(OpError::new(format!("a split into {sections} parts")));
    };
    let len = this.shape()[dim];
    let lengths = (0..sections).map(|i| len / sections + (i < len % sections) as usize);
    parts(call, this, dim, sections, lengths)
}

fn tensor_split_at(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let len = this.shape()[dim];
    let mut start = 0;
    let mut views = Vec::new();
    for end in call.ints("indices")?.into_iter().chain([i64::MAX]) {
        let end = bound(end, len);
        let layout = this
            .layout
            .slice(dim, start.min(len), end.saturating_sub(start), 1);
        views.push(View {
            of: this.index,
            layout,
        });
        start = end;
    }
    Ok(Lowering::Views(views))
}

fn unbind(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = dim_of(this, call.int("dim")?)?;
    let views = (0..call.result_count(this.shape()[dim])?)
        .map(|i| View {
            of: this.index,
            layout: this.layout.select(dim, i),
        })
        .collect();
    Ok(Lowering::Views(views))
}
