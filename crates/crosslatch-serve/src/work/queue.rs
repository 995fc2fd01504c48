//! The queue of requests that wait for a worker.
//!
//! Its length is bounded by the [places](super::Places). A job whose client went away holds no place
//! any more; it is dropped as soon as anybody looks at the queue, so that a client which does nothing
//! but hang up cannot fill it.
//!
//! A worker may take several jobs at once, because a model that decodes several inputs together reads
//! its weights once for all of them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::job::Job;

/// Jobs in the order in which they arrived.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    /// Puts a job at the end.
    pub fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Takes up to `most` jobs, and waits until there is one. An empty result means that the queue is
    /// closed and empty.
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

    /// Number of jobs that wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Closes the queue: workers finish what is left in it and then end.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Locks the queue and drops the jobs that nobody waits for. Every job in it is whole even if a
    /// thread panicked while it held the lock, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.jobs.retain(|job| !job.is_abandoned());
        waiting
    }
}
