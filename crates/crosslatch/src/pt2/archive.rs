//! The zip archive: entries by name, as pieces of a memory map.
//!
//! PyTorch's writer puts everything under one folder named after the file and starts payloads at
//! multiples of 64 bytes. The folder's name is not fixed, so entries are known here by their path
//! below it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosslatch_kernels::MappedFile;
use zip::CompressionMethod;

use crate::error::{ArchiveError, Error};

/// An open `.pt2` file.
#[derive(Clone, Debug)]
pub struct Archive {
    path: PathBuf,
    map: Arc<MappedFile>,
    entries: BTreeMap<String, Entry>,
    /// By length and checksum, the first entry that has them.
    contents: HashMap<(usize, u32), Range<usize>>,
}

/// A piece of the file.
#[derive(Clone, Debug)]
struct Entry {
    range: Range<usize>,
    /// The checksum that the archive has for it.
    crc: u32,
}

impl Archive {
    /// Opens a file and reads the list of its entries.
    ///
    /// # Errors
    /// If the file cannot be read, is no zip archive, has compressed or encrypted entries, or an
    /// entry lies outside the file.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        let map = MappedFile::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let entries = read_entries(map.bytes()).map_err(|reason| Error::Archive {
            path: path.to_owned(),
            reason,
        })?;
        let mut contents = HashMap::new();
        for Entry { range, crc } in entries.values() {
            contents
                .entry((range.len(), *crc))
                .or_insert_with(|| range.clone());
        }
        Ok(Archive {
            path: path.to_owned(),
            map: Arc::new(map),
            entries,
            contents,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file's memory.
    pub fn map(&self) -> &Arc<MappedFile> {
        &self.map
    }

    /// Names of the entries below a folder, with that folder's name taken off.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries
            .range(folder.to_owned()..)
            .map_while(move |(name, _)| name.strip_prefix(folder))
            .filter(|name| !name.is_empty())
    }

    /// Where an entry lies in the file.
    pub fn range(&self, entry: &str) -> Result<Range<usize>, ArchiveError> {
        self.entries
            .get(entry)
            .map(|e| e.range.clone())
            .ok_or_else(|| ArchiveError::entry(entry, "the archive has no such entry"))
    }

    /// Where this archive has the same bytes as an entry of another one. Length and checksum say
    /// what to compare; the bytes decide.
    pub fn same_as(&self, other: &Archive, entry: &str) -> Option<Range<usize>> {
        let wanted = other.entries.get(entry)?;
        let own = self.contents.get(&(wanted.range.len(), wanted.crc))?;
        let is_same = self.map.bytes()[own.clone()] == other.map.bytes()[wanted.range.clone()];
        is_same.then(|| own.clone())
    }

    /// The bytes of an entry.
    pub fn bytes(&self, entry: &str) -> Result<&[u8], ArchiveError> {
        Ok(&self.map.bytes()[self.range(entry)?])
    }
}

fn read_entries(file: &[u8]) -> Result<BTreeMap<String, Entry>, ArchiveError> {
    let mut zip = zip::ZipArchive::new(Cursor::new(file)).map_err(|e| {
        ArchiveError::File(format!(
            "not a .pt2 archive, or cut short ({e}); save a program with torch.export.save"
        ))
    })?;
    let mut entries = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip
            .by_index_raw(i)
            .map_err(|e| ArchiveError::File(format!("entry {i} of the zip archive: {e}")))?;
        let name = entry.name().to_owned();
        if entry.is_dir() {
            continue;
        }
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(ArchiveError::entry(
                name,
                "is compressed or encrypted; PyTorch stores entries as they are",
            ));
        }
        // Reading nothing makes the library look at the local header, which it checks against
        // the central directory.
        let read = entry.read(&mut []);
        let range = entry
            .data_start()
            .filter(|_| read.is_ok())
            .and_then(|start| {
                let start = usize::try_from(start).ok()?;
                let len = usize::try_from(entry.compressed_size()).ok()?;
                let end = start.checked_add(len)?;
                (end <= file.len()).then_some(start..end)
            })
            .ok_or_else(|| ArchiveError::entry(&name, "lies outside the file"))?;
        let crc = entry.crc32();
        let below_root = match name.split_once('/') {
            Some((_, rest)) => rest.to_owned(),
            None => name,
        };
        if entries
            .insert(below_root.clone(), Entry { range, crc })
            .is_some()
        {
            return Err(ArchiveError::entry(below_root, "occurs twice"));
        }
    }
    Ok(entries)
}
