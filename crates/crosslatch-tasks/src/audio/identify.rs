//! What a file is that is not read, by name.
//!
//! "Unsupported format" helps nobody. `file-format` knows several hundred kinds of files by their first
//! bytes; what it finds goes into the message. For sound and video it also decides: a decoder looks for
//! something like an MP3 frame for a million bytes, and would find one in any long enough file.

use std::io::{Read, Result, Seek};

use file_format::FileFormat;

/// What the first bytes of a file say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    /// What people call it; `None` if it is nothing that is known.
    pub name: Option<String>,
    /// Whether it is sound or video of a kind that is certainly not read.
    pub is_foreign: bool,
}

/// Bytes that are looked at.
const HEAD: u64 = 64 << 10;

/// Identifies a file, and leaves it at its beginning.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn identify(mut file: impl Read + Seek) -> Result<Identity> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    file.rewind()?;
    let format = FileFormat::from_bytes(&head);
    let is_known = !matches!(
        format,
        FileFormat::ArbitraryBinaryData | FileFormat::PlainText | FileFormat::Empty
    );
    let name = || match format.short_name() {
        Some(short) => format!("{} ({short})", format.name()),
        None => format.name().to_owned(),
    };
    Ok(Identity {
        name: is_known.then(name),
        is_foreign: is_foreign(&format),
    })
}

/// Kinds of sound and video that are not read, among those whose first bytes are like no others.
fn is_foreign(format: &FileFormat) -> bool {
    matches!(
        format,
        FileFormat::AdaptiveMultiRate
            | FileFormat::AdvancedSystemsFormat
            | FileFormat::Au
            | FileFormat::AudioCodec3
            | FileFormat::AudioVideoInterleave
            | FileFormat::BdavMpeg2TransportStream
            | FileFormat::CreativeVoice
            | FileFormat::FlashVideo
            | FileFormat::MonkeysAudio
            | FileFormat::Mpeg12Video
            | FileFormat::Mpeg2TransportStream
            | FileFormat::Musepack
            | FileFormat::MusicalInstrumentDigitalInterface
            | FileFormat::OggSpeex
            | FileFormat::QualcommPurevoice
            | FileFormat::Realaudio
            | FileFormat::SonyDsdStreamFile
            | FileFormat::Wavpack
    )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn files_are_called_by_their_names() {
        for (head, name, is_foreign) in [
            (
                &b"#!AMR\n<\x1e"[..],
                Some("Adaptive Multi-Rate (AMR)"),
                true,
            ),
            (b"%PDF-1.7\n", Some("Portable Document Format (PDF)"), false),
            (
                b"RIFF\x10\0\0\0WAVEfmt ",
                Some("Waveform Audio (WAV)"),
                false,
            ),
            (b"\x01\x02\x03", None, false),
            (b"", None, false),
        ] {
            let found = identify(Cursor::new(head)).unwrap();
            let name = name.map(str::to_owned);
            assert_eq!(found, Identity { name, is_foreign });
        }
    }
}
