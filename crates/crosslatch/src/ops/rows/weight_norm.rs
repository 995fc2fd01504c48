//! Weights given by directions and lengths, as models keep them that were trained with weight
//! normalization.

use crosslatch_kernels::Operands;
use crosslatch_kernels::rows::weight_norm as normalize;

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor",
        weight_norm,
    ),
    op(
        "aten::_weight_norm_interface(Tensor v, Tensor g, int dim=0) -> (Tensor, Tensor)",
        weight_norm,
    ),
];

fn weight_norm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (v, g) = (call.tensor("v")?, call.tensor("g")?);
    // -1 is no dimension: the norm is that of the whole.
    let dim = match call.int("dim")? {
        -1 => None,
        dim => Some(v.dim(dim)?).filter(|_| v.rank() > 0),
    };
    let entries = dim.map_or(1, |d| v.shape()[d]);
    if v.dtype != g.dtype || !v.dtype.is_float() || g.layout.numel() != entries {
        return Err(OpError::new(format!(
            "directions {}{:?} do not get lengths {}{:?}",
            v.dtype,
            v.shape(),
            g.dtype,
            g.shape()
        )));
    }
    let mut results = vec![(v.dtype, v.shape().into()), (g.dtype, g.shape().into())];
    results.truncate(call.schema.returns.len());
    let (v, g) = (v.index, g.index);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (v, g) = (&o.inputs[v], &o.inputs[g]);
        if let Some((out, norms)) = o.outputs.split_first_mut() {
            normalize(out, norms.first_mut(), v, g, dim);
        }
        Ok(())
    };
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
