//! Machines for which no loop is written.

/// Does nothing and says so: the caller moves the elements one by one.
///
/// # Safety
/// None is needed; this is the signature of the others.
pub(super) unsafe fn blocks(
    _count: usize,
    _from: *const f32,
    _from_stride: usize,
    _to: *mut f32,
    _to_stride: usize,
) -> bool {
    false
}
