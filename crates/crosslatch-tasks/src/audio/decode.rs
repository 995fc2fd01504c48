//! From the packets of a file to mono samples.
//!
//! `symphonia` finds the container, the track and the codec; what is left is to decide what to
//! trust. The rate and the channels are checked before a decoder is made, and those of each packet
//! are checked again, since a FLAC or MP3 stream may change them midway. Packets cannot be larger
//! than real ones, because symphonia reads in bounded pieces. A hostile file may make a decoder
//! panic; that becomes an error here, the only place where the crate hands untrusted bytes to a
//! decoder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

use super::opus::{self, Opus};
use super::riff::{self, Repaired};
use super::{Audio, AudioError, Damage, Resampler, SAMPLE_RATES};

/// Greatest number of channels. No recorder writes so many; symphonia itself stops at 32 for WAV.
const MAX_CHANNELS: usize = 64;

/// Number of damaged packets in a row after which the rest of the file is given up.
const MAX_DAMAGED_IN_A_ROW: usize = 1_000;

/// Greatest number of channels that are kept apart.
const MAX_APART: usize = 8;

/// What is made of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Samples per second.
    pub rate: u32,
    /// The most that is decoded, all channels that are kept apart together.
    pub max_seconds: f64,
    /// Whether the channels are kept apart as well.
    pub apart: bool,
}

/// Decodes `source` to mono.
pub(super) fn read(
    source: Box<dyn MediaSource>,
    name: &str,
    extension: Option<&str>,
    wanted: Wanted,
) -> Result<Audio, AudioError> {
    catch_unwind(AssertUnwindSafe(|| {
        read_inner(source, name, extension, wanted)
    }))
    .unwrap_or_else(|_| {
        Err(AudioError::Format {
            file: name.to_owned(),
            format: None,
            cause: "its structure breaks the decoder".to_owned(),
        })
    })
}

fn read_inner(
    source: Box<dyn MediaSource>,
    name: &str,
    extension: Option<&str>,
    wanted: Wanted,
) -> Result<Audio, AudioError> {
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let io = |source| AudioError::Io {
        file: name.to_owned(),
        source,
    };
    let Repaired {
        mut source,
        missing_seconds,
    } = riff::repaired(source).map_err(io)?;
    if let Some(what) = what_else(&mut *source).map_err(io)? {
        let file = name.to_owned();
        return Err(AudioError::NotSound { file, what });
    }
    let stream = MediaSourceStream::new(source, Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &hint,
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|e| format_error(name, e))?;

    let mut track = Track::open(&*format, name)?;
    let mut state = State {
        name,
        wanted,
        resampler: Resampler::new(track.rate, wanted.rate)?,
        apart: Vec::new(),
        samples: Vec::new(),
        interleaved: Vec::new(),
        mono: Vec::new(),
        source_rate: track.rate,
        source_channels: 0,
        frames: 0,
        seconds_before: 0.0,
        damage: Damage {
            missing_seconds,
            ..Damage::default()
        },
    };
    while pump(&mut *format, &mut track, &mut state)? == Pumped::ToTheNextFile {
        let next = Track::open(&*format, name);
        if next.is_err() && state.has_sound() {
            state.damage.packets += 1;
            break;
        }
        track = next?;
        // The header of a file in the middle says nothing about the end.
        track.announced = None;
        state.go_on_at(track.rate)?;
    }
    // The file is cut off, and what is there has been decoded. Packets that failed already explain
    // the gap.
    if let Some(announced) = track
        .announced
        .filter(|n| plausible(*n) && *n > state.frames)
        && state.damage.packets == 0
    {
        let missing = (announced - state.frames) as f64 / f64::from(state.source_rate);
        if missing >= NOTICEABLE {
            state.damage.missing_seconds += missing;
        }
    }
    state.finish()
}

/// A track of sound, and what decodes it.
struct Track {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Samples per second, as checked.
    rate: u32,
    /// Samples of a channel, as the header says.
    announced: Option<u64>,
}

impl Track {
    fn open(format: &dyn FormatReader, name: &str) -> Result<Self, AudioError> {
        let no_audio = |cause: String| AudioError::NoAudio {
            file: name.to_owned(),
            cause,
        };
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| no_audio("the file has no track of sound".to_owned()))?;
        // What an encoder put in front is counted, and not heard.
        let delay = u64::from(track.delay.unwrap_or(0));
        let announced = track.num_frames.map(|n| n.saturating_sub(delay));
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| no_audio("the track does not say how it is encoded".to_owned()))?;
        let rate = match parameters.codec == CODEC_ID_OPUS {
            // Some containers name the rate that the sound had before.
            true => opus::RATE,
            false => parameters.sample_rate.unwrap_or(0),
        };
        check_rate(rate).map_err(no_audio)?;
        if let Some(channels) = &parameters.channels {
            check_channels(channels.count()).map_err(no_audio)?;
        }
        let decoder = codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|e| format_error(name, e))?;
        Ok(Self {
            id: track.id,
            decoder,
            rate,
            announced,
        })
    }
}

/// The decoders of symphonia, and ours.
fn codecs() -> &'static CodecRegistry {
    static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
        let mut codecs = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut codecs);
        codecs.register_audio_decoder::<Opus>();
        codecs
    });
    &CODECS
}

/// What a file is that is certainly not sound.
fn what_else(source: &mut dyn MediaSource) -> std::io::Result<Option<&'static str>> {
    if source.byte_len() == Some(0) {
        return Ok(Some("an empty file; check where it comes from"));
    }
    if !source.is_seekable() {
        return Ok(None);
    }
    let mut head = Vec::new();
    let mut start = std::io::Read::take(&mut *source, 512);
    std::io::Read::read_to_end(&mut start, &mut head)?;
    source.rewind()?;
    let head = head.trim_ascii_start().to_ascii_lowercase();
    let is_page = head.starts_with(b"<html") || head.starts_with(b"<!doctype");
    Ok(is_page.then_some("a web page, as a failed download leaves it; download the sound again"))
}

/// Whether a header's length is meant: one that was written before the length was known says 2³² −
/// 1 bytes or the like.
fn plausible(announced: u64) -> bool {
    announced < (u64::from(u32::MAX) - 4096) / 32
}

/// Seconds that may be missing without anybody missing them: encoders round to whole packets.
const NOTICEABLE: f64 = 0.1;

/// Number of packets in a row that lie behind the end which an MP3's header announces: an encoder pads
/// with fewer. More are another file, joined to the first, as adverts are to podcasts.
const MOST_PADDING: usize = 4;

/// Where the packets of a track end.
#[derive(PartialEq)]
enum Pumped {
    ToTheEnd,
    /// Another file begins, joined to the first, as radio stations do with Ogg.
    ToTheNextFile,
}

fn pump(
    format: &mut dyn FormatReader,
    track: &mut Track,
    state: &mut State<'_>,
) -> Result<Pumped, AudioError> {
    let mut in_a_row = 0;
    let mut behind_the_end: Vec<Packet> = Vec::new();
    let mut is_joined = false;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(Pumped::ToTheEnd),
            Err(SymphoniaError::ResetRequired) => return Ok(Pumped::ToTheNextFile),
            // The stream ends in the middle of a packet; what came before it is kept.
            Err(SymphoniaError::IoError(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(Pumped::ToTheEnd);
            }
            Err(SymphoniaError::IoError(source)) => {
                return Err(AudioError::Io {
                    file: state.name.to_owned(),
                    source,
                });
            }
            Err(_) if state.has_sound() => {
                state.damage.packets += 1;
                return Ok(Pumped::ToTheEnd);
            }
            Err(error) => return Err(format_error(state.name, error)),
        };
        if packet.track_id != track.id {
            continue;
        }
        let is_behind = packet.trim_end > Duration::ZERO && packet.trim_end >= packet.dur;
        behind_the_end.push(packet);
        if is_behind && !is_joined && behind_the_end.len() <= MOST_PADDING {
            continue;
        }
        is_joined |= is_behind;
        for mut packet in behind_the_end.drain(..) {
            if is_behind {
                packet.trim_end = Duration::ZERO;
            }
            match track.decoder.decode(&packet) {
                Ok(buffer) => {
                    in_a_row = 0;
                    state.push(buffer)?;
                }
                Err(SymphoniaError::DecodeError(_) | SymphoniaError::IoError(_)) => {
                    state.damage.packets += 1;
                    in_a_row += 1;
                    if in_a_row > MAX_DAMAGED_IN_A_ROW {
                        return Ok(Pumped::ToTheEnd);
                    }
                }
                Err(error) => return Err(format_error(state.name, error)),
            }
        }
    }
}

/// A channel that is kept apart.
struct Channel {
    resampler: Resampler,
    samples: Vec<f32>,
}

struct State<'a> {
    name: &'a str,
    wanted: Wanted,
    resampler: Resampler,
    /// The channels, if they are kept apart.
    apart: Vec<Channel>,
    samples: Vec<f32>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    source_rate: u32,
    source_channels: usize,
    /// Samples of a channel of this track.
    frames: u64,
    /// Seconds of the tracks before it.
    seconds_before: f64,
    damage: Damage,
}

impl State<'_> {
    fn has_sound(&self) -> bool {
        self.frames > 0 || self.seconds_before > 0.0
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.frames as f64 / f64::from(self.source_rate)
    }

    /// Ends a track; the next one has this many samples per second.
    fn go_on_at(&mut self, rate: u32) -> Result<(), AudioError> {
        self.seconds_before = self.seconds();
        self.frames = 0;
        if rate != self.source_rate {
            self.source_rate = rate;
            let next = Resampler::new(rate, self.wanted.rate)?;
            std::mem::replace(&mut self.resampler, next).finish(&mut self.samples)?;
            for channel in &mut self.apart {
                let next = Resampler::new(rate, self.wanted.rate)?;
                std::mem::replace(&mut channel.resampler, next).finish(&mut channel.samples)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, buffer: GenericAudioBufferRef<'_>) -> Result<(), AudioError> {
        let no_audio = |cause| AudioError::NoAudio {
            file: self.name.to_owned(),
            cause,
        };
        let channels = buffer.num_planes();
        check_channels(channels).map_err(no_audio)?;
        let rate = buffer.spec().rate();
        if rate != self.source_rate {
            return Err(no_audio(format!(
                "its sample rate changes from {} Hz to {rate} Hz midway; convert it to WAV",
                self.source_rate
            )));
        }
        self.source_channels = self.source_channels.max(channels);
        let more = buffer.frames() as f64 / f64::from(rate);
        let kept = if self.wanted.apart { channels } else { 1 };
        let most = self.wanted.max_seconds / kept as f64;
        if self.seconds() + more > most {
            return Err(AudioError::TooLong {
                file: self.name.to_owned(),
                seconds: most,
            });
        }
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        if self.wanted.apart {
            self.keep_apart(channels)?;
        }
        self.mono.clear();
        if channels == 1 {
            self.mono.extend_from_slice(&self.interleaved);
        } else {
            let scale = 1.0 / channels as f32;
            let frames = self.interleaved.chunks_exact(channels);
            self.mono
                .extend(frames.map(|frame| frame.iter().map(|x| x * scale).sum::<f32>()));
        }
        for sample in self.mono.iter_mut().filter(|sample| !sample.is_finite()) {
            *sample = 0.0;
            self.damage.silenced_samples += 1;
        }
        self.frames += self.mono.len() as u64;
        self.resampler.push(&self.mono, &mut self.samples)
    }

    /// Adds the interleaved samples to those of each channel.
    fn keep_apart(&mut self, channels: usize) -> Result<(), AudioError> {
        let no_audio = |cause: String| AudioError::NoAudio {
            file: self.name.to_owned(),
            cause,
        };
        if channels > MAX_APART {
            return Err(no_audio(format!(
                "its {channels} channels are more than the {MAX_APART} that are kept apart"
            )));
        }
        if self.apart.is_empty() {
            for _ in 0..channels {
                self.apart.push(Channel {
                    resampler: Resampler::new(self.source_rate, self.wanted.rate)?,
                    samples: Vec::new(),
                });
            }
        }
        if self.apart.len() != channels {
            return Err(no_audio(format!(
                "its number of channels changes from {} to {channels} midway; convert it to WAV",
                self.apart.len()
            )));
        }
        for (number, channel) in self.apart.iter_mut().enumerate() {
            let samples = self.interleaved.iter().skip(number).step_by(channels);
            self.mono.clear();
            self.mono
                .extend(samples.map(|x| if x.is_finite() { *x } else { 0.0 }));
            channel.resampler.push(&self.mono, &mut channel.samples)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Audio, AudioError> {
        let sample_rate = self.resampler.output_rate();
        self.resampler.finish(&mut self.samples)?;
        let mut channels = Vec::with_capacity(self.apart.len());
        for mut channel in self.apart {
            channel.resampler.finish(&mut channel.samples)?;
            channels.push(channel.samples);
        }
        if self.samples.is_empty() {
            return Err(AudioError::Empty {
                file: self.name.to_owned(),
                damaged: self.damage.packets,
            });
        }
        Ok(Audio {
            samples: self.samples,
            sample_rate,
            source_rate: self.source_rate,
            source_channels: self.source_channels,
            channels,
            damage: self.damage,
        })
    }
}

fn check_rate(rate: u32) -> Result<(), String> {
    if SAMPLE_RATES.contains(&rate) {
        return Ok(());
    }
    Err(format!(
        "a sample rate of {rate} Hz is outside {} to {} Hz; the header is damaged",
        SAMPLE_RATES.start(),
        SAMPLE_RATES.end()
    ))
}

fn check_channels(channels: usize) -> Result<(), String> {
    if (1..=MAX_CHANNELS).contains(&channels) {
        return Ok(());
    }
    Err(format!(
        "{channels} channels is outside 1 to {MAX_CHANNELS}; the header is damaged"
    ))
}

fn format_error(name: &str, error: SymphoniaError) -> AudioError {
    let file = name.to_owned();
    match error {
        SymphoniaError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            AudioError::Format {
                file,
                format: None,
                cause: "it ends inside its header".to_owned(),
            }
        }
        SymphoniaError::IoError(source) => AudioError::Io { file, source },
        other => AudioError::Format {
            file,
            format: None,
            cause: other.to_string(),
        },
    }
}
