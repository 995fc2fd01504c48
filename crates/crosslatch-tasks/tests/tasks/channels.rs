//! Channels that are read, transcribed and written by themselves.

use std::ops::ControlFlow;
use std::path::Path;

use crosslatch_tasks::audio::{self, AudioLimits, ReadOptions};
use crosslatch_tasks::speech::transcribe_channels;
use crosslatch_tasks::{AudioError, Event, Format, Segment, Transcript};

const RATE: u32 = 16_000;

fn apart() -> ReadOptions {
    ReadOptions {
        apart: true,
        ..ReadOptions::default()
    }
}

/// A WAV file whose channels are waves of different heights.
fn waves(folder: &Path, channels: u16, rate: u32, frames: u32) -> std::path::PathBuf {
    let path = folder.join(format!("{channels}-{rate}.wav"));
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut out = hound::WavWriter::create(&path, spec).unwrap();
    for frame in 0..frames {
        for channel in 0..channels {
            let height = 200.0 * f64::from(channel + 1) * f64::from(frame) / f64::from(rate);
            let sample = (height * std::f64::consts::TAU).sin() * 9_000.0;
            out.write_sample(sample as i16).unwrap();
        }
    }
    out.finalize().unwrap();
    path
}

#[test]
fn each_channel_is_read_and_their_mean_stays_what_it_is() {
    let folder = tempfile();
    for (channels, rate) in [
        (1, 16_000),
        (2, 16_000),
        (2, 44_100),
        (5, 8_000),
        (8, 48_000),
    ] {
        let path = waves(&folder, channels, rate, rate / 2 + 7);
        let plain = audio::read_file(&path, RATE).unwrap();
        let sound = audio::read_file_with(&path, RATE, &apart()).unwrap();
        assert!(plain.channels.is_empty());
        assert_eq!(sound.samples, plain.samples);
        assert_eq!(sound.channels.len(), usize::from(channels));
        for (number, samples) in (1..).zip(&sound.channels) {
            assert_eq!(samples.len(), sound.samples.len());
            // Every wave crosses zero twice.
            let crossings = samples
                .windows(2)
                .filter(|w| (w[0] < 0.0) != (w[1] < 0.0))
                .count();
            assert!(
                crossings.abs_diff(200 * number) <= 3,
                "{channels} {rate}: {crossings}"
            );
        }
        for (at, mean) in sound.samples.iter().enumerate() {
            let all: f32 = sound.channels.iter().map(|channel| channel[at]).sum();
            assert!((all / f32::from(channels) - mean).abs() < 1e-4);
        }
    }
}

#[test]
fn neither_many_channels_nor_their_length_take_more_memory_than_one_may() {
    let folder = tempfile();
    let many = waves(&folder, 9, 8_000, 800);
    assert_eq!(audio::read_file(&many, RATE).unwrap().source_channels, 9);
    let error = audio::read_file_with(&many, RATE, &apart()).unwrap_err();
    assert!(error.to_string().contains("9 channels"), "{error}");
    let path = waves(&folder, 4, 8_000, 8_000);
    for (seconds, fits) in [(4.1, true), (3.9, false)] {
        let options = ReadOptions {
            limits: AudioLimits {
                max_seconds: seconds,
                ..AudioLimits::default()
            },
            ..apart()
        };
        match audio::read_file_with(&path, RATE, &options) {
            Ok(_) => assert!(fits),
            Err(AudioError::TooLong { .. }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
    }
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("crosslatch-channels-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn segment(start: f64, end: f64, text: &str) -> Segment {
    Segment {
        seek: 0,
        start,
        end,
        text: text.to_owned(),
        tokens: vec![7],
        avg_logprob: -0.1,
        compression_ratio: 1.0,
        no_speech_prob: None,
        temperature: 0.0,
        complete: true,
        words: None,
        channel: None,
    }
}

/// Transcribes channels that say one thing each; their first sample says which.
fn conversation(stop_after: usize) -> (Transcript, Vec<String>, Vec<f64>) {
    let (mut told, mut progress) = (Vec::new(), Vec::new());
    let channels = [vec![0.0; 8], vec![1.0; 8]];
    let observer = |event: Event<'_>| {
        match event {
            Event::Segment(segment) => told.push(segment.text.clone()),
            Event::Progress { done, .. } => progress.push(done),
            Event::Languages(_) | Event::Text(_) => {}
        }
        match told.len() + progress.len() < stop_after {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    let transcript = transcribe_channels(&channels, observer, |samples, tell| {
        let segments = match samples[0] < 0.5 {
            true => vec![
                segment(0.0, 1.0, "Hello."),
                segment(4.0, 6.0, "Good, and you?"),
            ],
            false => vec![segment(1.5, 3.0, "How are you?"), segment(4.0, 7.0, "")],
        };
        let mut flow = tell(Event::Progress {
            done: 0.0,
            total: 8.0,
        });
        for segment in &segments {
            if flow.is_continue() {
                flow = tell(Event::Segment(segment));
            }
        }
        if flow.is_continue() {
            let _ = tell(Event::Progress {
                done: 8.0,
                total: 8.0,
            });
        }
        Ok::<_, std::convert::Infallible>(Transcript {
            text: String::new(),
            language: Some("en".to_owned()),
            duration: 8.0,
            segments,
        })
    });
    (transcript.unwrap(), told, progress)
}

#[test]
fn what_is_spoken_comes_in_order_of_time_with_the_name_of_its_channel() {
    let (transcript, told, progress) = conversation(usize::MAX);
    assert_eq!(transcript.text, "Hello. How are you? Good, and you?");
    assert_eq!(told, ["Hello.", "How are you?", "Good, and you?", ""]);
    assert_eq!(progress, [0.0, 4.0, 4.0, 8.0]);
    let names = transcript
        .segments
        .iter()
        .map(|s| s.channel.as_deref().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["left", "right", "left", "right"]
    );
    assert_eq!(
        Format::Text.write(&transcript),
        "left: Hello.\nright: How are you?\nleft: Good, and you?\n"
    );
    let srt = Format::Srt.write(&transcript);
    assert!(
        srt.starts_with("1\n00:00:00,000 --> 00:00:01,000\nleft: Hello.\n\n2\n"),
        "{srt}"
    );
    assert!(
        Format::Json
            .write(&transcript)
            .contains("\"channel\": \"right\"")
    );
    assert!(!srt.contains("\n4\n"));
}

#[test]
fn a_break_keeps_what_was_decoded() {
    // In the middle of the second channel.
    let (transcript, told, _) = conversation(3);
    assert_eq!(transcript.segments.len(), 4);
    assert!(told.is_empty());
    // After the first one.
    let (transcript, _, progress) = conversation(2);
    assert_eq!((transcript.segments.len(), progress.len()), (2, 2));
}
