//! Products of bytes with sums in 32 bits, as torchao writes a linear layer whose operands are quantized.

use crosslatch_kernels::matmul::contract;
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError, TensorArg};
use crate::ops::operands::layouts::view;

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
    // Both operands in the dimensions of the result and the one that is summed.
    let spread = |t: &TensorArg, strides: fn(&[usize]) -> [usize; 3]| {
        let own = t.layout_from_start();
        Layout {
            shape: Dims::from_slice(&[m, n, k]),
            strides: Dims::from_slice(&strides(&own.strides)),
            offset: own.offset,
        }
    };
    let a_layout = spread(a, |s| [s[0], 0, s[1]]);
    let b_layout = spread(b, |s| [0, s[1], s[0]]);
    let (a, b) = (a.index, b.index);
    let flops = 2 * (m as u64).saturating_mul(n as u64).saturating_mul(k as u64);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let views = [
            view(&o.inputs[a], &a_layout)?,
            view(&o.inputs[b], &b_layout)?,
        ];
        contract(&mut o.outputs[0], &views);
        Ok(())
    };
    Ok(Lowering::compute(DType::I32, &[m, n], kernel).with_flops(flops))
}
