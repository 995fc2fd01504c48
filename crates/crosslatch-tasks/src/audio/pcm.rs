//! Sound that comes as bytes without end: from a microphone, or out of a pipe.
//!
//! Programs that record write samples as they are, or a WAV file whose header does not know how long it
//! will be. Such sound cannot wait for its end, so here bytes become samples piece by piece. A piece may
//! end anywhere, in a header or in a sample. The samples are those that reading the same bytes as a file
//! gives.

use super::{AudioError, Resampler, SAMPLE_RATES};

/// How a sample is stored, in little-endian order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes, of which 128 is silence.
    U8,
    /// Integers of 16 bits.
    S16,
    /// Integers of 24 bits.
    S24,
    /// Integers of 32 bits.
    S32,
    /// `f32`.
    F32,
}

impl Encoding {
    /// All of them, with their names: a short one, and that of ffmpeg.
    pub const NAMES: [(&str, &str, Encoding); 5] = [
        ("u8", "u8", Encoding::U8),
        ("s16", "s16le", Encoding::S16),
        ("s24", "s24le", Encoding::S24),
        ("s32", "s32le", Encoding::S32),
        ("f32", "f32le", Encoding::F32),
    ];

    /// The encoding of this name, in letters of any case.
    pub fn named(name: &str) -> Option<Encoding> {
        let is_it = |own: &str| own.eq_ignore_ascii_case(name);
        let mut all = Self::NAMES.into_iter();
        let found = all.find(|(short, long, _)| is_it(short) || is_it(long));
        found.map(|(_, _, encoding)| encoding)
    }

    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        match self {
            Encoding::U8 => 1,
            Encoding::S16 => 2,
            Encoding::S24 => 3,
            Encoding::S32 | Encoding::F32 => 4,
        }
    }

    /// A sample of so many bytes.
    fn sample(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Encoding::U8, &[a]) => (f32::from(a) - 128.0) / 128.0,
            (Encoding::S16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Encoding::S24, &[a, b, c]) => {
                (f64::from(i32::from_le_bytes([0, a, b, c])) / 2_147_483_648.0) as f32
            }
            (Encoding::S32, &[a, b, c, d]) => {
                (f64::from(i32::from_le_bytes([a, b, c, d])) / 2_147_483_648.0) as f32
            }
            (Encoding::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => 0.0,
        }
    }
}

/// How samples follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcmFormat {
    /// How each is stored.
    pub encoding: Encoding,
    /// Samples of a channel per second.
    pub rate: u32,
    /// Number of channels, whose samples take turns.
    pub channels: usize,
}

/// Most bytes before the sound of a WAV file; no recorder writes nearly as many.
const LONGEST_HEADER: usize = 1 << 20;
/// Lengths from here on are those of a program that does not know the length.
const UNKNOWN: u32 = 0x7fff_0000;
/// Most channels.
const MOST_CHANNELS: usize = 64;
/// The formats of a WAV file that are read: integers, floating point, and those in the extension.
const INTEGERS: u16 = 1;
const FLOATS: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;

/// Turns bytes into samples of one channel.
pub struct PcmStream {
    name: String,
    /// What the bytes are unless they are a WAV file.
    raw: PcmFormat,
    to: u32,
    /// Bytes of a header or a frame that is not complete.
    pending: Vec<u8>,
    body: Option<Body>,
}

/// The sound behind the header.
struct Body {
    format: PcmFormat,
    /// Bytes of sound that are left, as the header has it.
    left: u64,
    resampler: Resampler,
}

impl PcmStream {
    /// For bytes that are a WAV file or else in this format, as sound of one channel at rate `to`. `name`
    /// says in errors where they come from.
    ///
    /// # Errors
    /// [`AudioError::Format`] or [`AudioError::Resample`] for a format that no sound has.
    pub fn new(name: &str, raw: PcmFormat, to: u32) -> Result<Self, AudioError> {
        let stream = Self {
            name: name.to_owned(),
            raw,
            to,
            pending: Vec::new(),
            body: None,
        };
        stream.body(raw, u64::MAX)?;
        Ok(stream)
    }

    /// Takes bytes, and appends the samples that they complete.
    ///
    /// # Errors
    /// [`AudioError::Format`] for a WAV file that is not read.
    pub fn push(&mut self, bytes: &[u8], samples: &mut Vec<f32>) -> Result<(), AudioError> {
        self.pending.extend_from_slice(bytes);
        if self.body.is_none() {
            let start: &[u8] = &self.pending[..self.pending.len().min(4)];
            if start != b"RIFF" {
                if b"RIFF".starts_with(start) {
                    return Ok(());
                }
                self.body = Some(self.body(self.raw, u64::MAX)?);
            } else if let Some((format, left, header)) = self.header()? {
                self.body = Some(self.body(format, left)?);
                self.pending.drain(..header);
            } else if self.pending.len() > LONGEST_HEADER {
                return Err(self.refused("its header has no end"));
            }
        }
        self.samples(samples)
    }

    /// Ends the sound, and appends its last samples.
    ///
    /// # Errors
    /// [`AudioError::Format`] if the bytes end within a header.
    pub fn finish(mut self, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        if self.body.is_none() && self.pending.len() >= 4 {
            return Err(self.refused("it ends before its sound begins"));
        }
        if self.body.is_none() {
            self.body = Some(self.body(self.raw, u64::MAX)?);
        }
        self.samples(samples)?;
        match self.body {
            Some(body) => body.resampler.finish(samples),
            None => Ok(()),
        }
    }

    fn samples(&mut self, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        let PcmFormat {
            encoding, channels, ..
        } = body.format;
        let frame = encoding.bytes() * channels;
        let there = (self.pending.len() as u64).min(body.left) as usize;
        let whole = there - there % frame;
        let scale = 1.0 / channels as f32;
        let frames = self.pending[..whole].chunks_exact(frame);
        let mono = frames.map(|frame| {
            let all = frame.chunks_exact(encoding.bytes());
            let mean = match channels {
                1 => encoding.sample(frame),
                _ => all.map(|bytes| encoding.sample(bytes) * scale).sum(),
            };
            if mean.is_finite() { mean } else { 0.0 }
        });
        let mono: Vec<f32> = mono.collect();
        if body.left != u64::MAX {
            body.left -= whole as u64;
        }
        match body.left < frame as u64 {
            // What is behind the sound is none.
            true => self.pending.clear(),
            false => drop(self.pending.drain(..whole)),
        }
        body.resampler.push(&mono, samples)
    }

    /// The format of a WAV file, how many bytes of sound it announces, and where they begin; `None` if
    /// that is still to come.
    fn header(&self) -> Result<Option<(PcmFormat, u64, usize)>, AudioError> {
        let bytes = self.pending.as_slice();
        let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if bytes.get(8..12).is_some_and(|kind| kind != b"WAVE") {
            return Err(self.refused("it is no WAV file"));
        }
        let mut at = 12;
        let mut format = None;
        loop {
            let (Some(name), Some(len)) = (bytes.get(at..at + 4), number(at + 4)) else {
                return Ok(None);
            };
            let data = at + 8;
            if name == b"data" {
                let format = format.ok_or_else(|| self.refused("it does not say its format"))?;
                let is_known = (1..UNKNOWN).contains(&len);
                let left = if is_known { u64::from(len) } else { u64::MAX };
                return Ok(Some((format, left, data)));
            }
            if len as usize > LONGEST_HEADER {
                return Err(self.refused("its header is damaged"));
            }
            if name == b"fmt " {
                let parts = (
                    short(data),
                    short(data + 2),
                    number(data + 4),
                    short(data + 14),
                );
                let (Some(kind), Some(channels), Some(rate), Some(bits)) = parts else {
                    return Ok(None);
                };
                let kind = match kind {
                    EXTENSIBLE => match short(data + 24) {
                        Some(kind) => kind,
                        None => return Ok(None),
                    },
                    kind => kind,
                };
                let encoding = match (kind, bits) {
                    (INTEGERS, 8) => Encoding::U8,
                    (INTEGERS, 16) => Encoding::S16,
                    (INTEGERS, 24) => Encoding::S24,
                    (INTEGERS, 32) => Encoding::S32,
                    (FLOATS, 32) => Encoding::F32,
                    _ => {
                        let cause = format!("its samples have {bits} bits in format {kind}");
                        return Err(self.refused(&cause));
                    }
                };
                format = Some(PcmFormat {
                    encoding,
                    rate,
                    channels: usize::from(channels),
                });
            }
            at = data + (len as usize).next_multiple_of(2);
        }
    }

    fn body(&self, format: PcmFormat, left: u64) -> Result<Body, AudioError> {
        if !(1..=MOST_CHANNELS).contains(&format.channels) {
            return Err(self.refused(&format!("it has {} channels", format.channels)));
        }
        if !SAMPLE_RATES.contains(&format.rate) {
            return Err(self.refused(&format!("it has {} samples a second", format.rate)));
        }
        Ok(Body {
            format,
            left,
            resampler: Resampler::new(format.rate, self.to)?,
        })
    }

    fn refused(&self, cause: &str) -> AudioError {
        AudioError::Format {
            file: self.name.clone(),
            format: None,
            cause: format!("the sound cannot be followed as it comes: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReadOptions, read_bytes_with};
    use super::*;

    const RAW: PcmFormat = PcmFormat {
        encoding: Encoding::S16,
        rate: 16_000,
        channels: 1,
    };

    /// What comes of bytes that arrive in pieces of these sizes in turn.
    fn pieces(
        bytes: &[u8],
        sizes: &[usize],
        raw: PcmFormat,
        to: u32,
    ) -> Result<Vec<f32>, AudioError> {
        let mut stream = PcmStream::new("test", raw, to)?;
        let (mut samples, mut rest) = (Vec::new(), bytes);
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at((*size).min(rest.len()));
            stream.push(now, &mut samples)?;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        stream.finish(&mut samples)?;
        Ok(samples)
    }

    /// A WAV file of samples that look random.
    fn wav(format: PcmFormat, is_float: bool, frames: usize, announced: Option<u32>) -> Vec<u8> {
        let size = format.encoding.bytes();
        let mut state = 99_u32;
        let mut data = Vec::new();
        for _ in 0..frames * format.channels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match is_float {
                true => data.extend((state as f32 / u32::MAX as f32 - 0.5).to_le_bytes()),
                false => data.extend(&state.to_le_bytes()[4 - size..]),
            }
        }
        let block = (size * format.channels) as u16;
        let mut file = b"RIFF\xff\xff\xff\xffWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend(if is_float { FLOATS } else { INTEGERS }.to_le_bytes());
        file.extend((format.channels as u16).to_le_bytes());
        file.extend(format.rate.to_le_bytes());
        file.extend((format.rate * u32::from(block)).to_le_bytes());
        file.extend(block.to_le_bytes());
        file.extend((size as u16 * 8).to_le_bytes());
        file.extend(b"data");
        file.extend(announced.unwrap_or(data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn a_wav_file_in_pieces_has_the_samples_of_the_file() {
        let encodings = [
            Encoding::U8,
            Encoding::S16,
            Encoding::S24,
            Encoding::S32,
            Encoding::F32,
        ];
        for (i, encoding) in encodings.into_iter().enumerate() {
            let format = PcmFormat {
                encoding,
                rate: [16_000, 44_100, 8_000, 16_000, 22_050][i],
                channels: [1, 2, 3, 1, 2][i],
            };
            let mut file = wav(format, encoding == Encoding::F32, 5_001, None);
            let options = ReadOptions::default();
            let whole = read_bytes_with("a.wav", file.clone(), 16_000, &options).unwrap();
            file.extend(b"LIST\x04\0\0\0abcd");
            for sizes in [&[usize::MAX][..], &[1, 2, 3], &[997], &[44, 4_000, 7]] {
                let samples = pieces(&file, sizes, RAW, 16_000).unwrap();
                assert_eq!(samples, whole.samples, "{encoding:?} {sizes:?}");
            }
        }
    }

    #[test]
    fn a_length_that_nobody_knew_is_none() {
        for announced in [0, 0x7fff_fff0, u32::MAX] {
            let file = wav(RAW, false, 100, Some(announced));
            assert_eq!(pieces(&file, &[33], RAW, 16_000).unwrap().len(), 100);
        }
        let file = wav(RAW, false, 100, Some(80));
        assert_eq!(pieces(&file, &[33], RAW, 16_000).unwrap().len(), 40);
    }

    #[test]
    fn samples_without_a_header_are_taken_as_they_are_said_to_be() {
        let raw = PcmFormat {
            encoding: Encoding::F32,
            rate: 16_000,
            channels: 2,
        };
        let numbers = [0.5_f32, 0.25, f32::NAN, 0.5, -1.0, 1.0];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        // An incomplete frame at the end is left out.
        bytes.extend([1, 2, 3, 4, 5]);
        assert_eq!(
            pieces(&bytes, &[3], raw, 16_000).unwrap(),
            [0.375, 0.0, 0.0]
        );
        assert_eq!(pieces(b"RI", &[1], RAW, 16_000).unwrap().len(), 1);
        assert!(pieces(&[], &[1], RAW, 16_000).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_sound_is_refused_and_says_why() {
        let bad = |bytes: &[u8]| pieces(bytes, &[5], RAW, 16_000).unwrap_err().to_string();
        assert!(bad(b"RIFF\0\0\0\0AVI LIST").contains("no WAV file"));
        assert!(bad(b"RIFF\0\0\0\0WAVEdata\0\0\0\0abcd").contains("its format"));
        assert!(bad(b"RIFF\0\0\0\0WAVEfmt ").contains("ends before"));
        assert!(bad(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f").contains("damaged"));
        let mut none = wav(RAW, false, 1, None);
        let channels = none.windows(4).position(|w| w == b"fmt ").unwrap() + 10;
        none[channels] = 0;
        assert!(bad(&none).contains("0 channels"));
        for raw in [
            PcmFormat { rate: 10, ..RAW },
            PcmFormat { channels: 0, ..RAW },
        ] {
            assert!(PcmStream::new("test", raw, 16_000).is_err());
        }
    }
}
