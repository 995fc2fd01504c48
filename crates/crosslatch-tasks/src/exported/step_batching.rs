//! Step batching: models of several windows take their decoder steps together.
//!
//! Problem. A step reads all weights of the decoder and computes little with them, so that windows
//! which are decoded at the same time, each by a thread of its own, read the same weights again and
//! again. Side by side they read them once ([`Session::run_together`]), but each is at a point of
//! its own: one has just begun, one is done, one encodes the next window.
//!
//! Idea. A model is *active* from its first step of one token until it works alone (it encodes, or
//! is fed a prompt) or pauses. An active model hands its step over and waits; the last one to
//! arrive takes all steps that wait. Nobody waits for a model that is not active. A batch has as
//! many threads as its models would have by themselves, and at most as many as those that work
//! alone leave.
//!
//! Results are those of each model alone, bit for bit. If a batch fails or panics, every model in
//! it gets an error and loses its sessions, and begins its next window with a fresh one.
//!
//! [`Session::run_together`]: crosslatch::Session::run_together

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crosslatch::{Session, Threads};

use super::step::{self, Step};

/// Takes the steps of several models together; see [`ExportedModel::batched_by`].
///
/// [`ExportedModel::batched_by`]: super::ExportedModel::batched_by
pub struct StepBatcher {
    /// Greatest number of threads that work at a time.
    threads: usize,
    /// Teams of 1, 2, 4, … threads, each made when it is first needed.
    teams: Vec<OnceLock<Threads>>,
    state: Mutex<State>,
    /// Signalled when a model ceases to be active and when a batch is done.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of active models.
    active: usize,
    /// Threads of the models that work alone.
    alone: usize,
    /// The steps that wait, each with its ticket.
    waiting: Vec<(Ticket, Step)>,
    /// Outcomes of steps that have not been fetched yet.
    done: Vec<(Ticket, Outcome)>,
    next_ticket: Ticket,
}

/// Number by which a model recognises the outcome of its step.
type Ticket = u64;

/// The sessions of a step, or why they are lost.
type Outcome = Result<Vec<Session>, BatchError>;

/// Why a batch of steps failed. All models that took part in it get the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The engine's own error.
    #[error("{0}")]
    Engine(#[source] Arc<crosslatch::Error>),
    /// The model cannot be used like that.
    #[error("{0}")]
    Model(String),
    /// The engine panicked.
    #[error("a defect of the engine ended it")]
    Panicked,
}

impl StepBatcher {
    /// A batcher for models that may use so many threads together.
    pub fn new(threads: usize) -> Arc<StepBatcher> {
        let threads = threads.max(1);
        let teams = (0..=threads.ilog2()).map(|_| OnceLock::new());
        Arc::new(StepBatcher {
            threads,
            teams: teams.collect(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Locks the state. It is consistent wherever a thread that holds the lock might panic, so a
    /// poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest team of at most so many threads.
    fn team(&self, threads: usize) -> &Threads {
        let size = threads.clamp(1, self.threads).ilog2();
        self.teams[size as usize].get_or_init(|| Threads::new(1 << size))
    }

    /// Waits until a step is taken, or takes it with all that wait if no other active model is
    /// still to arrive. `each` is the number of threads that a model would have by itself.
    fn step(&self, step: Step, each: usize) -> Outcome {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, step));
        loop {
            if let Some(i) = state.done.iter().position(|(t, _)| *t == ticket) {
                return state.done.swap_remove(i).1;
            }
            // While another thread takes this step, it no longer waits but its model is still
            // active, so that the numbers differ.
            if !state.waiting.is_empty() && state.waiting.len() == state.active {
                let steps = std::mem::take(&mut state.waiting);
                let free = self.threads.saturating_sub(state.alone);
                let team = self.team(free.min(steps.len() * each));
                drop(state);
                Batch::new(self, steps).run(team);
                state = self.lock();
            } else {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Steps that are taken together. Waiters are always notified when it is dropped, also by a panic.
struct Batch<'b> {
    batcher: &'b StepBatcher,
    tickets: Vec<Ticket>,
    steps: Vec<Step>,
    result: Result<(), BatchError>,
}

impl<'b> Batch<'b> {
    fn new(batcher: &'b StepBatcher, steps: Vec<(Ticket, Step)>) -> Batch<'b> {
        let (tickets, steps) = steps.into_iter().unzip();
        Batch {
            batcher,
            tickets,
            steps,
            result: Err(BatchError::Panicked),
        }
    }

    fn run(mut self, team: &Threads) {
        let result = step::take(&mut self.steps, Some(team));
        self.result = result.map_err(|e| BatchError::Engine(Arc::new(e)));
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut state = self.batcher.lock();
        for (ticket, step) in self.tickets.drain(..).zip(self.steps.drain(..)) {
            let outcome = self.result.clone().map(|()| step.sessions);
            state.done.push((ticket, outcome));
        }
        drop(state);
        self.batcher.changed.notify_all();
    }
}

/// A model's part in step batching.
pub(super) struct Participant {
    batcher: Arc<StepBatcher>,
    /// Number of threads that the model has by itself.
    threads: usize,
    is_active: bool,
}

impl Participant {
    /// For a model that has so many threads by itself.
    pub fn new(batcher: &Arc<StepBatcher>, threads: usize) -> Participant {
        Participant {
            batcher: Arc::clone(batcher),
            threads: threads.max(1),
            is_active: false,
        }
    }

    /// Takes a step together with those of the active models, and returns its sessions.
    ///
    /// # Errors
    /// What went wrong in the batch; the sessions are then lost.
    pub fn step(&mut self, step: Step) -> Outcome {
        self.activate();
        self.batcher.step(step, self.threads)
    }

    /// Makes the model active: from now on the others wait for it.
    pub fn activate(&mut self) {
        if !std::mem::replace(&mut self.is_active, true) {
            self.batcher.lock().active += 1;
        }
    }

    /// Does work that is not batched, with the model's own threads.
    pub fn alone<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.pause();
        let _threads = ThreadsAlone::new(&self.batcher, self.threads);
        work()
    }

    /// Ceases to be active until the next step.
    pub fn pause(&mut self) {
        if std::mem::take(&mut self.is_active) {
            self.batcher.lock().active -= 1;
            self.batcher.changed.notify_all();
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.pause();
    }
}

/// Threads of a model that works alone, counted until this is dropped.
struct ThreadsAlone<'b> {
    batcher: &'b StepBatcher,
    threads: usize,
}

impl<'b> ThreadsAlone<'b> {
    fn new(batcher: &'b StepBatcher, threads: usize) -> ThreadsAlone<'b> {
        batcher.lock().alone += threads;
        ThreadsAlone { batcher, threads }
    }
}

impl Drop for ThreadsAlone<'_> {
    fn drop(&mut self) {
        self.batcher.lock().alone -= self.threads;
    }
}
