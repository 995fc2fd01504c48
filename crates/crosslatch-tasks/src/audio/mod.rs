//! Sound files in, mono samples at the model's rate out.
//!
//! A speech model wants one channel of `f32` samples in `[-1, 1]` at one rate (16 kHz for Whisper);
//! a person has a file of some kind (WAV, FLAC, MP3, M4A, Ogg …) at any rate with any number of channels. The idea is a
//! stream: each packet that the decoder yields is averaged to one channel and goes through the
//! resampler at once, so memory grows with the *result* (64 kB for each second at 16 kHz), never
//! with what a header claims. The size of the result is bounded as well, since a few kilobytes of
//! FLAC can decode to hours of silence (see [`AudioLimits`]).
//!
//! Nothing is assumed about the input. A damaged packet is skipped and counted, as players do, and
//! lengths in a header are believed only where the file bears them out (`riff.rs`); a file without any
//! usable audio is an error that says why.

mod decode;
mod resample;
mod riff;

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

pub use resample::{Resampler, resample};

/// Sample rates, in Hz, that files and models may have.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Mono sound at one sample rate.
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
    /// What of the file could not be used. A caller may want to warn of it.
    pub damage: Damage,
}

/// What of a sound file could not be used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Damage {
    /// Packets that could not be decoded and were left out.
    pub packets: usize,
    /// Samples that are infinite or not a number and became silence.
    pub silenced_samples: u64,
    /// Seconds that the header announces and the file does not have.
    pub missing_seconds: f64,
}

impl Damage {
    /// Whether everything could be used.
    pub fn is_none(&self) -> bool {
        *self == Damage::default()
    }
}

impl std::fmt::Display for Damage {
    /// One sentence for each kind of damage.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.packets > 0 {
            parts.push(format!("{} damaged packets were left out", self.packets));
        }
        if self.silenced_samples > 0 {
            let count = self.silenced_samples;
            parts.push(match count {
                1 => "a sample that is not a finite number became silence".to_owned(),
                _ => format!("{count} samples that are not finite numbers became silence"),
            });
        }
        if self.missing_seconds > 0.0 {
            let seconds = self.missing_seconds;
            parts.push(format!(
                "the file ends {seconds:.1} s before the end that its header announces"
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

impl Audio {
    /// Length in seconds.
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

/// How much sound one file may decode to.
///
/// A file may decode to `free_seconds`, plus one second for each `bytes_per_second` bytes of it,
/// and to `max_seconds` at most. Speech codecs do not go below 500 bytes for each second, so only a
/// file that was made to exhaust memory, or one of hours of digital silence, reaches the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioLimits {
    /// Longest sound accepted, in seconds.
    pub max_seconds: f64,
    /// Seconds that a file of any size may have.
    pub free_seconds: f64,
    /// Number of bytes for which a file may have another second.
    pub bytes_per_second: f64,
}

impl Default for AudioLimits {
    /// 24 hours at most; one hour for any file; another second for each 500 bytes.
    fn default() -> Self {
        Self {
            max_seconds: 86_400.0,
            free_seconds: 3_600.0,
            bytes_per_second: 500.0,
        }
    }
}

impl AudioLimits {
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
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// The content is not sound in a format that is read, or its header is damaged.
    #[error(
        "{file}: is not a sound file that can be read: {cause}; convert it, for example with `ffmpeg -i FILE sound.wav`"
    )]
    Format {
        /// The file, as the caller named it.
        file: String,
        /// What the reader found.
        cause: String,
    },
    /// The file is something that is certainly not sound.
    #[error("{file}: is {what}")]
    NotSound {
        /// The file, as the caller named it.
        file: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// The container can be read, but there is no audio track, or one without rate or channels.
    #[error("{file}: has no usable audio track: {cause}")]
    NoAudio {
        /// The file, as the caller named it.
        file: String,
        /// What is missing.
        cause: String,
    },
    /// The track has no samples.
    #[error(
        "{file}: contains no sound ({damaged} damaged packets); check that the file is complete"
    )]
    Empty {
        /// The file, as the caller named it.
        file: String,
        /// Packets that could not be decoded.
        damaged: usize,
    },
    /// The sound is longer than [`AudioLimits`] allow.
    #[error(
        "{file}: decodes to more than {seconds:.0} s of sound, more than a file of its size may; split it"
    )]
    TooLong {
        /// The file, as the caller named it.
        file: String,
        /// The bound, in seconds.
        seconds: f64,
    },
    /// The rates cannot be converted into each other.
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

/// Reads a sound file as mono samples at `rate` Hz, with the default [`AudioLimits`].
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
    let path = path.as_ref();
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
        AudioLimits::default().seconds_for(meta.len()),
    )
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
    let seconds = limits.seconds_for(bytes.len() as u64);
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    decode::read(Box::new(Cursor::new(bytes)), name, extension, rate, seconds)
}
