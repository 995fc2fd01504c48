//! Borrowed tensors: what a kernel reads and what it writes.
//!
//! A tensor here is a piece of memory, an element type and a [`Layout`]. The constructors check
//! once that every element lies inside the memory and is aligned, and for a tensor that is written
//! also that no two of its elements share memory; kernels rely on it. This is what lets threads
//! write parts of one tensor at the same time: where two indices name one place, two threads would
//! race for it.

use crate::{DType, Element, Layout};

/// Why bytes are not a tensor of the given type and layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The layout reaches past the end of the memory.
    #[error("the layout needs {needed} bytes, the memory has {available}")]
    TooShort {
        /// Bytes up to the end of the last element.
        needed: usize,
        /// Bytes of the memory.
        available: usize,
    },
    /// The size of the tensor is beyond what an address can express.
    #[error("the size of the tensor overflows")]
    Overflow,
    /// The memory does not start at a multiple of the element size.
    #[error("the memory of a {0} tensor is not aligned to its elements")]
    Misaligned(DType),
    /// A tensor that is to be written has elements that share memory.
    #[error(
        "what is written is a view whose elements share memory (shape {:?}, strides {:?}), so that the \
         result would depend on the order of the writes; clone the view before it is written",
        layout.shape, layout.strides
    )]
    OverlapsItself {
        /// The layout.
        layout: Box<Layout>,
    },
}

fn check(dtype: DType, layout: &Layout, bytes: &[u8]) -> Result<(), TensorError> {
    let needed = layout
        .end()
        .and_then(|end| end.checked_mul(dtype.size()))
        .ok_or(TensorError::Overflow)?;
    if layout.numel() > 0 && needed > bytes.len() {
        return Err(TensorError::TooShort {
            needed,
            available: bytes.len(),
        });
    }
    if !(bytes.as_ptr() as usize).is_multiple_of(dtype.alignment()) && !bytes.is_empty() {
        return Err(TensorError::Misaligned(dtype));
    }
    Ok(())
}

/// A tensor that is read.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    dtype: DType,
    layout: &'a Layout,
    bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// Views `bytes` as a tensor.
    pub fn new(dtype: DType, layout: &'a Layout, bytes: &'a [u8]) -> Result<Self, TensorError> {
        check(dtype, layout, bytes)?;
        // An empty slice may have any pointer; kernels see an aligned one.
        let bytes = match bytes {
            [] => bytemuck::cast_slice::<u64, u8>(&[]),
            bytes => bytes,
        };
        Ok(TensorRef {
            dtype,
            layout,
            bytes,
        })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape, strides and offset into [`data`](TensorRef::data).
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &'a [usize] {
        &self.layout.shape
    }

    /// The memory, from position 0 of the layout on, as bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The memory, from position 0 of the layout on. `T` must be the tensor's type.
    ///
    /// # Panics
    /// If `T` is another type: kernels choose `T` by [`dtype`](TensorRef::dtype).
    pub fn data<T: Element>(&self) -> &'a [T] {
        assert_eq!(T::DTYPE, self.dtype, "a kernel asked for the wrong type");
        let whole = self.bytes.len() / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice(&self.bytes[..whole])
    }

    /// The elements as one slice, if they lie in order and without gaps.
    pub fn contiguous<T: Element>(&self) -> Option<&'a [T]> {
        self.layout.is_contiguous().then(|| {
            let numel = self.layout.numel();
            if numel == 0 {
                return &[][..];
            }
            &self.data::<T>()[self.layout.offset..][..numel]
        })
    }

    /// All elements in row-major order, copied.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        let data = self.data::<T>();
        self.layout.positions().map(|p| data[p]).collect()
    }

    /// The same memory under another layout.
    pub fn with_layout(&self, layout: &'a Layout) -> Result<Self, TensorError> {
        TensorRef::new(self.dtype, layout, self.bytes)
    }
}

/// A tensor that is written. Kernels may also read back what it holds (an update does). No two of
/// its elements share memory.
#[derive(Debug)]
pub struct TensorMut<'a> {
    dtype: DType,
    layout: &'a Layout,
    bytes: &'a mut [u8],
}

impl<'a> TensorMut<'a> {
    /// Views `bytes` as a tensor to be written.
    pub fn new(dtype: DType, layout: &'a Layout, bytes: &'a mut [u8]) -> Result<Self, TensorError> {
        check(dtype, layout, bytes)?;
        if layout.overlaps_itself() {
            return Err(TensorError::OverlapsItself {
                layout: Box::new(layout.clone()),
            });
        }
        Ok(TensorMut {
            dtype,
            layout,
            bytes,
        })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape, strides and offset into [`data`](TensorMut::data).
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &'a [usize] {
        &self.layout.shape
    }

    /// The memory, from position 0 of the layout on. `T` must be the tensor's type.
    ///
    /// # Panics
    /// If `T` is another type: kernels choose `T` by [`dtype`](TensorMut::dtype).
    pub fn data<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(T::DTYPE, self.dtype, "a kernel asked for the wrong type");
        let whole = self.bytes.len() / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice_mut(&mut self.bytes[..whole])
    }

    /// The memory, from position 0 of the layout on, as bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The elements as one slice, if they lie in order and without gaps.
    pub fn contiguous<T: Element>(&mut self) -> Option<&mut [T]> {
        if !self.layout.is_contiguous() {
            return None;
        }
        let (offset, numel) = (self.layout.offset, self.layout.numel());
        if numel == 0 {
            return Some(&mut []);
        }
        Some(&mut self.data::<T>()[offset..][..numel])
    }

    /// The same tensor, to be read.
    pub fn as_ref(&self) -> TensorRef<'_> {
        TensorRef {
            dtype: self.dtype,
            layout: self.layout,
            bytes: self.bytes,
        }
    }

    /// The same tensor under a shorter borrow.
    pub fn reborrow(&mut self) -> TensorMut<'_> {
        TensorMut {
            dtype: self.dtype,
            layout: self.layout,
            bytes: self.bytes,
        }
    }

    /// The same memory under another layout.
    pub fn with_layout<'b>(&'b mut self, layout: &'b Layout) -> Result<TensorMut<'b>, TensorError> {
        TensorMut::new(self.dtype, layout, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn a_tensor_must_fit_its_memory() {
        let memory = Storage::zeroed(24);
        let ok = Layout::contiguous(&[2, 3]);
        let long = Layout::contiguous(&[2, 4]);
        assert!(TensorRef::new(DType::F32, &ok, memory.bytes()).is_ok());
        assert_eq!(
            TensorRef::new(DType::F32, &long, memory.bytes()).unwrap_err(),
            TensorError::TooShort {
                needed: 32,
                available: 24
            }
        );
        assert_eq!(
            TensorRef::new(DType::F32, &Layout::contiguous(&[1]), &memory.bytes()[1..])
                .unwrap_err(),
            TensorError::Misaligned(DType::F32)
        );
    }

    #[test]
    fn a_tensor_whose_elements_share_memory_is_read_but_never_written() {
        let mut memory = Storage::zeroed(64);
        let strided = |shape: &[usize], strides: &[usize]| Layout {
            shape: shape.into(),
            strides: strides.into(),
            offset: 0,
        };
        for (shape, strides, is_writable) in [
            (&[3, 2][..], &[0, 1][..], false),
            (&[3, 2], &[1, 1], false),
            (&[2, 2, 2], &[3, 2, 1], false),
            (&[3, 2], &[2, 1], true),
            (&[1, 2], &[0, 1], true),
            (&[0, 2], &[0, 0], true),
        ] {
            let layout = strided(shape, strides);
            assert!(TensorRef::new(DType::F32, &layout, memory.bytes()).is_ok());
            let written = TensorMut::new(DType::F32, &layout, memory.bytes_mut());
            assert_eq!(written.is_ok(), is_writable, "{layout:?}");
            let whole = Layout::contiguous(&[16]);
            let mut whole = TensorMut::new(DType::F32, &whole, memory.bytes_mut()).unwrap();
            assert_eq!(whole.with_layout(&layout).is_ok(), is_writable);
        }
    }

    #[test]
    fn no_memory_is_an_empty_tensor_wherever_it_is() {
        let memory = Storage::zeroed(8);
        let layout = Layout::contiguous(&[0, 3]);
        let empty = TensorRef::new(DType::I64, &layout, &memory.bytes()[1..1]).unwrap();
        assert!(empty.data::<i64>().is_empty() && empty.to_vec::<i64>().is_empty());
        assert!(bytemuck::try_cast_slice::<u8, u64>(empty.bytes()).is_ok());
    }
}
