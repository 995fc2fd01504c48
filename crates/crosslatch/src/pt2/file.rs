//! Bringing a file into memory.
//!
//! A path may name anything: a pipe, which blocks whoever opens it, a device, which has no end, a
//! folder. Only a regular file is opened, and nothing else is waited for. Then there are two ways to
//! read it ([`Access`]). A map costs nothing until a page is read, but the file must not change; a
//! copy costs as much memory as the file is long, and cannot be taken away. The permissions of a file
//! say who may change it, so the choice can be left to them.

use std::fmt;
use std::fs::{File, FileType, Metadata};
use std::path::Path;

use crosslatch_kernels::FileContents;

use crate::error::{ArchiveError, Error};

/// How a model's files are brought into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Mapped. The files must not be changed or shortened while the model is used: a change affects
    /// what the model computes, and if a file is shortened, the system may end the process.
    #[default]
    Map,
    /// Copied into memory, as much as the files are long. The files may then change.
    Copy,
    /// Mapped if only this process's user and the administrator may write the file, else copied.
    /// [`Model::copied`](crate::Model::copied) says which were copied.
    ///
    /// Permissions are checked once, when the file is opened. Without Unix permissions, files are
    /// mapped.
    MapOwn,
}

/// Who may write a file, apart from the user of this process and the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherWriter {
    /// Everybody.
    Everybody,
    /// The members of its group, or those whom an access control list names.
    Group,
    /// Its owner, who is another user.
    Owner(u32),
}

impl fmt::Display for OtherWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OtherWriter::Everybody => write!(f, "everybody may write it"),
            OtherWriter::Group => write!(f, "its group may write it"),
            OtherWriter::Owner(user) => write!(f, "it belongs to another user ({user})"),
        }
    }
}

/// Opens a regular file for reading.
///
/// # Errors
/// If it is a folder, a pipe, a socket or a device, or the system refuses. Never blocks.
pub fn open(path: &Path) -> Result<(File, Metadata), Error> {
    let fail = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let check = |kind: FileType| match what_else(kind) {
        None => Ok(()),
        Some((what, remedy)) => Err(Error::Archive {
            path: path.to_owned(),
            reason: ArchiveError::File(format!("is {what}, not a file; {remedy}")),
        }),
    };
    // Opening a device may already have an effect, so the kind is checked first.
    check(std::fs::metadata(path).map_err(fail)?.file_type())?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // If it has become a pipe since, opening it must not wait for the other end.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    check(meta.file_type())?;
    Ok((file, meta))
}

/// What something is that is not a regular file, and what to do instead.
fn what_else(kind: FileType) -> Option<(&'static str, &'static str)> {
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some(("a folder", "name a file in it"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            let remedy = "write what comes out of it to a file and name that";
            return Some(("a pipe", remedy));
        }
        if kind.is_socket() {
            return Some(("a socket", "name a file"));
        }
    }
    Some(("a device", "name a file"))
}

/// The contents of a file. If they were copied because of its permissions, also who may write it.
///
/// # Errors
/// As [`open`], and if there is not enough memory or the file was shortened while it was read.
pub fn contents(path: &Path, access: Access) -> Result<(FileContents, Option<OtherWriter>), Error> {
    let (file, meta) = open(path)?;
    let writer = match access {
        Access::MapOwn => other_writer(&meta),
        Access::Map | Access::Copy => None,
    };
    let contents = match (access, writer) {
        (Access::Map, _) | (Access::MapOwn, None) => FileContents::map(&file),
        (Access::Copy, _) | (Access::MapOwn, Some(_)) => usize::try_from(meta.len())
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))
            .and_then(|len| FileContents::copy(&file, len)),
    };
    let contents = contents.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok((contents, writer))
}

#[cfg(unix)]
fn other_writer(meta: &Metadata) -> Option<OtherWriter> {
    use std::os::unix::fs::MetadataExt;
    let (mode, owner) = (meta.mode(), meta.uid());
    let own = rustix::process::geteuid().as_raw();
    if mode & 0o002 != 0 {
        return Some(OtherWriter::Everybody);
    }
    // These bits also bound what an access control list grants.
    if mode & 0o020 != 0 {
        return Some(OtherWriter::Group);
    }
    // The administrator controls this process anyway. An owner without write permission can grant it.
    (owner != own && owner != 0).then_some(OtherWriter::Owner(owner))
}

#[cfg(not(unix))]
fn other_writer(_: &Metadata) -> Option<OtherWriter> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_that_others_may_write_is_copied_and_one_of_ones_own_is_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.pt2");
        std::fs::write(&path, b"contents").unwrap();
        for (mode, writer) in [
            (0o600, None),
            (0o644, None),
            (0o664, Some(OtherWriter::Group)),
            (0o646, Some(OtherWriter::Everybody)),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (own, found) = contents(&path, Access::MapOwn).unwrap();
            assert_eq!(found, writer, "{mode:o}");
            assert_eq!(own.bytes(), b"contents");
            // An explicit choice is not overridden.
            assert_eq!(contents(&path, Access::Map).unwrap().1, None);
        }
    }

    #[test]
    fn a_copy_does_not_care_for_what_becomes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.pt2");
        std::fs::write(&path, [3; 100_000]).unwrap();
        let (copy, _) = contents(&path, Access::Copy).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(copy.bytes() == [3; 100_000]);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, what) in [
            (folder.path(), "is a folder, not a file; name a file in it"),
            (&pipe, "is a pipe, not a file"),
            (&socket, "is a socket, not a file"),
            (Path::new("/dev/zero"), "is a device, not a file"),
        ] {
            let begun = Instant::now();
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(1));
        }
        let missing = open(&folder.path().join("nothing")).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }));
    }
}
