//! Sessions that have done their work and wait for more.
//!
//! What a session has learnt (its memory, its plans) is as good as new for the next input, and dear
//! to make. So it is kept, and whoever needs one takes it.

use std::sync::{Mutex, MutexGuard};

use crate::process::Local;

/// Sessions that nobody uses.
pub struct Idle<T>(Mutex<Vec<Local<T>>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Idle(Mutex::default())
    }
}

impl<T> Idle<T> {
    /// One of them, if there are any.
    pub fn take(&self) -> Option<Local<T>> {
        loop {
            let session = self.lock().pop()?;
            // One that was made before the process forked is of no use.
            if session.is_own() {
                return Some(session);
            }
        }
    }

    /// Takes one back.
    pub fn give_back(&self, session: Local<T>) {
        self.lock().push(session);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Local<T>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}
