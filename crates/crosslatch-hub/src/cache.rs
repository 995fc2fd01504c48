//! The cache that all tools of the hub share: `~/.cache/huggingface/hub`.
//!
//! A repository is a folder `models--owner--name`. In it, `refs/main` holds the commit that a branch
//! stood for when it was last asked, `blobs/` the files, each under the checksum by which the hub
//! knows it, and `snapshots/COMMIT/` links to them under their own names. An empty file
//! `.no_exist/COMMIT/NAME` says that the commit has no such file, so that nobody has to ask again.
//! The layout is that of the Python package `huggingface_hub`
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io, process};

use crate::error::HubError;

/// A folder with repositories.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

/// A repository in the cache, at one commit.
#[derive(Clone, Debug)]
pub struct Snapshot {
    folder: PathBuf,
    commit: String,
}

/// A commit is 40 digits, which cannot lead out of a folder.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_checksum(text)
}

/// Whether this is a checksum: hexadecimal digits.
pub fn is_checksum(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit())
}

impl Cache {
    /// The cache in this folder, whether or not it exists.
    pub fn new(path: PathBuf) -> Cache {
        Cache { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a repository.
    pub fn folder(&self, repository: &str) -> PathBuf {
        self.path.join(folder_name(repository))
    }

    /// The file that keeps two programs from downloading the same file at once.
    pub fn lock(&self, repository: &str, checksum: &str) -> PathBuf {
        let folder = self.path.join(".locks").join(folder_name(repository));
        folder.join(format!("{checksum}.lock"))
    }

    /// What the cache has of a repository for a branch, a tag or a commit.
    pub fn snapshot(&self, repository: &str, revision: &str) -> Option<Snapshot> {
        let folder = self.folder(repository);
        let commit = match is_commit(revision) {
            true => revision.to_owned(),
            false => fs::read_to_string(folder.join("refs").join(revision)).ok()?,
        };
        let commit = commit.trim();
        let snapshot = Snapshot::new(folder, commit);
        (is_commit(commit) && snapshot.path().is_dir()).then_some(snapshot)
    }

    /// The repositories of models in the cache, with what their main branch stands for.
    pub fn repositories(&self) -> Vec<(String, Snapshot)> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut found: Vec<(String, Snapshot)> = entries
            .filter_map(|entry| {
                let folder = entry.file_name().into_string().ok()?;
                let name = folder.strip_prefix("models--")?.replacen("--", "/", 1);
                let snapshot = self.snapshot(&name, "main")?;
                Some((name, snapshot))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

fn folder_name(repository: &str) -> String {
    format!("models--{}", repository.replace('/', "--"))
}

impl Snapshot {
    /// A repository's folder at this commit.
    pub fn new(folder: PathBuf, commit: &str) -> Snapshot {
        Snapshot {
            folder,
            commit: commit.to_owned(),
        }
    }

    /// The commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The folder with the files.
    pub fn path(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit)
    }

    /// Whether a file is there.
    pub fn has(&self, file: &str) -> bool {
        self.path().join(file).is_file()
    }

    /// The names of the files that are there, in order.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| self.has(name))
            .collect();
        names.sort();
        names
    }

    /// Whether the commit is known not to have a file.
    pub fn lacks(&self, file: &str) -> bool {
        self.absent(file).is_file()
    }

    fn absent(&self, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(&self.commit).join(file)
    }

    /// Writes down that the commit has no such file.
    pub fn set_absent(&self, file: &str) -> Result<(), HubError> {
        let path = self.absent(file);
        create_folder(&path)?;
        fs::write(&path, "").map_err(HubError::io(&path))
    }

    /// Writes down that a branch or a tag stands for this commit.
    pub fn set_reference(&self, revision: &str) -> Result<(), HubError> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        replace(&path, |new| fs::write(new, &self.commit))
    }

    /// Where the contents with this checksum lie.
    pub fn blob(&self, checksum: &str) -> PathBuf {
        self.folder.join("blobs").join(checksum)
    }

    /// Gives contents a name: a link, as all tools make it, or where there are no links a copy.
    ///
    /// Another program may be reading a file of that name, so a good one stays, and one whose
    /// contents are gone is replaced at once.
    pub fn link(&self, checksum: &str, file: &str) -> Result<(), HubError> {
        let path = self.path().join(file);
        let blob = self.blob(checksum);
        let length = |path: &Path| fs::metadata(path).map(|there| there.len());
        if let (Ok(there), Ok(wanted)) = (length(&path), length(&blob))
            && there == wanted
        {
            return Ok(());
        }
        replace(&path, |new| {
            #[cfg(unix)]
            return std::os::unix::fs::symlink(Path::new("../../blobs").join(checksum), new);
            #[cfg(not(unix))]
            return fs::copy(&blob, new).map(drop);
        })
    }
}

/// Puts a new file in the place of another, so that whoever looks finds one of the two.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), HubError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    create_folder(path)?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let new = PathBuf::from(format!("{}.{}-{number}", path.display(), process::id()));
    let outcome = make(&new).and_then(|()| fs::rename(&new, path));
    outcome.map_err(|error| {
        let _ = fs::remove_file(&new);
        HubError::io(path)(error)
    })
}

/// Makes the folder that a file is to lie in.
pub fn create_folder(file: &Path) -> Result<(), HubError> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(HubError::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_good_link_stays_and_one_to_nothing_is_replaced() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let snapshot = Snapshot::new(folder.path().join("models--me--m"), commit);
        create_folder(&snapshot.blob("abc")).unwrap();
        fs::write(snapshot.blob("abc"), "contents").unwrap();
        let link = snapshot.path().join("config.json");
        let inode = || fs::symlink_metadata(&link).unwrap().ino();
        create_folder(&link).unwrap();
        std::os::unix::fs::symlink("../../blobs/gone", &link).unwrap();
        snapshot.link("abc", "config.json").unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "contents");
        let first = inode();
        snapshot.link("abc", "config.json").unwrap();
        assert_eq!(inode(), first);
        let names = fs::read_dir(snapshot.path()).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn files_are_found_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert!(cache.snapshot("me/my-model", "main").is_none());
        let written = Snapshot::new(cache.folder("me/my-model"), commit);
        let blob = written.blob("abc");
        create_folder(&blob).unwrap();
        fs::write(&blob, "contents").unwrap();
        for _ in 0..2 {
            written.link("abc", "config.json").unwrap();
        }
        written.set_absent("tokenizer.json").unwrap();
        written.set_reference("main").unwrap();
        for revision in ["main", commit] {
            let found = cache.snapshot("me/my-model", revision).unwrap();
            assert_eq!(
                fs::read(found.path().join("config.json")).unwrap(),
                b"contents"
            );
            assert!(found.has("config.json") && !found.has("tokenizer.json"));
            assert!(found.lacks("tokenizer.json") && !found.lacks("config.json"));
        }
        let names: Vec<String> = cache.repositories().into_iter().map(|r| r.0).collect();
        assert_eq!(names, ["me/my-model"]);
    }

    #[test]
    fn a_reference_that_leads_elsewhere_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let refs = cache.folder("me/x").join("refs");
        fs::create_dir_all(&refs).unwrap();
        fs::create_dir_all(cache.folder("me/x").join("snapshots")).unwrap();
        fs::write(refs.join("main"), "..").unwrap();
        assert!(cache.snapshot("me/x", "main").is_none());
    }
}
