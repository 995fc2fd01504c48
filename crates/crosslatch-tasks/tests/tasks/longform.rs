//! Long sound, timestamps, history, beams and thresholds: the segments of transformers' generate.

use std::convert::Infallible;

use crosslatch_tasks::{Decoder, LogMel, SpeechModel, SpeechPipeline};
use crosslatch_tasks::{Task, TranscribeOptions, WhisperConfig};
use serde_json::Value;

use crate::fixture;

const VOCAB: usize = 128;
/// Samples of a frame.
const HOP: usize = 160;

/// The formula of `make_longform.py`.
struct Script {
    case: u64,
    bonus: Vec<(usize, usize, f32)>,
    scale: f32,
    sequences: usize,
    /// What each sequence holds, and for each window all that a sequence ever held.
    held: Vec<Vec<i64>>,
    windows: Vec<Vec<Vec<i64>>>,
    row: Vec<f32>,
}

impl Script {
    fn new(case: &Value, sequences: usize) -> Self {
        let bonus = case["bonus"].as_array().unwrap().iter();
        Self {
            case: case["case"].as_u64().unwrap(),
            bonus: bonus
                .map(|b| (index(&b[0]), index(&b[1]), b[2].as_f64().unwrap() as f32))
                .collect(),
            scale: case["scale"].as_f64().unwrap() as f32,
            sequences,
            held: vec![Vec::new(); sequences],
            windows: Vec::new(),
            row: Vec::new(),
        }
    }
}

impl SpeechModel for Script {
    fn encode(&mut self, _: &[f32], _: usize, _: usize) -> Result<(), Infallible> {
        self.held.iter_mut().for_each(Vec::clear);
        self.windows.push(Vec::new());
        Ok(())
    }
}

impl Decoder for Script {
    type Error = Infallible;

    fn sequences(&mut self, wanted: usize) -> Result<usize, Infallible> {
        Ok(wanted.min(self.sequences))
    }

    fn decode(
        &mut self,
        sequence: usize,
        tokens: &[i64],
        position: usize,
    ) -> Result<&[f32], Infallible> {
        let held = &mut self.held[sequence];
        assert!(
            position <= held.len(),
            "the cache has a gap before {position}"
        );
        held.truncate(position);
        held.extend(tokens);
        let (last, token) = (held.len() as u64 - 1, held[held.len() - 1] as u64);
        let window = self.windows.len() as u64 - 1;
        self.windows[window as usize].push(held.clone());
        self.row.clear();
        self.row.extend((0..VOCAB).map(|id| {
            let sum = last * 73_856_093
                + token * 19_349_663
                + id as u64 * 83_492_791
                + (self.case + 101 * window) * 2_654_435_761;
            let h = sum & 0xffff_ffff;
            let h = ((h ^ (h >> 15)) * 2_246_822_519) & 0xffff_ffff;
            let mut score = ((h ^ (h >> 13)) & 0xffff) as f32 / 4096.0;
            for &(first, end, bonus) in &self.bonus {
                if (first..end).contains(&id) {
                    score += bonus;
                }
            }
            score * self.scale
        }));
        Ok(&self.row)
    }
}

fn index(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|x| x as f32)
}

fn pipeline(case: &Value) -> SpeechPipeline {
    let mut generation = case["generation"].clone();
    let arguments = &case["arguments"];
    for name in ["length_penalty", "early_stopping"] {
        if !arguments[name].is_null() {
            generation[name] = arguments[name].clone();
        }
    }
    let generation = generation.to_string();
    let config = case["config"].to_string();
    SpeechPipeline {
        features: LogMel::from_json(br#"{"chunk_length": 1, "feature_size": 4}"#).unwrap(),
        tokenizer: crate::speech::tokenizer(VOCAB),
        config: WhisperConfig::from_json(Some(generation.as_bytes()), config.as_bytes()).unwrap(),
    }
}

fn options(arguments: &Value) -> TranscribeOptions {
    let prompt = arguments["prompt"].as_array().map(|ids| {
        let words: Vec<String> = ids.iter().map(|id| format!("w{id}")).collect();
        words.join(" ")
    });
    let temperatures = arguments["temperature"].as_array();
    TranscribeOptions {
        language: arguments["language"].as_str().map(str::to_owned),
        task: arguments["task"].as_str().map(|_| Task::Translate),
        timestamps: arguments["return_timestamps"].as_bool(),
        prompt,
        prompt_always: arguments["prompt_condition_type"] == "all-segments",
        condition_on_previous: arguments["condition_on_prev_tokens"].as_bool(),
        max_new_tokens: arguments["max_new_tokens"].as_u64().map(|n| n as usize),
        beam_size: arguments["num_beams"].as_u64().map(|n| n as usize),
        temperatures: temperatures
            .map(|all| all.iter().filter_map(number).collect())
            .unwrap_or(vec![0.0]),
        compression_ratio_threshold: number(&arguments["compression_ratio_threshold"]),
        logprob_threshold: number(&arguments["logprob_threshold"]),
        no_speech_threshold: number(&arguments["no_speech_threshold"]),
        suppress_tokens: serde_json::from_value(arguments["suppress_tokens"].clone()).unwrap(),
        ..TranscribeOptions::default()
    }
}

fn check(case: &Value, sequences: usize) {
    let name = &case["name"];
    let pipeline = pipeline(case);
    let options = options(&case["arguments"]);
    pipeline.check(&options).unwrap();
    let samples = vec![0.1; index(&case["frames"]) * HOP];
    let mut model = Script::new(case, sequences);
    let transcript = pipeline.transcribe(&mut model, &samples, &options).unwrap();
    let windows = case["windows"].as_array().unwrap();
    // One encoder run a window, whatever is tried.
    assert_eq!(model.windows.len(), windows.len(), "{name}");
    let mut segments = transcript.segments.iter();
    for (window, fed) in windows.iter().zip(&model.windows) {
        let prompt: Vec<i64> = serde_json::from_value(window["prompt"].clone()).unwrap();
        let past = fed.iter().filter(|tokens| tokens.len() >= prompt.len());
        assert!(past.clone().count() > 0, "{name}");
        for tokens in past {
            assert_eq!(tokens[..prompt.len()], prompt, "{name}, {}", window["seek"]);
        }
        for expected in window["segments"].as_array().unwrap() {
            let segment = segments
                .next()
                .expect("a segment for each of transformers'");
            let tokens: Vec<u32> = serde_json::from_value(expected["tokens"].clone()).unwrap();
            assert_eq!(segment.tokens, tokens, "{name}, {}", window["seek"]);
            let close = |ours: f64, theirs: &Value| {
                let theirs = theirs.as_f64().unwrap().min(transcript.duration);
                (ours - theirs).abs() < 1e-6
            };
            assert!(close(segment.start, &expected["start"]), "{name}");
            assert!(close(segment.end, &expected["end"]), "{name}");
            let tried = options.temperatures[index(&window["tries"]) - 1];
            assert_eq!(segment.temperature, tried, "{name}");
        }
    }
    assert!(segments.next().is_none(), "{name}");
}

#[test]
fn long_sound_is_decoded_as_transformers_decodes_it() {
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture("longform.json")).unwrap()).unwrap();
    assert!(cases.len() > 40);
    for case in &cases {
        // With a sequence for each beam, and with fewer, which are taken in turns.
        for sequences in [5, 1, 2] {
            check(case, sequences);
        }
    }
}
