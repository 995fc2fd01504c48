//! Requests that wait for a worker, and how many may.
//!
//! A place is taken before a request's body is read and given back when its answer is out, or its
//! client gone. There are as many as workers and waiting requests together, so a request without a
//! place can be refused at once. Jobs whose clients went away hold no place; they are dropped as soon
//! as anybody looks at the queue, so that a client which only ever hangs up cannot fill it.
//!
//! A worker may take several jobs at once: a model that decodes several inputs together reads its
//! weights once for all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::job::Job;

/// The right of one request to be worked on.
pub struct Place(
    #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
);

/// Jobs in the order in which they came.
pub struct Queue {
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    /// A queue for so many requests, those being decoded included.
    pub fn new(places: usize) -> Queue {
        Queue {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// A place, if there is one.
    pub fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.ok().map(Place)
    }

    /// Puts a job at the end.
    pub fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Up to `most` jobs, waiting until there is one. None at all means that the queue was closed
    /// and is empty.
    pub fn take(&self, most: usize) -> Vec<Job> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.is_closed {
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(|e| e.into_inner());
            waiting.jobs.retain(|job| !job.is_abandoned());
        }
        let count = most.min(waiting.jobs.len());
        waiting.jobs.drain(..count).collect()
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Lets workers go when they have done what is left.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// The jobs that somebody waits for. A thread that panicked while it held the lock left whole
    /// jobs, so the queue is as good as ever.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.jobs.retain(|job| !job.is_abandoned());
        waiting
    }
}
