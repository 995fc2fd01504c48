//! Rows stored as bytes, each with a scale, and the same rows in `f32`.
//!
//! PyTorch has no such operators: [`passes::caches`](crate::passes::caches) inserts the first where the
//! keys and values of a program are stored in fewer bytes, and [`passes::alignment`](crate::passes::alignment)
//! the second where it needs such keys. The format is that of
//! [`crosslatch_kernels::tensor::scaled_rows`].

use crosslatch_kernels::kernel::AnyLayout;
use crosslatch_kernels::movement::{scale_rows, unscale_rows};
use crosslatch_kernels::tensor::MAX_COLUMNS;
use crosslatch_kernels::tensor::scaled_rows::SCALE_BYTES;
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[
    op("crosslatch::scale_rows(Tensor self) -> Tensor", lower_scale),
    op(
        "crosslatch::unscale_rows(Tensor self) -> Tensor",
        lower_unscale,
    ),
];

/// `[…, rows, columns]` of `f32` becomes `[…, rows, columns + 4]` of `i8`.
fn lower_scale(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let is_wide = x
        .shape()
        .last()
        .is_some_and(|columns| *columns > MAX_COLUMNS);
    if x.dtype != DType::F32 || x.rank() < 2 || is_wide {
        return Err(OpError::new(format!(
            "rows of at most {MAX_COLUMNS} f32 in two or more dimensions are stored so, not {}{:?}",
            x.dtype,
            x.shape()
        )));
    }
    let mut shape = Dims::from_slice(x.shape());
    let columns = shape.len() - 1;
    shape[columns] = shape[columns].saturating_add(SCALE_BYTES);
    let shape = checked_shape(shape)?;
    let (index, accepted) = (x.index, shape.clone());
    let kernel = AnyLayout {
        accepts: move |layout: &Layout| {
            layout.shape == accepted && layout.strides.last() == Some(&1)
        },
        run: move |o: &mut Operands<'_, '_>| {
            scale_rows(&mut o.outputs[0], &o.inputs[index], o.threads);
            Ok(())
        },
    };
    let results = vec![(DType::I8, shape)];
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}

/// `[…, rows, columns + 4]` of `i8` becomes `[…, rows, columns]` of `f32`.
fn lower_unscale(call: &Call<'_>) -> Result<Lowering, OpError> {
    let x = call.tensor("self")?;
    let columns = x
        .shape()
        .last()
        .and_then(|len| len.checked_sub(SCALE_BYTES));
    let Some(columns) = columns.filter(|_| x.dtype == DType::I8 && x.rank() >= 2) else {
        return Err(OpError::new(format!(
            "scaled rows are i8 in two or more dimensions, with a scale behind each row, not {}{:?}",
            x.dtype,
            x.shape()
        )));
    };
    let mut shape = Dims::from_slice(x.shape());
    shape[x.rank() - 1] = columns;
    let shape = checked_shape(shape)?;
    let index = x.index;
    let kernel = move |o: &mut Operands<'_, '_>| {
        unscale_rows(&mut o.outputs[0], &o.inputs[index], o.threads);
        Ok(())
    };
    let results = vec![(DType::F32, shape)];
    Ok(Lowering::Compute(Compute::new(results, kernel)))
}
