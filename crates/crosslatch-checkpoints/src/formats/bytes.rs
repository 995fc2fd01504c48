//! Reads numbers and pieces from the front of a file's bytes, as far as there are any.

use std::ops::Range;

/// The bytes of a file and how far they have been read.
pub struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// At the first byte.
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0 }
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next byte's place.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Where the next `len` bytes lie.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn range(&mut self, len: usize) -> Result<Range<usize>, String> {
        let end = self
            .at
            .checked_add(len)
            .filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            let left = self.bytes.len() - self.at;
            format!(
                "the file ends after {left} of {len} bytes at byte {}",
                self.at
            )
        })?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(start..end)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'b [u8], String> {
        let range = self.range(len)?;
        Ok(&self.bytes[range])
    }

    /// The next byte.
    ///
    /// # Errors
    /// At the end of the file, as all numbers below.
    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A number of four bytes that counts something.
    pub fn count(&mut self) -> Result<usize, String> {
        Ok(self.u32()? as usize)
    }
}
