//! Values of the interpreter: tensors whose memory is shared between views, and numbers.

use std::cell::RefCell;
use std::rc::Rc;

use crosslatch_kernels::movement::copy;
use crosslatch_kernels::tensor::OutOfMemory;
use crosslatch_kernels::tensor::TensorError;
use crosslatch_kernels::{DType, Layout, Storage, TensorMut, TensorRef, Threads};

use crate::error::Error;
use crate::ir::{Number, StoredAs};
use crate::memory::{MemoryError, MemoryLimit};
use crate::tensor::Tensor;

/// A tensor whose memory may be shared with other values.
#[derive(Clone)]
pub(super) struct Shared {
    pub storage: Rc<RefCell<Storage>>,
    /// The type of the elements in memory.
    pub dtype: DType,
    pub layout: Layout,
    /// How a weight lies in memory, if not in its type, and its type.
    pub stored: Option<(StoredAs, DType)>,
}

/// What a value of the graph is while the graph runs.
#[derive(Clone)]
pub(super) enum Value {
    Tensor(Shared),
    Number(Number),
}

/// Why a node failed, where the node itself is not known.
pub(super) enum Failure {
    Reason(String),
    Memory(MemoryError),
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::Reason(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Failure {
        Failure::Reason(reason.to_owned())
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Failure {
        Failure::Memory(error)
    }
}

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Failure {
        Failure::Memory(error.into())
    }
}

impl Failure {
    /// The error of this node of this method.
    pub fn of_node(self, method: &str, node: String) -> Error {
        match self {
            Failure::Reason(reason) => Error::Node {
                method: method.to_owned(),
                node,
                reason,
            },
            Failure::Memory(source) => Error::Memory {
                what: format!("method `{method}`, node {node}"),
                source,
            },
        }
    }
}

impl Shared {
    pub fn fresh(dtype: DType, shape: &[usize], limit: MemoryLimit) -> Result<Shared, Failure> {
        let bytes = crosslatch_kernels::tensor::checked_numel(shape)
            .and_then(|n| n.checked_mul(dtype.size()))
            .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))?;
        Ok(Shared {
            storage: Rc::new(RefCell::new(limit.allocate(bytes, 0)?)),
            dtype,
            layout: Layout::contiguous(shape),
            stored: None,
        })
    }

    pub fn copy_of(tensor: &TensorRef<'_>, limit: MemoryLimit) -> Result<Shared, Failure> {
        limit.check(tensor.layout().numel() * tensor.dtype().size(), 0)?;
        let owned = Tensor::try_copy_of(tensor)?;
        Ok(Shared {
            dtype: owned.dtype(),
            layout: Layout::contiguous(owned.shape()),
            storage: Rc::new(RefCell::new(owned.into_storage())),
            stored: None,
        })
    }

    /// Whether kernels get it as bytes.
    pub fn is_quantized(&self) -> bool {
        matches!(self.stored, Some((StoredAs::Quantized(_), _)))
    }

    /// The layout relative to the first element.
    pub fn layout_at_start(&self) -> Layout {
        Layout {
            offset: 0,
            ..self.layout.clone()
        }
    }

    /// The first byte of the first element. The offset of a tensor without elements may be anything.
    pub fn first_byte(&self, storage: &Storage) -> usize {
        let first = self.layout.offset.saturating_mul(self.dtype.size());
        first.min(storage.len())
    }

    /// A copy with memory of its own.
    pub fn copied(&self, limit: MemoryLimit) -> Result<Shared, Failure> {
        let storage = self.storage.borrow();
        Shared::copy_of(&read(self, &storage), limit)
    }

    /// Bytes of the elements, laid out one after the other.
    pub fn bytes(&self) -> usize {
        self.layout.numel() * self.dtype.size()
    }

    pub fn to_tensor(&self) -> Result<Tensor, OutOfMemory> {
        let storage = self.storage.borrow();
        Tensor::try_copy_of(&read(self, &storage))
    }

    pub fn write(&self, from: &TensorRef<'_>, threads: &Threads) -> Result<(), Failure> {
        let mut storage = self.storage.borrow_mut();
        copy(&mut written(self, &mut storage)?, from, threads);
        Ok(())
    }
}

/// The tensor, borrowed. The layout of a value was checked against its memory when the value was
/// made, so a failure here is a bug in a lowering.
pub(super) fn read<'a>(tensor: &'a Shared, storage: &'a Storage) -> TensorRef<'a> {
    TensorRef::new(tensor.dtype, &tensor.layout, storage.bytes())
        .unwrap_or_else(|e| unreachable!("{e}"))
}

/// The tensor, borrowed mutably. A write to a tensor whose elements share memory is refused.
fn written<'a>(tensor: &'a Shared, storage: &'a mut Storage) -> Result<TensorMut<'a>, Failure> {
    written_at(tensor.dtype, &tensor.layout, storage.bytes_mut())
}

pub(super) fn written_at<'a>(
    dtype: DType,
    layout: &'a Layout,
    bytes: &'a mut [u8],
) -> Result<TensorMut<'a>, Failure> {
    TensorMut::new(dtype, layout, bytes).map_err(|e| match e {
        overlap @ TensorError::OverlapsItself { .. } => overlap.to_string().into(),
        bug => unreachable!("{bug}"),
    })
}

impl Value {
    pub fn to_tensor(&self, limit: MemoryLimit) -> Result<Tensor, Failure> {
        Ok(match self {
            Value::Tensor(shared) => {
                limit.check(shared.bytes(), 0)?;
                shared.to_tensor()?
            }
            Value::Number(n) => Tensor::from(*n),
        })
    }
}
