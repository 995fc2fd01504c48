//! Products of bytes with sums in 32 bits, as torchao writes a linear layer whose operands are quantized.

use crosslatch_kernels::matmul::multiply_bytes;
use crosslatch_kernels::{DType, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};

pub(super) const OPERATORS: Table = &[op(
    "aten::_int_mm(Tensor self, Tensor mat2) -> Tensor",
    int_mm,
)];

fn int_mm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b) = (call.tensor("self")?, call.tensor("mat2")?);
    let is_matrix = |t: &&TensorArg| t.rank() == 2 && matches!(t.dtype, DType::I8 | DType::U8);
    let fits = [a, b].iter().all(is_matrix);
    if !fits || a.shape()[1] != b.shape()[0] {
        return Err(OpError::new(format!(
            "{}{:?} and {}{:?} are not matrices of bytes that can be multiplied",
            a.dtype,
            a.shape(),
            b.dtype,
            b.shape()
        )));
    }
    let [m, k, n] = [a.shape()[0], a.shape()[1], b.shape()[1]];
    let (a, b) = (a.index, b.index);
    let flops = 2 * (m as u64).saturating_mul(n as u64).saturating_mul(k as u64);
    let kernel = move |o: &mut Operands<'_, '_>| {
        multiply_bytes(&mut o.outputs[0], &o.inputs[a], &o.inputs[b], o.threads);
        Ok(())
    };
    Ok(Lowering::compute(DType::I32, &[m, n], kernel).with_flops(flops))
}
