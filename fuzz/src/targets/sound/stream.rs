//! Sound that comes in pieces: a WAV file, or samples as they are.
//!
//! However the bytes are cut, the samples are the same, and so is what is refused. There are no more of
//! them than the bytes justify.

use crosslatch_tasks::audio::{AudioError, Encoding, PcmFormat, PcmStream};

use super::super::{Target, kind_of};
use super::wav_files;
use crate::mutation::bytes;

pub const TARGET: Target = Target {
    name: "stream",
    run,
    seeds,
    mutate: bytes::mutate,
    longest: 1 << 13,
};

/// Most samples that a sample may become when it is brought to another rate, and samples around.
const MOST: usize = 17;
const AROUND: usize = 1 << 12;

fn run(input: &[u8]) -> String {
    // The last two bytes say what samples are that have no header, and how the bytes are cut.
    let Some((bytes, &[kind, cut])) = input.split_last_chunk::<2>() else {
        return "too short".to_owned();
    };
    let (_, _, encoding) = Encoding::NAMES[usize::from(kind) % Encoding::NAMES.len()];
    let format = PcmFormat {
        encoding,
        rate: [16_000, 8_000, 44_100, 1_000][usize::from(kind >> 3) % 4],
        channels: 1 + usize::from(kind >> 5),
    };
    let whole = samples(bytes, format, usize::MAX);
    let pieces = samples(bytes, format, 1 + usize::from(cut) % 61);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.len(), pieces.len());
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            assert!(whole.iter().zip(&pieces).all(same));
            assert!(whole.iter().all(|sample| sample.is_finite()));
            assert!(whole.len() <= MOST * bytes.len() + AROUND);
            let kind = if bytes.starts_with(b"RIFF") {
                "file"
            } else {
                "raw"
            };
            format!("good: {kind}, {}", whole.len().min(1))
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole.to_string(), pieces.to_string());
            kind_of(&whole.to_string())
        }
        (Ok(_), Err(error)) => panic!("only in pieces: {error}"),
        (Err(error), Ok(_)) => panic!("only as a whole: {error}"),
    }
}

/// What comes of bytes in pieces of this size.
fn samples(bytes: &[u8], format: PcmFormat, piece: usize) -> Result<Vec<f32>, AudioError> {
    let mut stream = PcmStream::new("sound", format, 16_000)?;
    let mut samples = Vec::new();
    for piece in bytes.chunks(piece) {
        stream.push(piece, &mut samples)?;
    }
    stream.finish(&mut samples)?;
    Ok(samples)
}

fn seeds() -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..480_u16).map(|i| (i % 128) as u8).collect();
    let files = wav_files().into_iter().chain([data]).enumerate();
    let seeds = files.map(|(i, mut bytes)| {
        let i = i as u8;
        bytes.extend([i.wrapping_mul(41), i.wrapping_mul(17)]);
        bytes
    });
    seeds.collect()
}
