//! Scaled rows: a tensor of `f32` whose rows are stored as bytes, each row with a scale.
//!
//! A cache of keys and values is written once and read at every step, at the speed of memory, so it
//! pays to keep it in a quarter of the bytes. A row (the last dimension: the key of one position in
//! one head) is stored as an `i8` for each element and, behind them, the `f32` by which these are
//! multiplied. Scale and elements lie together, so that a row is one piece of memory, written and
//! read by itself; a tensor `[…, n]` is one of `i8` and shape `[…, n + 4]`, which views, copies and
//! caches treat like any other. Zeros stand for zeros.
//!
//! The greatest magnitude of a row is stored as 127. A row that has an element which is not finite
//! has the scale NaN, and so are then all its elements.

use bytemuck::{Pod, Zeroable};

/// Bytes of a row's scale.
pub const SCALE_BYTES: usize = size_of::<f32>();

/// A byte of a scaled row: an element, in units of the row's scale, or a part of the scale.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct ScaledByte(pub i8);

/// The scale of a row that begins with `row` and has so many elements.
///
/// # Panics
/// If the row is shorter.
#[inline(always)]
pub(crate) fn scale(row: &[ScaledByte], elements: usize) -> f32 {
    let mut bytes = [0u8; SCALE_BYTES];
    bytes.copy_from_slice(bytemuck::cast_slice(&row[elements..elements + SCALE_BYTES]));
    f32::from_ne_bytes(bytes)
}
