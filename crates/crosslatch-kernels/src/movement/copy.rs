//! Copying a tensor into another, with conversion of the element type.
//!
//! Everything that moves data without computing on it ends here: clones, casts, concatenation,
//! reshapes that are no views, cache writes. The order in which elements are visited is chosen to
//! suit the memory, not the indices: dimensions are sorted by the destination's strides and merged
//! where both sides allow it. What is left is one of three cases: rows that are contiguous on both
//! sides are copied as slices; where the source is contiguous along another dimension than the
//! destination (a transposition), both are walked in square tiles, so that every cache line that is
//! fetched is used; anything else goes run by run with strides.
//!
//! The two tensors must have one shape and must not share memory, which the borrow checker sees to.
//! The destination must not overlap itself, or the result would depend on the order.

use bytemuck::Pod;
use half::f16;
use half::slice::HalfFloatSliceExt;
use smallvec::SmallVec;

use crate::complex;
use crate::runtime::partition::for_each_part;
use crate::tensor::untyped::{untyped_data, untyped_data_mut};
use crate::{DType, Element, Layout, TensorMut, TensorRef, Threads, with_element, with_untyped};

/// Elements below which a copy is not worth another thread.
const GRAIN: usize = 32 * 1024;

/// Side of the square tiles of a transposition.
const TILE: usize = 16;

/// Copies `from` into `to`, converted to its element type as `Tensor.to` does it: of a complex
/// number, a real one keeps the real part. The shapes must be equal: a source that is to be
/// broadcast has been expanded.
///
/// # Panics
/// If the shapes differ.
pub fn copy(to: &mut TensorMut<'_>, from: &TensorRef<'_>, threads: &Threads) {
    assert_eq!(to.shape(), from.shape(), "a copy between different shapes");
    if to.dtype() != from.dtype() && (to.dtype().is_complex() || from.dtype().is_complex()) {
        return complex::apply(to, [complex::Source::Tensor(from)], threads, &|[x]| x);
    }
    for_each_part(to, threads, GRAIN, &|part, to| {
        let layout = part.of(from.layout());
        if to.dtype() == from.dtype() {
            with_untyped!(from.dtype(), B => copy_untyped::<B>(to, untyped_data(from), &layout));
        } else {
            with_element!(from.dtype(), F => with_element!(to.dtype(), T => {
                copy_converted::<F, T>(to, from.data(), &layout)
            }));
        }
    });
}

/// Copies elements of one type, in another order at most.
fn copy_untyped<B: Pod>(to: &mut TensorMut<'_>, from: &[B], from_layout: &Layout) {
    let layout = to.layout().clone();
    let to = untyped_data_mut::<B>(to);
    for_each_run(&layout, from_layout, &mut |[a, b], steps, n| match steps {
        [1, 1] => to[a..a + n].copy_from_slice(&from[b..b + n]),
        [1, 0] => to[a..a + n].fill(from[b]),
        [p, q] => {
            for j in 0..n {
                to[a + j * p] = from[b + j * q];
            }
        }
    });
}

fn copy_converted<F: Element, T: Element>(
    to: &mut TensorMut<'_>,
    from: &[F],
    from_layout: &Layout,
) {
    let layout = to.layout().clone();
    let to = to.data::<T>();
    for_each_run(&layout, from_layout, &mut |[a, b], steps, n| match steps {
        [1, 1] => convert_row(&mut to[a..a + n], &from[b..b + n]),
        [p, q] => {
            for j in 0..n {
                to[a + j * p] = convert(from[b + j * q]);
            }
        }
    });
}

/// Converts a value to another type by way of 64 bits, which loses nothing that the result keeps.
#[inline(always)]
pub fn convert<F: Element, T: Element>(value: F) -> T {
    if F::DTYPE.is_float() {
        T::from_f64(value.to_f64())
    } else {
        T::from_i64(value.to_i64())
    }
}

/// Converts a contiguous row. Half precision has instructions of its own, which work on slices.
fn convert_row<F: Element, T: Element>(to: &mut [T], from: &[F]) {
    match (F::DTYPE, T::DTYPE) {
        (DType::F32, DType::F16) => {
            bytemuck::cast_slice_mut::<T, f16>(to)
                .convert_from_f32_slice(bytemuck::cast_slice(from));
        }
        (DType::F16, DType::F32) => {
            bytemuck::cast_slice::<F, f16>(from).convert_to_f32_slice(bytemuck::cast_slice_mut(to));
        }
        _ => {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = convert(from);
            }
        }
    }
}

/// A dimension of both tensors.
#[derive(Clone, Copy)]
struct Dim {
    size: usize,
    to: usize,
    from: usize,
}

/// Dimensions in the destination's order of memory, outermost first, merged where possible.
fn merged_dims(to: &Layout, from: &Layout) -> SmallVec<[Dim; 6]> {
    let mut dims: SmallVec<[Dim; 6]> = (0..to.rank())
        .filter(|&d| to.shape[d] != 1)
        .map(|d| Dim {
            size: to.shape[d],
            to: to.strides[d],
            from: from.strides[d],
        })
        .collect();
    // Where the destination does not decide (stride 0), the source does.
    dims.sort_by_key(|d| std::cmp::Reverse((d.to, d.from)));
    let mut merged: SmallVec<[Dim; 6]> = SmallVec::new();
    for dim in dims {
        match merged.last_mut() {
            Some(outer) if outer.to == dim.to * dim.size && outer.from == dim.from * dim.size => {
                *outer = Dim {
                    size: outer.size * dim.size,
                    ..dim
                };
            }
            _ => merged.push(dim),
        }
    }
    merged
}

/// Walks both tensors in the order that suits their memory: `visit(offsets, strides, len)` is
/// called for runs that together are everything, destination first. It is not generic, because it
/// would be compiled for every pair of types.
fn for_each_run(to: &Layout, from: &Layout, visit: Visit<'_>) {
    if to.shape.contains(&0) {
        return;
    }
    let mut dims = merged_dims(to, from);
    let Some(inner) = dims.pop() else {
        visit([to.offset, from.offset], [1, 1], 1);
        return;
    };
    // Where the source is contiguous along another dimension, that one is tiled together with the
    // innermost.
    let other = match inner.from {
        0 | 1 => None,
        _ => dims.iter().position(|d| d.from == 1),
    };
    let other = other.map(|i| dims.remove(i));
    for_each_offset(&dims, to.offset, from.offset, |a, b| match other {
        Some(other) => tiles(a, b, other, inner, visit),
        None => visit([a, b], [inner.to, inner.from], inner.size),
    });
}

/// Called for each run: offsets, strides, length.
type Visit<'v> = &'v mut dyn FnMut([usize; 2], [usize; 2], usize);

/// Copies a plane in squares: along `p` the source is contiguous, along `q` the destination has its
/// shortest stride.
fn tiles(a: usize, b: usize, p: Dim, q: Dim, visit: Visit<'_>) {
    for i0 in (0..p.size).step_by(TILE) {
        let i1 = (i0 + TILE).min(p.size);
        for j0 in (0..q.size).step_by(TILE) {
            let n = TILE.min(q.size - j0);
            for i in i0..i1 {
                let start = [a + i * p.to + j0 * q.to, b + i * p.from + j0 * q.from];
                visit(start, [q.to, q.from], n);
            }
        }
    }
}

/// Calls `visit` with the offsets in both tensors for each index of `dims`.
fn for_each_offset(dims: &[Dim], a: usize, b: usize, mut visit: impl FnMut(usize, usize)) {
    let (mut a, mut b) = (a, b);
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, dims.len());
    loop {
        visit(a, b);
        let mut d = dims.len();
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            a += dims[d].to;
            b += dims[d].from;
            if index[d] < dims[d].size {
                break;
            }
            a -= dims[d].to * dims[d].size;
            b -= dims[d].from * dims[d].size;
            index[d] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    /// Copies numbered elements between two layouts and compares with the definition.
    fn check(shape: &[usize], to_order: &[usize], from_order: &[usize], threads: usize) {
        let layout = |order: &[usize]| {
            let inverse: Vec<usize> = (0..order.len())
                .map(|d| order.iter().position(|&o| o == d).unwrap())
                .collect();
            let permuted: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
            Layout::contiguous(&permuted).permute(&inverse)
        };
        let (to_layout, from_layout) = (layout(to_order), layout(from_order));
        let numel = to_layout.numel();
        let mut source = Storage::zeroed(4 * numel);
        for (i, x) in bytemuck::cast_slice_mut::<u8, f32>(source.bytes_mut())
            .iter_mut()
            .enumerate()
        {
            *x = i as f32;
        }
        let mut target = Storage::zeroed(8 * numel);
        let from = TensorRef::new(DType::F32, &from_layout, source.bytes()).unwrap();
        let mut to = TensorMut::new(DType::I64, &to_layout, target.bytes_mut()).unwrap();
        copy(&mut to, &from, &Threads::new(threads));
        let expected: Vec<i64> = from.to_vec::<f32>().iter().map(|&x| x as i64).collect();
        assert_eq!(to.as_ref().to_vec::<i64>(), expected);
        let mut target = Storage::zeroed(4 * numel);
        let mut to = TensorMut::new(DType::F32, &to_layout, target.bytes_mut()).unwrap();
        copy(&mut to, &from, &Threads::new(threads));
        assert_eq!(to.as_ref().to_vec::<f32>(), from.to_vec::<f32>());
    }

    #[test]
    fn every_order_of_dimensions_is_copied_element_for_element() {
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for shape in [[2, 3, 4], [1, 17, 33], [5, 1, 1], [3, 0, 2], [19, 2, 18]] {
            for to in orders {
                for from in orders {
                    check(&shape, &to, &from, 1);
                }
            }
        }
        check(&[], &[], &[], 1);
    }

    #[test]
    fn large_copies_are_shared_among_threads() {
        check(&[70, 40, 50], &[0, 1, 2], &[2, 0, 1], 3);
        check(&[70, 40, 50], &[2, 0, 1], &[0, 1, 2], 2);
    }

    #[test]
    fn a_broadcast_source_is_repeated() {
        let memory = [1.5f32, -2.5];
        let from_layout = Layout::contiguous(&[2, 1]).expand(&[2, 3]).unwrap();
        let from = TensorRef::new(DType::F32, &from_layout, bytemuck::cast_slice(&memory)).unwrap();
        let to_layout = Layout::contiguous(&[2, 3]);
        let mut target = Storage::zeroed(12);
        let mut to = TensorMut::new(DType::F16, &to_layout, target.bytes_mut()).unwrap();
        copy(&mut to, &from, &Threads::new(1));
        let values: Vec<f32> = to
            .as_ref()
            .to_vec::<f16>()
            .iter()
            .map(|x| x.to_f32())
            .collect();
        assert_eq!(values, [1.5, 1.5, 1.5, -2.5, -2.5, -2.5]);
    }

    #[test]
    fn conversions_truncate_wrap_and_test_for_zero() {
        assert_eq!(convert::<f32, u8>(-1.0), 255);
        assert_eq!(convert::<f32, i32>(-2.9), -2);
        assert_eq!(convert::<i64, u8>(257), 1);
        assert!(convert::<f32, crate::Bool>(f32::NAN).get());
        assert!(!convert::<i64, crate::Bool>(0).get());
        assert_eq!(convert::<crate::Bool, f32>(crate::Bool::new(true)), 1.0);
    }
}
