//! Elements that are moved but not looked at.
//!
//! A kernel that only moves elements need not exist for ten types: four sizes do. This module gives
//! a tensor's memory as unsigned integers of the size of its elements.

use bytemuck::Pod;

use crate::{TensorMut, TensorRef, with_element};

/// The memory of a tensor, as unsigned integers `B` of the size of its elements.
///
/// # Panics
/// If `B` has another size: kernels choose `B` with [`with_untyped!`](crate::with_untyped).
pub fn untyped_data<'a, B: Pod>(tensor: &TensorRef<'a>) -> &'a [B] {
    with_element!(tensor.dtype(), T => bytemuck::cast_slice(tensor.data::<T>()))
}

/// The same for a tensor that is written.
///
/// # Panics
/// As [`untyped_data`].
pub fn untyped_data_mut<'t, B: Pod>(tensor: &'t mut TensorMut<'_>) -> &'t mut [B] {
    with_element!(tensor.dtype(), T => bytemuck::cast_slice_mut(tensor.data::<T>()))
}

/// Evaluates an expression with `$B` bound to the unsigned integer as large as an element of a
/// type.
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
            _ => {
                type $B = u64;
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
        let memory = [0u64; 2];
        let layout = Layout::contiguous(&[2]);
        for dtype in DType::ALL {
            let tensor = TensorRef::new(dtype, &layout, bytemuck::cast_slice(&memory)).unwrap();
            with_untyped!(dtype, B => {
                assert_eq!(size_of::<B>(), dtype.size());
                assert_eq!(untyped_data::<B>(&tensor).len(), 16 / dtype.size());
            });
        }
    }
}
