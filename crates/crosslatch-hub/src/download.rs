//! Brings files of a repository into the cache: continued where it broke off, and checked.
//!
//! Bytes go to `blobs/CHECKSUM.incomplete`, from which a later call continues. Only what has the
//! announced length and checksum gets its final name, so that whatever has one is whole. A lock keeps
//! two programs from writing the same file; it is the one that `huggingface_hub` takes as well.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::cache::{Cache, Snapshot, create_folder};
use crate::error::HubError;
use crate::names::Name;
use crate::progress::{Observer, Progress};
use crate::remote::{Checksum, Entry, Remote};

/// How long to wait before asking again, after each failure with nothing new.
const WAITS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// How often to look whether another program has finished.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

/// A download of several files.
pub struct Download<'a> {
    /// The hub.
    pub remote: &'a Remote,
    /// Where the files go.
    pub cache: &'a Cache,
    /// The same, at the commit that is downloaded.
    pub snapshot: &'a Snapshot,
    /// The repository.
    pub name: &'a Name,
    /// Who is told.
    pub observer: &'a mut Observer<'a>,
    /// Bytes of all files.
    pub total: u64,
    /// Bytes of those that are there.
    pub done: u64,
}

impl Download<'_> {
    /// Brings one file into the cache.
    ///
    /// # Errors
    /// If the hub cannot be reached or sends something else than it announced, the cache cannot be
    /// written, or the observer stops it.
    pub fn file(&mut self, file: &str, entry: &Entry) -> Result<(), HubError> {
        let digits = entry.checksum.digits();
        let lock = self.cache.lock(&self.name.repository, digits);
        create_folder(&lock)?;
        let _lock = self.lock(file, &lock)?;
        let blob = self.snapshot.blob(digits);
        if !blob.metadata().is_ok_and(|there| there.len() == entry.size) {
            create_folder(&blob)?;
            self.fill(file, entry, &blob)?;
        }
        self.done += entry.size;
        self.tell(file, 0)?;
        self.snapshot.link(digits, file)
    }

    fn fill(&mut self, file: &str, entry: &Entry, blob: &Path) -> Result<(), HubError> {
        let path = PathBuf::from(format!("{}.incomplete", blob.display()));
        let url = self.remote.address(self.name, self.snapshot.commit(), file);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut target = options.open(&path).map_err(HubError::io(&path))?;
        let mut kept = target.metadata().map_err(HubError::io(&path))?.len();
        if kept > entry.size {
            target.set_len(0).map_err(HubError::io(&path))?;
            kept = 0;
        }
        loop {
            self.receive(file, entry, &url, &path, &mut target)?;
            if self.has_checksum(&mut target, &path, entry)? {
                break;
            }
            target.set_len(0).map_err(HubError::io(&path))?;
            // What an earlier call left may be to blame, so that everything is asked for once more.
            if kept == 0 {
                let reason = "its checksum is not the announced one; it was damaged on the way, or \
                              is not what the hub says it is";
                return Err(self.answer(&url, reason.to_owned()));
            }
            kept = 0;
        }
        std::fs::rename(&path, blob).map_err(HubError::io(&path))
    }

    /// Receives bytes until the file is as long as it is to be.
    fn receive(
        &mut self,
        file: &str,
        entry: &Entry,
        url: &str,
        path: &Path,
        target: &mut File,
    ) -> Result<(), HubError> {
        let mut failures = WAITS.iter();
        loop {
            let before = target.metadata().map_err(HubError::io(path))?.len();
            if before == entry.size {
                return Ok(());
            }
            let outcome = self.part(file, entry, url, path, target, before);
            let after = target.metadata().map_err(HubError::io(path))?.len();
            let error = match outcome {
                Ok(()) if after == entry.size => return Ok(()),
                Ok(()) => self.answer(
                    url,
                    format!("it ends after {after} of {} bytes", entry.size),
                ),
                Err(error @ HubError::Connection { .. }) => error,
                Err(error) => return Err(error),
            };
            if after > before {
                failures = WAITS.iter();
                continue;
            }
            let wait = failures.next().ok_or(error)?;
            std::thread::sleep(*wait);
            self.tell(file, after)?;
        }
    }

    /// Asks once, and appends what comes.
    fn part(
        &mut self,
        file: &str,
        entry: &Entry,
        url: &str,
        path: &Path,
        target: &mut File,
        from: u64,
    ) -> Result<(), HubError> {
        let Some(mut part) = self.remote.part(self.name, url, from)? else {
            return Ok(());
        };
        target.set_len(part.start).map_err(HubError::io(path))?;
        let at = SeekFrom::Start(part.start);
        target.seek(at).map_err(HubError::io(path))?;
        let mut at = part.start;
        let mut piece = vec![0; PIECE];
        loop {
            let read = part.body.read(&mut piece);
            let read = read.map_err(|error| HubError::Connection {
                name: self.name.repository.clone(),
                url: url.to_owned(),
                reason: error.to_string(),
            })?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 > entry.size - at {
                target.set_len(0).map_err(HubError::io(path))?;
                let reason = format!("more comes than the announced {} bytes", entry.size);
                return Err(self.answer(url, reason));
            }
            target
                .write_all(&piece[..read])
                .map_err(HubError::io(path))?;
            at += read as u64;
            self.tell(file, at)?;
        }
    }

    /// Waits until no other program downloads the file.
    fn lock(&mut self, file: &str, path: &Path) -> Result<File, HubError> {
        let lock = File::create(path).map_err(HubError::io(path))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(LOOK);
                    self.tell(file, 0)?;
                }
                // Some network file systems have no locks.
                Err(TryLockError::Error(_)) => return Ok(lock),
            }
        }
    }

    fn has_checksum(
        &mut self,
        target: &mut File,
        path: &Path,
        entry: &Entry,
    ) -> Result<bool, HubError> {
        target.rewind().map_err(HubError::io(path))?;
        let digits = match &entry.checksum {
            Checksum::Sha256(_) => digest(Sha256::new(), target),
            Checksum::Git(_) => {
                let start = format!("blob {}\0", entry.size);
                digest(Sha1::new().chain_update(start), target)
            }
        };
        let digits = digits.map_err(HubError::io(path))?;
        Ok(digits.eq_ignore_ascii_case(entry.checksum.digits()))
    }

    /// Tells the observer about bytes of the file that is being downloaded.
    fn tell(&mut self, file: &str, bytes: u64) -> Result<(), HubError> {
        let progress = Progress {
            file,
            done: self.done + bytes,
            total: self.total,
        };
        match (self.observer)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(HubError::Stopped {
                name: self.name.repository.clone(),
            }),
        }
    }

    fn answer(&self, url: &str, reason: String) -> HubError {
        HubError::Answer {
            name: self.name.repository.clone(),
            url: url.to_owned(),
            reason,
        }
    }
}

/// The checksum of everything that a reader gives, in hexadecimal digits.
fn digest(mut digest: impl Digest, mut from: impl Read) -> std::io::Result<String> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    let bytes = digest.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
