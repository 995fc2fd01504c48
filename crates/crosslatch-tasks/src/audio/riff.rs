//! WAV files whose headers disagree with the file.
//!
//! A recorder that is killed leaves lengths of 0 in its header, one that streams writes the largest
//! number there is, and others count wrongly. Decoders believe these lengths. Here the chunks are
//! walked first: a length of the sound that is 0 or reaches past the end of the file means "to the
//! end of the file", and chunks that are neither format nor sound become chunks to be skipped. The
//! file itself is not changed: the corrected bytes are laid over it as it is read.

use std::io::{Read, Result, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::riff64;

/// A file, and what its header promised beyond its end.
pub(super) struct Repaired {
    pub source: Box<dyn MediaSource>,
    /// Seconds of sound that the header announces and the file does not have.
    pub missing_seconds: f64,
}

/// Lays a correct header over a WAV file. Anything else is left as it is, as is what cannot be
/// walked twice.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn repaired(mut source: Box<dyn MediaSource>) -> Result<Repaired> {
    let unchanged = |source| Repaired {
        source,
        missing_seconds: 0.0,
    };
    let Some(total) = source.byte_len().filter(|_| source.is_seekable()) else {
        return Ok(unchanged(source));
    };
    let long = riff64::find(&mut *source, total);
    source.rewind()?;
    if let Some(sound) = long? {
        return Ok(Repaired {
            missing_seconds: sound.missing_seconds,
            source: sound.plain(source),
        });
    }
    let chunks = walk(&mut *source, total);
    source.rewind()?;
    let Chunks {
        patches,
        missing_seconds,
    } = chunks?;
    if patches.is_empty() {
        return Ok(unchanged(source));
    }
    let overlaid = Overlaid {
        inner: source,
        position: 0,
        patches,
    };
    Ok(Repaired {
        source: Box::new(overlaid),
        missing_seconds,
    })
}

/// Four bytes that replace those of the file at a place.
type Patch = (u64, [u8; 4]);

/// What walking the chunks of a file found.
#[derive(Default)]
struct Chunks {
    patches: Vec<Patch>,
    missing_seconds: f64,
}

/// Size of a chunk's header: its name and its length.
const HEADER: u64 = 8;
/// Lengths from here on are those of a recorder that did not know the length.
const UNKNOWN: u32 = 0xffff_ff00;
/// The most chunks before the sound; no program writes nearly as many.
const MOST_CHUNKS: usize = 1000;

fn walk(source: &mut dyn MediaSource, total: u64) -> Result<Chunks> {
    let mut chunks = Chunks::default();
    let mut head = [0; 12];
    if total < 12 || source.read_exact(&mut head).is_err() {
        return Ok(chunks);
    }
    if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
        return Ok(chunks);
    }
    let announced = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let (mut frame, mut bytes_per_second) = (1, 0);
    let mut at = 12;
    for _ in 0..MOST_CHUNKS {
        let mut header = [0; HEADER as usize];
        source.seek(SeekFrom::Start(at))?;
        if total - at < HEADER || source.read_exact(&mut header).is_err() {
            // There is no sound: the decoder says so.
            return Ok(Chunks::default());
        }
        let name: [u8; 4] = [header[0], header[1], header[2], header[3]];
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let data = at + HEADER;
        match &name {
            b"data" => {
                let there = total - data;
                if (len == 0 && !is_followed_by_a_chunk(source)?) || u64::from(len) > there {
                    let whole = there - there % frame;
                    // What a length of 32 bits cannot say is read as far as it can.
                    let length = u32::try_from(whole).unwrap_or(UNKNOWN - UNKNOWN % 64);
                    chunks.patches.push((at + 4, length.to_le_bytes()));
                    if (1..UNKNOWN).contains(&len) && bytes_per_second > 0 {
                        let missing = u64::from(len) - there;
                        chunks.missing_seconds = missing as f64 / f64::from(bytes_per_second);
                    }
                    end(&mut chunks, announced, data + u64::from(length));
                } else {
                    end(&mut chunks, announced, data + u64::from(len));
                }
                return Ok(chunks);
            }
            b"fmt " => {
                let mut format = [0; 14];
                if source.read_exact(&mut format).is_ok() {
                    let [a, b, c, d] = [format[8], format[9], format[10], format[11]];
                    bytes_per_second = u32::from_le_bytes([a, b, c, d]);
                    frame = u64::from(u16::from_le_bytes([format[12], format[13]])).max(1);
                }
            }
            b"fact" => {}
            _ => chunks.patches.push((at, *b"JUNK")),
        }
        at = data + u64::from(len) + u64::from(len % 2);
        if at > total {
            return Ok(Chunks::default());
        }
    }
    Ok(Chunks::default())
}

/// Whether a chunk with text or tags follows, so that a length of 0 is meant.
fn is_followed_by_a_chunk(source: &mut dyn MediaSource) -> Result<bool> {
    let mut name = [0; 4];
    Ok(source.read_exact(&mut name).is_ok() && matches!(&name, b"LIST" | b"id3 " | b"ID3 "))
}

/// Corrects the length of the whole, if it does not reach to the end of the sound.
fn end(chunks: &mut Chunks, announced: u32, end: u64) {
    let len = u32::try_from(end - HEADER).unwrap_or(u32::MAX - 1);
    if announced < len || !chunks.patches.is_empty() {
        chunks.patches.push((4, len.to_le_bytes()));
    }
}

/// A file with some bytes replaced as it is read.
struct Overlaid {
    inner: Box<dyn MediaSource>,
    position: u64,
    patches: Vec<Patch>,
}

impl Read for Overlaid {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        for (start, bytes) in &self.patches {
            for (place, byte) in (*start..).zip(bytes) {
                let index = place.checked_sub(self.position);
                let index = index.and_then(|i| usize::try_from(i).ok());
                if let Some(i) = index.filter(|i| *i < count) {
                    buffer[i] = *byte;
                }
            }
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Overlaid {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}

impl MediaSource for Overlaid {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.inner.byte_len()
    }
}
