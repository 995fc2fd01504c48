//! Sizes that a file asks for, checked before anything is made of them.

use crosslatch_kernels::{Dims, layout::checked_numel};

use crate::ir::operator::OpError;

/// More elements than this are not addressable with elements of eight bytes.
const MOST_ELEMENTS: usize = isize::MAX as usize / 8;

/// The shape, if a tensor of it can exist.
pub(super) fn checked_shape(shape: Dims) -> Result<Dims, OpError> {
    // Lengths beside a zero count as well: strides are made of them.
    let strides = shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size.max(1)));
    match (strides, checked_numel(&shape)) {
        (Some(strides), Some(_)) if strides <= MOST_ELEMENTS => Ok(shape),
        _ => Err(OpError::new(format!(
            "a tensor of shape {:?} is too large",
            shape.as_slice()
        ))),
    }
}

/// A length, of which `what` speaks in the message.
pub(super) fn length(value: i64, what: &str) -> Result<usize, OpError> {
    usize::try_from(value).map_err(|_| OpError::new(format!("{what} is {value}")))
}
