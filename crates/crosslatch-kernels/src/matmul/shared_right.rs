//! Several products that share their right side, as one.
//!
//! A decoder step multiplies a row or two by each weight, and takes as long as reading the weights
//! takes. Several sessions that take the same step can read them once: their rows are gathered,
//! multiplied as one matrix, and the rows of the result are given back to each. A product with few
//! rows ([`MOST_ROWS`](crate::matmul::MOST_ROWS)) sums each row for itself, in the same order for
//! any number of rows, so that every session gets the bits that it gets alone.

use crate::movement::copy::copy;
use crate::tensor::view::TensorError;
use crate::{DType, Layout, Storage, TensorMut, TensorRef, Threads};

/// Sizes of products that share their right side.
#[derive(Clone, Copy, Debug)]
pub struct SharedSizes {
    /// Rows of each left matrix.
    pub rows: usize,
    /// Columns of the left matrices.
    pub depth: usize,
    /// Columns of the results.
    pub columns: usize,
}

/// Fills the results, `[rows, columns]` or `[rows, groups, columns / groups]` in `f32`, from the
/// left matrices, `[rows, depth]`, by one call of `product` with all rows: the result `[all rows,
/// columns]`, the left matrix `[all rows, depth]`.
///
/// # Errors
/// If a tensor does not have the size that `sizes` says.
pub fn with_shared_right(
    results: &mut [TensorMut<'_>],
    lefts: &[TensorRef<'_>],
    sizes: SharedSizes,
    memory: &mut Storage,
    threads: &Threads,
    product: &mut dyn FnMut(&mut TensorMut<'_>, &TensorRef<'_>),
) -> Result<(), TensorError> {
    let SharedSizes {
        rows,
        depth,
        columns,
    } = sizes;
    let all = rows * lefts.len();
    let size = DType::F32.size();
    let left_bytes = (all * depth * size).next_multiple_of(64);
    let bytes = left_bytes + all * columns * size;
    if memory.len() < bytes {
        *memory = Storage::zeroed(bytes);
    }
    let (left, right) = memory.bytes_mut().split_at_mut(left_bytes);
    let one = Layout::contiguous(&[rows, depth]);
    for (from, to) in lefts
        .iter()
        .zip(left.chunks_mut((rows * depth * size).max(1)))
    {
        copy(&mut TensorMut::new(DType::F32, &one, to)?, from, threads);
    }
    let (whole, result) = (
        Layout::contiguous(&[all, depth]),
        Layout::contiguous(&[all, columns]),
    );
    let left = TensorRef::new(DType::F32, &whole, left)?;
    product(&mut TensorMut::new(DType::F32, &result, right)?, &left);
    for (i, to) in results.iter_mut().enumerate() {
        let mut layout = Layout::contiguous(to.shape());
        layout.offset = i * rows * columns;
        copy(to, &TensorRef::new(DType::F32, &layout, right)?, threads);
    }
    Ok(())
}
