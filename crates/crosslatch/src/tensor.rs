//! Owned tensors: what goes into a session and what comes out of the reference interpreter.

use crosslatch_kernels::tensor::OutOfMemory;
use crosslatch_kernels::tensor::TensorError;
use crosslatch_kernels::{
    Bool, DType, Element, Layout, Storage, TensorMut, TensorRef, with_element,
};

use crate::ir::operator::Number;

/// A tensor that owns its memory, in row-major order.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    layout: Layout,
    storage: Storage,
}

impl Tensor {
    /// A tensor of zeros; `None` if its size overflows.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Option<Tensor> {
        let bytes = crosslatch_kernels::tensor::checked_numel(shape)?.checked_mul(dtype.size())?;
        isize::try_from(bytes).ok()?;
        Some(Tensor {
            dtype,
            layout: Layout::contiguous(shape),
            storage: Storage::zeroed(bytes),
        })
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor {
            dtype: T::DTYPE,
            layout: Layout::contiguous(&[]),
            storage: Storage::copy_of(bytemuck::bytes_of(&value)),
        }
    }

    /// A tensor of this shape with these elements; `None` if their number does not fit.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Option<Tensor> {
        if crosslatch_kernels::tensor::checked_numel(shape)? != elements.len() {
            return None;
        }
        Some(Tensor {
            dtype: T::DTYPE,
            layout: Layout::contiguous(shape),
            storage: Storage::copy_of(bytemuck::cast_slice(elements)),
        })
    }

    /// A tensor of this shape from its bytes; `None` if their number does not fit.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
        let needed = crosslatch_kernels::tensor::checked_numel(shape)?.checked_mul(dtype.size())?;
        (needed == bytes.len()).then(|| Tensor {
            dtype,
            layout: Layout::contiguous(shape),
            storage: Storage::copy_of(bytes),
        })
    }

    /// A row-major copy of a borrowed tensor, for tensors that are known to be of ordinary size.
    ///
    /// # Panics
    /// If the system has no memory for it. A view that repeats its elements may be larger than any
    /// memory: [`try_copy_of`](Tensor::try_copy_of) says so.
    pub fn copy_of(tensor: &TensorRef<'_>) -> Tensor {
        Tensor::try_copy_of(tensor).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A row-major copy of a borrowed tensor.
    ///
    /// # Errors
    /// If the system has no memory for it.
    pub fn try_copy_of(tensor: &TensorRef<'_>) -> Result<Tensor, OutOfMemory> {
        let layout = Layout::contiguous(tensor.shape());
        let mut storage = Storage::try_zeroed(layout.numel() * tensor.dtype().size())?;
        with_element!(tensor.dtype(), T => {
            let data = tensor.data::<T>();
            let copy: &mut [T] = bytemuck::cast_slice_mut(storage.bytes_mut());
            for (to, from) in copy.iter_mut().zip(tensor.layout().positions()) {
                *to = data[from];
            }
        });
        Ok(Tensor {
            dtype: tensor.dtype(),
            layout,
            storage,
        })
    }

    /// Its memory, with the elements one after the other.
    pub(crate) fn into_storage(self) -> Storage {
        self.storage
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The elements' bytes.
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// The tensor, borrowed.
    pub fn view(&self) -> TensorRef<'_> {
        valid(TensorRef::new(
            self.dtype,
            &self.layout,
            self.storage.bytes(),
        ))
    }

    /// The tensor, borrowed to be written.
    pub fn view_mut(&mut self) -> TensorMut<'_> {
        valid(TensorMut::new(
            self.dtype,
            &self.layout,
            self.storage.bytes_mut(),
        ))
    }
}

impl From<Number> for Tensor {
    /// The number as a tensor without dimensions.
    fn from(number: Number) -> Tensor {
        match number {
            Number::Int(i) => Tensor::scalar(i),
            Number::Float(x) => Tensor::scalar(x),
            Number::Bool(b) => Tensor::scalar(Bool::new(b)),
        }
    }
}

/// Whether the only element of a tensor, a predicate, is true.
pub(crate) fn is_true(tensor: &TensorRef<'_>) -> bool {
    with_element!(tensor.dtype(), T => {
        let data = tensor.data::<T>();
        tensor.layout().positions().next().is_some_and(|p| data[p].to_f64() != 0.0)
    })
}

/// Every constructor makes memory that fits the layout, so viewing it cannot fail.
fn valid<T>(view: Result<T, TensorError>) -> T {
    view.unwrap_or_else(|e| unreachable!("{e}"))
}
