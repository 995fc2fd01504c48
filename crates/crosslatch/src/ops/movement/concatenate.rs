//! Concatenation: copies into parts of the result.

use crosslatch_kernels::{DType, Dims, Operands, movement::copy};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg, wrap_dim};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::promotion::promote;
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op("aten::cat(Tensor[] tensors, int dim=0) -> Tensor", cat).takes_complex(),
    op("aten::concat(Tensor[] tensors, int dim=0) -> Tensor", cat).takes_complex(),
    op(
        "aten::concatenate(Tensor[] tensors, int dim=0) -> Tensor",
        cat,
    )
    .takes_complex(),
    op("aten::stack(Tensor[] tensors, int dim=0) -> Tensor", stack).takes_complex(),
    op("aten::hstack(Tensor[] tensors) -> Tensor", hstack),
    op("aten::vstack(Tensor[] tensors) -> Tensor", |c| {
        concatenate_at_rank(c.tensors("tensors")?, 2, 0)
    }),
    op("aten::dstack(Tensor[] tensors) -> Tensor", |c| {
        concatenate_at_rank(c.tensors("tensors")?, 3, 2)
    }),
    op(
        "aten::column_stack(Tensor[] tensors) -> Tensor",
        column_stack,
    ),
];

/// One of the tensors that are concatenated, and the dimensions of length 1 that it is given first.
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

/// Concatenates pieces of equal rank along `dim`.
fn concatenate(pieces: Vec<Piece>, dim: usize) -> Result<Lowering, OpError> {
    let first = pieces
        .first()
        .ok_or_else(|| OpError::new("there are no tensors to concatenate"))?;
    let mut shape = first.shape.clone();
    let mut dtype = first.dtype;
    let mut total = 0usize;
    for piece in &pieces {
        let fits = piece.shape.len() == shape.len()
            && (0..shape.len()).all(|d| d == dim || piece.shape[d] == shape[d]);
        if !fits {
            return Err(OpError::new(format!(
                "the shapes {:?} and {:?} cannot be concatenated along dimension {dim}",
                shape.as_slice(),
                piece.shape.as_slice()
            )));
        }
        dtype = promote(dtype, piece.dtype);
        total = total
            .checked_add(piece.shape[dim])
            .ok_or_else(|| OpError::new("the concatenated tensors are too large"))?;
    }
    shape[dim] = total;
    let shape = checked_shape(shape)?;
    Ok(Lowering::compute(
        dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let mut start = 0;
            for piece in &pieces {
                let mut layout = o.inputs[piece.of].layout().clone();
                for &d in &piece.unsqueezed {
                    layout = layout.unsqueeze(d);
                }
                let len = piece.shape[dim];
                let place = o.outputs[0].layout().slice(dim, start, len, 1);
                start += len;
                let from = view(&o.inputs[piece.of], &layout)?;
                copy(&mut view_mut(&mut o.outputs[0], &place)?, &from, o.threads);
            }
            Ok(())
        },
    ))
}

fn cat(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    if tensors.iter().any(|t| t.rank() == 0) {
        return Err(OpError::new(
            "tensors without dimensions cannot be concatenated",
        ));
    }
    // Beside tensors of any rank, PyTorch ignores those of shape [0].
    let model = tensors
        .iter()
        .find(|t| t.shape() != [0])
        .or(tensors.first());
    let Some(model) = model else {
        return Err(OpError::new("there are no tensors to concatenate"));
    };
    let dim = model.dim(call.int("dim")?)?;
    let dtype = tensors.iter().fold(model.dtype, |d, t| promote(d, t.dtype));
    let pieces = tensors
        .iter()
        .filter(|t| t.shape() != [0] || model.shape() == [0])
        .map(|t| Piece {
            dtype,
            ..Piece::new(t, &[])
        })
        .collect();
    concatenate(pieces, dim)
}

fn stack(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let rank = tensors.first().map_or(0, |t| t.rank());
    if tensors.iter().any(|t| t.rank() != rank) {
        return Err(OpError::new("`tensors` differ in rank"));
    }
    let dim = wrap_dim(call.int("dim")?, rank + 1)?;
    let pieces: Vec<Piece> = tensors.iter().map(|t| Piece::new(t, &[dim])).collect();
    if pieces.iter().any(|p| p.shape != pieces[0].shape) {
        return Err(OpError::new("`tensors` differ in shape"));
    }
    concatenate(pieces, dim)
}

/// Concatenates tensors along `dim` after giving them at least `rank` dimensions.
fn concatenate_at_rank(
    tensors: Vec<&TensorArg>,
    rank: usize,
    dim: usize,
) -> Result<Lowering, OpError> {
    let pieces = tensors
        .iter()
        .map(|t| {
            let added: Dims = (t.rank()..rank)
                .map(|r| if r == 2 { 2 } else { 0 })
                .collect();
            Piece::new(t, &added)
        })
        .collect();
    concatenate(pieces, dim)
}

fn hstack(call: &Call<'_>) -> Result<Lowering, OpError> {
    let tensors = call.tensors("tensors")?;
    let dim = tensors.first().is_some_and(|t| t.rank() > 1) as usize;
    concatenate_at_rank(tensors, 1, dim)
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
    concatenate(pieces, 1)
}
