//! The threads that kernels share their work with.

/// A fixed team of threads: the caller and `count - 1` others.
#[derive(Debug)]
pub struct Threads {
    count: usize,
}

impl Threads {
    /// A team of `count` threads, the calling one included; at least one.
    pub fn new(count: usize) -> Threads {
        Threads {
            count: count.max(1),
        }
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `task(0)`, …, `task(tasks - 1)`, each once, on any thread; returns when all are done.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for i in 0..tasks {
            task(i);
        }
    }
}
