//! Shapes and lengths that a file asks for, checked before anything is computed from them.

use crosslatch_kernels::Dims;

use crate::ir::{OpError, check_shape};

/// The shape, if a tensor of it can exist. The results of every lowering are checked
/// ([`Operator::lower`](crate::ir::Operator::lower)); a lowering that computes with a shape itself
/// checks it first.
pub(in crate::ops) fn checked_shape(shape: Dims) -> Result<Dims, OpError> {
    check_shape(&shape).map(|()| shape)
}

/// A length, which must not be negative; `what` names it in the error.
pub(in crate::ops) fn length(value: i64, what: &str) -> Result<usize, OpError> {
    usize::try_from(value).map_err(|_| OpError::new(format!("{what} is negative: {value}")))
}
