//! The queue of requests that wait for a worker.
//!
//! Its length is bounded by the [places](super::Places). A job whose client went away holds no
//! place any more; it is dropped as soon as anybody looks at the queue, so that a client which does
//! nothing but hang up cannot fill it.
//!
//! Sounds that still come have turns beside the jobs. A turn is short and its client listens, and a job
//! is long, so neither waits for all of the other kind: a worker takes them in turns, and between two
//! windows of a job it takes those turns that wait by then.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::job::Job;
use super::turn::Turn;

/// Jobs and turns, each in the order in which they arrived.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    turns: VecDeque<Turn>,
    /// Whether the next to be taken is a job, if one waits.
    is_jobs_turn: bool,
    is_closed: bool,
}

/// What a worker is to do.
pub enum Work {
    Job(Box<Job>),
    Turn(Box<Turn>),
}

impl Waiting {
    fn next(&mut self) -> Option<Work> {
        self.is_jobs_turn = !self.is_jobs_turn;
        let job = |jobs: &mut VecDeque<Job>| jobs.pop_front().map(|job| Work::Job(Box::new(job)));
        let turn =
            |turns: &mut VecDeque<Turn>| turns.pop_front().map(|turn| Work::Turn(Box::new(turn)));
        match self.is_jobs_turn {
            true => job(&mut self.jobs).or_else(|| turn(&mut self.turns)),
            false => turn(&mut self.turns).or_else(|| job(&mut self.jobs)),
        }
    }

    /// Drops what nobody waits for.
    fn tidy(&mut self) {
        self.jobs.retain(|job| !job.is_abandoned());
        self.turns.retain(|turn| !turn.is_abandoned());
    }
}

impl Queue {
    /// Puts a job at the end.
    pub fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Puts a turn at the end.
    pub fn push_turn(&self, turn: Turn) {
        self.lock().turns.push_back(turn);
        self.changed.notify_one();
    }

    /// Takes what is to be done next, and waits until there is something. `None` means that the queue is
    /// closed and empty.
    pub fn take(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            let next = waiting.next();
            if next.is_some() || waiting.is_closed {
                return next;
            }
            let woken = self.changed.wait(waiting);
            waiting = woken.unwrap_or_else(|e| e.into_inner());
            waiting.tidy();
        }
    }

    /// Takes all turns that wait.
    pub fn take_turns(&self) -> VecDeque<Turn> {
        std::mem::take(&mut self.lock().turns)
    }

    /// Number of jobs that wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether a turn waits.
    #[cfg(test)]
    pub fn has_turn(&self) -> bool {
        !self.lock().turns.is_empty()
    }

    /// Closes the queue: workers finish what is left in it and then end.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Locks the queue and drops what nobody waits for. Everything in it is whole even if a
    /// thread panicked while it held the lock, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.tidy();
        waiting
    }
}
