//! Sizes that a file asks for, checked before anything is made of them.

use crosslatch_kernels::Dims;

use crate::ir::{OpError, check_shape};

/// The shape, if a tensor of it can exist. The results of every lowering are checked
/// ([`Operator::lowered`](crate::ir::operator::Operator::lowered)); a lowering that computes with a
/// shape checks it before.
pub(in crate::ops) fn checked_shape(shape: Dims) -> Result<Dims, OpError> {
    check_shape(&shape).map(|()| shape)
}

/// A length, of which `what` speaks in the message.
pub(in crate::ops) fn length(value: i64, what: &str) -> Result<usize, OpError> {
    usize::try_from(value).map_err(|_| OpError::new(format!("{what} is {value}")))
}
