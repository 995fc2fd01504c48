//! How many requests may be in the server at a time.
//!
//! A place is taken before a request's body is read, and given back when its answer is out or its
//! client is gone. There are as many as workers and waiting requests together, so memory is bounded by
//! the places times the largest body, and a request without a place can be refused at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a server.
pub struct Places(Arc<Semaphore>);

/// The right of one request to be worked on, given back when it is dropped.
pub struct Place(
    #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
);

impl Places {
    /// So many places.
    pub fn new(count: usize) -> Places {
        Places(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes a place, if one is free.
    pub fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0).try_acquire_owned();
        permit.ok().map(Place)
    }
}
