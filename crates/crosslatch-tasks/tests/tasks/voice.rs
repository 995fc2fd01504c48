//! Where somebody speaks, and that only that is decoded.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;

use crosslatch_tasks::{
    Decoder, Event, SpeechModel, TranscribeOptions, Transcript, Voice, VoiceFilter, audio,
};

use crate::speech::{VOCAB, pipeline};

const RATE: u32 = 16_000;

/// A recording of the repository's.
fn recording(name: &str) -> Vec<f32> {
    let path = Path::new("../../demo").join(name);
    audio::read_file(&path, RATE).unwrap().samples
}

/// Numbers from −1 to 1 that look random.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Noise with more of the low than of the high.
fn rumble(count: usize) -> Vec<f32> {
    let mut held = 0.0;
    let low = noise(count).into_iter().map(|x| {
        held = 0.97 * held + 0.03 * x;
        held * 6.0
    });
    low.collect()
}

/// A slow tune of notes with overtones that fade.
fn tune(count: usize) -> Vec<f32> {
    let notes = [220.0, 261.6, 329.6, 392.0, 440.0, 523.3, 293.7, 196.0];
    let note = |i: usize| {
        let (number, time) = (i / 6_000, (i % 6_000) as f64 / f64::from(RATE));
        let height = notes[number * 5 % 8] * [1.0, 0.5, 2.0][number % 3];
        let fade = (time / 0.02).min(1.0) * (-3.0 * time).exp();
        let tones = (1..=6).map(|n| {
            let n = f64::from(n);
            (std::f64::consts::TAU * height * n * time).sin() / n
        });
        (0.4 * fade * tones.sum::<f64>()) as f32
    };
    (0..count).map(note).collect()
}

fn stretches(samples: &[f32]) -> Vec<std::ops::Range<usize>> {
    let voice = Voice::hear(samples, RATE).unwrap();
    voice.stretches(&VoiceFilter::default())
}

#[test]
fn probabilities_are_those_of_the_published_network() {
    let json = std::fs::read(crate::fixture("voice.json")).unwrap();
    let expected: HashMap<String, Vec<f32>> = serde_json::from_slice(&json).unwrap();
    for (name, expected) in expected {
        let voice = Voice::hear(&recording(&format!("samples/{name}")), RATE).unwrap();
        let heard = voice.probabilities();
        assert_eq!(heard.len(), expected.len());
        assert!(expected.iter().any(|p| *p > 0.9) && expected.iter().any(|p| *p < 0.1));
        for (heard, expected) in heard.iter().zip(&expected) {
            // The weights are rounded to 16 bits.
            assert!(
                (heard - expected).abs() < 0.02,
                "{name}: {heard} {expected}"
            );
        }
    }
}

#[test]
fn a_minute_of_silence_noise_or_music_is_no_speech() {
    let minute = 60 * RATE as usize;
    let tone = (0..minute).map(|i| (i as f32 * 0.1728).sin()).collect();
    for (kind, sound) in [
        ("silence", vec![0.0; minute]),
        ("noise", noise(minute)),
        ("rumble", rumble(minute)),
        ("a tune", tune(minute)),
        ("a tone", tone),
    ] {
        for level in [0.5, 0.1, 0.001] {
            let sound: Vec<f32> = sound.iter().map(|x: &f32| x * level).collect();
            assert_eq!(stretches(&sound).len(), 0, "{kind} at {level}");
        }
    }
}

#[test]
fn speech_is_found_whole_in_silence_and_in_noise() {
    let pause = 4 * RATE as usize;
    for name in [
        "speech/LJ001-0002.wav",
        "speech/LJ001-0008.wav",
        "speech/jfk.mp3",
    ] {
        let spoken = recording(name);
        let power = spoken.iter().map(|x| x * x).sum::<f32>() / spoken.len() as f32;
        // The power of the noise is a third, and this ten decibels below the speech.
        for level in [0.0, (0.3 * power).sqrt()] {
            let gap = vec![0.0; pause];
            let mut sound = [&gap[..], &spoken, &gap, &spoken, &gap].concat();
            for (x, y) in sound
                .iter_mut()
                .zip(noise(gap.len() * 3 + spoken.len() * 2))
            {
                *x += level * y;
            }
            let found = stretches(&sound);
            let frame = 480;
            let loudness =
                |at: usize| -> f32 { spoken[at..at + frame].iter().map(|x| x * x).sum() };
            let starts = || (0..spoken.len() - frame).step_by(frame);
            let loudest = starts().map(loudness).fold(0.0, f32::max);
            for begun in [pause, 2 * pause + spoken.len()] {
                // Thirty decibels below the loudest is soft; in noise, what it drowns is.
                let soft = if level == 0.0 { 0.001 } else { 0.03 };
                for at in starts().filter(|&at| loudness(at) > soft * loudest) {
                    let range = begun + at..begun + at + frame;
                    let is_found =
                        |s: &std::ops::Range<usize>| s.start <= range.start && range.end <= s.end;
                    assert!(
                        found.iter().any(is_found),
                        "{name} {level}: {range:?} {found:?}"
                    );
                }
            }
            let all: usize = found.iter().map(|stretch| stretch.len()).sum();
            assert!(
                all < 2 * spoken.len() + 5 * RATE as usize,
                "{name}: {found:?}"
            );
        }
    }
}

#[test]
fn sound_of_any_rate_is_heard() {
    let sound = recording("speech/LJ001-0002.wav");
    let wide = audio::resample(&sound, RATE, 44_100).unwrap();
    let filter = VoiceFilter::default();
    let [a, b] = [(sound, RATE), (wide, 44_100)].map(|(samples, rate)| {
        let found = Voice::hear(&samples, rate).unwrap().stretches(&filter);
        assert!(found.iter().all(|s| s.end <= samples.len()));
        found
            .iter()
            .map(|s| s.len() as f64 / f64::from(rate))
            .sum::<f64>()
    });
    assert!((a - b).abs() < 0.1, "{a} {b}");
    assert!(
        Voice::hear(&[], RATE)
            .unwrap()
            .stretches(&filter)
            .is_empty()
    );
}

/// Writes one word a window, and counts the windows.
#[derive(Default)]
struct Counter {
    windows: usize,
    row: Vec<f32>,
}

impl SpeechModel for Counter {
    fn encode(&mut self, _: &[f32], _: usize, _: usize) -> Result<(), Infallible> {
        self.windows += 1;
        Ok(())
    }
}

impl Decoder for Counter {
    type Error = Infallible;

    fn decode(&mut self, _: usize, _: &[i64], position: usize) -> Result<&[f32], Infallible> {
        self.row.clear();
        self.row.resize(VOCAB, 0.0);
        self.row[if position == 0 { 9 } else { 1 }] = 9.0;
        Ok(&self.row)
    }
}

/// The transcript of only what is spoken, the number of windows, and how the progress went.
fn transcribe(samples: &[f32], batch: Option<usize>) -> (Transcript, usize, Vec<f64>) {
    let pipeline = pipeline(serde_json::json!({}));
    let options = TranscribeOptions {
        language: Some("en".to_owned()),
        timestamps: Some(false),
        voice: Some(VoiceFilter::default()),
        ..TranscribeOptions::default()
    };
    pipeline.check(&options).unwrap();
    let (mut progress, mut seen) = (Vec::new(), Vec::new());
    let observer = |event: Event<'_>| {
        match event {
            Event::Progress { done, total } => {
                assert_eq!(total, samples.len() as f64 / f64::from(RATE));
                progress.push(done);
            }
            Event::Segment(segment) => seen.push(segment.clone()),
            Event::Languages(languages) => assert_eq!(languages[0].code, "en"),
            Event::Text(_) => {}
        }
        ControlFlow::Continue(())
    };
    let mut models: Vec<Counter> = (0..batch.unwrap_or(1))
        .map(|_| Counter::default())
        .collect();
    let transcript = match batch {
        None => pipeline.transcribe_with(&mut models[0], samples, &options, observer),
        Some(_) => pipeline.transcribe_batch(&mut models, samples, &options, observer),
    };
    let transcript = transcript.unwrap();
    assert_eq!(seen, transcript.segments);
    let windows = models.iter().map(|model| model.windows).sum();
    (transcript, windows, progress)
}

#[test]
fn only_speech_is_decoded_and_keeps_its_times() {
    let (spoken, seconds) = (recording("speech/LJ001-0002.wav"), |s: usize| {
        s * RATE as usize
    });
    let quiet: Vec<f32> = noise(seconds(20)).iter().map(|x| x * 0.05).collect();
    let music: Vec<f32> = tune(seconds(10)).iter().map(|x| x * 0.3).collect();
    let sound = [&music[..], &spoken, &quiet, &spoken].concat();
    let length = spoken.len() as f64 / f64::from(RATE);
    let places = [10.0, 30.0 + length].map(|start| start - 0.5..start + length + 0.5);
    for batch in [None, Some(1), Some(3)] {
        let (transcript, windows, progress) = transcribe(&sound, batch);
        // Windows of a second, of twice the speech with its padding.
        let most = (2.0 * (length + 1.0)).ceil() as usize;
        assert!((2 * length as usize..=most).contains(&windows), "{windows}");
        assert_eq!(transcript.segments.len(), windows);
        let mut before = 0.0;
        for segment in &transcript.segments {
            assert!(segment.start >= before && segment.end > segment.start);
            before = segment.end;
            let is_in = |t: f64| places.iter().any(|place| place.contains(&t));
            assert!(is_in(segment.start) && is_in(segment.end), "{segment:?}");
            assert!((segment.seek as f64 / 100.0 - segment.start).abs() < 0.01);
        }
        assert_eq!(progress[0], 0.0);
        assert!(progress.is_sorted());
        assert_eq!(progress.last().copied(), Some(transcript.duration));
    }
}

#[test]
fn sound_without_speech_is_not_decoded_at_all() {
    for batch in [None, Some(2)] {
        let (transcript, windows, progress) = transcribe(&tune(20 * RATE as usize), batch);
        assert_eq!((windows, transcript.segments.len()), (0, 0));
        assert_eq!((&*transcript.text, transcript.duration), ("", 20.0));
        assert_eq!(transcript.language.as_deref(), Some("en"));
        assert_eq!(progress, [0.0, 20.0]);
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let pipeline = pipeline(serde_json::json!({}));
    for (threshold, padding) in [
        (0.0, 0.4),
        (1.0, 0.4),
        (f32::NAN, 0.4),
        (0.5, -1.0),
        (0.5, f64::NAN),
    ] {
        let options = TranscribeOptions {
            voice: Some(VoiceFilter {
                threshold,
                padding,
                ..VoiceFilter::default()
            }),
            ..TranscribeOptions::default()
        };
        assert!(pipeline.check(&options).is_err(), "{threshold} {padding}");
    }
}
