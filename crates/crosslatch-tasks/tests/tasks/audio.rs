//! Sound files of every kind that is read, against the sine that they hold; and hostile ones.

use std::f64::consts::TAU;
use std::io::Cursor;

use crosslatch_tasks::audio::{Audio, AudioError, AudioLimits, read_bytes, read_file, resample};
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::fixture;

const HERTZ: f64 = 440.0;

fn sine(rate: u32, at: usize) -> f64 {
    0.5 * (TAU * HERTZ * at as f64 / f64::from(rate)).sin()
}

/// A WAV file of `frames` frames of the sine, every channel the same.
pub fn wav(rate: u32, channels: u16, bits: u16, float: bool, frames: usize) -> Vec<u8> {
    let sample_format = if float {
        SampleFormat::Float
    } else {
        SampleFormat::Int
    };
    let spec = WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: bits,
        sample_format,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for at in 0..frames {
        for _ in 0..channels {
            let x = sine(rate, at);
            if float {
                writer.write_sample(x as f32).unwrap();
            } else {
                let scale = (1_i64 << (bits - 1)) as f64;
                writer.write_sample((x * scale).round() as i32).unwrap();
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

pub fn read(bytes: Vec<u8>) -> Result<Audio, AudioError> {
    read_bytes("test.wav", bytes, 16_000, AudioLimits::default())
}

/// Root mean square of the error against the ideal sine in the middle, in decibels below the sine.
fn error_db(samples: &[f32], rate: u32, gain: f64) -> f64 {
    let margin = samples.len() / 5;
    let middle = margin..samples.len() - margin;
    let (mut error, mut power) = (0.0, 0.0);
    for at in middle {
        let ideal = sine(rate, at) * gain;
        error += (f64::from(samples[at]) - ideal).powi(2);
        power += ideal * ideal;
    }
    10.0 * (error / power).log10()
}

#[test]
fn every_wav_becomes_the_same_sine() {
    // 8-bit samples are coarse: their own rounding is all the error that is allowed.
    let kinds = [
        (8, false, -40.0),
        (16, false, -80.0),
        (24, false, -95.0),
        (32, false, -95.0),
        (32, true, -95.0),
    ];
    for rate in [8_000, 16_000, 22_050, 44_100, 48_000] {
        for channels in [1, 2] {
            for (bits, float, bound) in kinds {
                let frames = rate as usize / 2 + 7;
                let audio = read(wav(rate, channels, bits, float, frames)).unwrap();
                let expected = (frames as f64 * 16_000.0 / f64::from(rate)).round() as usize;
                assert_eq!(audio.samples.len(), expected, "{rate} Hz");
                assert_eq!(
                    (audio.source_rate, audio.source_channels),
                    (rate, channels.into())
                );
                assert!(audio.damage.is_none());
                let db = error_db(&audio.samples, 16_000, 1.0);
                assert!(
                    db < bound,
                    "{rate} Hz, {channels} channels, {bits} bits: {db:.1} dB"
                );
            }
        }
    }
}

#[test]
fn odd_rates_keep_time_and_length() {
    for (from, to) in [
        (44_101, 16_000),
        (11_025, 16_000),
        (96_000, 16_000),
        (16_000, 44_100),
        (1_000, 16_000),
    ] {
        let count = from as usize;
        let input: Vec<f32> = (0..count).map(|at| sine(from, at) as f32).collect();
        let output = resample(&input, from, to).unwrap();
        assert_eq!(output.len(), to as usize);
        let db = error_db(&output, to, 1.0);
        assert!(db < -80.0, "{from} to {to}: {db:.1} dB");
    }
}

#[test]
fn pitch_above_the_new_limit_is_removed_and_tails_are_kept() {
    let input: Vec<f32> = (0..48_000)
        .map(|at| (TAU * 10_000.0 * f64::from(at) / 48_000.0).sin() as f32)
        .collect();
    let output = resample(&input, 48_000, 16_000).unwrap();
    let middle = &output[4_000..12_000];
    assert!(middle.iter().all(|x| x.abs() < 1e-4));

    // A constant stays one to the very end: no delay in front, nothing cut off behind.
    let output = resample(&[0.5; 4_410], 44_100, 16_000).unwrap();
    assert_eq!(output.len(), 1_600);
    assert!((output[1_500] - 0.5).abs() < 0.02 && (output[100] - 0.5).abs() < 0.02);
    assert!(output[0] > 0.15 && output[1_599] > 0.15);
}

#[test]
fn tiny_and_equal_lengths() {
    for (count, from, expected) in [
        (0, 44_100, 0),
        (1, 44_100, 1),
        (3, 48_000, 1),
        (5, 48_000, 2),
        (7, 16_000, 7),
    ] {
        assert_eq!(
            resample(&vec![0.1; count], from, 16_000).unwrap().len(),
            expected
        );
    }
    assert!(resample(&[0.0], 0, 16_000).is_err());
    assert!(resample(&[0.0], 16_000, u32::MAX).is_err());
}

#[test]
fn flac_is_the_mean_of_its_channels() {
    let audio = read_file(fixture("tone.flac"), 16_000).unwrap();
    assert_eq!((audio.samples.len(), audio.source_channels), (8_000, 2));
    let db = error_db(&audio.samples, 16_000, 0.5);
    assert!(db < -75.0, "{db:.1} dB");
}

#[test]
fn mp3_has_its_length_and_tone() {
    let audio = read_file(fixture("tone.mp3"), 16_000).unwrap();
    assert_eq!(audio.source_rate, 44_100);
    assert!(
        (audio.duration() - 0.5).abs() < 0.06,
        "{}",
        audio.duration()
    );
    assert_is_the_tone(&audio.samples[2_000..6_000]);
}

/// The tone of the fixtures. Encoders delay it by no whole number of our samples, so the phase is
/// fitted.
fn assert_is_the_tone(samples: &[f32]) {
    let (mut s, mut c, mut power) = (0.0, 0.0, 0.0);
    let half = samples.len() as f64 / 2.0;
    for (at, &x) in samples.iter().enumerate() {
        let angle = TAU * HERTZ * at as f64 / 16_000.0;
        s += f64::from(x) * angle.sin() / half;
        c += f64::from(x) * angle.cos() / half;
        power += f64::from(x).powi(2) / half;
    }
    let amplitude = (s * s + c * c).sqrt();
    assert!((amplitude - 0.5).abs() < 0.01, "{amplitude}");
    assert!((power - s * s - c * c).abs() / power < 1e-2);
}

#[test]
fn files_as_people_have_them_have_their_length_and_tone() {
    for name in [
        "tone.m4a",
        "tone_alac.m4a",
        "tone.ogg",
        "tone.mka",
        "tone.aiff",
        "tone.caf",
        "tone_adpcm.wav",
        "tone.opus",
        "tone.webm",
        "tone_quad.mka",
    ] {
        let audio = read_file(fixture(name), 16_000).unwrap_or_else(|e| panic!("{e}"));
        let seconds = audio.duration();
        assert!((seconds - 0.5).abs() < 0.1, "{name}: {seconds} s");
        assert_is_the_tone(&audio.samples[2_000..6_000]);
        // The format is found by the contents, whatever the name says.
        let bytes = std::fs::read(fixture(name)).unwrap();
        let again = read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again.samples, audio.samples, "{name}");
    }
}

#[test]
fn joined_mp3s_are_read_to_their_end() {
    let part = std::fs::read(fixture("part.mp3")).unwrap();
    let one = read(part.clone()).unwrap().duration();
    for count in [2, 3] {
        let joined = read(part.repeat(count)).unwrap();
        let seconds = joined.duration();
        assert!(
            seconds >= one * count as f64,
            "{seconds} s of {count} parts"
        );
        assert!(
            seconds < (one + 0.2) * count as f64,
            "{seconds} s of {count} parts"
        );
        assert!(joined.damage.packets == 0, "{}", joined.damage);
    }
}

#[test]
fn lengths_that_the_file_does_not_bear_out_mean_to_its_end() {
    let good = wav(16_000, 1, 16, false, 16_000);
    let whole = read(good.clone()).unwrap();
    let with = |riff: Option<u32>, data: Option<u32>| {
        let mut file = good.clone();
        if let Some(len) = riff {
            file[4..8].copy_from_slice(&len.to_le_bytes());
        }
        if let Some(len) = data {
            file[40..44].copy_from_slice(&len.to_le_bytes());
        }
        file
    };
    for (riff, data) in [
        (Some(0), Some(0)),
        (Some(0), None),
        (Some(28 + 32_000), None),
        (None, Some(u32::MAX)),
        (Some(u32::MAX), Some(0)),
        (Some(u32::MAX), Some(u32::MAX)),
    ] {
        let audio = read(with(riff, data)).unwrap_or_else(|e| panic!("{riff:?} {data:?}: {e}"));
        assert_eq!(audio, whole, "{riff:?} {data:?}");
    }
    let long = read(with(None, Some(64_000))).unwrap();
    assert_eq!(long.samples, whole.samples);
    assert!(
        (long.damage.missing_seconds - 1.0).abs() < 1e-6,
        "{}",
        long.damage
    );

    // A chunk of notes, of odd length and odd contents, before the sound and behind it.
    let notes = b"LIST\x13\0\0\0INFOISFT\x05\0\0\0abcde\0x\0";
    let mut noted = good[..36].to_vec();
    noted.extend_from_slice(notes);
    noted.extend_from_slice(&good[36..]);
    noted.extend_from_slice(notes);
    assert_eq!(read(noted).unwrap(), whole);
}

#[test]
fn damaged_headers_are_errors_that_name_the_file() {
    let good = wav(44_100, 2, 16, false, 2_000);
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    for (what, file) in [
        ("empty file", Vec::new()),
        (
            "text",
            b"hello, this is no sound at all, whatever its name says".to_vec(),
        ),
        ("cut in the header", good[..30].to_vec()),
        ("no data chunk", good[..36].to_vec()),
        ("no channels", patched(22, &[0, 0])),
        ("65,535 channels", patched(22, &[255, 255])),
        ("0 Hz", patched(24, &[0; 4])),
        ("4 GHz", patched(24, &[255; 4])),
        ("0 bits", patched(34, &[0, 0])),
        ("unknown codec", patched(20, &[0x55, 0x33])),
        ("no samples", wav(44_100, 2, 16, false, 0)),
    ] {
        let error = read(file).expect_err(what);
        assert!(
            error.to_string().starts_with("test.wav: "),
            "{what}: {error}"
        );
    }
    let error = read_file("/nonexistent/speech.wav", 16_000).unwrap_err();
    assert!(
        error.to_string().contains("speech.wav: cannot be read"),
        "{error}"
    );
    assert!(
        read_file(fixture(""), 16_000)
            .unwrap_err()
            .to_string()
            .contains("directory")
    );
}

#[test]
fn an_empty_file_and_a_web_page_are_called_by_their_names() {
    for (contents, what) in [
        (&b""[..], "test.wav: is an empty file"),
        (b"\n<!DOCTYPE html><p>404", "test.wav: is a web page"),
        (
            b"<HTML><body>404 not found</body></HTML>",
            "test.wav: is a web page",
        ),
    ] {
        let error = read(contents.to_vec()).unwrap_err().to_string();
        assert!(error.starts_with(what), "{error}");
    }
}

#[test]
fn a_file_cut_off_gives_what_is_there_and_says_so() {
    let good = wav(16_000, 1, 16, false, 16_000);
    let audio = read(good[..good.len() / 2].to_vec()).unwrap();
    assert!(
        (7_000..=8_000).contains(&audio.samples.len()),
        "{}",
        audio.samples.len()
    );
    assert!(
        (audio.damage.missing_seconds - 0.5).abs() < 0.01,
        "{}",
        audio.damage
    );

    // A header written before the length was known makes no claim.
    let mut streamed = good.clone();
    streamed[4..8].fill(255);
    streamed[40..44].fill(255);
    let audio = read(streamed).unwrap();
    assert!(audio.samples.len() > 15_000 && audio.damage.is_none());
}

#[test]
fn samples_that_are_no_numbers_are_silence_and_endless_sound_is_refused() {
    let mut bytes = wav(16_000, 1, 32, true, 100);
    let at = bytes.len() - 40;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let audio = read(bytes).unwrap();
    assert_eq!((audio.samples.len(), audio.samples[90]), (100, 0.0));
    assert_eq!(audio.damage.silenced_samples, 1);

    let limits = AudioLimits {
        max_seconds: 0.5,
        ..AudioLimits::default()
    };
    let error =
        read_bytes("long.wav", wav(8_000, 1, 16, false, 8_000), 16_000, limits).unwrap_err();
    assert!(matches!(error, AudioError::TooLong { .. }), "{error}");
    assert!((AudioLimits::default().seconds_for(1_000) - 3_602.0).abs() < 1e-9);
    assert_eq!(AudioLimits::default().seconds_for(u64::MAX), 86_400.0);
}

#[test]
fn no_single_damaged_byte_breaks_the_reader() {
    let files = [
        wav(44_100, 2, 24, false, 300),
        std::fs::read(fixture("tone.flac")).unwrap(),
        std::fs::read(fixture("tone.mp3")).unwrap(),
    ];
    for file in files {
        for at in 0..file.len().min(160) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = file.clone();
                bad[at] = value;
                if let Ok(audio) = read(bad) {
                    assert!(
                        !audio.samples.is_empty() && audio.samples.iter().all(|x| x.is_finite())
                    );
                }
            }
        }
        for end in (0..file.len()).step_by(53) {
            let _ = read(file[..end].to_vec());
        }
    }
}
