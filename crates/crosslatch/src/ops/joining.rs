//! Putting tensors side by side, and repeating them.
//!
//! All of these are copies into parts of the result. Repetition needs no kernel of its own: with
//! each dimension of the result taken as (repetition, entry), the operand is broadcast along the
//! first and the whole is one copy.

use crosslatch_kernels::fill::{Triangle, triangle};
use crosslatch_kernels::indexing::Integers;
use crosslatch_kernels::{
    DType, Dims, KernelError, Layout, Operands, TensorMut, TensorRef, Threads, copy::copy,
    with_element,
};

use super::promotion::promote;
use super::sizes::{checked_shape, length};
use crate::ir::operator::{Call, Lowering, OpError, TensorArg, wrap_dim};

pub(super) const OPERATORS: super::Table = &[
    ("aten::cat(Tensor[] tensors, int dim=0) -> Tensor", cat),
    ("aten::concat(Tensor[] tensors, int dim=0) -> Tensor", cat),
    ("aten::concatenate(Tensor[] tensors, int dim=0) -> Tensor", cat),
    ("aten::stack(Tensor[] tensors, int dim=0) -> Tensor", stack),
    ("aten::hstack(Tensor[] tensors) -> Tensor", hstack),
    ("aten::vstack(Tensor[] tensors) -> Tensor", |c| join(c.tensors("tensors")?, 2, 0)),
    ("aten::dstack(Tensor[] tensors) -> Tensor", |c| join(c.tensors("tensors")?, 3, 2)),
    ("aten::column_stack(Tensor[] tensors) -> Tensor", column_stack),
    ("aten::repeat(Tensor self, SymInt[] repeats) -> Tensor", |c| repeat(c, "repeats")),
    ("aten::tile(Tensor self, SymInt[] dims) -> Tensor", |c| repeat(c, "dims")),
    (
        "aten::repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave,
    ),
    (
        "aten::repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave_by,
    ),
    (
        "aten::repeat_interleave.Tensor(Tensor repeats, *, SymInt? output_size=None) -> Tensor",
        repeat_interleave_places,
    ),
    ("aten::tril(Tensor self, SymInt diagonal=0) -> Tensor", |c| triangular(c, Triangle::Lower)),
    ("aten::triu(Tensor self, SymInt diagonal=0) -> Tensor", |c| triangular(c, Triangle::Upper)),
];

/// Memory of `to` under another layout. That layouts fit was seen to when they were made.
pub(super) fn relaid<'a>(
    to: &'a mut TensorMut<'_>,
    layout: &'a Layout,
) -> Result<TensorMut<'a>, KernelError> {
    to.with_layout(layout).map_err(|e| KernelError::Assertion(e.to_string()))
}

/// The same for a tensor that is read.
pub(super) fn reread<'a>(
    from: &TensorRef<'a>,
    layout: &'a Layout,
) -> Result<TensorRef<'a>, KernelError> {
    from.with_layout(layout).map_err(|e| KernelError::Assertion(e.to_string()))
}

/// One of the tensors that are joined: which, and the dimensions of length 1 that it is given.
struct Piece {
    of: usize,
    shape: Dims,
    dtype: DType,
    unsqueezed: Dims,
}

impl Piece {
    fn new(tensor: &TensorArg, unsqueezed: &[usize]) -> Piece {
        let mut layout = tensor.layout.clone();
        for &d in unsqueezed {
            layout = layout.unsqueeze(d);
        }
        Piece {
            of: tensor.index,
            shape: layout.shape,
            dtype: tensor.dtype,
            unsqueezed: unsqueezed.into(),
        }
    }
}

/// Joins pieces of equal rank along `dim`.
fn joined(pieces: Vec<Piece>, dim: usize) -> Result<Lowering, OpError> {
    let first = pieces.first().ok_or_else(|| OpError::new("there are no tensors to join"))?;
    let mut shape = first.shape.clone();
    let mut dtype = first.dtype;
    let mut total = 0usize;
    for piece in &pieces {
        let fits = piece.shape.len() == shape.len()
            && (0..shape.len()).all(|d| d == dim || piece.shape[d] == shape[d]);
        if !fits {
            return Err(OpError::new(format!(
                "the shapes {:?} and {:?} cannot be joined along dimension {dim}",
                shape.as_slice(),
                piece.shape.as_slice()
            )));
        }
        dtype = promote(dtype, piece.dtype);
        total = total
            .checked_add(piece.shape[dim])
            .ok_or_else(|| OpError::new("the joined tensors are too large"))?;
    }
    shape[dim] = total;
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(dtype, &shape, move |o: &mut Operands<'_, '_>| {
        let mut start = 0;
        for piece in &pieces {
            let mut layout = o.inputs[piece.of].layout().clone();
            for &d in &piece.unsqueezed {
                layout = layout.unsqueeze(d);
            }
            let len = piece.shape[dim];
            let place = o.outputs[0].layout().slice(dim, start, len, 1);
            start += len;
            let from = reread(&o.inputs[piece.of], &layout)?;
            copy(&mut relaid(&mut o.outputs[0], &place)?, &from, o.threads);
        }
        Ok(())
    }))
}

fn cat(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    if tensors.iter().any(|t| t.rank() == 0) {
        return Err(OpError::new("tensors without dimensions cannot be joined"));
    }
    // PyTorch takes a tensor of shape [0] for nothing at all beside tensors of any rank.
    let real = tensors.iter().find(|t| t.shape() != [0]).or(tensors.first());
    let Some(real) = real else {
        return Err(OpError::new("there are no tensors to join"));
    };
    let dim = real.dim(call.int("dim")?)?;
    let dtype = tensors.iter().fold(real.dtype, |d, t| promote(d, t.dtype));
    let pieces = tensors
        .iter()
        .filter(|t| t.shape() != [0] || real.shape() == [0])
        .map(|t| Piece { dtype, ..Piece::new(t, &[]) })
        .collect();
    joined(pieces, dim)
}

fn stack(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let rank = tensors.first().map_or(0, |t| t.rank());
    if tensors.iter().any(|t| t.rank() != rank) {
        return Err(OpError::new("stacked tensors differ in rank"));
    }
    let dim = wrap_dim(call.int("dim")?, rank + 1)?;
    let pieces: Vec<Piece> = tensors.iter().map(|t| Piece::new(t, &[dim])).collect();
    if pieces.iter().any(|p| p.shape != pieces[0].shape) {
        return Err(OpError::new("stacked tensors differ in shape"));
    }
    joined(pieces, dim)
}

/// Joins tensors, brought to at least `rank` dimensions, along `dim`.
fn join(tensors: Vec<&TensorArg>, rank: usize, dim: usize) -> Result<Lowering, OpError> {
    let pieces = tensors
        .iter()
        .map(|t| {
            let added: Dims = (t.rank()..rank).map(|r| if r == 2 { 2 } else { 0 }).collect();
            Piece::new(t, &added)
        })
        .collect();
    joined(pieces, dim)
}

fn hstack(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let dim = tensors.first().is_some_and(|t| t.rank() > 1) as usize;
    join(tensors, 1, dim)
}

fn column_stack(call: &Call<'_>) -> Result<Lowering, OpError> {
    let pieces = call
        .tensors("tensors")?
        .iter()
        .map(|t| match t.rank() {
            0 => Piece::new(t, &[0, 0]),
            1 => Piece::new(t, &[1]),
            _ => Piece::new(t, &[]),
        })
        .collect();
    joined(pieces, 1)
}

/// A copy of `self` into the result, both in a shape that has a dimension for each repetition.
/// `relay` makes the two layouts, of the result and of the operand, from those that they have.
fn repeated(
    this: &TensorArg,
    shape: Dims,
    relay: impl Fn(&Layout, &Layout) -> (Layout, Layout) + Send + Sync + 'static,
) -> Result<Lowering, OpError> {
    let of = this.index;
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(this.dtype, &shape, move |o: &mut Operands<'_, '_>| {
        let (to, from) = relay(o.outputs[0].layout(), o.inputs[of].layout());
        let from = reread(&o.inputs[of], &from)?;
        copy(&mut relaid(&mut o.outputs[0], &to)?, &from, o.threads);
        Ok(())
    }))
}

fn times(a: usize, b: usize) -> Result<usize, OpError> {
    a.checked_mul(b).ok_or_else(|| OpError::new("the repeated tensor is too large"))
}

fn repeat(call: &Call<'_>, repeats: &str) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let mut counts = call.sizes(repeats)?;
    if counts.len() < this.rank() {
        if !call.has("dims") {
            return Err(OpError::new("fewer repetitions than dimensions"));
        }
        let missing = this.rank() - counts.len();
        counts.insert_many(0, std::iter::repeat_n(1, missing));
    }
    let lead = counts.len() - this.rank();
    let own = |d: usize| d.checked_sub(lead).map_or(1, |d| this.shape()[d]);
    let shape: Dims = counts
        .iter()
        .enumerate()
        .map(|(d, &n)| times(own(d), n))
        .collect::<Result<_, _>>()?;
    repeated(this, shape, move |to, from| {
        let mut pair = (
            Layout { offset: to.offset, ..Layout::default() },
            Layout { offset: from.offset, ..Layout::default() },
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
            // Only what is repeated needs a dimension more.
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
        let total = times(this.layout.numel(), count)?;
        return repeated(this, Dims::from_slice(&[total]), move |to, from| {
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
    shape[dim] = times(shape[dim], count)?;
    repeated(this, shape, move |to, from| {
        let from = if from.rank() == 0 { from.unsqueeze(0) } else { from.clone() };
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
        None => Err(OpError::new(
            "repeat_interleave by a tensor has a size that depends on data; give it `output_size`",
        )),
    }
}

/// Calls `visit` with (place in the result, entry) for each entry, as often as `repeats` says.
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
        // One number stands for all entries.
        let own = if layout.numel() == 1 { 0 } else { entry };
        let count = counts.at(layout.offset + own * layout.strides.first().copied().unwrap_or(0));
        for _ in 0..count {
            if place == total {
                return Err(KernelError::IndexOutOfRange { index: place as i64, len: total });
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

fn repeat_interleave_places(call: &Call<'_>) -> Result<Lowering, OpError> {
    let repeats = call.tensor("repeats")?;
    if repeats.rank() != 1 {
        return Err(OpError::new("`repeats` does not have rank 1"));
    }
    let shape = checked_shape(Dims::from_slice(&[output_size(call)?]))?;
    let (of, entries, total) = (repeats.index, repeats.layout.numel(), shape[0]);
    Ok(Lowering::compute(repeats.dtype, &shape, move |o: &mut Operands<'_, '_>| {
        let to = &mut o.outputs[0];
        let layout = to.layout().clone();
        with_element!(to.dtype(), T => {
            let data = to.data::<T>();
            for_each_repetition(&o.inputs[of], entries, total, |place, entry| {
                let value = <T as crosslatch_kernels::Element>::from_i64(entry as i64);
                data[layout.offset + place * layout.strides[0]] = value;
                Ok(())
            })
        })
    }))
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
            flat = TensorArg { layout, ..this.clone() };
            (&flat, 0)
        }
    };
    let entries = this.shape()[dim];
    if repeats.rank() > 1 || ![1, entries].contains(&repeats.layout.numel()) {
        return Err(OpError::new("`repeats` does not fit the repeated dimension"));
    }
    let mut shape = this.layout.shape.clone();
    shape[dim] = total;
    let shape = checked_shape(shape)?;
    let (of, by, own) = (this.index, repeats.index, this.layout.shape.clone());
    Ok(Lowering::compute(this.dtype, &shape, move |o: &mut Operands<'_, '_>| {
        let layout = o.inputs[of]
            .layout()
            .reshape(&own)
            .ok_or_else(|| KernelError::Assertion("the operand is not contiguous".into()))?;
        let to_layout = o.outputs[0].layout().clone();
        let alone = Threads::new(1);
        for_each_repetition(&o.inputs[by], entries, total, |place, entry| {
            let from = layout.select(dim, entry);
            let from = reread(&o.inputs[of], &from)?;
            let to = to_layout.select(dim, place);
            copy(&mut relaid(&mut o.outputs[0], &to)?, &from, &alone);
            Ok(())
        })
    }))
}

fn triangular(call: &Call<'_>, which: Triangle) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    if this.rank() < 2 {
        return Err(OpError::new(format!("a tensor of rank {} is no matrix", this.rank())));
    }
    let (of, diagonal) = (this.index, call.int("diagonal")?);
    Ok(Lowering::compute(this.dtype, this.shape(), move |o: &mut Operands<'_, '_>| {
        triangle(&mut o.outputs[0], &o.inputs[of], which, diagonal);
        Ok(())
    }))
}
