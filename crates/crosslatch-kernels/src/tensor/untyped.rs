//! Elements that are moved but not looked at.
//!
//! A kernel that only moves elements need not exist for twelve types: five sizes do, two of which
//! are pairs or halves of numbers. This module gives a tensor's memory as unsigned integers of the
//! size of its elements, or as pairs of them.

use bytemuck::Pod;

use crate::{TensorMut, TensorRef};

/// The memory of a tensor, as elements `B` of the size of its own.
///
/// # Panics
/// If `B` has another size: kernels choose `B` with [`with_untyped!`](crate::with_untyped).
pub fn untyped_data<'a, B: Pod>(tensor: &TensorRef<'a>) -> &'a [B] {
    assert_eq!(size_of::<B>(), tensor.dtype().size());
    let bytes = tensor.bytes();
    bytemuck::cast_slice(&bytes[..bytes.len() / size_of::<B>() * size_of::<B>()])
}

/// The same for a tensor that is written.
///
/// # Panics
/// As [`untyped_data`].
pub fn untyped_data_mut<'t, B: Pod>(tensor: &'t mut TensorMut<'_>) -> &'t mut [B] {
    assert_eq!(size_of::<B>(), tensor.dtype().size());
    let bytes = tensor.bytes_mut();
    let whole = bytes.len() / size_of::<B>() * size_of::<B>();
    bytemuck::cast_slice_mut(&mut bytes[..whole])
}

/// Evaluates an expression with `$B` bound to a type as large as an element of a type, and aligned
/// alike: an unsigned integer, or a pair of them.
#[macro_export]
macro_rules! with_untyped {
    ($dtype:expr, $B:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $B = u8;
                $body
            }
            2 => {
                type $B = u16;
                $body
            }
            4 => {
                type $B = u32;
                $body
            }
            // A pair of `f32` need not be aligned like a `u64`.
            8 if $dtype.is_complex() => {
                type $B = [u32; 2];
                $body
            }
            8 => {
                type $B = u64;
                $body
            }
            _ => {
                type $B = [u64; 2];
                $body
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Layout};

    #[test]
    fn every_type_has_untyped_elements_of_its_size() {
        let memory = [0u64; 4];
        let layout = Layout::contiguous(&[2]);
        for dtype in DType::ALL {
            let tensor = TensorRef::new(dtype, &layout, bytemuck::cast_slice(&memory)).unwrap();
            with_untyped!(dtype, B => {
                assert_eq!(size_of::<B>(), dtype.size());
                assert_eq!(untyped_data::<B>(&tensor).len(), 32 / dtype.size());
            });
        }
    }
}
