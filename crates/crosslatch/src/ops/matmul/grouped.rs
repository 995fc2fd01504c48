//! Products of groups: each group of rows, columns or depths with a matrix of its own.
//!
//! Offsets say where each group ends along the dimension that it shares with the others, as models
//! with experts have it: the rows of all experts lie one behind the other. Three dimensions on both
//! sides are a product for each entry, and have no offsets.

use crosslatch_kernels::matmul::{Product, matmul};
use crosslatch_kernels::movement::{Integers, Scalar, fill};
use crosslatch_kernels::{DType, Dims, KernelError, Layout, Operands, TensorRef};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Lowering, OpError};
use crate::ops::operands::layouts::{view, view_mut};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op(
        "aten::_grouped_mm(Tensor self, Tensor mat2, Tensor? offs=None, Tensor? bias=None, ScalarType? out_dtype=None) -> Tensor",
        grouped_mm,
    ),
    // What the experts of transformers call on a CPU, with groups of rows.
    op(
        "transformers::grouped_mm_fallback(Tensor input, Tensor weight, Tensor offs) -> Tensor",
        grouped_mm,
    ),
];

/// Along which dimension groups lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// Along none: each side has a dimension of groups.
    None,
    Rows,
    Columns,
    Depth,
}

fn grouped_mm(call: &Call<'_>) -> Result<Lowering, OpError> {
    let [first, second] = match call.has("self") {
        true => ["self", "mat2"],
        false => ["input", "weight"],
    };
    let (a, b) = (call.tensor(first)?, call.tensor(second)?);
    let offsets = call.optional_tensor("offs")?;
    let misfit = || {
        OpError::new(format!(
            "groups of {}{:?} are not multiplied by {}{:?}, with ends {:?}",
            a.dtype,
            a.shape(),
            b.dtype,
            b.shape(),
            offsets.map(|o| o.shape())
        ))
    };
    let along = match (a.rank(), b.rank()) {
        (3, 3) => Along::None,
        (2, 3) => Along::Rows,
        (3, 2) => Along::Columns,
        (2, 2) => Along::Depth,
        _ => return Err(misfit()),
    };
    let groups = match (along, offsets) {
        (Along::None, None) => a.shape()[0],
        (Along::None, Some(_)) | (_, None) => return Err(misfit()),
        (_, Some(offsets)) if offsets.rank() == 1 && offsets.dtype == DType::I32 => {
            offsets.shape()[0]
        }
        _ => return Err(misfit()),
    };
    let (la, lb) = (a.layout_from_start(), b.layout_from_start());
    let [m, k] = [la.shape[la.rank() - 2], la.shape[la.rank() - 1]];
    let n = lb.shape[lb.rank() - 1];
    let is_group = |layout: &Layout| layout.rank() == 2 || layout.shape[0] == groups;
    let fits = k == lb.shape[lb.rank() - 2] && a.dtype == b.dtype && a.dtype.is_float();
    if !(fits && is_group(&la) && is_group(&lb)) {
        return Err(misfit());
    }
    let is_other = |dtype: DType| dtype != a.dtype;
    if call.has("bias")
        && (call.optional_tensor("bias")?.is_some()
            || call.optional_dtype("out_dtype")?.is_some_and(is_other))
    {
        return Err(OpError::unsupported(
            "products of groups with a bias, or with results of another type than the operands",
        ));
    }
    let shape = match along {
        Along::None | Along::Depth => Dims::from_slice(&[groups, m, n]),
        Along::Rows | Along::Columns => Dims::from_slice(&[m, n]),
    };
    let shape = checked_shape(shape)?;
    let out = Layout::contiguous(&shape);
    let (ia, ib, ends) = (a.index, b.index, offsets.map(|o| o.index));
    let plain = call.plain();
    let total = match along {
        Along::None => 0,
        Along::Rows => m,
        Along::Columns => n,
        Along::Depth => k,
    };
    let kernel = move |o: &mut Operands<'_, '_>| {
        // What belongs to no group.
        fill(&mut o.outputs[0], Scalar::Int(0));
        let mut start = 0;
        for group in 0..groups {
            let end = match ends {
                Some(ends) => end_of(&o.inputs[ends], group, start, total)?,
                None => 0,
            };
            let part = |layout: &Layout, dim: usize| match layout.rank() {
                3 => layout.select(0, group),
                _ => layout.slice(dim, start, end - start, 1),
            };
            let a = part(&la, usize::from(along != Along::Rows));
            let b = part(&lb, usize::from(along == Along::Columns));
            let to = part(&out, usize::from(along != Along::Rows));
            let product = Product {
                a: view(&o.inputs[ia], &a)?,
                b: view(&o.inputs[ib], &b)?,
                bias: None,
                beta: 0.0,
                alpha: 1.0,
                epilogue: None,
            };
            if to.numel() > 0 {
                matmul(
                    &mut view_mut(&mut o.outputs[0], &to)?,
                    &product,
                    plain,
                    o.threads,
                );
            }
            start = end;
        }
        Ok(())
    };
    // Each row, column or depth is in one group.
    let flops = [m, n, k]
        .iter()
        .fold(2u64, |f, n| f.saturating_mul(*n as u64));
    let flops = if along == Along::None {
        flops.saturating_mul(groups as u64)
    } else {
        flops
    };
    Ok(Lowering::compute(a.dtype, &shape, kernel).with_flops(flops))
}

/// Where a group ends that begins at `start`.
fn end_of(
    ends: &TensorRef<'_>,
    group: usize,
    start: usize,
    total: usize,
) -> Result<usize, KernelError> {
    let layout = ends.layout();
    let end = Integers::of(ends).at(layout.offset + group * layout.strides[0]);
    match usize::try_from(end) {
        Ok(end) if (start..=total).contains(&end) => Ok(end),
        _ => Err(KernelError::Assertion(format!(
            "group {group} ends at {end}, not between {start}, where it begins, and {total}"
        ))),
    }
}
