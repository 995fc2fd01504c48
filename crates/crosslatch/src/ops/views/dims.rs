//! Views that change the order and number of dimensions: `permute`, `squeeze`, `diagonal`, ….
//!
//! Each lowers to another layout of its operand's memory. The `_copy` variants of functional graphs
//! are the same views, copied ([`copy_views`]). Operators that change the shape of a tensor in place
//! (`squeeze_`) are views as well: see [`Schema::renames`](crate::ir::schema::Schema::renames).

use crosslatch_kernels::{Dims, Layout};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg, wrap_dim};
use crate::ops::operands::layouts::copy_views;
use crate::ops::views::identity::identity;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::permute(Tensor(a) self, int[] dims) -> Tensor(a)",
        permute,
    ),
    op(
        "aten::permute_copy(Tensor self, int[] dims) -> Tensor",
        |c| copy_views(c, permute(c)?),
    ),
    op(
        "aten::transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
        transpose,
    ),
    op(
        "aten::transpose_copy.int(Tensor self, int dim0, int dim1) -> Tensor",
        |c| copy_views(c, transpose(c)?),
    ),
    op(
        "aten::swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
        transpose,
    ),
    op(
        "aten::swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
        |c| exchange(c.tensor("self")?, c.int("axis0")?, c.int("axis1")?),
    ),
    op("aten::t(Tensor(a) self) -> Tensor(a)", t),
    op("aten::t_copy(Tensor self) -> Tensor", |c| {
        copy_views(c, t(c)?)
    }),
    op("aten::numpy_T(Tensor(a) self) -> Tensor(a)", reverse),
    op("aten::mT(Tensor(a) self) -> Tensor(a)", matrix_transpose),
    op("aten::mH(Tensor(a) self) -> Tensor(a)", matrix_transpose),
    op(
        "aten::adjoint(Tensor(a) self) -> Tensor(a)",
        matrix_transpose,
    ),
    op("aten::matrix_H(Tensor(a) self) -> Tensor(a)", t),
    op(
        "aten::movedim.int(Tensor(a) self, int source, int destination) -> Tensor(a)",
        movedim,
    ),
    op(
        "aten::movedim.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
        movedim,
    ),
    op(
        "aten::moveaxis.int(Tensor(a) self, int source, int destination) -> Tensor(a)",
        movedim,
    ),
    op(
        "aten::moveaxis.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
        movedim,
    ),
    op("aten::squeeze(Tensor(a) self) -> Tensor(a)", squeeze),
    op(
        "aten::squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)",
        squeeze,
    ),
    op(
        "aten::squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)",
        squeeze,
    ),
    op("aten::squeeze_copy(Tensor self) -> Tensor", |c| {
        copy_views(c, squeeze(c)?)
    }),
    op(
        "aten::squeeze_copy.dim(Tensor self, int dim) -> Tensor",
        |c| copy_views(c, squeeze(c)?),
    ),
    op(
        "aten::squeeze_copy.dims(Tensor self, int[] dim) -> Tensor",
        |c| copy_views(c, squeeze(c)?),
    ),
    op(
        "aten::unsqueeze(Tensor(a) self, int dim) -> Tensor(a)",
        unsqueeze,
    ),
    op(
        "aten::unsqueeze_copy(Tensor self, int dim) -> Tensor",
        |c| copy_views(c, unsqueeze(c)?),
    ),
    op("aten::atleast_1d(Tensor(a) self) -> Tensor(a)", |c| {
        at_least(c, 1)
    }),
    op("aten::atleast_2d(Tensor(a) self) -> Tensor(a)", |c| {
        at_least(c, 2)
    }),
    op("aten::atleast_3d(Tensor(a) self) -> Tensor(a)", |c| {
        at_least(c, 3)
    }),
    op(
        "aten::diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)",
        diagonal,
    ),
    op(
        "aten::diagonal_copy(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor",
        |c| copy_views(c, diagonal(c)?),
    ),
    op("aten::squeeze_(Tensor(a) self) -> Tensor(a)", squeeze),
    op(
        "aten::squeeze_.dim(Tensor(a) self, int dim) -> Tensor(a)",
        squeeze,
    ),
    op(
        "aten::squeeze_.dims(Tensor(a) self, int[] dim) -> Tensor(a)",
        squeeze,
    ),
    op(
        "aten::unsqueeze_(Tensor(a) self, int dim) -> Tensor(a)",
        unsqueeze,
    ),
    op(
        "aten::transpose_(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
        transpose,
    ),
    op(
        "aten::swapdims_(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
        transpose,
    ),
    op("aten::t_(Tensor(a) self) -> Tensor(a)", t),
];

/// The positions of dimensions, of which none may be given twice.
pub(in crate::ops) fn distinct_dims(dims: &[i64], rank: usize) -> Result<Dims, OpError> {
    let mut result = Dims::new();
    for &dim in dims {
        let d = wrap_dim(dim, rank)?;
        if result.contains(&d) {
            return Err(OpError::new(format!("dimension {dim} appears twice")));
        }
        result.push(d);
    }
    Ok(result)
}

fn permute(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let order = distinct_dims(&call.ints("dims")?, this.rank())?;
    if order.len() != this.rank() {
        return Err(OpError::new(format!(
            "{} dimensions are given for a tensor of rank {}",
            order.len(),
            this.rank()
        )));
    }
    Ok(Lowering::view(this, this.layout.permute(&order)))
}

fn exchange(this: &TensorArg, a: i64, b: i64) -> Result<Lowering, OpError> {
    let (a, b) = (this.dim(a)?, this.dim(b)?);
    let layout = match this.rank() {
        0 => this.layout.clone(),
        _ => this.layout.transpose(a, b),
    };
    Ok(Lowering::view(this, layout))
}

fn transpose(call: &Call<'_>) -> Result<Lowering, OpError> {
    exchange(call.tensor("self")?, call.int("dim0")?, call.int("dim1")?)
}

fn t(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    match this.rank() {
        0 | 1 => identity(call),
        2 => exchange(this, 0, 1),
        rank => Err(OpError::new(format!(
            "a tensor of rank {rank} is not a matrix"
        ))),
    }
}

fn reverse(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let order: Dims = (0..this.rank()).rev().collect();
    Ok(Lowering::view(this, this.layout.permute(&order)))
}

fn matrix_transpose(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    match this.rank() {
        0 => identity(call),
        1 => Err(OpError::new("a tensor of rank 1 is not a matrix")),
        _ => exchange(this, -2, -1),
    }
}

fn movedim(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let rank = this.rank();
    let from = distinct_dims(&call.ints("source")?, rank)?;
    let to = distinct_dims(&call.ints("destination")?, rank)?;
    if from.len() != to.len() {
        return Err(OpError::new("`source` and `destination` differ in length"));
    }
    if rank == 0 {
        return identity(call);
    }
    let mut others = (0..rank).filter(|d| !from.contains(d));
    let order: Dims = (0..rank)
        .filter_map(|d| match to.iter().position(|&t| t == d) {
            Some(i) => Some(from[i]),
            None => others.next(),
        })
        .collect();
    Ok(Lowering::view(this, this.layout.permute(&order)))
}

fn squeeze(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dims = match call.has("dim") {
        true => distinct_dims(&call.ints("dim")?, this.rank())?,
        false => (0..this.rank()).collect(),
    };
    let mut layout = this.layout.clone();
    for d in (0..this.rank()).rev() {
        if dims.contains(&d) && layout.shape[d] == 1 {
            layout = layout.squeeze(d);
        }
    }
    Ok(Lowering::view(this, layout))
}

fn unsqueeze(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let dim = wrap_dim(call.int("dim")?, this.rank() + 1)?;
    Ok(Lowering::view(this, this.layout.unsqueeze(dim)))
}

fn at_least(call: &Call<'_>, rank: usize) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let mut layout = this.layout.clone();
    while layout.rank() < rank {
        // The third dimension is added at the end, the others in front.
        let at = if layout.rank() == 2 { 2 } else { 0 };
        layout = layout.unsqueeze(at);
    }
    Ok(Lowering::view(this, layout))
}

/// The diagonal of two dimensions, as a new last dimension.
pub(in crate::ops) fn diagonal_of(
    this: &Layout,
    offset: i64,
    dim1: i64,
    dim2: i64,
) -> Result<Layout, OpError> {
    let rank = this.rank();
    let (a, b) = (wrap_dim(dim1, rank)?, wrap_dim(dim2, rank)?);
    if a == b || rank < 2 {
        return Err(OpError::new("a diagonal needs two different dimensions"));
    }
    let shift = usize::try_from(offset.unsigned_abs())
        .map_err(|_| OpError::new(format!("the diagonal {offset} is out of range")))?;
    let (down, right) = if offset < 0 { (shift, 0) } else { (0, shift) };
    let len = this.shape[a]
        .saturating_sub(down)
        .min(this.shape[b].saturating_sub(right));
    let mut layout = this.clone();
    if len > 0 {
        layout.offset += down * this.strides[a] + right * this.strides[b];
    }
    for d in [a.max(b), a.min(b)] {
        layout.shape.remove(d);
        layout.strides.remove(d);
    }
    layout.shape.push(len);
    layout
        .strides
        .push(this.strides[a].saturating_add(this.strides[b]));
    Ok(layout)
}

fn diagonal(call: &Call<'_>) -> Result<Lowering, OpError> {
    let this = call.tensor("self")?;
    let (offset, dim1, dim2) = (call.int("offset")?, call.int("dim1")?, call.int("dim2")?);
    Ok(Lowering::view(
        this,
        diagonal_of(&this.layout, offset, dim1, dim2)?,
    ))
}
