//! Ordering along a dimension: sorting, `topk`, binary search.
//!
//! A line of the tensor is copied to working memory as keys beside their positions, sorted there,
//! and written back. Keys are 64-bit integers whose order is that of the values: floats compare as
//! PyTorch has it, with NaN above everything, both zeros equal. Equal keys are ordered by their
//! positions, which makes every order stable, and the fast unstable sort usable. [`scratch_bytes`]
//! says how much working memory a line takes.

use std::cmp::Ordering;

use bytemuck::{Pod, Zeroable};

use crate::{Element, Layout, TensorMut, TensorRef, with_element};

/// A value's key, and its position in the line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Entry {
    key: i64,
    place: u64,
}

/// Bytes of working memory for a line of `len`, or `None` where that overflows.
pub fn scratch_bytes(len: usize) -> Option<usize> {
    len.checked_mul(size_of::<Entry>())
}

/// An integer that orders values as PyTorch does.
fn key<T: Element>(value: T) -> i64 {
    if !T::DTYPE.is_float() {
        return value.to_i64();
    }
    let value = value.to_f64();
    if value.is_nan() {
        return i64::MAX;
    }
    // Adding zero makes -0.0 the same as 0.0. Negative floats order backwards as bits.
    let bits = (value + 0.0).to_bits() as i64;
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// Calls `visit` with the positions of the first element of each line along `dim` of `N` tensors
/// that have one shape but for that dimension.
fn for_each_line<const N: usize>(
    layouts: [&Layout; N],
    dim: usize,
    mut visit: impl FnMut([usize; N]),
) {
    let lines = layouts.map(|l| {
        if l.rank() == 0 {
            l.clone()
        } else {
            l.slice(dim, 0, 1, 1)
        }
    });
    if layouts.iter().any(|l| l.numel() == 0) {
        return;
    }
    crate::tensor::layout::for_each_run(lines.each_ref(), |offsets, strides, len| {
        for k in 0..len {
            visit(std::array::from_fn(|i| offsets[i] + k * strides[i]));
        }
    });
}

/// Length and stride of a dimension; a tensor without dimensions is a line of one.
fn line(layout: &Layout, dim: usize) -> (usize, usize) {
    match layout.rank() {
        0 => (1, 0),
        _ => (layout.shape[dim], layout.strides[dim]),
    }
}

/// How lines are ordered.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The dimension along which lines lie.
    pub dim: usize,
    /// Largest first.
    pub descending: bool,
    /// Whether what is kept must be in order.
    pub sorted: bool,
}

/// The first entries of each line, in order: as many as the results have along the dimension. With
/// all of them this is a sort, with fewer `topk`. `values` or `indices` (which are `i64`) may be
/// left out. `scratch` has [`scratch_bytes`] of a line of `from`.
pub fn order(
    mut values: Option<&mut TensorMut<'_>>,
    mut indices: Option<&mut TensorMut<'_>>,
    from: &TensorRef<'_>,
    order: Order,
    scratch: &mut [u8],
) {
    with_element!(from.dtype(), T => {
        let (len, step) = line(from.layout(), order.dim);
        let source = from.data::<T>();
        let entries: &mut [Entry] =
            bytemuck::cast_slice_mut(&mut scratch[..len * size_of::<Entry>()]);
        let values_layout = values.as_ref().map(|v| v.layout().clone());
        let indices_layout = indices.as_ref().map(|i| i.layout().clone());
        let Some(any) = values_layout.as_ref().or(indices_layout.as_ref()) else {
            return;
        };
        let keep = line(any, order.dim).0;
        let layouts = [
            from.layout(),
            values_layout.as_ref().unwrap_or(any),
            indices_layout.as_ref().unwrap_or(any),
        ];
        let steps = layouts.map(|l| line(l, order.dim).1);
        for_each_line(layouts, order.dim, |[from, to_values, to_indices]| {
            for (j, entry) in entries.iter_mut().enumerate() {
                let key = key(source[from + j * step]);
                // The complement turns the order around without overflow.
                let key = if order.descending { !key } else { key };
                *entry = Entry { key, place: j as u64 };
            }
            first(entries, keep, order.sorted);
            for (j, entry) in entries[..keep].iter().enumerate() {
                if let Some(values) = &mut values {
                    values.data::<T>()[to_values + j * steps[1]] =
                        source[from + entry.place as usize * step];
                }
                if let Some(indices) = &mut indices {
                    indices.data::<i64>()[to_indices + j * steps[2]] = entry.place as i64;
                }
            }
        });
    });
}

/// Brings the `keep` first entries to the front.
fn first(entries: &mut [Entry], keep: usize, sorted: bool) {
    let before = |a: &Entry, b: &Entry| -> Ordering { (a.key, a.place).cmp(&(b.key, b.place)) };
    if keep == 0 {
        return;
    }
    if keep < entries.len() {
        entries.select_nth_unstable_by(keep - 1, before);
    }
    if sorted {
        entries[..keep].sort_unstable_by(before);
    }
}

/// For each element of `values` the place where it would be inserted into a sorted line:
/// `boundaries` has one dimension, or the leading dimensions of `values` and lines along its last.
/// `right` selects the place behind equal elements. `to` is `i64` or `i32`.
pub fn search_sorted(
    to: &mut TensorMut<'_>,
    boundaries: &TensorRef<'_>,
    values: &TensorRef<'_>,
    right: bool,
) {
    let rank = boundaries.layout().rank();
    let (len, step) = line(boundaries.layout(), rank.saturating_sub(1));
    let to_layout = to.layout().clone();
    // Position of the line that belongs to each value.
    let mut lines = values.layout().clone();
    lines.strides.fill(0);
    lines.offset = boundaries.layout().offset;
    if rank > 1 {
        lines.strides[..rank - 1].copy_from_slice(&boundaries.layout().strides[..rank - 1]);
    }
    let key_at = |tensor: &TensorRef<'_>, at: usize| with_element!(tensor.dtype(), T => key(tensor.data::<T>()[at]));
    // Keys of integers and floats do not compare; then all are compared as floats.
    let float_at = |tensor: &TensorRef<'_>, at: usize| with_element!(tensor.dtype(), T => key(tensor.data::<T>()[at].to_f64()));
    let same = boundaries.dtype().is_float() == values.dtype().is_float();
    let read = |tensor: &TensorRef<'_>, at: usize| match same {
        true => key_at(tensor, at),
        false => float_at(tensor, at),
    };
    crate::tensor::layout::for_each_run(
        [&to_layout, values.layout(), &lines],
        |[a, v, l], [p, q, r], n| {
            for k in 0..n {
                let wanted = read(values, v + k * q);
                let (mut low, mut high) = (0, len);
                while low < high {
                    let middle = low + (high - low) / 2;
                    let there = read(boundaries, l + k * r + middle * step);
                    if there < wanted || (right && there == wanted) {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                with_element!(to.dtype(), T => to.data::<T>()[a + k * p] = T::from_i64(low as i64));
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Storage};

    fn run(data: &[f32], shape: &[usize], keep: usize, o: Order) -> (Vec<f32>, Vec<i64>) {
        let layout = Layout::contiguous(shape);
        let from = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(data)).unwrap();
        let mut kept = shape.to_vec();
        if !kept.is_empty() {
            kept[o.dim] = keep;
        }
        let kept = Layout::contiguous(&kept);
        let mut memory = [
            Storage::zeroed(4 * kept.numel()),
            Storage::zeroed(8 * kept.numel()),
        ];
        let [v, i] = &mut memory;
        let mut values = TensorMut::new(DType::F32, &kept, v.bytes_mut()).unwrap();
        let mut indices = TensorMut::new(DType::I64, &kept, i.bytes_mut()).unwrap();
        let mut scratch = Storage::zeroed(scratch_bytes(line(&layout, o.dim).0).unwrap());
        order(
            Some(&mut values),
            Some(&mut indices),
            &from,
            o,
            scratch.bytes_mut(),
        );
        (values.as_ref().to_vec(), indices.as_ref().to_vec())
    }

    #[test]
    fn equal_values_keep_their_order_and_nan_is_the_largest() {
        let data = [1.0, -0.0, f32::NAN, 0.0, f32::NEG_INFINITY, 1.0];
        let ascending = Order {
            dim: 0,
            descending: false,
            sorted: true,
        };
        let (values, indices) = run(&data, &[6], 6, ascending);
        assert_eq!(indices, [4, 1, 3, 0, 5, 2]);
        assert!(values[5].is_nan() && values[0] == f32::NEG_INFINITY);
        let descending = Order {
            descending: true,
            ..ascending
        };
        assert_eq!(run(&data, &[6], 6, descending).1, [2, 0, 5, 1, 3, 4]);
        assert_eq!(run(&data, &[6], 2, descending).1, [2, 0]);
    }

    #[test]
    fn lines_lie_along_any_dimension() {
        let data = [3.0, 1.0, 2.0, 9.0, 0.0, 5.0];
        let o = Order {
            dim: 0,
            descending: true,
            sorted: true,
        };
        assert_eq!(run(&data, &[3, 2], 1, o), (vec![3.0, 9.0], vec![0, 1]));
        assert_eq!(run(&data, &[2, 3], 0, o), (vec![], vec![]));
        assert_eq!(run(&[7.0], &[], 1, o), (vec![7.0], vec![0]));
    }

    #[test]
    fn searching_finds_the_place_before_or_behind_equals() {
        let layout = Layout::contiguous(&[4]);
        let line = [1.0f32, 2.0, 2.0, 3.0];
        let values = [2i64, 0, 4, 3];
        let boundaries = TensorRef::new(DType::F32, &layout, bytemuck::cast_slice(&line)).unwrap();
        let values = TensorRef::new(DType::I64, &layout, bytemuck::cast_slice(&values)).unwrap();
        let mut memory = Storage::zeroed(32);
        let mut to = TensorMut::new(DType::I64, &layout, memory.bytes_mut()).unwrap();
        search_sorted(&mut to, &boundaries, &values, false);
        assert_eq!(to.as_ref().to_vec::<i64>(), [1, 0, 4, 3]);
        search_sorted(&mut to, &boundaries, &values, true);
        assert_eq!(to.as_ref().to_vec::<i64>(), [3, 0, 4, 4]);
    }
}
