//! Histograms.

use crosslatch_kernels::reduce::histogram;
use crosslatch_kernels::{Dims, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::shapes::{checked_shape, length};

pub(super) const OPERATORS: Table = &[op(
    "aten::histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor",
    histc,
)];

fn histc(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let bins = length(call.int("bins")?, "the number of bins")?;
    let ends = [call.float("min")?, call.float("max")?];
    if bins == 0 || !x.dtype.is_float() || ends[0] > ends[1] || ends.iter().any(|x| !x.is_finite())
    {
        return Err(OpError::new(format!(
            "{} elements are not counted in {bins} bins from {} to {}",
            x.dtype, ends[0], ends[1]
        )));
    }
    let shape = checked_shape(Dims::from_slice(&[bins]))?;
    let index = x.index;
    let kernel =
        move |o: &mut Operands<'_, '_>| histogram(&mut o.outputs[0], &o.inputs[index], ends);
    Ok(Lowering::compute(x.dtype, &shape, kernel))
}
