//! How fast memory can be read: the floor under everything that reads each byte once.
//!
//! The speed of memory is shared with whoever else uses the machine and moves by tens of percent
//! within a minute, so a measurement explains only times that were taken beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::{Storage, Threads};

/// Bytes that a task reads.
const PIECE: usize = 1 << 20;

/// A piece of memory to read, larger than caches are.
pub struct BandwidthProbe {
    memory: Storage,
}

impl BandwidthProbe {
    /// A probe of `bytes` bytes.
    pub fn new(bytes: usize) -> BandwidthProbe {
        let mut memory = Storage::zeroed(bytes.next_multiple_of(PIECE));
        // Zeroed memory may be a single page, mapped many times.
        memory.bytes_mut().fill(1);
        BandwidthProbe { memory }
    }

    /// Reads all of it once with all threads; bytes a second.
    pub fn measure(&self, threads: &Threads) -> f64 {
        let words: &[u64] = bytemuck::cast_slice(self.memory.bytes());
        let pieces: Vec<&[u64]> = words.chunks(PIECE / size_of::<u64>()).collect();
        let total = AtomicU64::new(0);
        let start = Instant::now();
        threads.run(pieces.len(), &|i| {
            total.fetch_add(sum(pieces[i]), Ordering::Relaxed);
        });
        let seconds = start.elapsed().as_secs_f64();
        // The sums are used, so that the compiler keeps the reads.
        std::hint::black_box(total.into_inner());
        self.memory.len() as f64 / seconds
    }
}

/// The sum, in enough chains that memory and not additions take the time.
fn sum(words: &[u64]) -> u64 {
    let (blocks, rest) = words.as_chunks::<16>();
    let mut sums = [0u64; 16];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let all = sums.iter().chain(rest);
    all.fold(0, |total, x| total.wrapping_add(*x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_reads_all_of_its_memory() {
        let probe = BandwidthProbe::new(PIECE + 1);
        assert_eq!(probe.memory.len(), 2 * PIECE);
        assert!(probe.measure(&Threads::new(2)) > 0.0);
        let words: Vec<u64> = (0..37).collect();
        assert_eq!(sum(&words), 36 * 37 / 2);
    }
}
