//! Embedding: rows of a table, selected by index.

use crosslatch_kernels::movement::{embedding as embed, quantized_embedding};
use crosslatch_kernels::{Operands, QuantizedMatrix};

use crate::ir::catalogue::{Table, op};
use crate::ir::operator::Reads;
use crate::ir::{Call, Lowering, OpError, StoredAs};
use crate::ops::operands::layouts::outside_memory;
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
        embedding,
    )
    .quantized("weight", Reads::Rows),
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
    let selected = shape.iter().product::<usize>() * table.dtype.size();
    let bytes = 2 * selected + indices.layout.numel() * indices.dtype.size();
    let (dtype, rows, columns) = (table.dtype, table.shape()[0], table.shape()[1]);
    let lowering = match table.stored {
        None | Some(StoredAs::Halves(_)) => {
            Lowering::compute(dtype, &shape, move |o: &mut Operands<'_, '_>| {
                let (table, indices) = (&o.inputs[table_index], &o.inputs[indices_index]);
                embed(&mut o.outputs[0], table, indices, o.threads)
            })
        }
        Some(StoredAs::Quantized(format)) => {
            Lowering::compute(dtype, &shape, move |o: &mut Operands<'_, '_>| {
                let bytes = o.inputs[table_index].bytes();
                let table =
                    QuantizedMatrix::new(format, rows, columns, bytes).map_err(outside_memory)?;
                quantized_embedding(&mut o.outputs[0], &table, &o.inputs[indices_index])
            })
        }
    };
    Ok(lowering.with_bytes(bytes as u64))
}
