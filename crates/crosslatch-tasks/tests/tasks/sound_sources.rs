//! Where sound comes from and what becomes of it that is not read here: files with lengths of 64 bits,
//! streams, foreign formats, ffmpeg.

use crosslatch_tasks::audio::{
    AudioError, AudioLimits, Ffmpeg, ReadOptions, read_bytes, read_bytes_with, read_file_with,
    read_stream,
};

use crate::audio::{read, wav};
use crate::fixture;

/// The chunks of a plain WAV file: format and samples.
fn chunks(wav: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(&wav[36..40], b"data");
    (&wav[20..36], &wav[44..])
}

/// The same sound as RF64, whose header says that the samples have so many bytes.
fn rf64(wav: &[u8], len: u64) -> Vec<u8> {
    let (format, samples) = chunks(wav);
    let mut file = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    file.extend((samples.len() as u64 + 72).to_le_bytes());
    file.extend(len.to_le_bytes());
    file.extend([0; 12]);
    file.extend(b"note\x03\0\0\0abc\0fmt \x10\0\0\0");
    file.extend(format);
    file.extend(b"data\xff\xff\xff\xff");
    file.extend(samples);
    file.extend(b"note\x04\0\0\0abcd");
    file
}

/// The same sound as Wave64.
fn wave64(wav: &[u8], len: u64) -> Vec<u8> {
    let guid =
        |name: &[u8; 4]| [&name[..], b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"].concat();
    let (format, samples) = chunks(wav);
    let mut file = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0".to_vec();
    file.extend([0; 8]);
    file.extend(guid(b"wave"));
    for (name, chunk) in [(b"note", &b"abcde"[..]), (b"fmt ", format)] {
        file.extend(guid(name));
        file.extend((chunk.len() as u64 + 24).to_le_bytes());
        file.extend(chunk);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    file.extend(guid(b"data"));
    file.extend((len + 24).to_le_bytes());
    file.extend(samples);
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend(guid(b"note"));
    file.extend(28_u64.to_le_bytes());
    file.extend(b"abcd");
    file
}

#[test]
fn files_with_lengths_of_64_bits_are_wav_files() {
    for frames in [15_999, 16_000] {
        let plain = wav(44_100, 2, 16, false, frames);
        let whole = read(plain.clone()).unwrap();
        let len = frames as u64 * 4;
        for make in [rf64, wave64] {
            assert_eq!(read(make(&plain, len)).unwrap(), whole);
            // Cut off: what is there is read, and the rest is said to be missing.
            let cut = &make(&plain, len)[..len as usize / 2];
            let half = read(cut.to_vec()).unwrap();
            let missing = whole.duration() - half.duration();
            assert!(missing > 0.1 && (half.damage.missing_seconds - missing).abs() < 1e-3);
        }
        // Without a length, the sound goes on to the end; what stands behind it is heard as well.
        let endless = read(rf64(&plain, u64::MAX)).unwrap();
        assert_eq!(endless.damage.missing_seconds, 0.0);
        assert!(endless.duration() - whole.duration() < 1e-3);
    }
}

#[test]
fn joined_ogg_files_are_read_to_their_end() {
    let opus = std::fs::read(fixture("tone.opus")).unwrap();
    let vorbis = std::fs::read(fixture("tone.ogg")).unwrap();
    let seconds = |bytes: &[u8]| read(bytes.to_vec()).unwrap().duration();
    for parts in [[&opus, &opus, &opus], [&opus, &vorbis, &opus]] {
        let joined = read(parts.map(|part| &part[..]).concat()).unwrap();
        let expected: f64 = parts.iter().map(|part| seconds(part)).sum();
        assert!(
            (joined.duration() - expected).abs() < 1e-2,
            "{}",
            joined.duration()
        );
        assert!(joined.damage.is_none(), "{}", joined.damage);
    }
}

#[test]
fn what_is_not_read_is_called_by_its_name() {
    let asf = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c";
    let mp3 = std::fs::read(fixture("tone.mp3")).unwrap();
    for (head, name) in [
        (&b"#!AMR\n"[..], "Adaptive Multi-Rate (AMR)"),
        (b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\x03", "Au"),
        (b"wvpk\x20\0\0\0\x10\x04\0\0", "WavPack (WV)"),
        (b"\x0b\x77", "Audio Codec 3 (AC-3)"),
        (&asf[..], "Advanced Systems Format (ASF)"),
    ] {
        // Frames of an MP3 follow, which nobody is to hear.
        let bytes = [head, &mp3].concat();
        let read = read_bytes("a talk.bin", bytes, 16_000, AudioLimits::default());
        let text = read.map(drop).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "a talk.bin: is {name}, but cannot be read: sound of that kind is not read; convert \
                 it, for example with `ffmpeg -i 'a talk.bin' 'a talk.wav'`"
            )
        );
    }
}

#[test]
fn a_stream_may_be_as_long_as_a_file() {
    let bytes = std::fs::read(fixture("tone.m4a")).unwrap();
    let whole = read(bytes.clone()).unwrap();
    let options = ReadOptions::default();
    let streamed = read_stream("pipe", &bytes[..], 16_000, &options).unwrap();
    assert_eq!(streamed, whole);
    // Longer than a file of no length might be.
    let limits = AudioLimits {
        free_seconds: 0.1,
        ..AudioLimits::default()
    };
    let options = ReadOptions { limits, ..options };
    assert_eq!(
        read_stream("pipe", &bytes[..], 16_000, &options).unwrap(),
        whole
    );
}

/// A program in place of ffmpeg.
#[cfg(unix)]
fn program(folder: &std::path::Path, script: &str) -> ReadOptions {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ffmpeg");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    ReadOptions {
        ffmpeg: Some(Ffmpeg::at(&path)),
        ..ReadOptions::default()
    }
}

#[test]
#[cfg(unix)]
fn ffmpeg_gets_the_file_and_nothing_else_and_its_samples_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let amr = [b"#!AMR\n", &[7_u8; 3994][..]].concat();
    let sound = folder.path().join("talk.amr");
    std::fs::write(&sound, &amr).unwrap();

    // Half a second of 0.5, if it got the bytes of the file.
    let half = "i=0; while [ $i -lt 8000 ]; do printf '\\0\\0\\0\\77'; i=$((i+1)); done";
    let options = program(folder.path(), &format!("[ $(wc -c) = 4000 ] && {half}"));
    let audio = read_file_with(&sound, 16_000, &options).unwrap();
    assert_eq!(audio.samples, vec![0.5; 8_000]);
    let bytes = read_bytes_with("talk", amr.clone(), 16_000, &options).unwrap();
    assert_eq!(bytes, audio);
    let streamed = read_stream("pipe", &amr[..], 16_000, &options).unwrap();
    assert_eq!(streamed, audio);
    // Sound that is read here does not go there.
    let options_that_fail = program(folder.path(), "exit 1");
    assert!(read_file_with(fixture("tone.opus"), 16_000, &options_that_fail).is_ok());

    // A version that does not know the way in which it gets the file is asked in another.
    let old = "case \"$*\" in *fd:*) echo \"Unrecognized option 'fd'.\" >&2; exit 8;; esac";
    let options = program(folder.path(), &format!("{old}; {half}"));
    assert_eq!(read_file_with(&sound, 16_000, &options).unwrap(), audio);

    let options = program(
        folder.path(),
        "echo one >&2; echo 'no such codec' >&2; exit 1",
    );
    let error = read_file_with(&sound, 16_000, &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("is Adaptive Multi-Rate (AMR), but cannot be read: ffmpeg could not convert it: no such codec"),
        "{error}"
    );

    let mut options = program(folder.path(), "exec cat /dev/zero");
    options.limits.max_seconds = 2.0;
    let error = read_file_with(&sound, 16_000, &options).unwrap_err();
    assert!(matches!(error, AudioError::TooLong { .. }), "{error}");

    let error = ReadOptions {
        ffmpeg: Some(Ffmpeg::at(folder.path().join("absent"))),
        ..options
    };
    let error = read_file_with(&sound, 16_000, &error)
        .unwrap_err()
        .to_string();
    assert!(error.contains("it cannot be started"), "{error}");
}

#[test]
#[cfg(unix)]
fn channels_of_what_ffmpeg_reads_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("call.amr");
    std::fs::write(&sound, b"#!AMR\n12345").unwrap();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let wav = folder.path().join("converted.wav");
    let mut writer = hound::WavWriter::create(&wav, spec).unwrap();
    let left: Vec<f32> = (0..9_000).map(|i| (i as f32 * 0.01).sin()).collect();
    for x in &left {
        writer.write_sample(*x).unwrap();
        writer.write_sample(-0.25_f32).unwrap();
    }
    writer.finalize().unwrap();
    // As ffmpeg writes to a pipe, it does not know the length.
    let mut bytes = std::fs::read(&wav).unwrap();
    bytes[4..8].fill(0xff);
    let data = bytes.windows(4).position(|four| four == b"data").unwrap();
    bytes[data + 4..data + 8].fill(0xff);
    std::fs::write(&wav, bytes).unwrap();

    let asked = "case \"$*\" in *'-c:a pcm_f32le -f wav'*) ;; *) exit 3;; esac";
    let script = format!("{asked}; cat '{}'", wav.display());
    let mut options = program(folder.path(), &script);
    options.apart = true;
    let audio = read_file_with(&sound, 16_000, &options).unwrap();
    assert_eq!(audio.channels, [left, vec![-0.25; 9_000]]);
    assert_eq!((audio.source_channels, audio.samples.len()), (2, 9_000));
    assert!(audio.damage.is_none(), "{}", audio.damage);
    options.apart = false;
    assert!(read_file_with(&sound, 16_000, &options).is_err());

    let script = format!("{asked}; cat '{}' /dev/zero", wav.display());
    let mut options = program(folder.path(), &script);
    options.apart = true;
    options.limits.max_seconds = 2.0;
    let error = read_file_with(&sound, 16_000, &options).unwrap_err();
    assert!(matches!(error, AudioError::TooLong { .. }), "{error}");
}
