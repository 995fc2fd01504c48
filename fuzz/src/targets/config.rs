//! The configuration files of a model, and transformers' list of a model's parts.
//!
//! An input holds four files with a zero byte between them: `generation_config.json`, `config.json`,
//! `preprocessor_config.json`, `export.json`. The first three then configure a model with random scores,
//! which generates a text and transcribes a moment of sound.

use std::convert::Infallible;

use crosslatch::Model;
use crosslatch_tasks::{
    Decoder, GenerateOptions, LogMel, SpeechModel, SpeechPipeline, Task, TextLimits, TextModel,
    TextPipeline, TextTokenizer, TranscribeOptions, WhisperConfig,
};

use super::archive::scratch;
use super::tokenizer::WORD_LEVEL;
use super::{Target, kind_of};
use crate::mutation::{Chance, json};

pub const TARGET: Target = Target {
    name: "config",
    run,
    seeds,
    mutate,
    longest: 1 << 13,
};

/// Small files of a speech model, by name.
pub const FILES: &[(&str, &str)] = &[
    ("generation_config.json", GENERATION),
    ("config.json", MODEL),
    ("preprocessor_config.json", PREPROCESSOR),
];

const GENERATION: &str = r#"{"decoder_start_token_id": 5, "eos_token_id": 4, "is_multilingual": true,
"lang_to_id": {"<|en|>": 6, "<|de|>": 7}, "task_to_id": {"transcribe": 8, "translate": 9},
"no_timestamps_token_id": 10, "suppress_tokens": [1, 2, -1], "begin_suppress_tokens": [3],
"forced_decoder_ids": [[1, null], [2, 8]], "prev_sot_token_id": 3, "max_length": 40,
"max_initial_timestamp_index": 50, "return_timestamps": false, "num_beams": 2,
"length_penalty": 1.0, "early_stopping": "never", "compression_ratio_threshold": 2.4,
"logprob_threshold": -1.0, "no_speech_threshold": 0.6}"#;

const MODEL: &str =
    r#"{"max_target_positions": 48, "vocab_size": 100, "decoder_start_token_id": 5}"#;

const PREPROCESSOR: &str = r#"{"feature_extractor_type": "WhisperFeatureExtractor",
"feature_size": 8, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 1, "n_fft": 400,
"padding_side": "right", "padding_value": 0.0, "dither": 0.0}"#;

const TEXT: &str = r#"{"decoder_start_token_id": 0, "eos_token_id": [1, 2], "forced_bos_token_id": 3,
"forced_eos_token_id": 1, "max_length": 20, "min_length": 2, "max_new_tokens": null,
"no_repeat_ngram_size": 3, "encoder_no_repeat_ngram_size": 2, "repetition_penalty": 1.2,
"encoder_repetition_penalty": 1.1, "bad_words_ids": [[4], [5, 6]], "suppress_tokens": [7],
"begin_suppress_tokens": [8], "num_beams": 4, "num_return_sequences": 2, "length_penalty": 0.8,
"early_stopping": true, "do_sample": false, "max_position_embeddings": 32}"#;

const NESTED: &str =
    r#"{"feature_extractor": {"feature_size": 80, "n_fft": 64, "hop_length": 32}}"#;

const PARTS: &str = r#"{"export_format": "dynamo", "components": {"prefill": {"file": "a.pt2"},
"decode": {"file": "b.pt2"}}}"#;

fn seeds() -> Vec<Vec<u8>> {
    let of = |files: [&str; 4]| files.join("\0").into_bytes();
    vec![
        of([GENERATION, MODEL, PREPROCESSOR, PARTS]),
        of(["", MODEL, NESTED, ""]),
        of([TEXT, TEXT, PREPROCESSOR, ""]),
    ]
}

fn run(bytes: &[u8]) -> String {
    let mut files = bytes.split(|b| *b == 0);
    let mut file = || files.next().unwrap_or_default();
    let [generation, config, preprocessor, parts] = [file(), file(), file(), file()];
    let generation = (!generation.is_empty()).then_some(generation);
    let answers = [
        speech(generation, config),
        text(generation, config),
        features(preprocessor),
        transcript(preprocessor, generation, config),
        folder(parts),
    ];
    let is_good = answers.iter().any(|a| a.starts_with("good"));
    format!(
        "{}: {}",
        if is_good { "good" } else { "bad" },
        answers.join("; ")
    )
}

fn speech(generation: Option<&[u8]>, config: &[u8]) -> String {
    let config = match WhisperConfig::from_json(generation, config) {
        Ok(config) => config,
        Err(error) => return kind_of(&error.to_string()),
    };
    let mut answer = String::from("good");
    let plain = TranscribeOptions::default();
    let german = TranscribeOptions {
        language: Some("german".to_owned()),
        task: Some(Task::Translate),
        timestamps: Some(true),
        ..TranscribeOptions::default()
    };
    for options in [plain, german] {
        for is_long in [false, true] {
            match config.plan(&options, is_long) {
                Ok(_) => answer.push_str(" plan"),
                Err(error) => answer.push_str(&kind_of(&error.to_string())),
            }
        }
    }
    answer
}

fn text(generation: Option<&[u8]>, config: &[u8]) -> String {
    let limits = TextLimits {
        source: Some(8),
        positions: Some(12),
        goes_on: false,
    };
    let tokenizer = match TextTokenizer::from_bytes(WORD_LEVEL.as_bytes()) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return kind_of(&error.to_string()),
    };
    let pipeline = TextPipeline::new(tokenizer, generation, config, limits);
    let pipeline = match pipeline {
        Ok(pipeline) => pipeline,
        Err(error) => return kind_of(&error.to_string()),
    };
    let french = GenerateOptions {
        target_language: Some("fra".to_owned()),
        truncate: true,
        ..GenerateOptions::default()
    };
    let mut answer = String::from("good");
    for options in [GenerateOptions::default(), french] {
        let mut model = Drawn::new();
        match pipeline.generate(&mut model, "hello world hello", &options) {
            Ok(text) => answer.push_str(if text.best.complete { " ended" } else { " cut" }),
            Err(error) => answer.push_str(&kind_of(&error.to_string())),
        }
    }
    answer
}

/// Transcribes a moment of sound, unless a window is much longer.
fn transcript(preprocessor: &[u8], generation: Option<&[u8]>, config: &[u8]) -> String {
    let tokenizer = WORD_LEVEL.as_bytes();
    let pipeline =
        SpeechPipeline::from_json::<Infallible>(preprocessor, tokenizer, generation, config);
    let pipeline = match pipeline {
        Ok(pipeline) => pipeline,
        Err(error) => return kind_of(&error.to_string()),
    };
    let features = &pipeline.features;
    if is_large(features) {
        return "good: large".to_owned();
    }
    let samples = vec![0.25; features.window_samples() * 5 / 4];
    let options = TranscribeOptions {
        max_new_tokens: Some(6),
        ..TranscribeOptions::default()
    };
    match pipeline.transcribe(&mut Drawn::new(), &samples, &options) {
        Ok(transcript) => format!("good: {} segments", transcript.segments.len().min(9)),
        Err(error) => kind_of(&error.to_string()),
    }
}

/// A model with random scores.
struct Drawn {
    chance: Chance,
    scores: [f32; 16],
}

impl Drawn {
    fn new() -> Drawn {
        Drawn {
            chance: Chance::with_seed(5),
            scores: [0.0; 16],
        }
    }
}

impl Decoder for Drawn {
    type Error = Infallible;

    fn decode(&mut self, _: usize, _: &[i64], _: usize) -> Result<&[f32], Infallible> {
        self.scores = std::array::from_fn(|_| self.chance.f32() * 8.0 - 4.0);
        Ok(&self.scores)
    }
}

impl TextModel for Drawn {
    fn encode(&mut self, _: &[i64]) -> Result<(), Infallible> {
        Ok(())
    }
}

impl SpeechModel for Drawn {
    fn encode(&mut self, _: &[f32], _: usize, _: usize) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A larger window takes longer because it is large, which is not a finding.
fn is_large(extractor: &LogMel) -> bool {
    extractor.window_samples() > 1 << 15 || extractor.mels() * extractor.frames() > 1 << 17
}

fn features(preprocessor: &[u8]) -> String {
    let extractor = match LogMel::from_json(preprocessor) {
        Ok(extractor) => extractor,
        Err(error) => return kind_of(&error.to_string()),
    };
    if is_large(&extractor) {
        return "good: large".to_owned();
    }
    let samples = vec![0.25; extractor.window_samples() / 2];
    let mut features = Vec::new();
    match extractor.extract(&samples, &mut features) {
        Ok(()) => "good: computed".to_owned(),
        Err(error) => kind_of(&error.to_string()),
    }
}

/// A folder with this list in it, and none of the files that it lists.
fn folder(parts: &[u8]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let path = scratch("-parts");
    let written = std::fs::create_dir_all(&path)
        .and_then(|()| std::fs::write(path.join("export.json"), parts));
    if let Err(error) = written {
        return format!("cannot be written: {error}");
    }
    let opened = Model::open(&path);
    let _ = std::fs::remove_dir_all(&path);
    match opened {
        Ok(_) => "good".to_owned(),
        Err(error) => {
            let text = error.to_string().replace(&path.display().to_string(), "");
            kind_of(&text)
        }
    }
}

/// Changes one of the four files.
fn mutate(chance: &mut Chance, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut files: Vec<Vec<u8>> = input.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    let others: Vec<&[u8]> = other.split(|b| *b == 0).collect();
    let at = chance.usize(0..files.len());
    let donor = others.get(at).copied().unwrap_or_default();
    files[at] = json::mutate(chance, &files[at], donor);
    // A mutation may leave a zero behind, which would shift the files; that is a change as well.
    files.join(&0)
}
