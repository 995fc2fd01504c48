//! How many requests may be in the server at a time.
//!
//! A place is taken before a request's body is read, and given back when its answer is out or its
//! client is gone. There are as many as workers and waiting requests together, so memory is bounded
//! by the places times the largest body, and a request without a place can be refused at once. Sounds
//! that still come have places of their own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a server.
pub struct Places {
    free: Arc<Semaphore>,
    count: usize,
}

/// The right of one request to be worked on, given back when it is dropped.
pub struct Place(
    #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
);

/// The most places that there can be.
const MOST: usize = u32::MAX as usize;

impl Places {
    /// So many places.
    pub fn new(count: usize) -> Places {
        let count = count.min(Semaphore::MAX_PERMITS).min(MOST);
        Places {
            free: Arc::new(Semaphore::new(count)),
            count,
        }
    }

    /// Takes a place, if one is free.
    pub fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        permit.ok().map(Place)
    }

    /// Number of places that are taken.
    pub fn taken(&self) -> usize {
        self.count - self.free.available_permits()
    }

    /// Waits until all places have been given back.
    pub async fn all_free(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(self.count as u32).await;
    }
}
