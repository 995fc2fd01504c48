//! Where sound comes from: a file, a pipe, or memory.
//!
//! Decoders want to jump about in a file and to know its length, and so do the repairs of headers; a
//! pipe allows neither. So what comes by a pipe is first written to a temporary file without a name,
//! and then read like any other: it may be as long as a file, and takes no memory. A file that cannot
//! be read here goes to `ffmpeg`, where the caller allows that.

use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use symphonia::core::io::MediaSource;

use super::identify::{Identity, identify};
use super::{Audio, AudioError, AudioLimits, Ffmpeg, decode};

/// How sound is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// How much sound a file may decode to.
    pub limits: AudioLimits,
    /// What reads files that are not read here; nothing if left out. It is another program: the page on
    /// security says what it is given.
    pub ffmpeg: Option<Ffmpeg>,
    /// Whether the channels are kept apart as well ([`Audio::channels`]): at most 8, and all of them
    /// together may be as long as one.
    pub apart: bool,
}

/// The most bytes that a pipe may give: a day of stereo at 48 kHz in 32 bits is half of it.
const LONGEST_PIPE: u64 = 64 << 30;

/// Reads a sound file as mono samples at `rate` Hz, with the default [`ReadOptions`].
///
/// # Errors
/// Any [`AudioError`].
///
/// ```no_run
/// let audio = crosslatch_tasks::audio::read_file("speech.flac", 16_000)?;
/// println!("{:.1} s", audio.duration());
/// # Ok::<(), crosslatch_tasks::AudioError>(())
/// ```
pub fn read_file(path: impl AsRef<Path>, rate: u32) -> Result<Audio, AudioError> {
    read_file_with(path, rate, &ReadOptions::default())
}

/// Reads a sound file, or what comes by a named pipe, as mono samples at `rate` Hz.
///
/// # Errors
/// Any [`AudioError`].
pub fn read_file_with(
    path: impl AsRef<Path>,
    rate: u32,
    options: &ReadOptions,
) -> Result<Audio, AudioError> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let io = |source| AudioError::Io {
        file: name.clone(),
        source,
    };
    let meta = std::fs::metadata(path).map_err(io)?;
    refuse_others(&meta).map_err(io)?;
    let file = File::open(path).map_err(io)?;
    if !meta.is_file() {
        return read_stream(&name, file, rate, options);
    }
    Input {
        name: &name,
        extension: path.extension().and_then(|e| e.to_str()),
        rate,
        options,
    }
    .file(file)
}

/// Reads the sound file that comes by a pipe, to its end, as mono samples at `rate` Hz. `name` is used
/// in messages.
///
/// # Errors
/// Any [`AudioError`].
pub fn read_stream(
    name: &str,
    stream: impl Read,
    rate: u32,
    options: &ReadOptions,
) -> Result<Audio, AudioError> {
    let io = |source| AudioError::Io {
        file: name.to_owned(),
        source,
    };
    let input = Input {
        name,
        extension: None,
        rate,
        options,
    };
    input.file(kept(stream).map_err(io)?)
}

/// Reads a sound file that is already in memory. `name` is used in messages, and its extension is a
/// hint of the format.
///
/// # Errors
/// Any [`AudioError`].
pub fn read_bytes(
    name: &str,
    bytes: Vec<u8>,
    rate: u32,
    limits: AudioLimits,
) -> Result<Audio, AudioError> {
    let options = ReadOptions {
        limits,
        ..ReadOptions::default()
    };
    read_bytes_with(name, bytes, rate, &options)
}

/// The same with all options.
///
/// # Errors
/// Any [`AudioError`].
pub fn read_bytes_with(
    name: &str,
    bytes: Vec<u8>,
    rate: u32,
    options: &ReadOptions,
) -> Result<Audio, AudioError> {
    let input = Input {
        name,
        extension: Path::new(name).extension().and_then(|e| e.to_str()),
        rate,
        options,
    };
    let bytes = Shared(Arc::new(bytes));
    let identity = identify(Cursor::new(&bytes.0[..])).map_err(|e| input.io(e))?;
    let len = bytes.0.len() as u64;
    let source = Box::new(Cursor::new(bytes.clone()));
    let file = || kept(&bytes.0[..]);
    input.read(source, len, identity, file)
}

/// The bytes of a file, read here and perhaps once more by ffmpeg.
#[derive(Clone)]
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Refuses what holds no sound and might never end.
fn refuse_others(meta: &Metadata) -> io::Result<()> {
    let (kind, cause) = match meta.is_dir() {
        true => (
            io::ErrorKind::IsADirectory,
            "it is a directory; name a file in it",
        ),
        false if is_device(meta) => {
            let cause = "it is a device; name a file, or a pipe";
            (io::ErrorKind::InvalidInput, cause)
        }
        false => return Ok(()),
    };
    Err(io::Error::new(kind, cause))
}

#[cfg(unix)]
fn is_device(meta: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = meta.file_type();
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &Metadata) -> bool {
    false
}

/// All of a stream in a temporary file, at its beginning.
fn kept(stream: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let length = io::copy(&mut stream.take(LONGEST_PIPE + 1), &mut file)?;
    if length > LONGEST_PIPE {
        let cause = "it gives more than 64 GiB; split it";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, cause));
    }
    file.flush()?;
    file.rewind()?;
    Ok(file)
}

/// What is to be read, and how.
struct Input<'a> {
    name: &'a str,
    extension: Option<&'a str>,
    rate: u32,
    options: &'a ReadOptions,
}

impl Input<'_> {
    fn io(&self, source: io::Error) -> AudioError {
        AudioError::Io {
            file: self.name.to_owned(),
            source,
        }
    }

    fn file(&self, file: File) -> Result<Audio, AudioError> {
        let len = file.metadata().map_err(|e| self.io(e))?.len();
        let identity = identify(&file).map_err(|e| self.io(e))?;
        let source = file.try_clone().map_err(|e| self.io(e))?;
        self.read(Box::new(source), len, identity, || Ok(file))
    }

    /// Reads a source of `len` bytes; `file` gives it as a file, for ffmpeg.
    fn read(
        &self,
        source: Box<dyn MediaSource>,
        len: u64,
        identity: Identity,
        file: impl FnOnce() -> io::Result<File>,
    ) -> Result<Audio, AudioError> {
        let wanted = decode::Wanted {
            rate: self.rate,
            max_seconds: self.options.limits.seconds_for(len),
            apart: self.options.apart,
        };
        let ours = match identity.is_foreign {
            true => Err(AudioError::Format {
                file: self.name.to_owned(),
                format: None,
                cause: "sound of that kind is not read".to_owned(),
            }),
            false => decode::read(source, self.name, self.extension, wanted),
        };
        let error = match ours {
            Err(AudioError::Format { file, cause, .. }) => AudioError::Format {
                file,
                format: identity.name.clone(),
                cause,
            },
            Err(error @ AudioError::NoAudio { .. }) => error,
            other => return other,
        };
        match &self.options.ffmpeg {
            Some(ffmpeg) => {
                let file = file().map_err(|e| self.io(e))?;
                ffmpeg.read(&file, self.name, &identity.name, wanted)
            }
            None => Err(error),
        }
    }
}
