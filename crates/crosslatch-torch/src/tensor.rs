//! Handles of tensors, and the descriptions that they give.

use std::ffi::c_void;
use std::fmt;

use crate::message::{Message, message};
use crate::symbols::{Functions, Handle, StableValue};

/// Greatest number of dimensions that are described. No tensor with more fits a cache.
pub const MAX_RANK: usize = 8;

/// A handle that is deleted when dropped.
pub struct Owned<'f> {
    functions: &'f Functions,
    handle: Handle,
}

impl<'f> Owned<'f> {
    /// Takes over a handle from the dispatcher.
    ///
    /// # Safety
    /// `value` is a tensor's handle that nobody else will delete.
    pub unsafe fn from_stack(functions: &'f Functions, value: StableValue) -> Self {
        Self {
            functions,
            handle: value as usize as Handle,
        }
    }

    /// The handle, lent.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// `tensor[:, :, :rows]`, of a tensor that is what its memory holds.
    pub fn first_rows(&self, rows: i64) -> Result<Self, Message> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: our handle is valid, and a place for the new one is lent.
        let status = unsafe { (self.functions.narrow)(self.handle, 2, 0, rows, &raw mut handle) };
        succeeded(status, "narrow")?;
        Ok(Self {
            functions: self.functions,
            handle,
        })
    }

    /// Another handle of the same tensor.
    pub fn again(&self) -> Result<Self, Message> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: our handle is valid, and a place for the new one is lent.
        let status = unsafe { (self.functions.new_handle)(self.handle, &raw mut handle) };
        succeeded(status, "new_tensor_handle")?;
        Ok(Self {
            functions: self.functions,
            handle,
        })
    }

    /// Gives the handle up, for the dispatcher's stack.
    pub fn into_stack(self) -> StableValue {
        let handle = self.handle;
        std::mem::forget(self);
        handle as usize as StableValue
    }

    /// Address of the first element.
    pub fn data(&self) -> Result<*mut u8, Message> {
        let mut data: *mut c_void = std::ptr::null_mut();
        // SAFETY: the handle is valid, and a place for the result is lent.
        let status = unsafe { (self.functions.data)(self.handle, &raw mut data) };
        succeeded(status, "get_data_ptr")?;
        Ok(data.cast())
    }

    /// Sizes, strides, data type and place.
    pub fn description(&self) -> Result<Description, Message> {
        let f = self.functions;
        let (mut rank, mut dtype, mut layout) = (0_i64, 0_i32, 0_i32);
        let mut device = Device::default();
        let (mut sizes, mut strides) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the handle is valid, and places for the results are lent.
        let statuses = unsafe {
            [
                (f.layout)(self.handle, &raw mut layout),
                (f.dim)(self.handle, &raw mut rank),
                (f.dtype)(self.handle, &raw mut dtype),
                (f.device_type)(self.handle, &raw mut device.kind),
                (f.device_index)(self.handle, &raw mut device.index),
                (f.sizes)(self.handle, &raw mut sizes),
            ]
        };
        for status in statuses {
            succeeded(status, "get")?;
        }
        // SAFETY: the function has no arguments.
        if layout != unsafe { (f.layout_strided)() } {
            return Err(message!("a sparse tensor cannot be cached"));
        }
        // SAFETY: as above; a strided tensor has strides.
        let status = unsafe { (f.strides)(self.handle, &raw mut strides) };
        succeeded(status, "get_strides")?;
        let rank = rank as usize;
        let mut description = Description {
            shape: Shape {
                rank,
                sizes: [0; MAX_RANK],
            },
            strides: [0; MAX_RANK],
            dtype,
            device,
        };
        for axis in 0..rank.min(MAX_RANK) {
            // SAFETY: both arrays have `rank` numbers and live as long as the tensor.
            unsafe {
                description.shape.sizes[axis] = *sizes.add(axis);
                description.strides[axis] = *strides.add(axis);
            }
        }
        Ok(description)
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is not used again. Deleting cannot fail in a way that
        // could be acted on.
        unsafe { (self.functions.delete)(self.handle) };
    }
}

/// An error for a function of libtorch that failed.
pub fn succeeded(status: i32, name: &str) -> Result<(), Message> {
    match status {
        0 => Ok(()),
        _ => Err(message!("PyTorch's {name} failed")),
    }
}

/// The device that has a tensor's memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Device {
    /// The kind of device, in libtorch's numbers.
    pub kind: i32,
    /// The index of the device.
    pub index: i32,
}

/// The description of a strided tensor.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its sizes.
    pub shape: Shape,
    /// Its strides, in elements.
    pub strides: [i64; MAX_RANK],
    /// Its data type, in libtorch's numbers.
    pub dtype: i32,
    /// The device that has its memory.
    pub device: Device,
}

/// Sizes, shown as Python shows them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many there are. Those after the eighth are not kept.
    pub rank: usize,
    /// The sizes themselves.
    pub sizes: [i64; MAX_RANK],
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, size) in self.sizes[..self.rank.min(MAX_RANK)].iter().enumerate() {
            let comma = if axis == 0 { "" } else { ", " };
            write!(f, "{comma}{size}")?;
        }
        f.write_str(if self.rank > MAX_RANK { ", …]" } else { "]" })
    }
}
