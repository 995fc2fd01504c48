//! How much memory an input took.
//!
//! The program's allocator counts what is asked of it. Large tensors are asked of the system itself,
//! past the allocator; they show in the process's address space, whose peak Linux tells.

use peak_alloc::PeakAlloc;

/// The memory before an input.
pub struct Meter {
    heap: usize,
    /// Address space now, and its peak so far.
    space: Option<(usize, usize)>,
}

impl Meter {
    /// Begins to count.
    pub fn start() -> Meter {
        let space = address_space();
        PeakAlloc.reset_peak_usage();
        Meter {
            heap: PeakAlloc.current_usage(),
            space,
        }
    }

    /// Bytes taken since, at their most.
    pub fn taken(&self) -> usize {
        let heap = PeakAlloc.peak_usage().saturating_sub(self.heap);
        let space = match (self.space, address_space()) {
            // A peak that an earlier input made says nothing about this one.
            (Some((before, peak)), Some((_, now))) if now > peak => now.saturating_sub(before),
            _ => 0,
        };
        heap.max(space)
    }
}

/// Bytes of address space now and at their most; `None` where the system does not tell.
fn address_space() -> Option<(usize, usize)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    };
    Some((field("VmSize:")?, field("VmPeak:")?))
}
