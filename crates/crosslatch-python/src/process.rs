//! Values that belong to the process that made them.
//!
//! A session has threads. When a process forks, as `multiprocessing` does on Linux, the child gets a
//! copy of the session's memory and none of its threads: using the session, or waiting for its threads
//! at the end, would take forever. So a value remembers its process; a child is refused the value, and
//! leaks it instead of dropping it.

use pyo3::PyResult;

use crate::error::failure;

/// A value that is used and dropped only in the process that made it.
pub struct Local<T> {
    process: u32,
    /// Present until it is dropped.
    value: Option<T>,
}

impl<T> Local<T> {
    /// Makes a value belong to this process.
    pub fn new(value: T) -> Local<T> {
        Local {
            process: std::process::id(),
            value: Some(value),
        }
    }

    /// Whether this process made it.
    pub fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    /// The value.
    ///
    /// # Errors
    /// If another process made it.
    pub fn get_mut(&mut self) -> PyResult<&mut T> {
        let is_own = self.is_own();
        match &mut self.value {
            Some(value) if is_own => Ok(value),
            _ => Err(failure(
                "this session was made before the process forked, and its threads were left \
                 behind; make sessions in the process that uses them",
            )),
        }
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if !self.is_own() {
            std::mem::forget(self.value.take());
        }
    }
}
