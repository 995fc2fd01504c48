//! Asking for memory before it is needed.
//!
//! The machine sees a long run of reads coming and fetches ahead of it. Several short rows that are read
//! side by side are no such run: each page would begin with a wait. So the kernels that read a weight that
//! way say what they will read next.

/// Bytes that come from memory together.
const LINE: usize = 64;

/// At step `k`, asks for what lies `ahead` elements behind step `k` of each slice, once for each line.
/// What is not there does no harm.
#[inline(always)]
pub(crate) fn fetch<T, const N: usize>(k: usize, slices: &[&[T]; N], ahead: usize) {
    if ahead == 0 || !(k * size_of::<T>()).is_multiple_of(LINE) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    for slice in slices {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = slice.as_ptr().wrapping_add(k + ahead);
        // SAFETY: SSE is part of the architecture, and a hint reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slices;
}

/// Asks for `len` elements from `start` on, because they will soon be written. What is not there does no
/// harm.
#[inline(always)]
pub(crate) fn fetch_for_writing<T>(start: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..len * size_of::<T>()).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of the architecture, and a hint reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.cast::<i8>().wrapping_add(offset)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, len);
}
