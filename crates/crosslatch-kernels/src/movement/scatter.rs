//! One index for each element, written: scattering along a dimension.
//!
//! `scatter` writes `to[i][index[i][j]][k]` for every element `[i][j][k]` of the index, by the same
//! layout as [`gather`](fn@crate::movement::gather) reads. It goes in row-major order of the index,
//! on one thread: where indices repeat, the last one wins, or sums are rounded after each step, the
//! same in every run.

use crate::movement::fill::{Scalar, fill};
use crate::movement::gather::without_dim;
use crate::movement::indexing::{Integers, Negative, position};
use crate::tensor::arithmetic::Accumulate;
use crate::tensor::layout::for_each_run;
use crate::{DType, Element, KernelError, Layout, TensorMut, TensorRef, with_element};

/// What is scattered.
#[derive(Clone, Copy)]
pub enum ScatterSource<'a> {
    /// The elements of a tensor that has been cut to the shape of the index.
    Tensor(TensorRef<'a>),
    /// One number everywhere.
    Scalar(Scalar),
}

/// How a scattered value is combined with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Combine {
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
    source: ScatterSource<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    with_element!(to.dtype(), T => scatter_of::<T>(to, dim, index, source, combine))
}

fn scatter_of<T: Element<Accumulator: Accumulate>>(
    to: &mut TensorMut<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    source: ScatterSource<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    let (base, len, stride) = without_dim(to.layout(), index.shape(), dim);
    let target = to.data::<T>();
    let constant;
    let (values, values_layout) = match source {
        ScatterSource::Tensor(tensor) => (tensor.data::<T>(), tensor.layout().clone()),
        ScatterSource::Scalar(value) => {
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
                match position(integers.at(i + k * q), len, Negative::Outside) {
                    Ok(j) => {
                        let place = &mut target[a + k * p + j * stride];
                        *place = combined(*place, values[v + k * r], combine);
                    }
                    Err(e) => result = Err(e),
                }
            }
        },
    );
    result
}

fn combined<T: Element<Accumulator: Accumulate>>(old: T, new: T, combine: Combine) -> T {
    let (a, b) = (old.widen(), new.widen());
    match combine {
        Combine::Replace => new,
        Combine::Add => T::from_accumulator(a.add(b)),
        Combine::Multiply => T::from_accumulator(a.mul(b)),
        Combine::Max => T::from_accumulator(a.max_or_nan(b)),
        Combine::Min => T::from_accumulator(a.min_or_nan(b)),
    }
}

/// Sets the elements that the index names to the neutral element of `combine`, so that a scatter
/// that follows reduces the source alone. For maxima and minima, any source element will do.
pub fn clear_scattered(
    to: &mut TensorMut<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    source: ScatterSource<'_>,
    combine: Combine,
) -> Result<(), KernelError> {
    let neutral = match combine {
        Combine::Add => ScatterSource::Scalar(Scalar::Int(0)),
        Combine::Multiply => ScatterSource::Scalar(Scalar::Int(1)),
        Combine::Replace | Combine::Max | Combine::Min => source,
    };
    scatter(to, dim, index, neutral, Combine::Replace)
}

/// Bytes of working memory for [`scatter_mean`] into `numel` elements; `None` on overflow.
pub fn mean_scratch_bytes(numel: usize) -> Option<usize> {
    numel.checked_mul(size_of::<i64>())
}

/// The mean of all that is scattered to an element, and of what is there if `include_self`.
pub fn scatter_mean(
    to: &mut TensorMut<'_>,
    dim: usize,
    index: &TensorRef<'_>,
    source: ScatterSource<'_>,
    include_self: bool,
    scratch: &mut [u8],
) -> Result<(), KernelError> {
    let layout = Layout::contiguous(to.shape());
    let mut counts = TensorMut::new(DType::I64, &layout, scratch)
        .map_err(|e| KernelError::Assertion(e.to_string()))?;
    fill(&mut counts, Scalar::Int(include_self as i64));
    scatter(
        &mut counts,
        dim,
        index,
        ScatterSource::Scalar(Scalar::Int(1)),
        Combine::Add,
    )?;
    if !include_self {
        clear_scattered(to, dim, index, source, Combine::Add)?;
    }
    scatter(to, dim, index, source, Combine::Add)?;
    let counts = counts.data::<i64>();
    let to_layout = to.layout().clone();
    with_element!(to.dtype(), T => {
        let data = to.data::<T>();
        for (place, &count) in to_layout.positions().zip(counts.iter()) {
            if count > 1 {
                data[place] = T::from_accumulator(data[place].widen().divided_by(count));
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    fn tensor<'a, T: Element>(layout: &'a Layout, data: &'a [T]) -> TensorRef<'a> {
        TensorRef::new(T::DTYPE, layout, bytemuck::cast_slice(data)).unwrap()
    }

    #[test]
    fn scattering_writes_where_the_index_says() {
        let shape = Layout::contiguous(&[2, 2]);
        let index = tensor(&shape, &[2i64, 2, 0, 2]);
        let values = tensor(&shape, &[1.0f32, 2.0, 3.0, 4.0]);
        let run = |source, combine| {
            let layout = Layout::contiguous(&[2, 3]);
            let mut memory = Storage::copy_of(bytemuck::cast_slice(&[10f32; 6]));
            let mut to = TensorMut::new(crate::DType::F32, &layout, memory.bytes_mut()).unwrap();
            scatter(&mut to, 1, &index, source, combine).unwrap();
            to.as_ref().to_vec::<f32>()
        };
        let tensor = ScatterSource::Tensor(values);
        assert_eq!(
            run(tensor, Combine::Replace),
            [10.0, 10.0, 2.0, 3.0, 10.0, 4.0]
        );
        assert_eq!(
            run(tensor, Combine::Add),
            [10.0, 10.0, 13.0, 13.0, 10.0, 14.0]
        );
        assert_eq!(run(tensor, Combine::Min), [10.0, 10.0, 1.0, 3.0, 10.0, 4.0]);
        assert_eq!(
            run(ScatterSource::Scalar(Scalar::Int(3)), Combine::Multiply),
            [10.0, 10.0, 90.0, 30.0, 10.0, 30.0]
        );
    }

    #[test]
    fn a_negative_index_is_outside() {
        let shape = Layout::contiguous(&[1]);
        let mut memory = Storage::zeroed(4);
        let mut to = TensorMut::new(crate::DType::F32, &shape, memory.bytes_mut()).unwrap();
        let source = ScatterSource::Scalar(Scalar::Int(1));
        let outside = scatter(
            &mut to,
            0,
            &tensor(&shape, &[-1i64]),
            source,
            Combine::Replace,
        );
        assert_eq!(
            outside,
            Err(KernelError::IndexOutOfRange { index: -1, len: 1 })
        );
    }

    #[test]
    fn means_count_what_arrives() {
        let shape = Layout::contiguous(&[4]);
        let index = tensor(&shape, &[2i64, 2, 0, 2]);
        let values = ScatterSource::Tensor(tensor(&shape, &[1.0f32, 2.0, 3.0, 4.0]));
        let run = |include_self| {
            let layout = Layout::contiguous(&[3]);
            let mut memory = Storage::copy_of(bytemuck::cast_slice(&[5f32; 3]));
            let mut scratch = Storage::zeroed(mean_scratch_bytes(3).unwrap());
            let mut to = TensorMut::new(DType::F32, &layout, memory.bytes_mut()).unwrap();
            scatter_mean(
                &mut to,
                0,
                &index,
                values,
                include_self,
                scratch.bytes_mut(),
            )
            .unwrap();
            to.as_ref().to_vec::<f32>()
        };
        assert_eq!(run(true), [4.0, 5.0, 3.0]);
        assert_eq!(run(false), [3.0, 5.0, 7.0 / 3.0]);
    }
}
