//! An output that several tasks write, each its own part.
//!
//! [`for_each_part`](crate::runtime::partition::for_each_part) hands out parts that lie in ranges
//! of their own. Where tasks write columns of a matrix, or rows of several results, their parts
//! interleave, and only the kernel knows that they are disjoint. This is the one place where it
//! says so.

use std::marker::PhantomData;

/// The memory of a result.
pub(crate) struct SharedOutput<'a, T = f32> {
    data: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: the memory is borrowed exclusively for 'a, and `slice` asks its callers to keep apart.
unsafe impl<T: Send> Sync for SharedOutput<'_, T> {}

impl<'a, T> SharedOutput<'a, T> {
    /// Borrows the memory of the result.
    pub fn new(data: &'a mut [T]) -> SharedOutput<'a, T> {
        SharedOutput {
            data: data.as_mut_ptr(),
            len: data.len(),
            lifetime: PhantomData,
        }
    }

    /// Elements `start .. start + len`.
    ///
    /// # Safety
    /// No two of the slices that exist at a time may overlap.
    ///
    /// # Panics
    /// If there are fewer elements.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the borrowed memory; that it is not used elsewhere is the caller's
        // promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.wrapping_add(start), len) }
    }

    /// The address of an element, which need not exist.
    #[inline(always)]
    pub fn pointer(&self, at: usize) -> *mut T {
        self.data.wrapping_add(at)
    }
}
