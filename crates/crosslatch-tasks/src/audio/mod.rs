//! Sound files in, mono samples at the model's rate out.
//!
//! A speech model wants one channel of `f32` samples in `[-1, 1]` at one rate (16 kHz for
//! Whisper); a person has a WAV, FLAC or MP3 file at any rate with any number of channels. The
//! idea is a stream: each packet that the decoder yields is averaged to one channel and goes
//! through the resampler at once, so memory grows with the *result* (64 kB a second at 16 kHz),
//! never with what a header claims. How much result a file may ask for is bounded as well, since a
//! few kilobytes of FLAC can decode to hours of silence (see [`Limits`]).
//!
//! Assumed about the input: nothing. A damaged packet is skipped and counted, as players do; a
//! file without any usable audio is an error that says why.

mod decode;
mod resample;

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

pub use resample::{Resampler, resample};

/// Sample rates, in Hz, that files and models may have.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Mono sound, ready for [`crate::features`].
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// Samples at [`Audio::sample_rate`], nominally in `[-1, 1]`, all finite, at least one.
    pub samples: Vec<f32>,
    /// Samples per second of [`Audio::samples`].
    pub sample_rate: u32,
    /// Samples per second that the file had.
    pub source_rate: u32,
    /// Channels that the file had; [`Audio::samples`] is their mean.
    pub source_channels: usize,
    /// Packets that could not be decoded and were left out, a file cut off before the end that its
    /// header announces counting as one. A caller may want to warn when this is not zero.
    pub damaged_packets: usize,
}

impl Audio {
    /// Length in seconds.
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

/// How much sound one file may decode to.
///
/// The bound is `max_seconds`, and within it `free_seconds` plus one second for each
/// `bytes_per_second` bytes of file: speech codecs do not go below 500 bytes a second, so only a
/// file made to exhaust memory (or hours of digital silence) meets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Longest sound accepted, in seconds.
    pub max_seconds: f64,
    /// Seconds granted to a file of any size.
    pub free_seconds: f64,
    /// Bytes of file that justify one further second.
    pub bytes_per_second: f64,
}

impl Default for Limits {
    /// 24 hours; one hour for any file; 500 bytes a second.
    fn default() -> Self {
        Self {
            max_seconds: 86_400.0,
            free_seconds: 3_600.0,
            bytes_per_second: 500.0,
        }
    }
}

impl Limits {
    /// Seconds that a file of `bytes` bytes may decode to.
    pub fn seconds_for(&self, bytes: u64) -> f64 {
        (self.free_seconds + bytes as f64 / self.bytes_per_second).min(self.max_seconds)
    }
}

/// Why sound could not be read. Every variant but [`AudioError::Resample`] names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file could not be opened or read.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The file, as the caller named it.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content is none of WAV, FLAC and MP3, or its header is damaged.
    #[error(
        "{file}: not a WAV, FLAC or MP3 file that can be read: {cause}; convert it to 16-bit WAV and try again"
    )]
    Format {
        /// The file, as the caller named it.
        file: String,
        /// What the reader met.
        cause: String,
    },
    /// The container is fine, but there is no audio track, or one without rate or channels.
    #[error("{file}: has no usable audio track: {cause}")]
    NoAudio {
        /// The file, as the caller named it.
        file: String,
        /// What is missing.
        cause: String,
    },
    /// The track ended without one sample.
    #[error(
        "{file}: contains no sound ({damaged} damaged packets); check that the file is complete"
    )]
    Empty {
        /// The file, as the caller named it.
        file: String,
        /// Packets that could not be decoded.
        damaged: usize,
    },
    /// A sample is infinite or not a number.
    #[error(
        "{file}: sample {index} is not a finite number; the file is damaged, write it again from its source"
    )]
    NotFinite {
        /// The file, as the caller named it.
        file: String,
        /// Index of the frame in the file.
        index: u64,
    },
    /// The sound is longer than [`Limits`] allow.
    #[error(
        "{file}: decodes to more than {seconds:.0} s of sound, more than a file of its size may; split it"
    )]
    TooLong {
        /// The file, as the caller named it.
        file: String,
        /// The bound, in seconds.
        seconds: f64,
    },
    /// Rates that cannot be converted into each other.
    #[error("cannot resample from {from} Hz to {to} Hz: {cause}")]
    Resample {
        /// Rate of the input, in Hz.
        from: u32,
        /// Rate asked for, in Hz.
        to: u32,
        /// Why not.
        cause: String,
    },
}

/// Reads a sound file as mono samples at `rate` Hz, with the default [`Limits`].
///
/// # Errors
/// Any [`AudioError`].
///
/// ```no_run
/// let audio = crosslatch_tasks::audio::read_file("speech.flac".as_ref(), 16_000)?;
/// println!("{:.1} s", audio.duration());
/// # Ok::<(), crosslatch_tasks::AudioError>(())
/// ```
pub fn read_file(path: &Path, rate: u32) -> Result<Audio, AudioError> {
    let name = path.display().to_string();
    let io = |source| AudioError::Io {
        file: name.clone(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::IsADirectory,
            "it is a directory; name a file in it",
        )));
    }
    let extension = path.extension().and_then(|e| e.to_str());
    decode::read(
        Box::new(file),
        &name,
        extension,
        rate,
        Limits::default().seconds_for(meta.len()),
    )
}

/// Reads a sound file that is already in memory; `name` is used in messages and for the hint that
/// its extension gives.
///
/// # Errors
/// Any [`AudioError`].
pub fn read_bytes(
    name: &str,
    bytes: Vec<u8>,
    rate: u32,
    limits: Limits,
) -> Result<Audio, AudioError> {
    let seconds = limits.seconds_for(bytes.len() as u64);
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    decode::read(Box::new(Cursor::new(bytes)), name, extension, rate, seconds)
}
