//! The text of a file while it is decoded: what is told, joined, is the text, and nothing is taken back.

use std::ops::ControlFlow;

use crosslatch::{Model, Options};
use crosslatch_tasks::speech::transcribe_channels;
use crosslatch_tasks::{
    Event, ExportedSpeechModel, SpeechPipeline, TranscribeOptions, Transcript, VoiceFilter,
    speech_pipeline,
};

use super::stream::long;

fn open() -> (SpeechPipeline, Model) {
    let model = Model::open("../../demo/model.pt2").unwrap();
    (speech_pipeline(&model).unwrap(), model)
}

fn session(model: &Model) -> ExportedSpeechModel {
    ExportedSpeechModel::new(model, Options::default()).unwrap()
}

/// What was told: all text, in how many pieces, and the text of the segments so far.
#[derive(Default)]
struct Told {
    text: String,
    pieces: usize,
    segments: usize,
}

impl Told {
    fn take(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Text(text) => {
                assert!(!text.is_empty() && !text.contains('\u{fffd}'), "{text:?}");
                self.text.push_str(text);
                self.pieces += 1;
            }
            Event::Segment(segment) => {
                // Its text was told before it.
                assert!(self.text.contains(&segment.text), "{}", segment.text);
                self.segments += 1;
            }
            Event::Progress { .. } | Event::Languages(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn check(&self, transcript: &Transcript) {
        assert_eq!(self.text, transcript.text);
        assert_eq!(self.segments, transcript.segments.len());
        assert!(self.segments > 1);
    }
}

#[test]
fn tokens_are_told_at_once_where_nothing_can_refuse_them() {
    let (pipeline, model) = open();
    let (samples, mut session) = (long(), session(&model));
    let plain = TranscribeOptions::default();
    let at_once = [
        plain.clone(),
        TranscribeOptions {
            timestamps: Some(false),
            ..plain.clone()
        },
        TranscribeOptions {
            beam_size: Some(3),
            timestamps: Some(false),
            ..plain.clone()
        },
        TranscribeOptions {
            temperatures: vec![0.6],
            logprob_threshold: Some(-0.1),
            seed: 5,
            ..plain.clone()
        },
        TranscribeOptions {
            word_timestamps: true,
            condition_on_previous: Some(true),
            voice: Some(VoiceFilter::default()),
            ..plain.clone()
        },
        TranscribeOptions {
            no_speech_threshold: Some(f32::INFINITY),
            logprob_threshold: Some(f32::NEG_INFINITY),
            ..plain.clone()
        },
    ];
    for options in at_once {
        let mut told = Told::default();
        let tell = |event: Event<'_>| told.take(event);
        let transcript = pipeline.transcribe_with(&mut session, &samples, &options, tell);
        told.check(&transcript.unwrap());
        assert!(
            told.pieces > 2 * told.segments,
            "{} {options:?}",
            told.pieces
        );
    }
    let held = [
        plain.clone().with_fallback(),
        TranscribeOptions {
            hallucination_silence_threshold: Some(1.0),
            ..plain.clone()
        },
        TranscribeOptions {
            temperatures: vec![0.6],
            best_of: Some(3),
            ..plain
        },
    ];
    for options in held {
        let mut told = Told::default();
        let tell = |event: Event<'_>| told.take(event);
        let transcript = pipeline.transcribe_with(&mut session, &samples, &options, tell);
        told.check(&transcript.unwrap());
        assert!(told.pieces <= told.segments, "{} {options:?}", told.pieces);
    }
}

#[test]
fn pieces_and_channels_are_told_in_order() {
    let (pipeline, model) = open();
    let samples = long();
    let mut sessions = [session(&model), session(&model)];
    let options = TranscribeOptions::default();
    let mut told = Told::default();
    let tell = |event: Event<'_>| told.take(event);
    let transcript = pipeline.transcribe_batch(&mut sessions, &samples, &options, tell);
    told.check(&transcript.unwrap());
    let later = [&vec![0.0; 20_000], samples.as_slice()].concat();
    let mut told = Told::default();
    let tell = |event: Event<'_>| told.take(event);
    let channels = [samples, later];
    let transcript = transcribe_channels(&channels, tell, |samples, tell| {
        pipeline.transcribe_with(&mut sessions[0], samples, &options, tell)
    });
    told.check(&transcript.unwrap());
}

#[test]
fn a_break_at_a_text_ends_the_transcript_with_it() {
    let (pipeline, model) = open();
    let (samples, mut session) = (long(), session(&model));
    for beam_size in [None, Some(3)] {
        let options = TranscribeOptions {
            timestamps: Some(false),
            beam_size,
            ..TranscribeOptions::default()
        };
        let whole = pipeline
            .transcribe(&mut session, &samples, &options)
            .unwrap();
        let first = &whole.segments[0].text;
        for wanted in [1, 2, 5] {
            let (mut text, mut count, mut is_over) = (String::new(), 0, false);
            let stop = |event: Event<'_>| {
                assert!(!is_over, "{event:?}");
                if let Event::Text(new) = event {
                    text.push_str(new);
                    count += 1;
                    is_over = count == wanted;
                }
                match is_over {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let cut = pipeline
                .transcribe_with(&mut session, &samples, &options, stop)
                .unwrap();
            assert!(cut.text.starts_with(&text) && whole.text.starts_with(&text));
            let is_within = text.len() < first.len();
            assert!(
                !is_within || (cut.text == text && !cut.segments[0].complete),
                "{}",
                cut.text
            );
            assert!(cut.text.len() < whole.text.len());
        }
    }
}
