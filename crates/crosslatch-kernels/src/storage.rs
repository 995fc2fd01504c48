//! Owned, aligned memory.

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// From this size on, memory is asked of the system itself, in huge pages where it has them: what is
/// streamed through once a step otherwise looks up a page each 4 KiB.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
const LARGE: usize = 4 << 20;

/// Owned bytes that start at a multiple of 64, as wide vector loads like it.
pub struct Storage {
    memory: Memory,
    len: usize,
}

enum Memory {
    Lines(Vec<Line>),
    #[cfg(all(target_os = "linux", not(miri)))]
    Pages(memmap2::MmapMut),
}

impl Storage {
    /// `len` bytes of zeros. Where the system gives pages of zeros, one that is never touched takes
    /// no memory.
    pub fn zeroed(len: usize) -> Storage {
        #[cfg(all(target_os = "linux", not(miri)))]
        if len >= LARGE
            && let Ok(pages) = memmap2::MmapMut::map_anon(len)
        {
            // A wish: without huge pages it works as well.
            let _ = pages.advise(memmap2::Advice::HugePage);
            let memory = Memory::Pages(pages);
            return Storage { memory, len };
        }
        let lines = bytemuck::zeroed_vec(len.div_ceil(64));
        let memory = Memory::Lines(lines);
        Storage { memory, len }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Storage {
        let mut storage = Storage::zeroed(bytes.len());
        storage.bytes_mut().copy_from_slice(bytes);
        storage
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice(lines),
            #[cfg(all(target_os = "linux", not(miri)))]
            Memory::Pages(pages) => pages,
        };
        &all[..self.len]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice_mut(lines),
            #[cfg(all(target_os = "linux", not(miri)))]
            Memory::Pages(pages) => pages,
        };
        &mut all[..self.len]
    }
}

impl Clone for Storage {
    fn clone(&self) -> Storage {
        Storage::copy_of(self.bytes())
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_memory_is_zero_aligned_and_copied() {
        for len in [0, 1, 64, 100, LARGE - 1, LARGE, LARGE + 5] {
            let mut storage = Storage::zeroed(len);
            assert_eq!((storage.len(), storage.is_empty()), (len, len == 0));
            assert!(storage.bytes().iter().all(|b| *b == 0));
            assert_eq!(storage.bytes().as_ptr() as usize % 64, 0);
            if let Some(last) = storage.bytes_mut().last_mut() {
                *last = 7;
            }
            let copy = storage.clone();
            storage.bytes_mut().fill(1);
            assert_eq!(copy.len(), len);
            assert_eq!(copy.bytes().last().copied().unwrap_or(7), 7);
        }
    }
}
