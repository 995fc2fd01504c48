//! Measures the memory that an input takes.
//!
//! The program's allocator counts its allocations. Large tensors bypass it and come from the system; they
//! show in the process's address space, whose peak Linux reports.

use peak_alloc::PeakAlloc;

/// The memory in use before an input.
pub struct Meter {
    heap: usize,
    /// Address space now, and its peak so far.
    space: Option<(usize, usize)>,
}

impl Meter {
    /// Starts counting.
    pub fn start() -> Meter {
        let space = address_space();
        PeakAlloc.reset_peak_usage();
        Meter {
            heap: PeakAlloc.current_usage(),
            space,
        }
    }

    /// The most bytes that were in use since, beyond those before.
    pub fn taken(&self) -> usize {
        let heap = PeakAlloc.peak_usage().saturating_sub(self.heap);
        let space = match (self.space, address_space()) {
            // An older peak says nothing about this input.
            (Some((before, peak)), Some((_, now))) if now > peak => now.saturating_sub(before),
            _ => 0,
        };
        heap.max(space)
    }
}

/// The current and the peak address space in bytes; `None` if the system does not report them.
fn address_space() -> Option<(usize, usize)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    };
    Some((field("VmSize:")?, field("VmPeak:")?))
}
