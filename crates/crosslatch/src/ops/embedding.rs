//! Embedding: rows of a table, chosen by index; and dropout, which inference does not have.

use crosslatch_kernels::Operands;
use crosslatch_kernels::embedding::embedding as embed;

use super::Table;
use super::sizes::checked_shape;
use crate::ir::operator::{Call, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    (
        "aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
        embedding,
    ),
    (
        "aten::dropout(Tensor(a) input, float p, bool train) -> Tensor(a)",
        dropout,
    ),
];

fn embedding(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    if table.rank() != 2 || indices.dtype.is_float() {
        return Err(OpError::new(
            "`weight` must be a matrix and `indices` integers",
        ));
    }
    let mut shape = indices.layout.shape.clone();
    shape.push(table.shape()[1]);
    let shape = checked_shape(shape)?;
    let (table_index, indices_index) = (table.index, indices.index);
    Ok(Lowering::compute(
        table.dtype,
        &shape,
        move |o: &mut Operands<'_, '_>| {
            let (table, indices) = (&o.inputs[table_index], &o.inputs[indices_index]);
            embed(&mut o.outputs[0], table, indices, o.threads)
        },
    ))
}

/// Dropout, which does nothing outside of training.
fn dropout(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    match call.bool("train")? && call.float("p")? != 0.0 {
        false => Ok(Lowering::view(x, x.layout.clone())),
        true => Err(OpError::new(
            "the program was exported for training; call .eval() before",
        )),
    }
}
