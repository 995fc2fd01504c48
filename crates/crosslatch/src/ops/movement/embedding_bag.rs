//! Bags of rows of a table.

use crosslatch_kernels::movement::{Bag, EmbeddingBag};
use crosslatch_kernels::{DType, Dims, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)",
        embedding_bag,
    ),
    op(
        "aten::_embedding_bag_forward_only(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)",
        embedding_bag,
    ),
    op(
        "aten::embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False) -> (Tensor, Tensor, Tensor, Tensor)",
        embedding_bag,
    ),
    op(
        "aten::embedding_bag.padding_idx(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, bool sparse, Tensor? per_sample_weights, bool include_last_offset, int? padding_idx) -> (Tensor, Tensor, Tensor, Tensor)",
        embedding_bag,
    ),
];

fn embedding_bag(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    let (offsets, weights) = (
        call.tensor("offsets")?,
        call.optional_tensor("per_sample_weights")?,
    );
    let bag = match call.int("mode")? {
        0 => Bag::Sum,
        1 => Bag::Mean,
        2 => Bag::Greatest,
        other => return Err(OpError::new(format!("there is no mode {other} of bags"))),
    };
    let is_index = |dtype| matches!(dtype, DType::I32 | DType::I64);
    let fits = table.rank() == 2
        && indices.rank() == 1
        && offsets.rank() == 1
        && table.dtype.is_float()
        && is_index(indices.dtype)
        && is_index(offsets.dtype)
        && weights.is_none_or(|w| {
            w.shape() == indices.shape() && w.dtype == table.dtype && bag == Bag::Sum
        });
    let ends = call.bool("include_last_offset")?;
    let bags = offsets.layout.numel().checked_sub(usize::from(ends));
    let (true, Some(bags)) = (fits, bags) else {
        return Err(OpError::new(format!(
            "bags of a table {}{:?} are asked for with indices {}{:?}, offsets {}{:?} and weights of another \
             shape or type",
            table.dtype,
            table.shape(),
            indices.dtype,
            indices.shape(),
            offsets.dtype,
            offsets.shape()
        )));
    };
    let rows = table.shape()[0] as i64;
    let padding = match call.has("padding_idx") {
        true => call.optional_int("padding_idx")?,
        false => None,
    };
    // The overload of this name counts a negative row from the end; elsewhere -1 is none.
    let padding = match call.schema.name.ends_with(".padding_idx") {
        true => padding.map(|row| if row < 0 { row + rows } else { row }),
        false => padding.filter(|row| *row >= 0),
    };
    // PyTorch leaves the bags of indices out where it does not need them.
    let is_direct = matches!(table.dtype, DType::F32 | DType::F16)
        && table.layout.strides[1] == 1
        && weights.is_none_or(|w| w.layout.strides[0] == 1)
        && padding.is_none();
    let named = match is_direct && bag == Bag::Sum {
        true => 0,
        false => indices.layout.numel(),
    };
    let columns = table.shape()[1];
    let greatest = match bag {
        Bag::Greatest => Dims::from_slice(&[bags, columns]),
        Bag::Sum | Bag::Mean => Dims::from_slice(&[bags]),
    };
    let results = vec![
        (table.dtype, Dims::from_slice(&[bags, columns])),
        (offsets.dtype, Dims::from_slice(&[named])),
        (offsets.dtype, Dims::from_slice(&[bags])),
        (offsets.dtype, greatest),
    ];
    let flops = (indices.layout.numel() as u64).saturating_mul(columns as u64);
    let [table, indices, offsets] = [table, indices, offsets].map(|t| t.index);
    let weights = weights.map(|w| w.index);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let bags = EmbeddingBag {
            table: o.inputs[table],
            indices: o.inputs[indices],
            offsets: o.inputs[offsets],
            weights: weights.map(|i| o.inputs[i]),
            padding,
            bag,
        };
        bags.run(o.outputs)
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)).with_flops(flops))
}
