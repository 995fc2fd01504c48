//! What is done to the sums of a product on their way into the result.

use crate::TensorMut;
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
        1 => to.iter_mut().zip(data).for_each(|(y, b)| *y += factor * b),
        _ => to
            .iter_mut()
            .enumerate()
            .for_each(|(j, y)| *y += factor * data[j * stride]),
    }
}
