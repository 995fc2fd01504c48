//! What belongs to the process that made it.
//!
//! A session has threads. When a process forks, as `multiprocessing` does on Linux, the child gets a
//! copy of the session's memory and none of its threads: to use it, or to wait for its threads at
//! the end, would take forever. So a value remembers its process; in a child it is refused, and
//! forgotten instead of dropped.

use pyo3::PyResult;

use crate::error::failure;

/// A value that is used, and dropped, in the process that made it only.
pub struct Local<T> {
    process: u32,
    /// There until the end.
    value: Option<T>,
}

impl<T> Local<T> {
    /// Makes it this process's.
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
