//! Blocks of elements: loaded from any type and strides into the type that operators compute in,
//! and stored back.

use bytemuck::{cast_slice, cast_slice_mut};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::{DType, Element, TensorMut, TensorRef, with_element};

/// A type that operators compute in: one of three of the types that tensors can hold.
pub trait Compute: Element + Default + PartialOrd {
    /// Whether loops over this type are worth compiling for longer vectors.
    const VECTORS: bool;
    /// A stored element in this type, as `Tensor.to` converts it.
    fn load<T: Element>(element: T) -> Self;
    /// This number as a stored element.
    fn store<T: Element>(self) -> T;

    /// This number as an element of the given type would hold it: rounded, truncated or wrapped.
    fn through(self, dtype: DType) -> Self {
        with_element!(dtype, T => Self::load(self.store::<T>()))
    }
}

impl Compute for f32 {
    const VECTORS: bool = true;
    #[inline(always)]
    fn load<T: Element>(element: T) -> f32 {
        match T::DTYPE.is_float() {
            true => element.to_f64() as f32,
            false => element.to_i64() as f32,
        }
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_f64(self as f64)
    }
}

impl Compute for f64 {
    const VECTORS: bool = false;
    #[inline(always)]
    fn load<T: Element>(element: T) -> f64 {
        element.to_f64()
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_f64(self)
    }
}

impl Compute for i64 {
    const VECTORS: bool = false;
    #[inline(always)]
    fn load<T: Element>(element: T) -> i64 {
        element.to_i64()
    }
    #[inline(always)]
    fn store<T: Element>(self) -> T {
        T::from_i64(self)
    }
}

/// Elements from position `start`, `step` apart, as many as `block` has; either `block`, filled, or
/// the memory of the tensor itself. Those that are not of type `through` are converted to it first.
pub(crate) fn load<'b, C: Compute>(
    tensor: &'b TensorRef<'_>,
    (start, step): (usize, usize),
    through: DType,
    block: &'b mut [C],
) -> &'b [C] {
    let (dtype, n) = (tensor.dtype(), block.len());
    if dtype == C::DTYPE && dtype == through && step == 1 {
        return &tensor.data::<C>()[start..start + n];
    }
    with_element!(dtype, T => read(&tensor.data::<T>()[start..], step, block));
    if dtype != through && through != C::DTYPE {
        with_element!(through, T => {
            for c in block.iter_mut() {
                *c = C::load(c.store::<T>());
            }
        });
    }
    block
}

/// The first element of a tensor; zero if it has none.
pub fn first<C: Compute>(tensor: &TensorRef<'_>) -> C {
    match tensor.layout().numel() {
        0 => C::default(),
        _ => load(
            tensor,
            (tensor.layout().offset, 1),
            tensor.dtype(),
            &mut [C::default()],
        )[0],
    }
}

fn read<T: Element, C: Compute>(data: &[T], step: usize, block: &mut [C]) {
    let n = block.len();
    match (step, T::DTYPE, C::DTYPE) {
        (0, ..) => block.fill(C::load(data[0])),
        // 16-bit floats are widened to `f32` directly, not by way of `f64`.
        (1, DType::F16, DType::F32) => {
            cast_slice::<T, f16>(&data[..n]).convert_to_f32_slice(cast_slice_mut(block));
        }
        (1, DType::BF16, DType::F32) => {
            let block: &mut [f32] = cast_slice_mut(block);
            for (c, x) in block.iter_mut().zip(cast_slice::<T, bf16>(data)) {
                *c = f32::from_bits((x.to_bits() as u32) << 16);
            }
        }
        (1, ..) => {
            for (c, x) in block.iter_mut().zip(data) {
                *c = C::load(*x);
            }
        }
        _ => {
            for (c, x) in block.iter_mut().zip(data.iter().step_by(step)) {
                *c = C::load(*x);
            }
        }
    }
}

/// Writes the numbers of a block from position `start`, `step` apart.
pub(crate) fn store<C: Compute>(
    tensor: &mut TensorMut<'_>,
    start: usize,
    step: usize,
    block: &[C],
) {
    with_element!(tensor.dtype(), T => {
        let data = &mut tensor.data::<T>()[start..];
        match (step, T::DTYPE, C::DTYPE) {
            (1, DType::F16, DType::F32) => {
                let data: &mut [f16] = cast_slice_mut(&mut data[..block.len()]);
                data.convert_from_f32_slice(cast_slice(block));
            }
            (1, ..) => {
                for (x, c) in data.iter_mut().zip(block) {
                    *x = c.store();
                }
            }
            _ => {
                for (i, c) in block.iter().enumerate() {
                    data[i * step] = c.store();
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Storage};

    #[test]
    fn elements_come_and_go_in_every_type_and_stride() {
        let numbers = [1.0f32, 0.0, 3.0, 2.0, 5.0];
        for dtype in DType::ALL.into_iter().filter(|dtype| !dtype.is_complex()) {
            for step in [1, 3] {
                let layout = Layout {
                    strides: [step].as_slice().into(),
                    ..Layout::contiguous(&[5])
                };
                let mut memory = Storage::zeroed(layout.end().unwrap() * dtype.size());
                let mut tensor = TensorMut::new(dtype, &layout, memory.bytes_mut()).unwrap();
                store(&mut tensor, 0, step, &numbers);
                let mut block = [0f32; 5];
                let got = load(&tensor.as_ref(), (0, step), dtype, &mut block).to_vec();
                let expected = numbers.map(|x| if dtype == DType::Bool { x.min(1.0) } else { x });
                assert_eq!(got, expected, "{dtype}");
                let mut block = [0i64; 3];
                let got = load(&tensor.as_ref(), (0, step), DType::Bool, &mut block).to_vec();
                assert_eq!(got, [1, 0, 1], "{dtype}");
            }
        }
    }

    #[test]
    fn a_number_is_taken_through_a_type_as_a_tensor_would_be() {
        assert_eq!(300i64.through(DType::U8), 44);
        assert_eq!(0.1f32.through(DType::BF16), 0.100_097_656);
        assert_eq!((-1.5f64).through(DType::U8), 255.0);
    }
}
