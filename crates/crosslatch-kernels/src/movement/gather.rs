//! One index for each element, read: gathering along a dimension, taking.
//!
//! `gather` reads `from[i][index[i][j]][k]` for every element `[i][j][k]` of the index (`dim` is 1
//! here). One layout does it: the indexed tensor in the shape of the index, with stride 0 along
//! `dim`, gives the place of each element but for the index itself.

use crate::movement::indexing::{Integers, Negative, position};
use crate::runtime::partition::try_for_each_part;
use crate::tensor::layout::for_each_run;
use crate::tensor::untyped::{untyped_data, untyped_data_mut};
use crate::{KernelError, Layout, TensorMut, TensorRef, Threads, with_untyped};

/// Elements below which the work is not worth another thread.
const GRAIN: usize = 16 * 1024;

/// `whole` in the shape of the index, without moving along `dim`; length and stride of `dim`.
pub(crate) fn without_dim(whole: &Layout, shape: &[usize], dim: usize) -> (Layout, usize, usize) {
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
    negative: Negative,
    threads: &Threads,
) -> Result<(), KernelError> {
    try_for_each_part(to, threads, GRAIN, &|part, to| {
        let to_layout = to.layout().clone();
        let index_layout = part.of(index.layout());
        let (base, len, stride) = without_dim(from.layout(), index.shape(), dim);
        let base = part.of(&base);
        let integers = Integers::of(index);
        let mut result = Ok(());
        with_untyped!(to.dtype(), B => {
            let (target, source) = (untyped_data_mut::<B>(to), untyped_data::<B>(from));
            for_each_run([&to_layout, &index_layout, &base], |[a, i, b], [p, q, r], n| {
                for k in 0..n {
                    match position(integers.at(i + k * q), len, negative) {
                        Ok(j) => target[a + k * p] = source[b + k * r + j * stride],
                        Err(e) => result = Err(e),
                    }
                }
            });
        });
        result
    })
}

/// `to[i] = from.flatten()[index[i]]`: `to` has the shape of `index`.
pub fn take(
    to: &mut TensorMut<'_>,
    from: &TensorRef<'_>,
    index: &TensorRef<'_>,
    negative: Negative,
) -> Result<(), KernelError> {
    let len = from.layout().numel();
    let to_layout = to.layout().clone();
    let integers = Integers::of(index);
    let mut result = Ok(());
    with_untyped!(to.dtype(), B => {
        let (target, source) = (untyped_data_mut::<B>(to), untyped_data::<B>(from));
        for_each_run([&to_layout, index.layout()], |[a, i], [p, q], n| {
            for k in 0..n {
                match position(integers.at(i + k * q), len, negative) {
                    Ok(j) => target[a + k * p] = source[from.layout().position(j)],
                    Err(e) => result = Err(e),
                }
            }
        });
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Element, Storage};

    fn tensor<'a, T: Element>(layout: &'a Layout, data: &'a [T]) -> TensorRef<'a> {
        TensorRef::new(T::DTYPE, layout, bytemuck::cast_slice(data)).unwrap()
    }

    #[test]
    fn gathering_follows_the_index_along_its_dimension() {
        let x: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let x_layout = Layout::contiguous(&[4, 3]).transpose(0, 1);
        let shape = Layout::contiguous(&[2, 2]);
        let mut memory = Storage::zeroed(16);
        let mut to = TensorMut::new(crate::DType::F32, &shape, memory.bytes_mut()).unwrap();
        let x = tensor(&x_layout, &x);
        let mut read = |index: [i64; 4], negative, all: bool| {
            let index = tensor(&shape, &index);
            match all {
                true => take(&mut to, &x, &index, negative)?,
                false => gather(&mut to, &x, 1, &index, negative, &Threads::new(1))?,
            }
            Ok(to.as_ref().to_vec::<f32>())
        };
        use Negative::{FromEnd, Outside};
        assert_eq!(
            read([3, -4, 1, 0], FromEnd, false),
            Ok(vec![9.0, 0.0, 4.0, 1.0])
        );
        assert_eq!(
            read([0, 1, 4, -1], FromEnd, true),
            Ok(vec![0.0, 3.0, 1.0, 11.0])
        );
        for (index, negative) in [(4, FromEnd), (-1, Outside)] {
            let outside = Err(KernelError::IndexOutOfRange { index, len: 4 });
            assert_eq!(read([index, 0, 0, 0], negative, false), outside);
        }
    }
}
