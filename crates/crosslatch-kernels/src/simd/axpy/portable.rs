//! Machines for which no loop is written.

use super::AxpyElement;
use crate::tensor::matrix::Strided;

/// There is nothing special about loading an element.
pub(crate) trait Load {}
impl<T> Load for T {}

/// No elements are added here; the caller adds them one by one.
///
/// # Safety
/// None is needed; this is the signature of the others.
pub(super) unsafe fn whole_vectors<T: AxpyElement, const N: usize>(
    _to: &mut [&mut [f32]; N],
    _weights: [&[f32]; N],
    _rows: Strided<'_, T>,
) -> usize {
    0
}
