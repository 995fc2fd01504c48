//! Repeating a tensor or its entries.
//!
//! Repetition needs no kernel of its own: if each dimension of the result is seen as two, repetition
//! and entry, the operand is broadcast along the repetitions and the whole is one copy. Only where a
//! tensor says how often each entry is repeated is there a copy for each repetition.

use crosslatch_kernels::movement::{Integers, copy};
use crosslatch_kernels::{
    Dims, Element, KernelError, Layout, Operands, TensorRef, Threads, with_element,
};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::repeat(Tensor self, SymInt[] repeats) -> Tensor",
        |c| repeat(c, "repeats"),
    ),
    op("aten::tile(Tensor self, SymInt[] dims) -> Tensor", |c| {
        repeat(c, "dims")
    }),
    op(
        "aten::repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave,
    ),
    op(
        "aten::repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave_by,
    ),
    op(
        "aten::repeat_interleave.Tensor(Tensor repeats, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave_indices,
    ),
];

/// Copies `self` into the result, both in a shape that has a dimension for each repetition.
/// `layouts` gives the layouts of the result and of the operand in that shape, from those that they
/// have.
fn repeat_by_copy(
    this: &TensorArg,
    shape: Dims,
    layouts: impl Fn(&Layout, &Layout) -> (Layout, Layout) + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let of = this.index;
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (to, from) = layouts(o.outputs[0].layout(), o.inputs[of].layout());
            let from = view(&o.inputs[of], &from)?;
            copy(&mut view_mut(&mut o.outputs[0], &to)?, &from, o.threads);
            Ok(())
        },
    ))
}

fn checked_mul(a: usize, b: usize) -> Result<usize, OpError> {
    a.checked_mul(b)
        .ok_or_else(|| OpError::new("the repeated tensor is too large"))
}

fn repeat(call: &Call<'_>, repeats: &str) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let mut counts = call.sizes(repeats)?;
    if counts.len() < this.rank() {
        if !call.has("dims") {
            return Err(OpError::new(
                "`repeats` is shorter than the number of dimensions",
            ));
        }
        let missing = this.rank() - counts.len();
        counts.insert_many(0, std::iter::repeat_n(1, missing));
    }
    let lead = counts.len() - this.rank();
    let own = |d: usize| d.checked_sub(lead).map_or(1, |d| this.shape()[d]);
    let shape: Dims = counts
        .iter()
        .enumerate()
        .map(|(d, &n)| checked_mul(own(d), n))
        .collect::<Result<_, _>>()?;
    repeat_by_copy(this, shape, move |to, from| {
        let mut pair = (
            Layout {
                offset: to.offset,
                ..Layout::default()
            },
            Layout {
                offset: from.offset,
                ..Layout::default()
            },
        );
        let mut push = |size: usize, to: usize, from: usize| {
            pair.0.shape.push(size);
            pair.0.strides.push(to);
            pair.1.shape.push(size);
            pair.1.strides.push(from);
        };
        for (d, &count) in counts.iter().enumerate() {
            let (size, stride) = match d.checked_sub(lead) {
                Some(d) => (from.shape[d], from.strides[d]),
                None => (1, 0),
            };
            // Only a dimension that is repeated becomes two.
            if count != 1 {
                push(count, size * to.strides[d], 0);
            }
            push(size, to.strides[d], stride);
        }
        pair
    })
}

fn repeat_interleave(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let count = length(call.int("repeats")?, "`repeats`")?;
    let Some(dim) = call.optional_int("dim")? else {
        let total = checked_mul(this.layout.numel(), count)?;
        return repeat_by_copy(this, Dims::from_slice(&[total]), move |to, from| {
            let mut flat = Layout::contiguous(&from.shape);
            let stride = to.strides[0];
            flat.strides.iter_mut().for_each(|s| *s *= count * stride);
            flat.offset = to.offset;
            flat.shape.push(count);
            flat.strides.push(stride);
            let mut from = from.clone();
            from.shape.push(count);
            from.strides.push(0);
            (flat, from)
        });
    };
    let dim = this.dim(dim)?;
    let mut shape = match this.rank() {
        0 => Dims::from_slice(&[1]),
        _ => this.layout.shape.clone(),
    };
    shape[dim] = checked_mul(shape[dim], count)?;
    repeat_by_copy(this, shape, move |to, from| {
        let from = if from.rank() == 0 {
            from.unsqueeze(0)
        } else {
            from.clone()
        };
        let (mut to, mut repeated) = (to.clone(), from.clone());
        to.shape[dim] = from.shape[dim];
        to.shape.insert(dim + 1, count);
        let stride = to.strides[dim];
        to.strides[dim] = stride * count;
        to.strides.insert(dim + 1, stride);
        repeated.shape.insert(dim + 1, count);
        repeated.strides.insert(dim + 1, 0);
        (to, repeated)
    })
}

fn output_size(call: &Call<'_>) -> Result<usize, OpError> {
    match call.optional_int("output_size")? {
        Some(size) => length(size, "`output_size`"),
        None => Err(OpError::unsupported(
            "the size of repeat_interleave by a tensor depends on data; give it `output_size`",
        )),
    }
}

/// Calls `visit` with the position in the result and the entry, as often for each entry as `repeats`
/// says.
fn for_each_repetition(
    repeats: &TensorRef<'_>,
    entries: usize,
    total: usize,
    mut visit: impl FnMut(usize, usize) -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    let counts = Integers::of(repeats);
    let layout = repeats.layout();
    let mut place = 0usize;
    for entry in 0..entries {
        // One number counts for all entries.
        let own = if layout.numel() == 1 { 0 } else { entry };
        let count = counts.at(layout.offset + own * layout.strides.first().copied().unwrap_or(0));
        for _ in 0..count {
            if place == total {
                return Err(KernelError::IndexOutOfRange {
                    index: place as i64,
                    len: total,
                });
            }
            visit(place, entry)?;
            place += 1;
        }
    }
    match place == total {
        true => Ok(()),
        false => Err(KernelError::Assertion(format!(
            "repeat_interleave makes {place} entries where `output_size` is {total}"
        ))),
    }
}

fn repeat_interleave_indices(call: &Call<'_>) -> Result<Lowering, OpError> {
    let repeats = call.tensor("repeats")?;
    if repeats.rank() != 1 {
        return Err(OpError::new("`repeats` does not have one dimension"));
    }
    let shape = checked_shape(Dims::from_slice(&[output_size(call)?]))?;
    let (of, entries, total) = (repeats.index, repeats.layout.numel(), shape[0]);
    Ok(Lowering::compute(
        repeats.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let to = &mut o.outputs[0];
            let layout = to.layout().clone();
            with_element!(to.dtype(), T => {
                let data = to.data::<T>();
                for_each_repetition(&o.inputs[of], entries, total, |place, entry| {
                    let value = <T as Element>::from_i64(entry as i64);
                    data[layout.offset + place * layout.strides[0]] = value;
                    Ok(())
                })
            })
        },
    ))
}

fn repeat_interleave_by(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (this, repeats) = (call.tensor("self")?, call.tensor("repeats")?);
    let total = output_size(call)?;
    let flat;
    let (this, dim) = match call.optional_int("dim")? {
        Some(dim) if this.rank() > 0 => (this, this.dim(dim)?),
        _ => {
            let layout = this.layout.reshape(&[this.layout.numel()]).ok_or_else(|| {
                OpError::new("repeat_interleave without `dim` of a tensor that is not contiguous")
            })?;
            flat = TensorArg {
                layout,
                ..this.clone()
            };
            (&flat, 0)
        }
    };
    let entries = this.shape()[dim];
    if repeats.rank() > 1 || ![1, entries].contains(&repeats.layout.numel()) {
        return Err(OpError::new(
            "`repeats` does not fit the repeated dimension",
        ));
    }
    let mut shape = this.layout.shape.clone();
    shape[dim] = total;
    let shape = checked_shape(shape)?;
    let (of, by, own) = (this.index, repeats.index, this.layout.shape.clone());
    Ok(Lowering::compute(
        this.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let layout = o.inputs[of]
                .layout()
                .reshape(&own)
                .ok_or_else(|| KernelError::Assertion("the operand is not contiguous".into()))?;
            let to_layout = o.outputs[0].layout().clone();
            let alone = Threads::new(1);
            for_each_repetition(&o.inputs[by], entries, total, |place, entry| {
                let from = layout.select(dim, entry);
                let from = view(&o.inputs[of], &from)?;
                let to = to_layout.select(dim, place);
                copy(&mut view_mut(&mut o.outputs[0], &to)?, &from, &alone);
                Ok(())
            })
        },
    ))
}
