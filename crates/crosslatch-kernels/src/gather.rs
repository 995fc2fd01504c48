//! One index for each element: gathering along a dimension, scattering along it, taking.
//!
//! `gather` reads `from[i][index[i][j]][k]` for every element `[i][j][k]` of the index (`dim` is 1
//! here), `scatter` writes there. The trick of both is one layout: the indexed tensor in the shape
//! of the index, with stride 0 along `dim`, gives the place of each element but for the index
//! itself. Scattering goes in row-major order of the index, on one thread: where indices repeat,
//! the last one wins, or sums are rounded after each step, the same in every run.

use crate::fill::Value;
use crate::indexing::{Integers, position};
use crate::layout::for_each_run;
use crate::slabs::for_each_slab;
use crate::wide::Wide;
use crate::{Element, KernelError, Layout, TensorMut, TensorRef, Threads, with_element};

/// Elements below which the work is not worth another thread.
const GRAIN: usize = 16 * 1024;

/// `whole` in the shape of the index, without moving along `dim`; length and stride of `dim`.
fn without_dim(whole: &Layout, shape: &[usize], dim: usize) -> (Layout, usize, usize) {
    let mut layout = Layout {
        shape: shape.into(),
        ..whole.clone()
    };
    if layout.rank() == 0 {
        return (layout, 1, 0);
    }
    let (len, stride) = (whole.shape[dim], whole.strides[dim]);
    layout.strides[dim] = 0;
    (layout, len, stride)
}

/// `to[…, j, …] = from[…, index[…, j, …], …]` along `dim`. `to` has the shape of `index`, which is
/// no longer than `from` in any other dimension.
pub fn gather(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    threads: &Threads,
) -> Result<(), KernelError> {
    for_each_slab(to, threads, GRAIN, &|part, to| {
        let to_layout = to.layout().clone();
        let index_layout = part.of(index.layout());
        let (base, len, stride) = without_dim(from.layout(), index.shape(), dim);
        let base = part.of(&base);
        let integers = Integers::of(index);
        let mut result = Ok(());
        with_element!(to.dtype(), T => {
            let (target, source) = (to.data::<T>(), from.data::<T>());
            for_each_run([&to_layout, &index_layout, &base], |[a, i, b], [p, q, r], n| {
                for k in 0..n {
                    match position(integers.at(i + k * q), len) {
                        Ok(j) => target[a + k * p] = source[b + k * r + j * stride],
                        Err(e) => result = Err(e),
                    }
                }
            });
        });
        result
    })
}

/// What is scattered.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// The elements of a tensor that has been cut to the shape of the index.
    Tensor(TensorRef<'a>),
    /// One number everywhere.
    Value(Value),
}

/// How a scattered value is combined with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reduce {
    Replace,
    Add,
    Multiply,
    Max,
    Min,
}

/// `to[…, index[…, j, …], …] = source[…, j, …]` along `dim`, or combined with what is there.
pub fn scatter(
    to: &mut TensorMut<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    source: Source<'_>,
    reduce: Reduce,
) -> Result<(), KernelError> {
    with_element!(to.dtype(), T => scatter_of::<T>(to, dim, index, source, reduce))
}

fn scatter_of<T: Element<Wide: Wide>>(
    to: &mut TensorMut<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    source: Source<'_>,
    reduce: Reduce,
) -> Result<(), KernelError> {
    let (base, len, stride) = without_dim(to.layout(), index.shape(), dim);
    let target = to.data::<T>();
    let constant;
    let (values, values_layout) = match source {
        Source::Tensor(tensor) => (tensor.data::<T>(), tensor.layout().clone()),
        Source::Value(value) => {
            constant = [value.element::<T>()];
            let mut layout = index.layout().clone();
            layout.strides.fill(0);
            layout.offset = 0;
            (&constant[..], layout)
        }
    };
    let integers = Integers::of(index);
    let mut result = Ok(());
    for_each_run(
        [&base, index.layout(), &values_layout],
        |[a, i, v], [p, q, r], n| {
            for k in 0..n {
                match position(integers.at(i + k * q), len) {
                    Ok(j) => {
                        let place = &mut target[a + k * p + j * stride];
                        *place = combine(*place, values[v + k * r], reduce);
                    }
                    Err(e) => result = Err(e),
                }
            }
        },
    );
    result
}

fn combine<T: Element<Wide: Wide>>(old: T, new: T, reduce: Reduce) -> T {
    let (a, b) = (old.widen(), new.widen());
    match reduce {
        Reduce::Replace => new,
        Reduce::Add => T::narrow(a.add(b)),
        Reduce::Multiply => T::narrow(a.mul(b)),
        Reduce::Max => T::narrow(a.larger(b)),
        Reduce::Min => T::narrow(a.smaller(b)),
    }
}

/// `to[i] = from.flatten()[index[i]]`: `to` has the shape of `index`.
pub fn take(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    index: &TensorRef<'_>,
) -> Result<(), KernelError> {
    let len = from.layout().numel();
    let to_layout = to.layout().clone();
    let integers = Integers::of(index);
    let mut result = Ok(());
    with_element!(to.dtype(), T => {
        let (target, source) = (to.data::<T>(), from.data::<T>());
        for_each_run([&to_layout, index.layout()], |[a, i], [p, q], n| {
            for k in 0..n {
                match position(integers.at(i + k * q), len) {
                    Ok(j) => target[a + k * p] = source[nth(from.layout(), j)],
                    Err(e) => result = Err(e),
                }
            }
        });
    });
    result
}

/// Position of the `n`-th element in row-major order.
fn nth(layout: &Layout, n: usize) -> usize {
    let mut left = n;
    let mut position = layout.offset;
    for (&size, &stride) in layout.shape.iter().zip(&layout.strides).rev() {
        position += left % size * stride;
        left /= size;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn tensor<'a, T: Element>(layout: &'a Layout, data: &'a [T]) -> TensorRef<'a> {
        TensorRef::new(T::DTYPE, layout, bytemuck::cast_slice(data)).unwrap()
    }

    #[test]
    fn gathering_follows_the_index_along_its_dimension() {
        let x: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let x_layout = Layout::contiguous(&[4, 3]).transpose(0, 1);
        let shape = Layout::contiguous(&[2, 2]);
        let index = [3i64, -4, 1, 0];
        let mut memory = Storage::zeroed(16);
        let mut to = TensorMut::new(crate::DType::F32, &shape, memory.bytes_mut()).unwrap();
        let x = tensor(&x_layout, &x);
        gather(&mut to, &x, 1, &tensor(&shape, &index), &Threads::new(1)).unwrap();
        assert_eq!(to.as_ref().to_vec::<f32>(), [9.0, 0.0, 4.0, 1.0]);
        take(&mut to, &x, &tensor(&shape, &[0i64, 1, 4, -1])).unwrap();
        assert_eq!(to.as_ref().to_vec::<f32>(), [0.0, 3.0, 1.0, 11.0]);
        let wrong = [4i64, 0, 0, 0];
        assert_eq!(
            gather(&mut to, &x, 1, &tensor(&shape, &wrong), &Threads::new(1)),
            Err(KernelError::IndexOutOfRange { index: 4, len: 4 })
        );
    }

    #[test]
    fn scattering_writes_where_the_index_says() {
        let shape = Layout::contiguous(&[2, 2]);
        let index = tensor(&shape, &[2i64, 2, 0, -1]);
        let values = tensor(&shape, &[1.0f32, 2.0, 3.0, 4.0]);
        let run = |source, reduce| {
            let layout = Layout::contiguous(&[2, 3]);
            let mut memory = Storage::copy_of(bytemuck::cast_slice(&[10f32; 6]));
            let mut to = TensorMut::new(crate::DType::F32, &layout, memory.bytes_mut()).unwrap();
            scatter(&mut to, 1, &index, source, reduce).unwrap();
            to.as_ref().to_vec::<f32>()
        };
        let tensor = Source::Tensor(values);
        assert_eq!(
            run(tensor, Reduce::Replace),
            [10.0, 10.0, 2.0, 3.0, 10.0, 4.0]
        );
        assert_eq!(
            run(tensor, Reduce::Add),
            [10.0, 10.0, 13.0, 13.0, 10.0, 14.0]
        );
        assert_eq!(run(tensor, Reduce::Min), [10.0, 10.0, 1.0, 3.0, 10.0, 4.0]);
        assert_eq!(
            run(Source::Value(Value::Int(3)), Reduce::Multiply),
            [10.0, 10.0, 90.0, 30.0, 10.0, 30.0]
        );
    }
}
