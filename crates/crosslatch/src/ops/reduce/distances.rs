//! Distances between the rows of two matrices, or of one.

use crosslatch_kernels::reduce::{distances, distances_of_pairs};
use crosslatch_kernels::tensor::broadcast_shapes;
use crosslatch_kernels::{DType, Dims, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::view;
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_cdist_forward(Tensor x1, Tensor x2, float p, int? compute_mode) -> Tensor",
        cdist,
    ),
    op(
        "aten::cdist(Tensor x1, Tensor x2, float p=2., int? compute_mode=None) -> Tensor",
        cdist,
    ),
    op(
        "aten::_pdist_forward(Tensor self, float p=2.) -> Tensor",
        pdist,
    ),
    op("aten::pdist(Tensor self, float p=2) -> Tensor", pdist),
];

fn degree(call: &Call<'_>) -> Result<f64, OpError> {
    let p = call.float("p")?;
    match p >= 0.0 {
        true => Ok(p),
        false => Err(OpError::new(format!("there is no norm of degree {p}"))),
    }
}

fn cdist(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (a, b, p) = (call.tensor("x1")?, call.tensor("x2")?, degree(call)?);
    let unfit = || {
        OpError::new(format!(
            "there are no distances between rows of {}{:?} and {}{:?}",
            a.dtype,
            a.shape(),
            b.dtype,
            b.shape()
        ))
    };
    let is_fit = a.rank() >= 2 && b.rank() >= 2 && a.dtype == b.dtype && is_wide(a.dtype);
    if !is_fit || a.shape().last() != b.shape().last() {
        return Err(unfit());
    }
    let outer = |shape: &[usize]| Dims::from_slice(&shape[..shape.len() - 2]);
    let batch = broadcast_shapes(&[&outer(a.shape()), &outer(b.shape())]).ok_or_else(unfit)?;
    let repeated = |t: &crate::ir::TensorArg| {
        let mut shape = batch.clone();
        shape.extend_from_slice(&t.shape()[t.rank() - 2..]);
        t.layout_from_start().expand(&shape).ok_or_else(unfit)
    };
    let (la, lb) = (repeated(a)?, repeated(b)?);
    let mut shape = batch.clone();
    shape.extend([a.shape()[a.rank() - 2], b.shape()[b.rank() - 2]]);
    let shape = checked_shape(shape)?;
    let (ia, ib) = (a.index, b.index);
    let work = shape.iter().product::<usize>() as u64;
    let flops = work.saturating_mul(3 * la.shape[la.rank() - 1] as u64);
    let kernel = move |o: &mut Operands<'_, '_>| {
        let (a, b) = (view(&o.inputs[ia], &la)?, view(&o.inputs[ib], &lb)?);
        distances(&mut o.outputs[0], &a, &b, p, o.threads);
        Ok(())
    };
    Ok(Lowering::compute(a.dtype, &shape, kernel).with_flops(flops))
}

fn pdist(call: &Call<'_>) -> Result<Lowering, OpError> {
    let (x, p) = (call.tensor("self")?, degree(call)?);
    let &[rows, _] = x.shape() else {
        return Err(OpError::new(
            "distances of pairs are those of the rows of a matrix",
        ));
    };
    if !is_wide(x.dtype) {
        return Err(OpError::new(format!(
            "there are no distances of {}",
            x.dtype
        )));
    }
    let pairs = rows.checked_mul(rows.saturating_sub(1)).map(|n| n / 2);
    let pairs = pairs.ok_or_else(|| OpError::new("the number of pairs overflows"))?;
    let index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        distances_of_pairs(&mut o.outputs[0], &o.inputs[index], p);
        Ok(())
    };
    Ok(Lowering::compute(
        x.dtype,
        &checked_shape(Dims::from_slice(&[pairs]))?,
        kernel,
    ))
}

/// PyTorch computes distances of these types.
fn is_wide(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}
