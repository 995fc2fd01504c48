//! A long sound in pieces that are decoded side by side.

use std::ops::ControlFlow;

use crosslatch_tasks::{Decoder, Event, SpeechModel, TranscribeError, TranscribeOptions};

use crate::speech::{VOCAB, pipeline};

/// Writes one word that says how loud its window is, and fails where it is told to.
struct Loudness {
    row: Vec<f32>,
    word: usize,
    fails_at: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("too loud")]
struct TooLoud;

impl Loudness {
    fn models(count: usize, fails_at: usize) -> Vec<Self> {
        let model = || Self {
            row: Vec::new(),
            word: 0,
            fails_at,
        };
        (0..count).map(|_| model()).collect()
    }
}

impl SpeechModel for Loudness {
    fn encode(&mut self, features: &[f32], _: usize, _: usize) -> Result<(), TooLoud> {
        // A level that is ten times higher adds two to the logarithm, a half to the feature.
        let high = features.iter().copied().fold(f32::MIN, f32::max);
        self.word = 15 + (high * 4.0).round() as usize;
        // Finished out of order: what is louder takes longer.
        std::thread::sleep(std::time::Duration::from_millis(self.word as u64));
        match self.word == self.fails_at {
            true => Err(TooLoud),
            false => Ok(()),
        }
    }
}

impl Decoder for Loudness {
    type Error = TooLoud;

    fn decode(&mut self, _: usize, _: &[i64], position: usize) -> Result<&[f32], TooLoud> {
        self.row.clear();
        self.row.resize(VOCAB, 0.0);
        let token = match position {
            0 => self.word,
            _ => 1,
        };
        self.row[token] = 9.0;
        Ok(&self.row)
    }
}

/// Words of half a second, ever quieter or louder, with silence between.
fn sound() -> Vec<f32> {
    let mut samples = Vec::new();
    for level in [0.9, 0.003, 0.1, 0.0003, 0.9, 0.01] {
        samples.extend((0..8_800).map(|i| level * (i as f32 * 0.3).sin()));
        samples.extend([0.0; 4_000]);
    }
    samples
}

fn options() -> TranscribeOptions {
    TranscribeOptions {
        language: Some("en".to_owned()),
        timestamps: Some(false),
        ..TranscribeOptions::default()
    }
}

#[test]
fn pieces_come_in_order_and_do_not_depend_on_how_many_are_decoded_at_a_time() {
    let (pipeline, samples) = (pipeline(serde_json::json!({})), sound());
    let transcribe = |count| {
        let mut seen = Vec::new();
        let mut models = Loudness::models(count, usize::MAX);
        let transcript = pipeline
            .transcribe_batch(&mut models, &samples, &options(), |event| {
                if let Event::Segment(segment) = event {
                    seen.push(segment.clone());
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(seen, transcript.segments);
        transcript
    };
    let alone = transcribe(1);
    assert_eq!(alone.segments.len(), 6);
    let words: Vec<&str> = alone.text.split(' ').collect();
    assert_eq!(words[0], words[4]);
    assert!(words[1] != words[0] && words[2] != words[1] && words[3] != words[2]);
    for pair in alone.segments.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
        assert!(pair[1].end - pair[1].start <= 1.0);
    }
    for count in [2, 3, 16] {
        assert_eq!(transcribe(count), alone);
    }
}

#[test]
fn a_break_and_an_error_end_it_in_order() {
    let (pipeline, samples) = (pipeline(serde_json::json!({})), sound());
    let mut count = 0;
    let stop = |event: Event<'_>| match event {
        Event::Segment(_) if count == 1 => ControlFlow::Break(()),
        Event::Segment(_) => {
            count += 1;
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    };
    let mut models = Loudness::models(3, usize::MAX);
    let transcript = pipeline
        .transcribe_batch(&mut models, &samples, &options(), stop)
        .unwrap();
    assert_eq!(transcript.segments.len(), 2);

    let loud: usize = transcript.segments[0].tokens[0] as usize;
    let mut models = Loudness::models(2, loud);
    let quiet_first = [&samples[12_800..], &samples[..12_800]].concat();
    let error = pipeline
        .transcribe_batch(&mut models, &quiet_first, &options(), |_| {
            ControlFlow::Continue(())
        })
        .unwrap_err();
    // The loud word is the fourth, and the place is the whole sound's.
    match error {
        TranscribeError::Encoder { seconds, .. } => assert!((2.0..2.5).contains(&seconds)),
        other => panic!("{other}"),
    }
}

#[test]
fn only_clips_are_decoded_and_times_stay_those_of_the_sound() {
    let (pipeline, samples) = (pipeline(serde_json::json!({})), sound());
    // The third word and the last two, each of 0.55 s and every 0.8 s.
    let clips = TranscribeOptions {
        clip_timestamps: vec![1.6, 2.4, 3.2],
        ..options()
    };
    let go_on = |_: Event<'_>| ControlFlow::Continue(());
    let mut models = Loudness::models(3, usize::MAX);
    let all = pipeline.transcribe_batch(&mut models, &samples, &options(), go_on);
    let words: Vec<String> = all.unwrap().segments.into_iter().map(|s| s.text).collect();
    let batch = pipeline.transcribe_batch(&mut models, &samples, &clips, go_on);
    let alone = pipeline.transcribe(&mut models[0], &samples, &clips);
    for transcript in [batch.unwrap(), alone.unwrap()] {
        let segments = &transcript.segments;
        let near = |x: f64, y: f64| assert!((x - y).abs() < 1e-9, "{x}, {y}");
        near(segments[0].start, 1.6);
        near(segments[0].end, 2.4);
        assert_eq!((segments[0].seek, &segments[0].text), (160, &words[2]));
        near(segments[1].start, 3.2);
        assert_eq!(segments[1].text, words[4]);
        near(segments[segments.len() - 1].end, transcript.duration);
        assert_eq!(transcript.duration, samples.len() as f64 / 16_000.0);
    }
    let backwards = TranscribeOptions {
        clip_timestamps: vec![2.0, 1.0],
        ..options()
    };
    assert!(pipeline.check(&backwards).is_err());
    let outside = TranscribeOptions {
        clip_timestamps: vec![1e9],
        ..options()
    };
    let nothing = pipeline
        .transcribe_batch(&mut models, &samples, &outside, go_on)
        .unwrap();
    assert_eq!(nothing.segments, []);
}

#[test]
fn what_pieces_cannot_do_is_refused() {
    let pipeline = pipeline(serde_json::json!({}));
    let go_on = |_: Event<'_>| ControlFlow::Continue(());
    let history = TranscribeOptions {
        condition_on_previous: Some(true),
        ..options()
    };
    let mut models = Loudness::models(1, usize::MAX);
    let error = pipeline.transcribe_batch(&mut models, &[0.1; 9], &history, go_on);
    assert!(error.unwrap_err().to_string().contains("side by side"));
    let error = pipeline.transcribe_batch::<Loudness>(&mut [], &[0.1; 9], &options(), go_on);
    assert!(error.unwrap_err().to_string().contains("at least one"));
    let error = pipeline.transcribe_batch(&mut models, &[], &options(), go_on);
    assert!(matches!(error, Err(TranscribeError::NoSound)));
}

/// Notes what it is asked for, and panics in the second window.
struct Noting {
    inner: Loudness,
    calls: Vec<&'static str>,
}

impl SpeechModel for Noting {
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), TooLoud> {
        self.calls.push("encode");
        self.inner.encode(features, mels, frames)
    }
}

impl Decoder for Noting {
    type Error = TooLoud;

    fn decode(&mut self, sequence: usize, tokens: &[i64], at: usize) -> Result<&[f32], TooLoud> {
        self.calls.push("decode");
        let windows = self.calls.iter().filter(|call| **call == "encode");
        assert!(windows.count() < 2, "a defect");
        self.inner.decode(sequence, tokens, at)
    }

    fn pause(&mut self) {
        self.calls.push("pause");
    }
}

#[test]
fn a_model_rests_after_each_window_even_one_that_panics() {
    let (pipeline, samples) = (pipeline(serde_json::json!({})), sound());
    let inner = Loudness::models(1, usize::MAX).remove(0);
    let calls = Vec::new();
    let mut model = Noting { inner, calls };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pipeline.transcribe(&mut model, &samples, &options())
    }));
    assert!(outcome.is_err());
    model.calls.dedup();
    let wanted = ["encode", "decode", "pause", "encode", "decode", "pause"];
    assert_eq!(model.calls, wanted);
}
