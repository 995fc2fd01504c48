//! Sessions that have done their work and wait for more.
//!
//! A session's memory and plans can be used again for the next input and are expensive to make. So
//! the session is kept, and whoever needs one takes it.

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
    /// Takes one of them, if there is any.
    pub fn take(&self) -> Option<Local<T>> {
        loop {
            let session = self.lock().pop()?;
            // A session that was made before the process forked is of no use.
            if session.is_own() {
                return Some(session);
            }
        }
    }

    /// Takes a session back.
    pub fn give_back(&self, session: Local<T>) {
        self.lock().push(session);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Local<T>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}
