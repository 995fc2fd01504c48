//! The file by which a parent follows its child: its progress and its current input.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// The progress of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The number of inputs that were started.
    pub inputs: u64,
    /// The time of the slowest one, in nanoseconds.
    pub slowest: u64,
    /// The memory of the largest one, in bytes.
    pub largest: u64,
    /// The number of distinct answers.
    pub answers: u64,
}

const FIELDS: usize = 5;

/// The child's side.
pub struct Record {
    file: File,
    buffer: Vec<u8>,
}

impl Record {
    /// Opens the file anew.
    pub fn create(path: &Path) -> io::Result<Record> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(path)?;
        Ok(Record {
            file,
            buffer: Vec::new(),
        })
    }

    /// Records an input that is about to run.
    pub fn begin(&mut self, progress: Progress, input: &[u8]) -> io::Result<()> {
        let Progress {
            inputs,
            slowest,
            largest,
            answers,
        } = progress;
        self.buffer.clear();
        for field in [inputs, slowest, largest, answers, input.len() as u64] {
            self.buffer.extend(field.to_le_bytes());
        }
        self.buffer.extend(input);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&self.buffer)
    }
}

/// The last record of a child, read by its parent; `None` if there is none.
pub fn read(path: &Path) -> Option<(Progress, Vec<u8>)> {
    let bytes = std::fs::read(path).ok()?;
    let head = bytes.get(..FIELDS * 8)?;
    let mut fields = head.chunks_exact(8).map(|field| {
        let mut number = [0; 8];
        number.copy_from_slice(field);
        u64::from_le_bytes(number)
    });
    let mut next = || fields.next().unwrap_or_default();
    let progress = Progress {
        inputs: next(),
        slowest: next(),
        largest: next(),
        answers: next(),
    };
    let len = usize::try_from(next()).ok()?;
    let input = bytes.get(FIELDS * 8..)?.get(..len)?.to_vec();
    Some((progress, input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_last_is_read() {
        let path = std::env::temp_dir().join(format!("crosslatch-record-{}", std::process::id()));
        let mut record = Record::create(&path).unwrap();
        assert!(read(&path).is_none());
        let progress = Progress {
            inputs: 3,
            slowest: 1,
            largest: 1 << 40,
            answers: 2,
        };
        record.begin(Progress::default(), b"a longer one").unwrap();
        record.begin(progress, b"short").unwrap();
        assert_eq!(read(&path), Some((progress, b"short".to_vec())));
        std::fs::remove_file(path).unwrap();
    }
}
