//! Cumulative folds along one dimension, sums, products and extremes, and folds of neighbours.
//!
//! Each line along the dimension is independent of the others; within a line the elements are taken
//! one after the other, in blocks for the sake of the conversions. One thread does it: where models
//! have cumulative sums, they have few lines.

use crate::elements::blocks::{Compute, load, store};
use crate::tensor::layout::for_each_run;
use crate::{DType, Layout, TensorMut, TensorRef};

/// Elements converted at a time.
const BLOCK: usize = 256;

/// `out[i] = value(step(… step(start, x[0]) …, x[i]))` along `dim`, where elements of `x` are
/// converted to `through` first; `out` has the shape of `x`. A tensor without dimensions is one
/// line.
pub fn cumulate<C: Compute, A: Copy, T: Compute>(
    out: &mut TensorMut<'_>,
    x: &TensorRef<'_>,
    dim: usize,
    through: DType,
    start: A,
    step: impl Fn(A, C) -> A,
    value: impl Fn(A) -> T,
) {
    let lines = |layout: &Layout| match layout.rank() {
        0 => (layout.clone(), 1, 1),
        _ => (
            layout.slice(dim, 0, 1, 1),
            layout.strides[dim],
            layout.shape[dim],
        ),
    };
    let (to, to_step, size) = lines(out.layout());
    let (from, from_step, _) = lines(x.layout());
    if size == 0 {
        return;
    }
    let (mut elements, mut results) = ([C::default(); BLOCK], [T::default(); BLOCK]);
    for_each_run([&to, &from], |[to, from], [p, q], n| {
        for i in 0..n {
            let (to, from) = (to + i * p, from + i * q);
            let mut accumulator = start;
            for done in (0..size).step_by(BLOCK) {
                let len = (size - done).min(BLOCK);
                let begin = (from + done * from_step, from_step);
                let elements = load(x, begin, through, &mut elements[..len]);
                for (result, x) in results.iter_mut().zip(elements) {
                    accumulator = step(accumulator, *x);
                    *result = value(accumulator);
                }
                store(out, to + done * to_step, to_step, &results[..len]);
            }
        }
    });
}

/// `out[i] = step(… step(0, x[i], 0) …, x[i + n], n)` along `dim`, where `x` is the pieces one after the other,
/// as many as there are, and elements are converted to `through` first. The pieces have the shape of `out` but
/// for this dimension, in which `out` is `n` shorter than all together.
///
/// # Panics
/// If shapes do not fit together, or there are more than three pieces.
pub fn fold_neighbours<C: Compute>(
    out: &mut TensorMut<'_>,
    pieces: &[&TensorRef<'_>],
    dim: usize,
    through: DType,
    n: usize,
    step: impl Fn(C, C, usize) -> C,
) {
    let sizes: [usize; 3] = std::array::from_fn(|i| pieces.get(i).map_or(0, |x| x.shape()[dim]));
    let len = out.layout().shape[dim];
    assert!(pieces.len() <= 3 && len + n == sizes.iter().sum::<usize>());
    if len == 0 {
        return;
    }
    // A piece that is empty or missing has no line of its own, and is never read.
    let line = out.layout().slice(dim, 0, 1, 1);
    let lines: [Layout; 3] = std::array::from_fn(|i| match sizes[i] {
        0 => line.clone(),
        _ => pieces[i].layout().slice(dim, 0, 1, 1),
    });
    let to_step = out.layout().strides[dim];
    let [a, b, c] = &lines;
    for_each_run(
        [&line, a, b, c],
        |[to, starts @ ..], [p, steps @ ..], count| {
            for k in 0..count {
                let element = |mut i: usize| {
                    let mut piece = 0;
                    while i >= sizes[piece] {
                        i -= sizes[piece];
                        piece += 1;
                    }
                    let at =
                        starts[piece] + k * steps[piece] + i * pieces[piece].layout().strides[dim];
                    load(pieces[piece], (at, 1), through, &mut [C::default()])[0]
                };
                for i in 0..len {
                    let all = (0..=n).fold(C::default(), |sum, j| step(sum, element(i + j), j));
                    store(out, to + k * p + i * to_step, to_step, &[all]);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn neighbours_are_those_of_the_pieces_together() {
        let (first, second) = ([1i32, 10], [2i32, 4, 8, 20, 30, 40]);
        let [la, lb] = [[2, 1], [2, 3]].map(|shape| Layout::contiguous(&shape));
        let a = TensorRef::new(DType::I32, &la, bytemuck::cast_slice(&first)).unwrap();
        let b = TensorRef::new(DType::I32, &lb, bytemuck::cast_slice(&second)).unwrap();
        let lo = Layout::contiguous(&[2, 3]);
        let mut out = Storage::zeroed(4 * lo.numel());
        let mut to = TensorMut::new(DType::I32, &lo, out.bytes_mut()).unwrap();
        let step = |sum: i64, x: i64, k| sum + if k == 0 { -x } else { x };
        fold_neighbours(&mut to, &[&a, &b], 1, DType::I32, 1, step);
        assert_eq!(to.as_ref().to_vec::<i32>(), [1, 2, 4, 10, 10, 10]);
    }

    fn sums(layout: &Layout, dim: usize, values: &[i32]) -> Vec<i64> {
        let x = TensorRef::new(DType::I32, layout, bytemuck::cast_slice(values)).unwrap();
        let lo = Layout::contiguous(&layout.shape);
        let mut out = Storage::zeroed(8 * lo.numel());
        let mut to = TensorMut::new(DType::I64, &lo, out.bytes_mut()).unwrap();
        cumulate(
            &mut to,
            &x,
            dim,
            DType::I64,
            0,
            |a, x: i64| a + x,
            |a: i64| a,
        );
        to.as_ref().to_vec()
    }

    #[test]
    fn sums_run_along_the_dimension() {
        let layout = Layout::contiguous(&[2, 3]);
        let values = [1, 2, 3, 4, 5, 6];
        assert_eq!(sums(&layout, 1, &values), [1, 3, 6, 4, 9, 15]);
        assert_eq!(sums(&layout, 0, &values), [1, 2, 3, 5, 7, 9]);
        assert_eq!(
            sums(&layout.transpose(0, 1), 0, &values),
            [1, 4, 3, 9, 6, 15]
        );
        assert_eq!(sums(&Layout::contiguous(&[]), 0, &[7]), [7]);
        assert_eq!(sums(&Layout::contiguous(&[2, 0]), 0, &[]), [0i64; 0]);
        let long: Vec<i32> = vec![1; 600];
        assert_eq!(sums(&Layout::contiguous(&[600]), 0, &long)[599], 600);
    }
}
