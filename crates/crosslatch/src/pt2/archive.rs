//! The zip archive: entries by name, as pieces of the file in memory.
//!
//! PyTorch's writer puts everything in one folder named after the file and starts payloads at
//! multiples of 64 bytes. The name of the folder is not fixed, so an entry is known here by its path
//! below it. An archive may list a million entries, so each must cost little. Readers of zip archives
//! differ in what they do with doubtful ones, so everything that could be read in two ways is
//! refused: a name that occurs twice, headers that disagree, entries that share bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crosslatch_kernels::FileContents;
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

use super::file::{self, Access, OtherWriter};
use super::formats;
use crate::error::{ArchiveError, Error};

/// An open `.pt2` file.
#[derive(Clone, Debug)]
pub struct Archive {
    path: PathBuf,
    contents: Arc<FileContents>,
    copied_for: Option<OtherWriter>,
    entries: Arc<Entries>,
}

/// What is in an archive.
#[derive(Debug)]
struct Entries {
    /// In the order of their names.
    sorted: Vec<Entry>,
    /// The first entry with each length and checksum; computed when it is first asked for.
    by_contents: OnceLock<HashMap<(usize, u32), usize>>,
}

/// A piece of the file.
#[derive(Debug)]
struct Entry {
    /// Below the archive's own folder.
    name: Box<str>,
    range: Range<usize>,
    /// The checksum that the archive records for it.
    crc: u32,
}

impl Archive {
    /// Opens a file and reads the list of its entries.
    ///
    /// # Errors
    /// If the file cannot be read, is not a zip archive, has no exported program, has compressed,
    /// encrypted or ambiguous entries, or an entry lies outside the file. A file that is recognised as
    /// something other than a `.pt2` is called by its name.
    pub fn open(path: &Path, access: Access) -> Result<Archive, Error> {
        let (contents, copied_for) = file::contents(path, access)?;
        let entries = entries(path, contents.bytes()).map_err(|reason| Error::Archive {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Archive {
            path: path.to_owned(),
            contents: Arc::new(contents),
            copied_for,
            entries: Arc::new(entries),
        })
    }

    /// A file of another format, whose bytes are used as they are: an archive without entries.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of_bytes(path: &Path, access: Access) -> Result<Archive, Error> {
        Archive::of_entries(path, access, |_| Vec::new())
    }

    /// A file that stands alone: an archive with this one entry.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of_entry(path: &Path, access: Access, name: &str) -> Result<Archive, Error> {
        Archive::of_entries(path, access, |len| {
            vec![Entry {
                name: name.into(),
                range: 0..len,
                crc: 0,
            }]
        })
    }

    /// Contents that are in no file: an archive with this one entry.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn of_contents(path: &Path, bytes: &[u8], name: &str) -> std::io::Result<Archive> {
        let contents = FileContents::copy(bytes, bytes.len())?;
        let entry = Entry {
            name: name.into(),
            range: 0..bytes.len(),
            crc: 0,
        };
        Ok(Archive {
            path: path.to_owned(),
            contents: Arc::new(contents),
            copied_for: None,
            entries: Arc::new(Entries {
                sorted: vec![entry],
                by_contents: OnceLock::new(),
            }),
        })
    }

    fn of_entries(
        path: &Path,
        access: Access,
        entries: impl Fn(usize) -> Vec<Entry>,
    ) -> Result<Archive, Error> {
        let (contents, copied_for) = file::contents(path, access)?;
        let sorted = entries(contents.bytes().len());
        Ok(Archive {
            path: path.to_owned(),
            contents: Arc::new(contents),
            copied_for,
            entries: Arc::new(Entries {
                sorted,
                by_contents: OnceLock::new(),
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file's memory.
    pub fn contents(&self) -> &FileContents {
        &self.contents
    }

    /// Who may write the file, if that is why it was copied.
    pub fn copied_for(&self) -> Option<OtherWriter> {
        self.copied_for
    }

    /// Names of the entries below a folder, with that folder's name taken off.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries.below(folder)
    }

    fn find(&self, entry: &str) -> Option<&Entry> {
        let sorted = &self.entries.sorted;
        let index = sorted.binary_search_by(|e| (*e.name).cmp(entry)).ok()?;
        sorted.get(index)
    }

    /// Where an entry lies in the file.
    pub fn range(&self, entry: &str) -> Result<Range<usize>, ArchiveError> {
        self.find(entry)
            .map(|e| e.range.clone())
            .ok_or_else(|| ArchiveError::entry(entry, "the archive has no such entry"))
    }

    /// Where this archive has the same bytes as an entry of another one. Length and checksum select
    /// the candidate; the bytes decide.
    pub fn same_as(&self, other: &Archive, entry: &str) -> Option<Range<usize>> {
        let wanted = other.find(entry)?;
        let index = self.entries.by_contents().get(&wanted.key())?;
        let own = &self.entries.sorted[*index].range;
        let is_same =
            self.contents.bytes()[own.clone()] == other.contents.bytes()[wanted.range.clone()];
        is_same.then(|| own.clone())
    }

    /// The bytes of an entry.
    pub fn bytes(&self, entry: &str) -> Result<&[u8], ArchiveError> {
        Ok(&self.contents.bytes()[self.range(entry)?])
    }
}

impl Entries {
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let first = self.sorted.partition_point(|entry| &*entry.name < folder);
        self.sorted[first..]
            .iter()
            .map_while(move |entry| entry.name.strip_prefix(folder))
            .filter(|name| !name.is_empty())
    }

    fn by_contents(&self) -> &HashMap<(usize, u32), usize> {
        self.by_contents.get_or_init(|| {
            let mut first = HashMap::new();
            for (index, entry) in self.sorted.iter().enumerate() {
                first.entry(entry.key()).or_insert(index);
            }
            first
        })
    }
}

impl Entry {
    fn key(&self) -> (usize, u32) {
        (self.range.len(), self.crc)
    }
}

/// The entries of a file that has a program.
fn entries(path: &Path, file: &[u8]) -> Result<Entries, ArchiveError> {
    if let Some(known) = formats::of_file(path, file) {
        return Err(ArchiveError::File(known));
    }
    let zip = ZipArchive::from_slice(file).map_err(|e| {
        ArchiveError::File(format!(
            "not a .pt2 archive, or cut short ({e}); save a program with torch.export.save"
        ))
    })?;
    let mut listed = Vec::new();
    let mut bad = None;
    let mut count = 0;
    for record in zip.entries() {
        let record =
            record.map_err(|e| ArchiveError::File(format!("its directory is cut short: {e}")))?;
        count += 1;
        if record.is_dir() {
            continue;
        }
        match entry(&zip, &record) {
            Ok(entry) => listed.push(entry),
            // An archive of another kind is reported by its name, not by what is wrong with it.
            Err((name, error)) => {
                listed.push(Entry {
                    name,
                    range: 0..0,
                    crc: 0,
                });
                bad = bad.or(Some(error));
            }
        }
    }
    let announced = zip.entries_hint();
    if count != announced {
        let reason =
            format!("its directory lists {count} entries, its end record says {announced}");
        return Err(ArchiveError::File(reason));
    }
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let entries = Entries {
        sorted: listed,
        by_contents: OnceLock::new(),
    };
    if !entries.below("models/").any(|n| n.ends_with(".json")) {
        let names: Vec<&str> = entries.sorted.iter().map(|e| &*e.name).collect();
        let nothing = || "holds no exported program (no entry `models/….json`)".into();
        let reason = formats::of_archive(path, &names).unwrap_or_else(nothing);
        return Err(ArchiveError::File(reason));
    }
    let mut pairs = entries.sorted.windows(2);
    if let Some(twice) = pairs.find(|pair| pair[0].name == pair[1].name) {
        return Err(ArchiveError::entry(&*twice[0].name, "occurs twice"));
    }
    if let Some(error) = bad {
        return Err(error);
    }
    match overlapping(&entries.sorted) {
        Some(name) => Err(ArchiveError::entry(name, "lies inside another entry")),
        None => Ok(entries),
    }
}

/// An entry that shares bytes with another one. With many such entries, a small file claims to be a
/// large one.
fn overlapping(entries: &[Entry]) -> Option<&str> {
    let mut places: Vec<usize> = (0..entries.len()).collect();
    places.retain(|&i| !entries[i].range.is_empty());
    places.sort_unstable_by_key(|&i| entries[i].range.start);
    let mut pairs = places.windows(2);
    let pair = pairs.find(|pair| entries[pair[0]].range.end > entries[pair[1]].range.start)?;
    Some(&entries[pair[1]].name)
}

/// An entry, named below the archive's own folder; or its name and what is wrong with it.
fn entry(
    zip: &ZipSliceArchive<&[u8]>,
    record: &ZipFileHeaderRecord<'_>,
) -> Result<Entry, (Box<str>, ArchiveError)> {
    let path = record.file_path();
    let full = String::from_utf8_lossy(path.as_bytes());
    let name: Box<str> = match full.split_once('/') {
        Some((_, below)) => below.into(),
        None => (*full).into(),
    };
    let fail = |reason: &str| (name.clone(), ArchiveError::entry(&*name, reason));
    if record.compression_method() != CompressionMethod::STORE || record.flags().is_encrypted() {
        return Err(fail(
            "is compressed or encrypted; PyTorch stores entries as they are",
        ));
    }
    if matches!(full, std::borrow::Cow::Owned(_)) {
        return Err(fail("has a name that is not UTF-8"));
    }
    if record.compressed_size_hint() != record.uncompressed_size_hint() {
        return Err(fail("has two different lengths"));
    }
    let outside = |_| fail("lies outside the file");
    let local = zip.get_entry(record.wayfinder()).map_err(outside)?;
    if local.local_header().file_path().as_bytes() != path.as_bytes() {
        return Err(fail("has another name in its local header"));
    }
    let (start, end) = local.compressed_data_range();
    let [start, end] = [start, end].map(|at| usize::try_from(at).ok());
    let range = start
        .zip(end)
        .ok_or_else(|| fail("lies outside the file"))?;
    Ok(Entry {
        name,
        range: range.0..range.1,
        crc: record.crc32(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use rawzip::ZipArchiveWriter;

    use super::*;

    /// An archive of these entries, stored without compression.
    pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut file);
        for (name, contents) in entries {
            let (mut entry, config) = archive.new_file(*name).start().unwrap();
            let mut writer = config.wrap(&mut entry);
            writer.write_all(contents).unwrap();
            let (_, descriptor) = writer.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        file
    }

    fn listed(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let entries = entries(Path::new("m.pt2"), file).map_err(|e| e.to_string())?;
        let entries = entries.sorted.into_iter();
        Ok(entries
            .map(|e| (e.name.into(), file[e.range].to_vec()))
            .collect())
    }

    #[test]
    fn entries_are_found_by_their_names_below_the_archives_folder() {
        let file = zip(&[("m/models/a.json", b"{}"), ("m/extra/b", b"xyz")]);
        let expected = [("extra/b", &b"xyz"[..]), ("models/a.json", b"{}")];
        let expected = expected.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
        assert_eq!(listed(&file).unwrap(), expected);
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused() {
        for names in [
            ["m/models/a.json", "m/extra/b", "m/extra/b"],
            ["m/models/a.json", "m/models/a.json", "m/extra/b"],
            // The folder's name is taken off.
            ["m/models/a.json", "n/models/a.json", "m/extra/b"],
        ] {
            let entries = names.map(|name| (name, &b""[..]));
            let error = listed(&zip(&entries)).unwrap_err();
            assert!(error.contains("occurs twice"), "{error}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let whole = zip(&[("m/models/a.json", b"{}"), ("m/extra/b", b"xyz")]);
        let at = |text: &[u8], nth: usize| {
            let mut found = (0..whole.len()).filter(|i| whole[*i..].starts_with(text));
            found.nth(nth).unwrap()
        };
        let change = |at: usize, to: u8| {
            let mut file = whole.clone();
            file[at] = to;
            listed(&file).unwrap_err()
        };
        let [first_local, first_listed] = [0, 1].map(|nth| at(b"m/extra/b", nth));
        assert!(change(first_local, b'x').contains("another name"));
        // In a record of the directory, the method is 36 bytes before the name, the flags two before
        // that, and the two lengths 26 and 22.
        assert!(change(first_listed - 36, 8).contains("compressed or encrypted"));
        assert!(change(first_listed - 38, 1).contains("compressed or encrypted"));
        assert!(change(first_listed - 26, 9).contains("two different lengths"));
        // Where the entry lies.
        assert!(change(first_listed - 3, 9).contains("outside the file"));
    }

    #[test]
    fn entries_that_share_bytes_are_refused() {
        // The second entry's header lies inside the contents of the first.
        let inner = zip(&[("m/extra/b", b"xyz")]);
        let header = &inner[..30 + "m/extra/b".len() + 3];
        let mut file = zip(&[("m/models/a.json", header), ("m/extra/b", b"xyz")]);
        let at = |file: &[u8], nth: usize| {
            let mut found = (0..file.len()).filter(|i| file[*i..].starts_with(b"m/extra/b"));
            found.nth(nth).unwrap()
        };
        let (inside, listed) = (at(&file, 0), at(&file, 2));
        // In the directory, the offset of the entry's header is just before its name.
        let place = u32::try_from(inside - 30).unwrap().to_le_bytes();
        file[listed - 4..listed].copy_from_slice(&place);
        let error = super::entries(Path::new("m.pt2"), &file).unwrap_err();
        assert!(
            error.to_string().contains("inside another entry"),
            "{error}"
        );
    }

    #[test]
    fn a_million_entries_take_a_moment_and_no_more_memory_than_the_file_justifies() {
        const COUNT: usize = 1_000_000;
        let names: Vec<String> = (0..COUNT)
            .map(|i| format!("m/{:07}", i * 7_919 % COUNT))
            .collect();
        let mut entries: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), &b"x"[..]))
            .collect();
        entries.push(("m/models/a.json", b"{}"));
        let file = zip(&entries);
        let begun = Instant::now();
        let found = super::entries(Path::new("m.pt2"), &file).unwrap();
        let took = begun.elapsed();
        assert_eq!(found.sorted.len(), COUNT + 1);
        let each = size_of::<Entry>() + 32;
        assert!(found.sorted.capacity() * each < file.len() * 2);
        // An idle machine takes less than a second; this limit is for a busy one.
        let most = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });
        assert!(took < most, "{took:?} for {} bytes", file.len());
        println!("{took:?} for {} bytes", file.len());
    }
}
