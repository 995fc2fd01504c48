//! Owned, aligned memory.

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// From this size on, memory is requested from the system itself, in huge pages where it has them:
/// what is streamed through once a step would otherwise look up a page every 4 KiB.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
const LARGE: usize = 4 << 20;

/// Below this size, sparse memory takes no pages of its own.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
const SPARSE: usize = 16 << 10;

/// Owned bytes that start at a multiple of 64, which vector loads want.
pub struct Storage {
    memory: Memory,
    len: usize,
}

enum Memory {
    Lines(Vec<Line>),
    #[cfg(all(target_os = "linux", not(miri)))]
    Pages(memmap2::MmapMut),
}

/// The system has no memory of this size to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no {bytes} bytes of memory to give")]
pub struct OutOfMemory {
    /// Bytes that were asked for.
    pub bytes: usize,
}

impl Storage {
    /// `len` bytes of zeros. Where the system gives pages of zeros, one that is never touched takes
    /// no memory. For sizes that are known to be small; use [`try_zeroed`](Storage::try_zeroed) for
    /// others.
    ///
    /// # Panics
    /// If the system has no such memory to give.
    pub fn zeroed(len: usize) -> Storage {
        Storage::try_zeroed(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `len` bytes of zeros, if the system has them to give.
    ///
    /// # Errors
    /// If the system has no such memory to give.
    pub fn try_zeroed(len: usize) -> Result<Storage, OutOfMemory> {
        #[cfg(all(target_os = "linux", not(miri)))]
        if len >= LARGE
            && let Ok(pages) = memmap2::MmapMut::map_anon(len)
        {
            // Only a request: it works without huge pages as well.
            let _ = pages.advise(memmap2::Advice::HugePage);
            let memory = Memory::Pages(pages);
            return Ok(Storage { memory, len });
        }
        Storage::from_allocator(len)
    }

    /// `len` bytes of zeros, most of which may never be written: where the system gives pages of
    /// zeros, small ones, only those that are written take memory.
    ///
    /// # Errors
    /// If the system has no such memory to give.
    pub fn try_sparse(len: usize) -> Result<Storage, OutOfMemory> {
        #[cfg(all(target_os = "linux", not(miri)))]
        if len >= SPARSE
            && let Ok(pages) = memmap2::MmapMut::map_anon(len)
        {
            let memory = Memory::Pages(pages);
            return Ok(Storage { memory, len });
        }
        Storage::from_allocator(len)
    }

    fn from_allocator(len: usize) -> Result<Storage, OutOfMemory> {
        let lines = bytemuck::try_zeroed_vec(len.div_ceil(size_of::<Line>()));
        let lines = lines.map_err(|()| OutOfMemory { bytes: len })?;
        let memory = Memory::Lines(lines);
        Ok(Storage { memory, len })
    }

    /// A copy of `bytes`.
    ///
    /// # Panics
    /// If the system has no memory for it.
    pub fn copy_of(bytes: &[u8]) -> Storage {
        Storage::try_copy_of(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A copy of `bytes`, if the system has memory for it.
    ///
    /// # Errors
    /// If the system has no such memory to give.
    pub fn try_copy_of(bytes: &[u8]) -> Result<Storage, OutOfMemory> {
        let mut storage = Storage::try_zeroed(bytes.len())?;
        storage.bytes_mut().copy_from_slice(bytes);
        Ok(storage)
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
    fn memory_that_no_machine_has_is_an_error() {
        let bytes = isize::MAX as usize - 63;
        assert_eq!(
            Storage::try_zeroed(bytes).err(),
            Some(OutOfMemory { bytes })
        );
    }

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
