//! Owned tensors: what goes into a session and what comes out of the reference interpreter.

use crosslatch_kernels::complex::{self, Complex};
use crosslatch_kernels::movement::{Scalar, read_one};
use crosslatch_kernels::tensor::OutOfMemory;
use crosslatch_kernels::tensor::TensorError;
use crosslatch_kernels::tensor::checked_numel;
use crosslatch_kernels::{Bool, DType, Element, Layout, Storage, TensorMut, TensorRef};

use crate::ir::Number;

/// Why a tensor of some shape cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorSizeError {
    /// The number of its bytes is beyond what an address can express.
    #[error("a tensor {dtype}{shape:?} is larger than any memory")]
    Overflow {
        /// Its element type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The contents are not those of its shape.
    #[error("a tensor {dtype}{shape:?} has {needed} bytes, but {given} bytes are given")]
    Length {
        /// Its element type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes of a tensor of this shape.
        needed: usize,
        /// Bytes that are given.
        given: usize,
    },
    /// The system has no memory for it.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// Bytes of a tensor of this shape.
fn bytes_of(dtype: DType, shape: &[usize]) -> Result<usize, TensorSizeError> {
    let bytes = checked_numel(shape).and_then(|n| n.checked_mul(dtype.size()));
    bytes
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| TensorSizeError::Overflow {
            dtype,
            shape: shape.to_vec(),
        })
}

/// A tensor that owns its memory, in row-major order.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    layout: Layout,
    storage: Storage,
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// If the tensor is larger than any memory, or larger than the system has.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorSizeError> {
        let bytes = bytes_of(dtype, shape)?;
        Ok(Tensor {
            dtype,
            layout: Layout::contiguous(shape),
            storage: Storage::try_zeroed(bytes)?,
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

    /// A tensor of this shape with these elements, in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not that of the shape.
    pub fn from_slice<T: Element>(
        shape: &[usize],
        elements: &[T],
    ) -> Result<Tensor, TensorSizeError> {
        Tensor::from_bytes(T::DTYPE, shape, bytemuck::cast_slice(elements))
    }

    /// A tensor of this shape from the bytes of its elements, in row-major order and in the machine's
    /// byte order.
    ///
    /// # Errors
    /// If the number of bytes is not that of the shape.
    pub fn from_bytes(
        dtype: DType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<Tensor, TensorSizeError> {
        let needed = bytes_of(dtype, shape)?;
        if needed != bytes.len() {
            return Err(TensorSizeError::Length {
                dtype,
                shape: shape.to_vec(),
                needed,
                given: bytes.len(),
            });
        }
        Ok(Tensor {
            dtype,
            layout: Layout::contiguous(shape),
            storage: Storage::try_copy_of(bytes)?,
        })
    }

    /// A row-major copy of a borrowed tensor whose size is known to be ordinary.
    ///
    /// # Panics
    /// If the system has no memory for it. A view that repeats its elements may be larger than any
    /// memory; use [`try_copy_of`](Tensor::try_copy_of) for such a view.
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
        let size = tensor.dtype().size();
        let copy = storage.bytes_mut().chunks_exact_mut(size);
        for (to, from) in copy.zip(tensor.layout().positions()) {
            to.copy_from_slice(&tensor.bytes()[from * size..][..size]);
        }
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
    let first = tensor.layout().positions().next();
    first.is_some_and(|p| complex::element(tensor, p) != Complex::real(0.0))
}

/// The only element of a tensor as a number: a bool of a bool, a float of a float, an integer of others.
///
/// # Errors
/// The reason, if it has not one element.
pub(crate) fn number_of(tensor: &TensorRef<'_>) -> Result<Number, String> {
    if tensor.layout().numel() != 1 {
        return Err(format!(
            "a number is made of a tensor of shape {:?}, which has not one element",
            tensor.shape()
        ));
    }
    Ok(match (read_one(tensor), tensor.dtype()) {
        (Scalar::Int(i), DType::Bool) => Number::Bool(i != 0),
        (Scalar::Int(i), _) => Number::Int(i),
        (Scalar::Float(x), _) => Number::Float(x),
    })
}

/// Every constructor makes memory that fits the layout, so borrowing it cannot fail.
fn valid<T>(view: Result<T, TensorError>) -> T {
    view.unwrap_or_else(|e| unreachable!("{e}"))
}
