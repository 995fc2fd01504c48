//! A sound that comes in pieces: its final text is that of the file, what is certain stays, and the
//! encoder runs once a second at most.

use std::path::Path;

use crosslatch::{Model, Options};
use crosslatch_tasks::{
    Decoder, ExportedError, ExportedSpeechModel, Feed, HeadWeights, SpeechModel, SpeechPipeline,
    StreamUpdate, TranscribeError, TranscribeOptions, Transcript, VoiceFilter, audio,
    speech_pipeline,
};

const RATE: usize = 16_000;

/// The bundled model, with a count of its encoder's runs.
struct Counted {
    model: ExportedSpeechModel,
    runs: usize,
}

impl Counted {
    fn open() -> (SpeechPipeline, Self) {
        let model = Model::open("../../demo/model.pt2").unwrap();
        let pipeline = speech_pipeline(&model).unwrap();
        let model = ExportedSpeechModel::new(&model, Options::default()).unwrap();
        (pipeline, Self { model, runs: 0 })
    }
}

impl SpeechModel for Counted {
    fn encode(
        &mut self,
        features: &[f32],
        mels: usize,
        frames: usize,
    ) -> Result<(), ExportedError> {
        self.runs += 1;
        self.model.encode(features, mels, frames)
    }
}

impl Decoder for Counted {
    type Error = ExportedError;

    fn sequences(&mut self, wanted: usize) -> Result<usize, ExportedError> {
        self.model.sequences(wanted)
    }

    fn branch(&mut self, from: usize, to: usize) -> Result<bool, ExportedError> {
        self.model.branch(from, to)
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        at: usize,
    ) -> Result<&[f32], ExportedError> {
        self.model.decode(sequence, tokens, at)
    }

    fn unaligned(&self) -> Option<&str> {
        self.model.unaligned()
    }

    fn align(
        &mut self,
        feed: Feed<'_>,
        take: &mut dyn FnMut(HeadWeights<'_>),
    ) -> Result<(), ExportedError> {
        self.model.align(feed, take)
    }
}

fn read(name: &str) -> Vec<f32> {
    let path = Path::new("../../demo/samples").join(name);
    audio::read_file(&path, RATE as u32).unwrap().samples
}

/// All recordings, one behind the other with silence between them, which is not quite silent.
pub fn long() -> Vec<f32> {
    let names = [
        "light.wav",
        "timer.wav",
        "wake-up.flac",
        "message-22khz.wav",
        "alarm.mp3",
        "weather-44khz-stereo.wav",
        "heldout-voice.wav",
    ];
    let hum = |count: usize| (0..count).map(|i| (i as f32 * 0.7).sin() * 1e-3);
    let mut all = Vec::new();
    for (i, name) in names.iter().enumerate() {
        all.extend(hum(RATE / 4 + i * 7_001));
        all.extend(read(name));
    }
    all.extend(hum(RATE * 3));
    all
}

/// Feeds a sound in pieces of changing sizes, about `pace` samples each.
fn feed(
    pipeline: &SpeechPipeline,
    model: &mut Counted,
    samples: &[f32],
    options: &TranscribeOptions,
    pace: usize,
) -> (Vec<StreamUpdate>, Transcript) {
    let mut stream = pipeline.stream(options).unwrap();
    let (mut updates, mut rest, mut seed) = (Vec::new(), samples, pace);
    while !rest.is_empty() {
        seed = seed * 31 % 10_007;
        let (now, later) = rest.split_at((seed % (2 * pace) + 1).min(rest.len()));
        rest = later;
        stream.push(now).unwrap();
        if stream.is_due() {
            updates.push(stream.update(pipeline, model).unwrap());
        }
    }
    let (last, transcript) = stream.finish(pipeline, model).unwrap();
    updates.push(last);
    (updates, transcript)
}

fn certain(updates: &[StreamUpdate]) -> String {
    updates
        .iter()
        .map(|update| update.certain.as_str())
        .collect()
}

fn voice() -> TranscribeOptions {
    TranscribeOptions {
        voice: Some(VoiceFilter {
            min_silence: 0.5,
            padding: 0.2,
            ..VoiceFilter::default()
        }),
        ..TranscribeOptions::default()
    }
}

#[test]
fn the_transcript_of_a_short_sound_is_that_of_the_file() {
    let (pipeline, mut model) = Counted::open();
    let wanted = [
        TranscribeOptions::default(),
        TranscribeOptions {
            timestamps: Some(true),
            word_timestamps: true,
            ..TranscribeOptions::default()
        },
        TranscribeOptions {
            beam_size: Some(3),
            prompt: None,
            ..TranscribeOptions::default().with_fallback()
        },
        voice(),
    ];
    for name in [
        "light.wav",
        "number-noisy.wav",
        "weather-44khz-stereo.wav",
        "heldout-voice.wav",
    ] {
        let samples = read(name);
        for (options, pace) in wanted.iter().zip([400, 5_000, 16_000, 1_500]) {
            let file = pipeline.transcribe(&mut model, &samples, options).unwrap();
            let (updates, transcript) = feed(&pipeline, &mut model, &samples, options, pace);
            assert_eq!(transcript, file, "{name}");
            assert!(!file.text.is_empty());
            assert_eq!(certain(&updates), file.text, "{name}");
            assert_eq!(updates.last().unwrap().tentative, "");
        }
    }
}

#[test]
fn the_transcript_of_a_long_sound_is_that_of_the_file() {
    let (pipeline, mut model) = Counted::open();
    let samples = long();
    let wanted = [
        TranscribeOptions::default(),
        TranscribeOptions {
            condition_on_previous: Some(true),
            word_timestamps: true,
            ..TranscribeOptions::default()
        },
        TranscribeOptions {
            timestamps: Some(false),
            ..TranscribeOptions::default()
        },
        TranscribeOptions {
            temperatures: vec![0.0, 0.7],
            logprob_threshold: Some(-0.05),
            ..TranscribeOptions::default()
        },
        voice(),
    ];
    for options in &wanted {
        let file = pipeline.transcribe(&mut model, &samples, options).unwrap();
        for pace in [700, 9_000, 40_000] {
            let (updates, transcript) = feed(&pipeline, &mut model, &samples, options, pace);
            assert_eq!(transcript, file, "{pace} {options:?}");
            let segments: usize = updates.iter().map(|update| update.segments.len()).sum();
            assert_eq!(segments, file.segments.len());
        }
        assert!(file.segments.len() > 3);
    }
}

#[test]
fn a_pause_makes_what_was_said_certain() {
    let (pipeline, mut model) = Counted::open();
    for name in ["light.wav", "timer.wav", "heldout-voice.wav"] {
        for (options, pause) in [
            (TranscribeOptions::default(), 2),
            (voice(), 2),
            (voice(), 9),
        ] {
            let mut samples = read(name);
            samples.resize(samples.len() + pause * RATE, 0.0);
            let (updates, transcript) = feed(&pipeline, &mut model, &samples, &options, 300);
            let before_the_end = &updates[..updates.len() - 1];
            assert_eq!(certain(before_the_end), transcript.text, "{name}");
            assert_eq!(before_the_end.last().unwrap().tentative, "");
        }
    }
}

#[test]
fn the_encoder_runs_once_a_second_at_most_and_not_in_silence() {
    let (pipeline, mut model) = Counted::open();
    let samples = long();
    for options in [TranscribeOptions::default(), voice()] {
        model.runs = 0;
        let mut stream = pipeline.stream(&options).unwrap();
        for (i, piece) in samples.chunks(RATE / 50).enumerate() {
            stream.push(piece).unwrap();
            // Asked all the time; most of the time there is nothing to do.
            stream.update(&pipeline, &mut model).unwrap();
            let seconds = (i + 1) as f64 / 50.0;
            assert!(model.runs as f64 <= seconds, "{} {seconds}", model.runs);
        }
        let runs = model.runs;
        assert!(runs > 10);
        let before = model.runs;
        for piece in vec![0.0; 30 * RATE].chunks(RATE / 50) {
            stream.push(piece).unwrap();
            stream.update(&pipeline, &mut model).unwrap();
        }
        let silent = model.runs - before;
        match options.voice {
            Some(_) => assert!(silent <= 1, "{silent}"),
            None => assert!((5..=31).contains(&silent), "{silent}"),
        }
    }
}

#[test]
fn silence_has_no_text_and_nothing_is_no_sound() {
    let (pipeline, mut model) = Counted::open();
    let silence = vec![0.0; 20 * RATE];
    let (updates, transcript) = feed(&pipeline, &mut model, &silence, &voice(), 1_000);
    assert_eq!(
        (certain(&updates), transcript.text.as_str()),
        (String::new(), "")
    );
    assert_eq!((model.runs, transcript.duration), (0, 20.0));
    let file = pipeline.transcribe(&mut model, &silence, &voice()).unwrap();
    assert_eq!(transcript, file);
    let none = pipeline.stream(&voice()).unwrap();
    let error = none.finish(&pipeline, &mut model).unwrap_err();
    assert!(matches!(error, TranscribeError::NoSound));
}

#[test]
fn what_needs_the_whole_sound_is_refused_and_sound_that_is_none_as_well() {
    let (pipeline, mut model) = Counted::open();
    for options in [
        TranscribeOptions {
            clip_timestamps: vec![1.0],
            ..TranscribeOptions::default()
        },
        TranscribeOptions {
            skip_silence: Some(-40.0),
            ..TranscribeOptions::default()
        },
    ] {
        let error = pipeline.stream(&options).unwrap_err().to_string();
        assert!(error.contains("there as a whole"), "{error}");
    }
    let mut stream = pipeline.stream(&TranscribeOptions::default()).unwrap();
    stream.push(&[f32::NAN; 2 * RATE]).unwrap();
    assert!(stream.update(&pipeline, &mut model).is_err());
}
