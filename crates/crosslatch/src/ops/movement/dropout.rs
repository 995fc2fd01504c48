//! Dropout that returns its mask, in inference: a copy, and a mask that keeps everything.

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::{Bool, DType, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};

pub(super) const OPERATORS: Table = &[op(
    "aten::native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)",
    native_dropout,
)];

fn native_dropout(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("input")?;
    // Where `train` is not given, PyTorch drops.
    let drops = call
        .optional_number("train")?
        .is_none_or(|train| train.to_i64() != 0);
    if drops && call.float("p")? != 0.0 {
        return Err(OpError::unsupported(
            "the program was exported in training mode; call .eval() on the model first",
        ));
    }
    let index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (kept, mask) = o.outputs.split_at_mut(1);
        copy(&mut kept[0], &o.inputs[index], o.threads);
        mask[0].data::<Bool>().fill(Bool::new(true));
        Ok(())
    };
    let shape = x.layout.shape.clone();
    let results = vec![(x.dtype, shape.clone()), (DType::Bool, shape)];
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
