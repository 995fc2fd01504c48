//! Owned, aligned memory, and the safe way to read some of it while writing other parts.

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Owned bytes that start at a multiple of 64, as wide vector loads like it.
#[derive(Clone)]
pub struct Storage {
    lines: Vec<Line>,
    len: usize,
}

impl Storage {
    /// `len` bytes of zeros.
    pub fn zeroed(len: usize) -> Storage {
        Storage {
            lines: vec![Line([0; 64]); len.div_ceil(64)],
            len,
        }
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
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({} bytes)", self.len)
    }
}

/// A file mapped into memory, to be read. Pages come in when they are touched, and processes that
/// map the same file share them.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps a file as it is now.
    ///
    /// The file must not be changed or shortened by anybody while it is mapped: the operating
    /// system offers no way to forbid that. Replacing it by renaming another file over it is safe.
    pub fn open(path: &std::path::Path) -> std::io::Result<MappedFile> {
        let file = std::fs::File::open(path)?;
        // SAFETY: the mapping is private and read only; that nobody writes the file meanwhile is
        // the documented condition above, the same that every user of model files in memory maps
        // relies on.
        let map = unsafe { memmap2::MmapOptions::new().map(&file)? };
        Ok(MappedFile(map))
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Says that a part will not be read soon, so that its pages need not stay in memory. They come
    /// back when they are touched.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if range.start < range.end && range.end <= self.0.len() {
            // SAFETY: the mapping is of a file, shared or never written, so that a page that is
            // dropped is read again from the file, with the same contents.
            let _ = unsafe {
                self.0.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// A piece of one of several blocks of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// Index of the block in its [`Blocks`].
    pub block: usize,
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Region {
    /// Whether two regions have a byte in common.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.block == other.block
            && self.len > 0
            && other.len > 0
            && self.start < other.start + other.len
            && other.start < self.start + self.len
    }
}

/// Why regions cannot be opened together: a bug in the plan that asks for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// A region reaches outside its block, or the block does not exist.
    #[error("{0:?} lies outside its block")]
    OutOfBounds(Region),
    /// A region of a block that may only be read is to be written.
    #[error("{0:?} may only be read")]
    ReadOnly(Region),
    /// A region that is written overlaps another one.
    #[error("{0:?} is written and overlaps {1:?}")]
    Overlap(Region, Region),
}

#[derive(Clone, Copy)]
struct Block {
    pointer: *mut u8,
    len: usize,
    writable: bool,
}

/// Borrowed blocks of memory, pieces of which are read and written together.
///
/// Rust lends out a slice or pieces of it that it can see to be disjoint; that two tensors in one
/// arena are disjoint is known to a plan only. Here it is checked, at each use, and the pieces are
/// then lent out for as long as `&mut self` is.
pub struct Blocks<'m> {
    blocks: smallvec::SmallVec<[Block; 12]>,
    lifetime: std::marker::PhantomData<&'m mut [u8]>,
}

/// Slices that are read together with others that are written.
pub type ReadSlices<'s> = smallvec::SmallVec<[&'s [u8]; 8]>;
/// Slices that are written.
pub type WriteSlices<'s> = smallvec::SmallVec<[&'s mut [u8]; 4]>;

impl<'m> Blocks<'m> {
    /// No blocks.
    pub fn new() -> Blocks<'m> {
        Blocks {
            blocks: smallvec::SmallVec::new(),
            lifetime: std::marker::PhantomData,
        }
    }

    /// Adds a block that may only be read.
    pub fn push_shared(&mut self, bytes: &'m [u8]) {
        self.blocks.push(Block {
            pointer: bytes.as_ptr().cast_mut(),
            len: bytes.len(),
            writable: false,
        });
    }

    /// Adds a block that may be written.
    pub fn push_exclusive(&mut self, bytes: &'m mut [u8]) {
        self.blocks.push(Block {
            pointer: bytes.as_mut_ptr(),
            len: bytes.len(),
            writable: true,
        });
    }

    fn check(&self, region: &Region) -> Result<Block, RegionError> {
        self.blocks
            .get(region.block)
            .filter(|b| {
                region
                    .start
                    .checked_add(region.len)
                    .is_some_and(|end| end <= b.len)
            })
            .copied()
            .ok_or(RegionError::OutOfBounds(*region))
    }

    /// One region, to be read.
    pub fn read(&self, region: &Region) -> Result<&[u8], RegionError> {
        let block = self.check(region)?;
        // SAFETY: the block was borrowed for 'm, which outlives &self; the region lies inside it;
        // writing needs &mut self.
        Ok(unsafe { std::slice::from_raw_parts(block.pointer.add(region.start), region.len) })
    }

    /// Several regions at once. What is written must not overlap anything else that is opened.
    pub fn open<'s>(
        &'s mut self,
        reads: impl Iterator<Item = Region> + Clone,
        writes: impl Iterator<Item = Region> + Clone,
    ) -> Result<(ReadSlices<'s>, WriteSlices<'s>), RegionError> {
        for (i, write) in writes.clone().enumerate() {
            if !self.check(&write)?.writable {
                return Err(RegionError::ReadOnly(write));
            }
            let others = reads.clone().chain(writes.clone().skip(i + 1));
            for other in others {
                if write.overlaps(&other) {
                    return Err(RegionError::Overlap(write, other));
                }
            }
        }
        let mut read_slices = ReadSlices::new();
        for region in reads {
            let block = self.check(&region)?;
            // SAFETY: the block was borrowed for 'm, which outlives 's; the region lies inside
            // it, and no region that is written overlaps it (checked above). `&'s mut self` keeps
            // anything else from being opened meanwhile.
            read_slices.push(unsafe {
                std::slice::from_raw_parts(block.pointer.add(region.start), region.len)
            });
        }
        let mut write_slices = WriteSlices::new();
        for region in writes {
            let block = self.check(&region)?;
            // SAFETY: as above; the block was borrowed exclusively (`writable`), and the region
            // overlaps no other that is opened here.
            write_slices.push(unsafe {
                std::slice::from_raw_parts_mut(block.pointer.add(region.start), region.len)
            });
        }
        Ok((read_slices, write_slices))
    }
}

impl Default for Blocks<'_> {
    fn default() -> Self {
        Blocks::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(block: usize, start: usize, len: usize) -> Region {
        Region { block, start, len }
    }

    #[test]
    fn disjoint_regions_are_read_and_written_together() {
        let mut arena = Storage::zeroed(16);
        let input = [7u8; 4];
        let mut blocks = Blocks::new();
        blocks.push_exclusive(arena.bytes_mut());
        blocks.push_shared(&input);
        let reads = [region(1, 0, 4), region(0, 8, 4)];
        let writes = [region(0, 0, 4), region(0, 4, 4)];
        let (r, mut w) = blocks.open(reads.into_iter(), writes.into_iter()).unwrap();
        w[0].copy_from_slice(r[0]);
        w[1].copy_from_slice(r[1]);
        drop((r, w));
        assert_eq!(
            blocks.read(&region(0, 0, 8)).unwrap(),
            [7, 7, 7, 7, 0, 0, 0, 0]
        );
    }

    #[test]
    fn what_would_be_unsound_is_refused() {
        let mut arena = Storage::zeroed(16);
        let input = [7u8; 4];
        let mut blocks = Blocks::new();
        blocks.push_exclusive(arena.bytes_mut());
        blocks.push_shared(&input);
        let mut open = |reads: &[Region], writes: &[Region]| {
            blocks
                .open(reads.iter().copied(), writes.iter().copied())
                .err()
        };
        let (a, b) = (region(0, 0, 8), region(0, 7, 4));
        assert_eq!(open(&[b], &[a]), Some(RegionError::Overlap(a, b)));
        assert_eq!(open(&[], &[a, b]), Some(RegionError::Overlap(a, b)));
        let shared = region(1, 0, 4);
        assert_eq!(open(&[], &[shared]), Some(RegionError::ReadOnly(shared)));
        let far = region(0, usize::MAX, 2);
        assert_eq!(open(&[far], &[]), Some(RegionError::OutOfBounds(far)));
        assert_eq!(open(&[a, b], &[]), None);
    }
}
