//! A circle: models of several windows that take their decoder steps together.
//!
//! Problem. A step reads all weights of the decoder and computes little with them, so that windows
//! which are decoded at the same time, each by a thread of its own, read the same weights again and
//! again. Side by side they read them once ([`Session::run_together`]), but each is at a place of its
//! own: one has just begun, one is done, one encodes the next window.
//!
//! Idea. A model is *inside* from its first step of one token until it works alone again (encodes, or
//! is fed a prompt) or rests. Who is inside hands its step over and waits; the last one to come takes
//! all that wait. Nobody waits for a model that is not inside. A step has the threads that its models
//! would have had by themselves, and at most what those that work alone leave.
//!
//! Results are those of each model alone, bit for bit. If a step fails or panics, all that took part in
//! it are told, their sessions are lost, and each begins its next window with a fresh one.
//!
//! [`Session::run_together`]: crosslatch::Session::run_together

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crosslatch::{Session, Threads};

use super::step::{self, Step};

/// Where models of several windows meet; see [`ExportedSpeechModel::in_circle`].
///
/// [`ExportedSpeechModel::in_circle`]: super::ExportedSpeechModel::in_circle
pub struct Circle {
    /// The most threads that work at a time.
    threads: usize,
    /// Teams of 1, 2, 4, … threads, made when they are first needed.
    teams: Vec<OnceLock<Threads>>,
    state: Mutex<State>,
    /// Somebody left, or steps were taken.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Members that are inside.
    inside: usize,
    /// Threads of members that work alone.
    alone: usize,
    /// Steps to be taken, and who handed them over.
    waiting: Vec<(Ticket, Step)>,
    /// What came of steps, until who handed them over fetches it.
    taken: Vec<(Ticket, Result<Vec<Session>, String>)>,
    next: Ticket,
}

/// Number of a step, by which its member knows it again.
type Ticket = u64;

impl Circle {
    /// A circle for models that may use so many threads together.
    pub fn new(threads: usize) -> Arc<Circle> {
        let threads = threads.max(1);
        let teams = (0..=threads.ilog2()).map(|_| OnceLock::new());
        Arc::new(Circle {
            threads,
            teams: teams.collect(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The state is right at every point where a thread that holds it might panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest team of at most so many threads.
    fn team(&self, threads: usize) -> &Threads {
        let size = threads.clamp(1, self.threads).ilog2();
        self.teams[size as usize].get_or_init(|| Threads::new(1 << size))
    }

    /// Waits until a step is taken, or takes it with all that wait, if nobody else is to come. `each`
    /// is how many threads a model would have by itself.
    fn step(&self, step: Step, each: usize) -> Result<Vec<Session>, String> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push((ticket, step));
        loop {
            if let Some(i) = state.taken.iter().position(|(t, _)| *t == ticket) {
                return state.taken.swap_remove(i).1;
            }
            // While another thread takes this step, nothing of it waits and it counts as inside.
            if !state.waiting.is_empty() && state.waiting.len() == state.inside {
                let steps = std::mem::take(&mut state.waiting);
                let free = self.threads.saturating_sub(state.alone);
                let team = self.team(free.min(steps.len() * each));
                drop(state);
                Taking::new(self, steps).run(team);
                state = self.lock();
            } else {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Steps while they are taken. Whatever happens, who waits for them hears of it.
struct Taking<'c> {
    circle: &'c Circle,
    tickets: Vec<Ticket>,
    steps: Vec<Step>,
    result: Result<(), String>,
}

impl<'c> Taking<'c> {
    fn new(circle: &'c Circle, steps: Vec<(Ticket, Step)>) -> Taking<'c> {
        let (tickets, steps) = steps.into_iter().unzip();
        Taking {
            circle,
            tickets,
            steps,
            result: Err("a defect ended it".into()),
        }
    }

    fn run(mut self, team: &Threads) {
        self.result = step::take(&mut self.steps, None, Some(team)).map_err(|e| e.to_string());
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut state = self.circle.lock();
        for (ticket, step) in self.tickets.drain(..).zip(self.steps.drain(..)) {
            let result = self.result.clone().map(|()| step.sessions);
            state.taken.push((ticket, result));
        }
        drop(state);
        self.circle.changed.notify_all();
    }
}

/// A model's place in a circle.
pub(super) struct Member {
    circle: Arc<Circle>,
    /// Threads that the model has by itself.
    threads: usize,
    is_inside: bool,
}

impl Member {
    /// A place for a model with so many threads.
    pub fn new(circle: &Arc<Circle>, threads: usize) -> Member {
        Member {
            circle: Arc::clone(circle),
            threads: threads.max(1),
            is_inside: false,
        }
    }

    /// Takes a step with those that are inside; gives its sessions back.
    ///
    /// # Errors
    /// What went wrong in the step of all; the sessions are lost.
    pub fn step(&mut self, step: Step) -> Result<Vec<Session>, String> {
        self.enter();
        self.circle.step(step, self.threads)
    }

    /// Goes inside: from now on others wait for this model.
    pub fn enter(&mut self) {
        if !std::mem::replace(&mut self.is_inside, true) {
            self.circle.lock().inside += 1;
        }
    }

    /// Works outside of the circle, with threads of its own.
    pub fn alone<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.rest();
        let _alone = Alone::new(&self.circle, self.threads);
        work()
    }

    /// Leaves, until the next step.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.is_inside) {
            self.circle.lock().inside -= 1;
            self.circle.changed.notify_all();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.rest();
    }
}

/// Threads at work outside of the circle.
struct Alone<'c> {
    circle: &'c Circle,
    threads: usize,
}

impl<'c> Alone<'c> {
    fn new(circle: &'c Circle, threads: usize) -> Alone<'c> {
        circle.lock().alone += threads;
        Alone { circle, threads }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.circle.lock().alone -= self.threads;
    }
}
