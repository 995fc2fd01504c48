//! WAV files of more than 4 GB: RF64 (EBU Tech 3306) and Sony's Wave64.
//!
//! Both are WAV with lengths of 64 bits, in other places, and decoders do not know them. So the
//! chunks are walked here, and what the decoder gets is a WAV file that is put together as it is read:
//! a header made of the file's own format chunk, and behind it the sound where it lies in the file.
//! The header says that the length is unknown; the sound ends where the file says, or where it ends.

use std::io::{Read, Result, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// The most chunks before the sound; no program writes nearly as many.
const MOST_CHUNKS: usize = 1000;
/// The most bytes of a format chunk.
const LONGEST_FORMAT: u64 = 1 << 10;
/// A length that is not known.
const UNKNOWN: [u8; 4] = [0xff; 4];

/// The identifiers of Wave64 begin with the four letters of their WAV twins and go on like this; that of
/// the whole file goes on otherwise.
const GUID_END: [u8; 12] = *b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
const RIFF_GUID: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";

/// Which of the two a file is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rf64,
    Wave64,
}

/// Where the sound of such a file lies, and what it is.
pub(super) struct Sound {
    format: Vec<u8>,
    start: u64,
    len: u64,
    /// Seconds of sound that the header announces and the file does not have.
    pub missing_seconds: f64,
}

/// Finds the sound of an RF64 or Wave64 file of `total` bytes; `None` if it is another file, or has
/// none.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn find(source: &mut dyn MediaSource, total: u64) -> Result<Option<Sound>> {
    let mut head = [0; 40];
    if source.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let kind = match &head {
        head if matches!(&head[..4], b"RF64" | b"BW64") && &head[8..12] == b"WAVE" => Kind::Rf64,
        head if head[..16] == RIFF_GUID => Kind::Wave64,
        _ => return Ok(None),
    };
    let Some((format, start, announced)) = walk(source, kind, total)? else {
        return Ok(None);
    };
    let there = total - start;
    // A recorder that was killed leaves a length of 0, one that streams writes the largest.
    let is_meant = announced > 0 && announced < u64::MAX / 2;
    let len = match is_meant {
        true => announced.min(there),
        false => there,
    };
    let field = |range: std::ops::Range<usize>| format.get(range).map_or(0, number);
    let (rate, frame) = (field(8..12), field(12..14).max(1));
    let missing_seconds = match is_meant && rate > 0 {
        true => (announced - len) as f64 / rate as f64,
        false => 0.0,
    };
    Ok(Some(Sound {
        format,
        start,
        len: len - len % frame,
        missing_seconds,
    }))
}

impl Sound {
    /// The file as plain WAV.
    pub fn plain(self, file: Box<dyn MediaSource>) -> Box<dyn MediaSource> {
        let mut header = b"RIFF".to_vec();
        header.extend(UNKNOWN);
        header.extend(b"WAVEfmt ");
        header.extend((self.format.len() as u32).to_le_bytes());
        header.extend(&self.format);
        header.resize(header.len().next_multiple_of(2), 0);
        header.extend(b"data");
        header.extend(UNKNOWN);
        Box::new(Spliced {
            inner: file,
            header,
            start: self.start,
            len: self.len,
            position: 0,
        })
    }
}

/// The little-endian number in these bytes, of which there are at most eight.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The format chunk, and where the sound begins and how long it is as the header says.
type Walked = (Vec<u8>, u64, u64);

/// Finds format and sound; `None` if there is no sound, which the decoder then says.
fn walk(source: &mut dyn MediaSource, kind: Kind, total: u64) -> Result<Option<Walked>> {
    let (mut at, header, align) = match kind {
        Kind::Rf64 => (12, 8, 2),
        Kind::Wave64 => (40, 24, 8),
    };
    let (mut format, mut long) = (Vec::new(), None);
    for _ in 0..MOST_CHUNKS {
        source.seek(SeekFrom::Start(at))?;
        let mut bytes = [0; 24];
        let bytes = &mut bytes[..header as usize];
        if total.saturating_sub(at) < header || source.read_exact(bytes).is_err() {
            return Ok(None);
        }
        let is_named = kind == Kind::Rf64 || bytes[4..16] == GUID_END;
        let name: &[u8] = match is_named {
            true => &bytes[..4],
            false => b"",
        };
        let start = at + header;
        let len = match kind {
            Kind::Rf64 => number(&bytes[4..8]),
            // Lengths of Wave64 count the header.
            Kind::Wave64 => number(&bytes[16..24]).saturating_sub(header),
        };
        match name {
            b"ds64" if len >= 16 => {
                let mut sizes = [0; 16];
                if source.read_exact(&mut sizes).is_ok() {
                    long = Some(number(&sizes[8..]));
                }
            }
            b"fmt " => {
                format.clear();
                (&mut *source)
                    .take(len.min(LONGEST_FORMAT))
                    .read_to_end(&mut format)?;
            }
            b"data" => {
                let is_long = len == u64::from(u32::MAX) && kind == Kind::Rf64;
                let len = match long.filter(|_| is_long) {
                    Some(long) => long,
                    None if is_long => 0,
                    None => len,
                };
                return Ok((!format.is_empty()).then_some((format, start, len)));
            }
            _ => {}
        }
        let Some(next) = start
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(align))
        else {
            return Ok(None);
        };
        at = next;
    }
    Ok(None)
}

/// A header, and behind it a part of a file.
struct Spliced {
    inner: Box<dyn MediaSource>,
    header: Vec<u8>,
    /// Where the part begins.
    start: u64,
    len: u64,
    position: u64,
}

impl Spliced {
    fn end(&self) -> u64 {
        self.header.len() as u64 + self.len
    }
}

impl Read for Spliced {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let header = self.header.len() as u64;
        let count = if self.position < header {
            let rest = &self.header[self.position as usize..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        } else {
            let left = self.end().saturating_sub(self.position);
            let count = left.min(buffer.len() as u64) as usize;
            let place = self.start + (self.position - header);
            self.inner.seek(SeekFrom::Start(place))?;
            self.inner.read(&mut buffer[..count])?
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Spliced {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        // Before the beginning there is nothing, and behind the end reading gives nothing.
        self.position = place
            .ok_or(std::io::ErrorKind::InvalidInput)?
            .min(self.end());
        Ok(self.position)
    }
}

impl MediaSource for Spliced {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.end())
    }
}
