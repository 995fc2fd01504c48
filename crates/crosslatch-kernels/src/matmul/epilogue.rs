//! What is done to the sums of a product on their way into the result.

use crate::TensorMut;
use crate::runtime::instructions::multiversion;
use crate::simd::functions::Function;

/// Applies a function to a result, for products that do not do so themselves.
pub(crate) fn apply(out: &mut TensorMut<'_>, epilogue: Option<Function>) {
    if let Some(function) = epilogue {
        function.map_tensor(out);
    }
}

/// `to[j] += factor * data[j * stride]`.
pub(crate) fn add_scaled(to: &mut [f32], data: &[f32], stride: usize, factor: f32) {
    // A factor of 0 keeps NaN and infinity out, as PyTorch has it.
    if factor == 0.0 {
        return;
    }
    match stride {
        1 => add_scaled_row(to, data, factor),
        _ => to
            .iter_mut()
            .enumerate()
            .for_each(|(j, y)| *y += factor * data[j * stride]),
    }
}

multiversion! {
    /// `to[j] += factor * data[j]`.
    fn add_scaled_row(to: &mut [f32], data: &[f32], factor: f32), add_scaled_row_portable
}

#[inline(always)]
fn add_scaled_row_portable<const FUSED: bool>(to: &mut [f32], data: &[f32], factor: f32) {
    // Rounded twice in every version: a factor of 1 is the usual one.
    to.iter_mut().zip(data).for_each(|(y, b)| *y += factor * b);
}
