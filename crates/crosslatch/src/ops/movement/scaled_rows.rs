//! Rows stored as bytes, each with a scale.
//!
//! PyTorch has no such operator: [`passes::caches`](crate::passes::caches) inserts it where the
//! keys and values of a program are stored in fewer bytes. The format is that of
//! [`crosslatch_kernels::tensor::scaled_rows`].

use crosslatch_kernels::kernel::AnyLayout;
use crosslatch_kernels::movement::scale_rows;
use crosslatch_kernels::tensor::MAX_COLUMNS;
use crosslatch_kernels::tensor::scaled_rows::SCALE_BYTES;
use crosslatch_kernels::{DType, Dims, Layout, Operands};

use crate::ir::catalogue::{Table, op};
use crate::ir::{Call, Compute, Lowering, OpError};
use crate::ops::operands::shapes::checked_shape;

pub(super) const OPERATORS: Table = &[op("crosslatch::scale_rows(Tensor self) -> Tensor", lower)];

/// `[…, rows, columns]` of `f32` becomes `[…, rows, columns + 4]` of `i8`.
fn lower(call: &Call<'_>) -> Result<Lowering, OpError> {
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
