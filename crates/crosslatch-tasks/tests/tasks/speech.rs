//! The decoding loop over scripted models.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crosslatch_tasks::{
    Decoder, Event, LogMel, SpeechModel, SpeechPipeline, TextTokenizer, TranscribeError, Transcript,
};
use crosslatch_tasks::{TranscribeOptions, WhisperConfig};

/// A tokenizer whose token `i` is the word `w<i>`, token 1 being special.
pub fn tokenizer(size: usize) -> TextTokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..size).map(|i| (format!("w{i}"), i.into())).collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [{"id": 1, "content": "w1", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"}
    });
    TextTokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

pub const VOCAB: usize = 32;

#[derive(Debug, thiserror::Error)]
#[error("the script has ended")]
struct Ended;

/// Plays back rows of scores and writes down what it was asked.
#[derive(Default)]
struct Scripted {
    rows: VecDeque<Vec<f32>>,
    row: Vec<f32>,
    windows: Vec<(f32, usize, usize)>,
    /// Number of frames of each window up to the last one that is not blank.
    heard: Vec<usize>,
    fed: Vec<(Vec<i64>, usize)>,
}

impl Scripted {
    fn playing<const N: usize>(rows: [Vec<f32>; N]) -> Self {
        let rows = rows.into();
        Self {
            rows,
            ..Self::default()
        }
    }

    /// Prefers these tokens, one a step.
    fn preferring(tokens: &[usize]) -> Self {
        let rows = tokens.iter().map(|&token| ranked(&[token])).collect();
        Self {
            rows,
            ..Self::default()
        }
    }
}

/// Scores with these tokens on top, best first.
fn ranked(best: &[usize]) -> Vec<f32> {
    let mut row = vec![0.0; VOCAB];
    for (place, &token) in best.iter().enumerate() {
        row[token] = 10.0 - place as f32;
    }
    row
}

impl SpeechModel for Scripted {
    fn encode(&mut self, features: &[f32], mels: usize, frames: usize) -> Result<(), Ended> {
        assert_eq!(features.len(), mels * frames);
        let high = features.iter().copied().fold(f32::MIN, f32::max);
        self.windows.push((high, mels, frames));
        let is_heard = |&frame: &usize| {
            features
                .iter()
                .skip(frame)
                .step_by(frames)
                .any(|&x| x != 0.0)
        };
        let last = (0..frames).rev().find(is_heard);
        self.heard.push(last.map_or(0, |last| last + 1));
        Ok(())
    }
}

impl Decoder for Scripted {
    type Error = Ended;

    fn decode(&mut self, _: usize, tokens: &[i64], position: usize) -> Result<&[f32], Ended> {
        self.fed.push((tokens.to_vec(), position));
        self.row = self.rows.pop_front().ok_or(Ended)?;
        Ok(&self.row)
    }
}

pub fn pipeline(generation: serde_json::Value) -> SpeechPipeline {
    let mut settings = serde_json::json!({
        "decoder_start_token_id": 2, "eos_token_id": 1, "no_timestamps_token_id": 29, "max_length": 10,
        "is_multilingual": true, "lang_to_id": {"<|en|>": 3, "<|de|>": 4},
        "task_to_id": {"transcribe": 5, "translate": 6}
    });
    for (name, value) in generation.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let config = br#"{"max_target_positions": 16}"#;
    SpeechPipeline {
        features: LogMel::from_json(br#"{"chunk_length": 1}"#).unwrap(),
        tokenizer: tokenizer(VOCAB),
        config: WhisperConfig::from_json(Some(settings.to_string().as_bytes()), config).unwrap(),
    }
}

fn english() -> TranscribeOptions {
    TranscribeOptions {
        language: Some("en".to_owned()),
        timestamps: Some(false),
        ..TranscribeOptions::default()
    }
}

fn run(
    pipeline: &SpeechPipeline,
    model: &mut Scripted,
    options: &TranscribeOptions,
) -> Result<Transcript, TranscribeError<Ended>> {
    pipeline.transcribe(model, &[0.1; 16_000], options)
}

#[test]
fn the_prompt_goes_in_at_once_and_tokens_one_by_one_until_the_end() {
    let mut model = Scripted::preferring(&[10, 11, 1]);
    let transcript = run(&pipeline(serde_json::json!({})), &mut model, &english()).unwrap();
    let fed = [(vec![2, 3, 5, 29], 0), (vec![10], 4), (vec![11], 5)];
    assert_eq!(model.fed, fed);
    assert_eq!(transcript.text, "w10 w11");
    assert_eq!(transcript.language.as_deref(), Some("en"));
    let segment = &transcript.segments[0];
    assert_eq!(
        (segment.tokens.as_slice(), segment.complete),
        ([10, 11].as_slice(), true)
    );
    let expected = -(1.0 + 31.0 * (-10.0_f32).exp()).ln();
    assert!((segment.avg_logprob - expected).abs() < 1e-5);
}

#[test]
fn each_segment_is_handed_out_when_it_is_decoded_and_a_break_ends_the_transcript() {
    let rows = || Scripted::preferring(&[10, 1, 11, 1, 12, 1]);
    let (pipeline, samples) = (pipeline(serde_json::json!({})), [0.1; 48_000]);
    let (mut texts, mut model) = (Vec::new(), rows());
    let transcript = pipeline.transcribe_with(&mut model, &samples, &english(), |event| {
        if let Event::Segment(segment) = event {
            texts.push(segment.text.clone());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(texts, ["w10", "w11", "w12"]);
    assert_eq!(transcript.unwrap().text, "w10 w11 w12");
    let mut model = rows();
    let transcript =
        pipeline.transcribe_with(&mut model, &samples, &english(), |event| match event {
            Event::Segment(segment) if segment.text == "w11" => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    assert_eq!(transcript.unwrap().text, "w10 w11");
    assert_eq!(model.windows.len(), 2);
}

#[test]
fn a_language_is_detected_once_among_the_languages() {
    let mut model = Scripted::playing([
        ranked(&[20, 4, 3]),
        ranked(&[10]),
        ranked(&[1]),
        ranked(&[11]),
        ranked(&[1]),
    ]);
    let samples = [0.1; 20_000];
    let transcript = pipeline(serde_json::json!({}))
        .transcribe(
            &mut model,
            &samples,
            &TranscribeOptions {
                language: None,
                ..english()
            },
        )
        .unwrap();
    let fed = [
        (vec![2], 0),
        (vec![4, 29], 1),
        (vec![10], 3),
        (vec![2, 4, 29], 0),
        (vec![11], 3),
    ];
    assert_eq!(model.fed, fed);
    assert_eq!(transcript.language.as_deref(), Some("de"));
    assert_eq!(transcript.text, "w10 w11");
}

#[test]
fn the_language_is_told_before_the_first_segment_with_its_probability() {
    let told = |options: &TranscribeOptions, generation: serde_json::Value| {
        let mut model = Scripted::playing([ranked(&[20, 4, 3]), ranked(&[10]), ranked(&[1])]);
        let mut told = Vec::new();
        let outcome =
            pipeline(generation).transcribe_with(&mut model, &[0.1; 16_000], options, |event| {
                match event {
                    Event::Languages(languages) => told.push(languages.to_vec()),
                    Event::Segment(_) => assert_eq!(told.len(), 1),
                    Event::Progress { .. } | Event::Text(_) => {}
                }
                ControlFlow::Continue(())
            });
        assert_eq!(told.len(), 1);
        let first = told[0].first().map(|language| language.code.clone());
        assert_eq!(outcome.unwrap().language, first);
        let told = told.remove(0).into_iter();
        told.map(|l| (l.code, l.probability)).collect::<Vec<_>>()
    };
    let open = TranscribeOptions {
        language: None,
        ..english()
    };
    let detected = told(&open, serde_json::json!({}));
    let codes: Vec<&str> = detected.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["de", "en"]);
    let odds = 1.0_f32.exp();
    assert!((detected[0].1 - odds / (1.0 + odds)).abs() < 1e-6);
    assert!((detected[1].1 - 1.0 / (1.0 + odds)).abs() < 1e-6);
    let certain = vec![("en".to_owned(), 1.0)];
    assert_eq!(told(&english(), serde_json::json!({})), certain);
    let only = serde_json::json!({"is_multilingual": false, "lang_to_id": null});
    assert_eq!(told(&open, only), certain);
    let nameless = serde_json::json!({"is_multilingual": null, "lang_to_id": null});
    assert_eq!(told(&open, nameless), []);
}

#[test]
fn clips_are_windows_of_their_own_and_hear_nothing_after_their_end() {
    let rows = || Scripted::preferring(&[30, 10, 1, 30, 11, 1, 30, 12, 1]);
    let pipeline = pipeline(serde_json::json!({}));
    let samples: Vec<f32> = (0..49_000).map(|i| (i as f32 * 0.2).sin() * 0.1).collect();
    let options = TranscribeOptions {
        timestamps: Some(true),
        clip_timestamps: vec![0.504, 0.9, 2.0],
        ..english()
    };
    let mut model = rows();
    let transcript = pipeline.transcribe(&mut model, &samples, &options).unwrap();
    let segments = transcript.segments.iter();
    let found: Vec<_> = segments
        .map(|s| (s.seek, s.start, s.end, s.text.as_str()))
        .collect();
    // In steps of a frame, which is 10 ms; the last window begins where the one before it ended.
    assert_eq!(found[..2], [(50, 0.5, 0.9, "w10"), (200, 2.0, 3.0, "w11")]);
    assert_eq!((found.len(), found[2].0, found[2].3), (3, 300, "w12"));
    assert_eq!(model.heard, [40, 100, 6]);
}

#[test]
fn suppressed_tokens_are_never_taken_and_begin_ones_not_first() {
    let rules = serde_json::json!({"suppress_tokens": [10, 11], "begin_suppress_tokens": [1, 12]});
    let mut model = Scripted::playing([
        ranked(&[1, 10, 12, 13]),
        ranked(&[11, 12]),
        ranked(&[10, 1]),
    ]);
    let transcript = run(&pipeline(rules), &mut model, &english()).unwrap();
    assert_eq!(transcript.segments[0].tokens, [13, 12]);
}

#[test]
fn lengths_hold() {
    for (rules, options, expected) in [
        (serde_json::json!({}), None, 10),
        (serde_json::json!({"max_length": 448}), None, 12),
        (serde_json::json!({"max_new_tokens": 3}), None, 3),
        (serde_json::json!({"max_new_tokens": 3}), Some(5), 5),
    ] {
        let mut model = Scripted::preferring(&[10; 40]);
        let options = TranscribeOptions {
            max_new_tokens: options,
            ..english()
        };
        let transcript = run(&pipeline(rules), &mut model, &options).unwrap();
        let segment = &transcript.segments[0];
        assert_eq!((segment.tokens.len(), segment.complete), (expected, false));
        // The last token is not fed: there may be no position for it.
        assert_eq!(model.fed.len(), expected);
    }
    let options = TranscribeOptions {
        max_new_tokens: Some(13),
        ..english()
    };
    let error = run(
        &pipeline(serde_json::json!({})),
        &mut Scripted::default(),
        &options,
    )
    .unwrap_err();
    assert!(error.to_string().contains("16 positions"), "{error}");
}

#[test]
fn windows_come_in_order_with_their_times_and_progress() {
    let mut model = Scripted::preferring(&[10, 1, 1, 12, 1]);
    // Three windows of one second, the last one a quarter full, the second one louder.
    let mut samples = vec![0.01_f32; 36_000];
    samples[16_000..32_000]
        .iter_mut()
        .step_by(2)
        .for_each(|x| *x = -0.9);
    let mut seen = Vec::new();
    let transcript = pipeline(serde_json::json!({}))
        .transcribe_with(&mut model, &samples, &english(), |event| {
            if let Event::Progress { done, total } = event {
                seen.push((done, total));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let times: Vec<_> = transcript
        .segments
        .iter()
        .map(|s| (s.start, s.end))
        .collect();
    assert_eq!(times, [(0.0, 1.0), (1.0, 2.0), (2.0, 2.25)]);
    assert_eq!(
        seen,
        [
            (0.0, 2.25),
            (1.0, 2.25),
            (2.0, 2.25),
            (2.25, 2.25),
            (2.25, 2.25)
        ]
    );
    assert_eq!(transcript.text, "w10 w12");
    assert_eq!(transcript.segments[1].text, "");
    assert!(model.windows[1].0 > model.windows[0].0);
    assert_eq!(
        (model.windows.len(), model.windows[0].1, model.windows[0].2),
        (3, 80, 100)
    );
}

#[test]
fn a_remainder_without_room_for_a_word_is_not_decoded() {
    let mut model = Scripted::preferring(&[10, 1]);
    let transcript = pipeline(serde_json::json!({}))
        .transcribe(&mut model, &[0.1; 16_100], &english())
        .unwrap();
    assert_eq!(transcript.segments.len(), 1);
    assert!(transcript.duration > 1.006);
}

#[test]
fn timestamps_and_special_tokens_make_no_text() {
    let mut model = Scripted::preferring(&[10, 30, 31, 11, 1]);
    let transcript = run(&pipeline(serde_json::json!({})), &mut model, &english()).unwrap();
    assert_eq!(transcript.text, "w10 w11");
    assert_eq!(transcript.segments[0].tokens, [10, 30, 31, 11]);
}

#[test]
fn bad_scores_and_failing_models_are_errors_with_their_place() {
    let mut model = Scripted::preferring(&[10]);
    model.rows.push_back(vec![f32::NAN; VOCAB]);
    let error = run(&pipeline(serde_json::json!({})), &mut model, &english()).unwrap_err();
    assert!(
        matches!(error, TranscribeError::Scores { position: 4, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("NaN"));

    let error = run(
        &pipeline(serde_json::json!({})),
        &mut Scripted::preferring(&[10]),
        &english(),
    )
    .unwrap_err();
    assert!(
        matches!(error, TranscribeError::Decoder { position: 4, .. }),
        "{error}"
    );

    let mut model = Scripted::default();
    model.rows.push_back(Vec::new());
    assert!(run(&pipeline(serde_json::json!({})), &mut model, &english()).is_err());
    let nothing = pipeline(serde_json::json!({})).transcribe(&mut model, &[], &english());
    assert!(matches!(nothing, Err(TranscribeError::NoSound)));
}

#[test]
fn a_tokenizer_encodes_decodes_and_refuses() {
    let tokenizer = tokenizer(VOCAB);
    assert_eq!(tokenizer.encode("w20 w22", false).unwrap(), [20, 22]);
    assert_eq!(tokenizer.decode(&[20, 1, 22, 9_999]).unwrap(), "w20 w22");
    assert_eq!(
        (tokenizer.id("w5"), tokenizer.id("absent")),
        (Some(5), None)
    );
    assert_eq!(tokenizer.vocabulary_size(), VOCAB);
    let error = TextTokenizer::from_bytes(b"{}").unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}
