//! Files in memory, and regions of memory that are read and written together.

use std::sync::Arc;

use crate::Storage;

/// The contents of a file in memory, to be read: mapped, or copied.
///
/// Pages of a mapped file are loaded when they are touched, and processes that map the same file
/// share them. A copy takes as much memory as the file is long, and does not depend on the file any
/// more.
#[derive(Debug)]
pub struct FileContents {
    memory: memmap2::Mmap,
    is_mapped: bool,
}

impl FileContents {
    /// Maps a file as it is now.
    ///
    /// The file must not be changed or truncated while it is mapped: the operating system offers no
    /// way to forbid that. A change shows in what is read; reading past the end of a file that was
    /// truncated ends the process. Replacing it by renaming another file over it is safe.
    /// [`FileContents::copy`] has no such condition.
    ///
    /// # Errors
    /// If the system cannot map it.
    pub fn map(file: &std::fs::File) -> std::io::Result<FileContents> {
        // SAFETY: the mapping is private and read only; that nobody writes the file meanwhile is
        // the documented condition above, the same that every user of model files in memory maps
        // relies on.
        let memory = unsafe { memmap2::MmapOptions::new().map(file)? };
        Ok(FileContents {
            memory,
            is_mapped: true,
        })
    }

    /// Reads `len` bytes into private memory.
    ///
    /// # Errors
    /// If there is not enough memory, or `file` ends before that.
    pub fn copy(mut file: impl std::io::Read, len: usize) -> std::io::Result<FileContents> {
        // Mapped memory: the system reports it where there is not enough.
        let mut memory = memmap2::MmapMut::map_anon(len)?;
        file.read_exact(&mut memory)?;
        Ok(FileContents {
            memory: memory.make_read_only()?,
            is_mapped: false,
        })
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.memory
    }

    /// Tells the system that a part will not be read soon, so that its pages need not stay in
    /// memory; they are loaded again when they are touched. A copy is not affected.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if self.is_mapped && range.start < range.end && range.end <= self.memory.len() {
            // SAFETY: the mapping is of a file, shared or never written, so that a page that is
            // dropped is read again from the file, with the same contents.
            let _ = unsafe {
                self.memory.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
        #[cfg(not(unix))]
        let _ = (range, self.is_mapped);
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

/// A piece of a block that has not been copied yet. Until it is written, it is read from memory
/// that several owners share.
#[derive(Clone, Debug)]
pub struct Loan {
    /// First byte, in the block and in the lender's memory.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
    /// The lender's memory, which nobody writes as long as it is shared.
    pub from: Arc<Storage>,
}

impl Loan {
    fn contains(&self, region: &Region) -> bool {
        self.start <= region.start && region.start + region.len <= self.start + self.len
    }

    fn overlaps(&self, region: &Region) -> bool {
        region.len > 0
            && region.start < self.start + self.len
            && self.start < region.start + region.len
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.from.bytes()[self.start..self.start + self.len]
    }
}

/// Why regions cannot be opened together. Each is a bug in the plan that asks for them.
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
/// Rust can borrow a slice in pieces that it sees to be disjoint; that two tensors in one arena are
/// disjoint, only a plan knows. Here it is checked at each use, and the pieces are then borrowed
/// for as long as `&mut self` is.
pub struct Blocks<'m> {
    blocks: smallvec::SmallVec<[Block; 12]>,
    /// For blocks that are copied when they are written: what of them is not copied yet.
    loans: smallvec::SmallVec<[(usize, &'m mut Vec<Loan>); 1]>,
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
            loans: smallvec::SmallVec::new(),
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

    /// Adds a block that may be written, some pieces of which are read elsewhere until then. A loan
    /// ends, and is taken out of the list, when a part of it is written.
    ///
    /// # Panics
    /// If a loan lies outside the block or its lender's memory.
    pub fn push_borrowing(&mut self, bytes: &'m mut [u8], loans: &'m mut Vec<Loan>) {
        for loan in loans.iter() {
            let end = loan.start.saturating_add(loan.len);
            assert!(
                end <= bytes.len() && end <= loan.from.len(),
                "a loan outside its block"
            );
        }
        if !loans.is_empty() {
            self.loans.push((self.blocks.len(), loans));
        }
        self.push_exclusive(bytes);
    }

    /// Copies the loans that are about to be written, or that cannot be read in one piece.
    fn end_loans(&mut self, region: &Region, is_written: bool) {
        let Some((_, loans)) = self.loans.iter_mut().find(|(b, _)| *b == region.block) else {
            return;
        };
        let block = self.blocks[region.block];
        loans.retain(|loan| {
            if !loan.overlaps(region) || (!is_written && loan.contains(region)) {
                return true;
            }
            // SAFETY: the block was borrowed exclusively for 'm, and the loan lies inside it
            // (checked when it was pushed); `&mut self` says that no slice of it is lent out.
            let own =
                unsafe { std::slice::from_raw_parts_mut(block.pointer.add(loan.start), loan.len) };
            own.copy_from_slice(loan.bytes());
            false
        });
    }

    /// Where a region that lies inside its block is to be read.
    fn place(&self, block: &Block, region: &Region) -> *const u8 {
        let loans = self.loans.iter().find(|(b, _)| *b == region.block);
        let mut loans = loans.iter().flat_map(|(_, loans)| loans.iter());
        match loans.find(|loan| region.len > 0 && loan.contains(region)) {
            Some(loan) => loan.bytes()[region.start - loan.start..].as_ptr(),
            // The check of the region has shown that it does not leave the allocation.
            None => block.pointer.cast_const().wrapping_add(region.start),
        }
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
        // SAFETY: the block, or the loan that contains the region, was borrowed for 'm, which
        // outlives &self; the region lies inside it; writing and ending a loan need &mut self.
        Ok(unsafe { std::slice::from_raw_parts(self.place(&block, region), region.len) })
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
        if !self.loans.is_empty() {
            writes
                .clone()
                .for_each(|region| self.end_loans(&region, true));
            reads
                .clone()
                .for_each(|region| self.end_loans(&region, false));
        }
        let mut read_slices = ReadSlices::new();
        for region in reads {
            let block = self.check(&region)?;
            // SAFETY: the block was borrowed for 'm, which outlives 's; the region lies inside it,
            // and no region that is written overlaps it (checked above). If it lies in a loan, that
            // one was not ended for a write above, and nobody writes a lender's memory. `&'s mut
            // self` keeps anything else from being opened meanwhile.
            read_slices.push(unsafe {
                std::slice::from_raw_parts(self.place(&block, &region), region.len)
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
    fn a_copy_of_a_file_outlives_it_and_keeps_what_is_released() {
        let contents = vec![7; 10_000];
        let copy = FileContents::copy(&contents[..], contents.len()).unwrap();
        copy.release(0..contents.len());
        assert_eq!(copy.bytes(), contents);
        let nothing = FileContents::copy(&[][..], 0).unwrap();
        assert!(nothing.bytes().is_empty());
    }

    #[test]
    fn a_copy_of_more_than_there_is_fails() {
        let short = FileContents::copy(&[1, 2, 3][..], 4).unwrap_err();
        assert_eq!(short.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(FileContents::copy(std::io::empty(), usize::MAX / 2).is_err());
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
    fn what_is_borrowed_is_read_there_and_copied_when_it_is_written() {
        let from = Arc::new(Storage::copy_of(&[1, 2, 3, 4, 5, 6, 7, 8]));
        let loan = |start, len| Loan {
            start,
            len,
            from: Arc::clone(&from),
        };
        let mut loans = vec![loan(0, 4), loan(4, 2)];
        let mut own = Storage::zeroed(8);
        let mut blocks = Blocks::new();
        blocks.push_borrowing(own.bytes_mut(), &mut loans);
        assert_eq!(blocks.read(&region(0, 1, 2)).unwrap(), [2, 3]);
        assert_eq!(blocks.read(&region(0, 6, 2)).unwrap(), [0, 0]);
        let (reads, writes) = ([region(0, 4, 2)], [region(0, 1, 1)]);
        let (r, mut w) = blocks.open(reads.into_iter(), writes.into_iter()).unwrap();
        assert_eq!(r[0], [5, 6]);
        w[0][0] = 9;
        drop((r, w));
        assert_eq!(blocks.read(&region(0, 0, 4)).unwrap(), [1, 9, 3, 4]);
        // Across the end of a loan nothing can be read in one piece but a copy.
        let across = [region(0, 3, 4)];
        let (r, _) = blocks.open(across.into_iter(), [].into_iter()).unwrap();
        assert_eq!(r[0], [4, 5, 6, 0]);
        drop(r);
        drop(blocks);
        assert!(loans.is_empty());
        assert_eq!(from.bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
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
