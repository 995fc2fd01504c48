//! Sound files in, mono samples at the model's rate out.
//!
//! A speech model wants one channel of `f32` samples in `[-1, 1]` at one rate (16 kHz for Whisper);
//! a person has a file of some kind (WAV, FLAC, MP3, M4A, Ogg …) at any rate with any number of channels. The idea is a
//! stream: each packet that the decoder yields is averaged to one channel and goes through the
//! resampler at once, so memory grows with the *result* (64 kB for each second at 16 kHz), never
//! with what a header claims. The size of the result is bounded as well, since a few kilobytes of
//! FLAC can decode to hours of silence (see [`AudioLimits`]).
//!
//! What is not decoded here can be converted by the program `ffmpeg`, if the caller allows that
//! ([`Ffmpeg`]).
//!
//! Nothing is assumed about the input. A damaged packet is skipped and counted, as players do, and
//! lengths in a header are believed only where the file bears them out (`riff.rs`); a file without any
//! usable audio is an error that says why.

mod decode;
mod ffmpeg;
mod identify;
mod input;
mod opus;
mod pcm;
mod resample;
mod riff;
mod riff64;

use std::path::Path;

pub use ffmpeg::Ffmpeg;
pub use input::{ReadOptions, read_bytes, read_bytes_with, read_file, read_file_with, read_stream};
pub use pcm::{Encoding, PcmFormat, PcmStream};
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
    /// The channels by themselves, at [`Audio::sample_rate`] and as long as [`Audio::samples`], if
    /// [`ReadOptions::apart`] asks for them; else empty.
    pub channels: Vec<Vec<f32>>,
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
            parts.push(match self.packets {
                1 => "a damaged packet was left out".to_owned(),
                packets => format!("{packets} damaged packets were left out"),
            });
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
        "{file}: {}{cause}; convert it, for example with `{}`",
        described(format.as_deref()), conversion(file)
    )]
    Format {
        /// The file, as the caller named it.
        file: String,
        /// What its first bytes say it is, such as `Adaptive Multi-Rate (AMR)`.
        format: Option<String>,
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
    /// The file is not read here, and `ffmpeg`, which was asked to, could not convert it.
    #[error("{file}: {}ffmpeg could not convert it: {cause}", described(format.as_deref()))]
    Ffmpeg {
        /// The file, as the caller named it.
        file: String,
        /// What its first bytes say it is.
        format: Option<String>,
        /// What the program said.
        cause: String,
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

/// What a file is that cannot be read, as the beginning of a sentence that says why.
fn described(format: Option<&str>) -> String {
    match format {
        Some(format) => format!("is {format}, but cannot be read: "),
        None => "is not a sound file that can be read: ".to_owned(),
    }
}

/// The command that makes a file that can be read of one that cannot.
fn conversion(file: &str) -> String {
    let path = Path::new(file);
    let (Some(stem), Some(extension)) = (path.file_stem(), path.extension()) else {
        return "ffmpeg -i FILE sound.wav".to_owned();
    };
    let stem = stem.to_string_lossy();
    let new = match extension.eq_ignore_ascii_case("wav") {
        true => format!("{stem}.converted.wav"),
        false => format!("{stem}.wav"),
    };
    let new = path.with_file_name(new).display().to_string();
    format!("ffmpeg -i {} {}", quoted(file), quoted(&new))
}

/// A file's name as a word for a shell.
fn quoted(name: &str) -> String {
    let dashed = if name.starts_with('-') { "./" } else { "" };
    let is_plain = |c: char| c.is_alphanumeric() || "._/+-".contains(c);
    match name.chars().all(is_plain) {
        true => format!("{dashed}{name}"),
        false => format!("'{dashed}{}'", name.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_converts_a_file_can_be_pasted() {
        for (file, command) in [
            ("a/talk.wma", "ffmpeg -i a/talk.wma a/talk.wav"),
            (
                "my talk.WAV",
                "ffmpeg -i 'my talk.WAV' 'my talk.converted.wav'",
            ),
            ("-x.amr", "ffmpeg -i ./-x.amr ./-x.wav"),
            ("it's.amr", "ffmpeg -i 'it'\\''s.amr' 'it'\\''s.wav'"),
            ("upload", "ffmpeg -i FILE sound.wav"),
        ] {
            assert_eq!(conversion(file), command);
        }
    }
}
