//! The threads that kernels share their work with.
//!
//! A kernel of a decoder step takes tens of microseconds, so starting its work on another thread
//! must take less than one. The team is therefore made once. Its workers watch a word that the
//! caller writes when there is work; a worker that has seen nothing for a while goes to sleep, and
//! the caller wakes it. Tasks are handed out by a counter, so that a thread that is slow or late
//! does fewer of them. Nothing is allocated for a run.
//!
//! Which thread does a task is a matter of chance and must not show: a task must write what no
//! other task touches, and must not depend on the order. Everything above relies on results being
//! the same for any number of threads.
//!
//! A call from inside a task, or while another thread uses the same team, does its tasks alone. A
//! panic in a task is passed on to the caller when all threads have come to rest.
//!
//! Some kernels need a little memory of their own on each thread, such as room for a packed piece
//! of a matrix. It belongs to the team too ([`Threads::run_with_memory`]): it stays in the cache of
//! its core from one kernel to the next, and needs no planning. Memory that all tasks of a kernel
//! read, such as a packed matrix, is kept likewise ([`Threads::with_common_memory`]).

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{JoinHandle, Thread};

use crate::Storage;

/// Elements of [`Threads::run_with_memory`]'s working memory.
pub const TASK_MEMORY: usize = 224 * 1024;

/// Least bytes of the common memory: enough for the system to give it huge pages. What is not
/// touched takes no memory.
const COMMON_BYTES: usize = 4 << 20;

/// How often a thread polls before it sleeps: some tens of microseconds.
const SPINS: usize = if cfg!(miri) { 4 } else { 4000 };

/// The word that workers watch: a count of runs in the upper bits, the number of workers that take
/// part in the lower ones.
const PARTICIPANTS_BITS: u32 = 16;
const SHUT_DOWN: u64 = u64::MAX;

type Task<'t> = &'t (dyn Fn(usize) + Sync);

/// What the workers of one run need to know.
#[derive(Clone, Copy)]
struct Job {
    /// Its lifetime is extended: the task really lives until the run that it belongs to returns.
    task: Task<'static>,
    tasks: usize,
}

struct Shared {
    announced: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    /// Participants that are not done.
    working: AtomicUsize,
    asleep: Vec<AtomicBool>,
    caller: Mutex<Option<Thread>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that is not `Sync` by itself. It is written by the thread that
// holds `Threads::busy`, while no participant of an earlier run is left (`working` is 0), and read
// by participants of the run that it was written for, after they have seen `announced` change.
unsafe impl Sync for Shared {}

/// A fixed team of threads: the caller and `count - 1` others.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    busy: AtomicBool,
    runs: AtomicU64,
    /// One for each thread that can be inside a run.
    memory: Vec<Mutex<Storage>>,
    /// As long as any kernel has needed so far.
    common: Mutex<Storage>,
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({})", self.count())
    }
}

impl Threads {
    /// A team of `count` threads, the calling one included; at least one. Fewer, if the system
    /// refuses to start as many.
    pub fn new(count: usize) -> Threads {
        let wanted = count.clamp(1, 1 << (PARTICIPANTS_BITS - 1)) - 1;
        let shared = Arc::new(Shared {
            announced: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            asleep: (0..wanted).map(|_| AtomicBool::new(false)).collect(),
            caller: Mutex::new(None),
            panic: Mutex::new(None),
        });
        let mut workers = Vec::with_capacity(wanted);
        for index in 0..wanted {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("kernels-{}", index + 1));
            match builder.spawn(move || shared.work(index)) {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        let memory = (0..=workers.len())
            .map(|_| Mutex::new(task_memory()))
            .collect();
        Threads {
            shared,
            workers,
            busy: AtomicBool::new(false),
            runs: AtomicU64::new(0),
            memory,
            common: Mutex::new(Storage::zeroed(0)),
        }
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0)`, …, `task(tasks - 1)`, each once, on any thread; returns when all are done.
    ///
    /// # Panics
    /// If a task panics, with its payload. Tasks that were not begun are then left out.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let helpers = self.workers.len().min(tasks.saturating_sub(1));
        if helpers == 0 || self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(task);
            return;
        }
        // SAFETY: only the lifetime changes. Participants call the task until `working` is 0, which
        // is awaited below whatever happens; it is not called after that.
        let task: Task<'static> = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        let job = Job { task, tasks };
        let shared = &*self.shared;
        // SAFETY: this thread holds `busy`, and the participants of the run before have left.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.working.store(helpers, Ordering::Relaxed);
        *lock(&shared.caller) = Some(std::thread::current());
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        shared.announced.store(
            (run << PARTICIPANTS_BITS) | helpers as u64,
            Ordering::SeqCst,
        );
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep).take(helpers) {
            if asleep.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.take_tasks(job);
        let mut spins = 0;
        while shared.working.load(Ordering::Acquire) > 0 {
            pause(&mut spins);
        }
        let panic = lock(&shared.panic).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// As [`run`](Threads::run), where each task also gets [`TASK_MEMORY`] elements to work with:
    /// with any contents, aligned to 64 bytes.
    pub fn run_with_memory(&self, tasks: usize, task: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        // At most `count` tasks run at a time, so a free slot is found, unless the team is used by
        // several callers; such a task makes memory of its own.
        self.run(tasks, &|i| {
            for slot in &self.memory {
                let mut slot = match slot.try_lock() {
                    Ok(slot) => slot,
                    Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                    Err(TryLockError::WouldBlock) => continue,
                };
                return task(i, bytemuck::cast_slice_mut(slot.bytes_mut()));
            }
            task(i, bytemuck::cast_slice_mut(task_memory().bytes_mut()));
        });
    }

    /// Runs `work` with `len` elements, with any contents, that its tasks may share.
    pub fn with_common_memory(&self, len: usize, work: &mut dyn FnMut(&mut [f32])) {
        let bytes = len * size_of::<f32>();
        let mut own = Storage::zeroed(0);
        let mut common = match self.common.try_lock() {
            Ok(common) => Some(common),
            Err(TryLockError::Poisoned(common)) => Some(common.into_inner()),
            // In use: by another caller, or further up on this thread.
            Err(TryLockError::WouldBlock) => None,
        };
        let memory = common.as_deref_mut().unwrap_or(&mut own);
        if memory.len() < bytes {
            // The old one goes first.
            *memory = Storage::zeroed(0);
            *memory = Storage::zeroed(bytes.max(COMMON_BYTES));
        }
        work(&mut bytemuck::cast_slice_mut(memory.bytes_mut())[..len]);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.announced.store(SHUT_DOWN, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches its tasks' panics, so that there is nothing to report here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The loop of worker `index`.
    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            let mut announced = self.announced.load(Ordering::Acquire);
            while announced == seen {
                if spins < SPINS {
                    spins += 1;
                    std::hint::spin_loop();
                } else {
                    // The caller announces first and then looks who is asleep; here it is the other
                    // way round. One of the two sees the other.
                    self.asleep[index].store(true, Ordering::SeqCst);
                    if self.announced.load(Ordering::SeqCst) == seen {
                        std::thread::park();
                    }
                    self.asleep[index].store(false, Ordering::Relaxed);
                }
                announced = self.announced.load(Ordering::Acquire);
            }
            seen = announced;
            if announced == SHUT_DOWN {
                return;
            }
            let participants = announced & ((1 << PARTICIPANTS_BITS) - 1);
            if index as u64 >= participants {
                continue;
            }
            // SAFETY: this worker takes part in the announced run, which cannot end, and whose job
            // is therefore not overwritten, before this worker has left it below.
            let job = unsafe { *self.job.get() };
            if let Some(job) = job {
                self.take_tasks(job);
            }
            let caller = lock(&self.caller).clone();
            if self.working.fetch_sub(1, Ordering::Release) == 1
                && let Some(caller) = caller
            {
                caller.unpark();
            }
        }
    }

    /// Runs tasks until none is left. A panic is kept for the caller and ends the run early.
    fn take_tasks(&self, job: Job) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= job.tasks {
                    return;
                }
                (job.task)(i);
            }
        }));
        if let Err(panic) = result {
            self.next.store(job.tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(panic);
        }
    }
}

/// Waits a moment, and longer once it has waited for long.
fn pause(spins: &mut usize) {
    *spins += 1;
    if *spins < SPINS {
        std::hint::spin_loop();
    } else {
        // The last worker unparks; the timeout is for a stray wake-up used up elsewhere.
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

fn task_memory() -> Storage {
    Storage::zeroed(TASK_MEMORY * size_of::<f32>())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: usize = if cfg!(miri) { 5 } else { 2000 };

    #[test]
    fn every_task_runs_once_in_every_run() {
        for count in [1, 2, 5] {
            let team = Threads::new(count);
            assert_eq!(team.count(), count);
            for round in 0..ROUNDS {
                let tasks = round % 7;
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                team.run(tasks, &|i| {
                    done[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|n| n.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn workers_that_went_to_sleep_are_woken() {
        let team = Threads::new(3);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicUsize::new(0);
            team.run(10, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Threads::new(3);
        for bad in 0..4 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(4, &|i| assert!(i != bad, "task {i} is bad"));
            }));
            assert!(result.is_err());
            team.run(4, &|_| {});
        }
    }

    #[test]
    fn a_nested_run_stays_on_its_thread() {
        let team = Threads::new(2);
        let sum = AtomicUsize::new(0);
        team.run(3, &|_| {
            let me = std::thread::current().id();
            team.run(4, &|i| {
                assert_eq!(me, std::thread::current().id());
                sum.fetch_add(i, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 18);
    }

    #[test]
    fn callers_may_share_a_team() {
        let team = Threads::new(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS / 4 {
                        let sum = AtomicUsize::new(0);
                        team.run(5, &|i| {
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 10);
                    }
                });
            }
        });
    }

    #[test]
    fn tasks_that_run_together_have_memory_of_their_own() {
        let team = Threads::new(3);
        team.run_with_memory(6, &|i, memory| {
            assert_eq!(memory.len(), TASK_MEMORY);
            memory[..100].fill(i as f32);
            std::thread::yield_now();
            team.run_with_memory(2, &|j, inner| inner[..100].fill((10 + j) as f32));
            assert!(memory[..100].iter().all(|x| *x == i as f32));
        });
    }

    #[test]
    fn callers_that_run_together_share_no_common_memory() {
        let team = Threads::new(2);
        team.with_common_memory(100, &mut |outer| {
            outer.fill(1.0);
            team.with_common_memory(200, &mut |inner| inner.fill(2.0));
            assert!(outer.len() == 100 && outer.iter().all(|x| *x == 1.0));
        });
        team.with_common_memory(3000, &mut |memory| assert_eq!(memory.len(), 3000));
    }
}
