//! Sound files of every format that is read, decoded to mono at 16 kHz.
//!
//! The limits are stricter than those of the command: a file may decode to a few seconds, so that an input
//! takes little time.

pub mod stream;

use crosslatch_tasks::audio::{AudioLimits, read_bytes};

use super::{Target, kind_of, seeds::crate_folder};
use crate::mutation::bytes;

pub const TARGET: Target = Target {
    name: "sound",
    run,
    seeds,
    mutate: bytes::mutate,
    longest: 1 << 13,
};

const LIMITS: AudioLimits = AudioLimits {
    max_seconds: 20.0,
    free_seconds: 2.0,
    bytes_per_second: 500.0,
};

fn run(bytes: &[u8]) -> String {
    // The name is only a hint, and comes from the sender of the file.
    let name = ["s.wav", "s.m4a", "s.mp3", "s"][bytes.len() % 4];
    match read_bytes(name, bytes.to_vec(), 16_000, LIMITS) {
        Ok(audio) => format!(
            "good: {} channels, {} Hz, damaged {}",
            audio.source_channels.min(3),
            audio.source_rate / 10_000,
            audio.damage.packets.min(2)
        ),
        Err(error) => kind_of(&error.to_string()),
    }
}

/// A WAV file with these numbers in its `fmt ` chunk.
fn wav(format: u16, channels: u16, rate: u32, bits: u16, extension: &[u8], data: &[u8]) -> Vec<u8> {
    let block = channels * bits.div_ceil(8);
    let mut fmt = Vec::new();
    fmt.extend(format.to_le_bytes());
    fmt.extend(channels.to_le_bytes());
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate * u32::from(block)).to_le_bytes());
    fmt.extend(block.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    fmt.extend(extension);
    let mut body = b"WAVE".to_vec();
    for (name, chunk) in [
        (b"fmt ", &fmt[..]),
        (b"LIST", b"INFOISFT\x04\0\0\0abc\0"),
        (b"data", data),
    ] {
        body.extend(name);
        body.extend((chunk.len() as u32).to_le_bytes());
        body.extend(chunk);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}

/// The `fmt ` chunk of one channel of 16 bits.
const MONO: &[u8; 16] = b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0";

fn rf64(data: &[u8]) -> Vec<u8> {
    let mut file = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    file.extend([0; 8]);
    file.extend((data.len() as u64).to_le_bytes());
    file.extend([0; 12]);
    file.extend(b"fmt \x10\0\0\0");
    file.extend(MONO);
    file.extend(b"data\xff\xff\xff\xff");
    file.extend(data);
    file
}

fn wave64(data: &[u8]) -> Vec<u8> {
    let mut file = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0".to_vec();
    file.extend([0; 8]);
    for (name, chunk) in [
        (b"wave", None),
        (b"fmt ", Some(&MONO[..])),
        (b"data", Some(data)),
    ] {
        file.extend(name);
        file.extend(b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a");
        if let Some(chunk) = chunk {
            file.extend((chunk.len() as u64 + 24).to_le_bytes());
            file.extend(chunk);
        }
    }
    file
}

/// WAV files of all kinds of samples, the last two of which are compressed.
fn wav_files() -> Vec<Vec<u8>> {
    let data = data();
    let guid = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71";
    let mut extensible = vec![22, 0, 16, 0, 3, 0, 0, 0, 1, 0];
    extensible.extend(&guid[..]);
    let float: Vec<u8> = (0..60)
        .flat_map(|i| (i as f32 / 60.0).to_le_bytes())
        .collect();
    vec![
        wav(1, 1, 16_000, 16, &[], &data),
        wav(1, 2, 44_100, 16, &[], &data),
        wav(1, 1, 8_000, 8, &[], &data),
        wav(1, 1, 48_000, 24, &[], &data),
        wav(1, 6, 22_050, 32, &[], &data),
        wav(3, 1, 16_000, 32, &[], &float),
        wav(0xfffe, 2, 16_000, 16, &extensible, &data),
        wav(6, 1, 8_000, 8, &[0, 0], &data),
        wav(7, 1, 8_000, 8, &[0, 0], &data),
    ]
}

/// Samples.
fn data() -> Vec<u8> {
    (0..480_u16).map(|i| (i % 128) as u8).collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let data = data();
    let mut seeds = wav_files();
    seeds.push(rf64(&data));
    seeds.push(wave64(&data));
    let fixtures = crate_folder("crosslatch-tasks").join("tests/fixtures");
    for file in [
        "part.mp3",
        "tone.m4a",
        "tone.mka",
        "tone.ogg",
        "tone.flac",
        "tone.opus",
        "tone.webm",
        "tone_quad.mka",
    ] {
        seeds.extend(std::fs::read(fixtures.join(file)));
    }
    // These hold samples as they are, or nearly so; their beginning is enough.
    for file in ["tone.aiff", "tone.caf", "tone_adpcm.wav", "tone_alac.m4a"] {
        let file = std::fs::read(fixtures.join(file)).into_iter();
        seeds.extend(file.map(|mut contents| {
            contents.truncate(4000);
            contents
        }));
    }
    let mp3 = fixtures.join("tone.mp3");
    seeds.extend(std::fs::read(mp3));
    // After a tag, as in most music files.
    if let Some(mp3) = seeds.last().cloned() {
        let mut tagged =
            b"ID3\x04\x00\x00\x00\x00\x00\x17TIT2\x00\x00\x00\x05\x00\x00\x03tone".to_vec();
        tagged.resize(10 + 0x17, 0);
        tagged.extend(mp3);
        seeds.push(tagged);
    }
    seeds
}
