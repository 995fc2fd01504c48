//! Prompts, tokens and lengths equal to transformers' generate on scripted scores, and refusals.

use std::convert::Infallible;

use crosslatch_tasks::rules::History;
use crosslatch_tasks::{ConfigError, OptionsError, Task, TranscribeOptions, WhisperConfig};
use crosslatch_tasks::{Decoder, LogMel, SpeechModel, SpeechPipeline};
use serde_json::{Value, json};

use crate::fixture;

const VOCAB: usize = 64;

/// The formula of `make_generation.py`.
struct Formula {
    case: u64,
    row: Vec<f32>,
    prompt: Vec<i64>,
}

impl SpeechModel for Formula {
    fn encode(&mut self, _: &[f32], _: usize, _: usize) -> Result<(), Infallible> {
        self.prompt.clear();
        Ok(())
    }
}

impl Decoder for Formula {
    type Error = Infallible;

    fn decode(&mut self, _: usize, tokens: &[i64], position: usize) -> Result<&[f32], Infallible> {
        if position <= 1 {
            self.prompt.extend(tokens);
        }
        let last = (position + tokens.len() - 1) as u64;
        let token = tokens[tokens.len() - 1] as u64;
        self.row.clear();
        self.row.extend((0..VOCAB as u64).map(|id| {
            let sum = last * 73_856_093
                + token * 19_349_663
                + id * 83_492_791
                + self.case * 2_654_435_761;
            let h = sum & 0xffff_ffff;
            let h = ((h ^ (h >> 15)) * 2_246_822_519) & 0xffff_ffff;
            ((h ^ (h >> 13)) & 0xffff) as f32 / 4096.0
        }));
        Ok(&self.row)
    }
}

#[test]
fn equal_to_transformers_generate() {
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture("generation.json")).unwrap()).unwrap();
    assert!(cases.len() > 15);
    let ids = |v: &Value| {
        v.as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as u32)
            .collect::<Vec<_>>()
    };
    for case in &cases {
        let name = &case["name"];
        let generation = case["generation_config"].to_string();
        let pipeline = SpeechPipeline {
            features: LogMel::from_json(br#"{"chunk_length": 1, "feature_size": 4}"#).unwrap(),
            tokenizer: crate::speech::tokenizer(VOCAB),
            config: WhisperConfig::from_json(
                Some(generation.as_bytes()),
                case["config"].to_string().as_bytes(),
            )
            .unwrap(),
        };
        let arguments = &case["arguments"];
        let options = TranscribeOptions {
            language: arguments["language"].as_str().map(str::to_owned),
            task: arguments["task"].as_str().map(|task| match task {
                "translate" => Task::Translate,
                _ => Task::Transcribe,
            }),
            max_new_tokens: arguments["max_new_tokens"].as_u64().map(|n| n as usize),
            ..TranscribeOptions::default()
        };
        let plan = pipeline.config.plan(&options, false).unwrap();
        assert_eq!(
            !plan.languages().is_empty(),
            case["detected"] == true,
            "{name}"
        );

        let mut model = Formula {
            case: case["case"].as_u64().unwrap(),
            row: Vec::new(),
            prompt: Vec::new(),
        };
        let transcript = pipeline
            .transcribe(&mut model, &[0.1; 100], &options)
            .unwrap();
        let prompt: Vec<u32> = model.prompt.iter().map(|&t| t as u32).collect();
        assert_eq!(
            prompt[..plan.prompt(Some(0)).len()],
            ids(&case["prompt"]),
            "{name}"
        );
        let mut generated = ids(&case["generated"]);
        let segment = &transcript.segments[0];
        if segment.complete {
            let end = generated.pop().unwrap();
            assert!(plan.eos().contains(&end), "{name}");
        }
        assert_eq!(segment.tokens, generated, "{name}");
        let expected = case["avg_logprob"].as_f64().unwrap() as f32;
        assert!(
            (segment.avg_logprob - expected).abs() < 1e-4,
            "{name}: {} {expected}",
            segment.avg_logprob
        );
    }
}

fn config(generation: Value) -> Result<WhisperConfig, ConfigError> {
    let text = generation.to_string();
    WhisperConfig::from_json(Some(text.as_bytes()), br#"{"max_target_positions": 448}"#)
}

#[test]
fn without_a_generation_file_the_model_file_serves() {
    let file = json!({
        "max_target_positions": 448, "decoder_start_token_id": 5, "eos_token_id": 6, "max_length": 448,
        "suppress_tokens": [1, 2], "begin_suppress_tokens": [220, -1], "forced_decoder_ids": [[1, 7]]
    });
    let config = WhisperConfig::from_json(None, file.to_string().as_bytes()).unwrap();
    assert_eq!(
        (
            config.decoding.decoder_start_token_id,
            config.decoding.eos_token_ids.as_slice()
        ),
        (5, [6].as_slice())
    );
    assert_eq!(config.decoding.begin_suppress_tokens, [220]);
    let plan = config.plan(&TranscribeOptions::default(), false).unwrap();
    assert_eq!(plan.prompt(None), [5, 7]);
    let forbidden = |tokens: &[u32]| {
        let mut scores = [0.0; 300];
        for rule in plan.rules() {
            rule.apply(History { tokens, prompt: 2 }, &mut scores);
        }
        (0..300)
            .filter(|&token| scores[token].is_infinite())
            .collect::<Vec<_>>()
    };
    assert_eq!(forbidden(&[5, 7, 9]), [1, 2]);
    assert_eq!(forbidden(&[5, 7]), [1, 2, 220]);
}

#[test]
fn a_model_that_knows_english_only_is_asked_for_english() {
    let file = json!({"decoder_start_token_id": 2, "is_multilingual": false, "language": "<|en|>",
        "task": "transcribe"});
    let english_only = config(file).unwrap();
    let plan = |language: Option<&str>, task| {
        let options = TranscribeOptions {
            language: language.map(str::to_owned),
            task,
            ..TranscribeOptions::default()
        };
        english_only.plan(&options, false)
    };
    let plain = plan(None, None).unwrap();
    assert_eq!(plain.language(), Some("en"));
    assert_eq!(plain.prompt(None), [2]);
    for name in ["en", "English", "EN", "en-GB", "<|en|>"] {
        assert_eq!(plan(Some(name), Some(Task::Transcribe)).unwrap(), plain);
    }
    for (language, task) in [
        (Some("de"), None),
        (Some("klingon"), Some(Task::Transcribe)),
        (None, Some(Task::Translate)),
        (Some("en"), Some(Task::Translate)),
    ] {
        let refused = plan(language, task);
        assert!(matches!(refused, Err(OptionsError::EnglishOnly)));
    }
}

#[test]
fn tokens_are_suppressed_instead_of_those_of_the_file_or_beside_them() {
    let file = json!({"decoder_start_token_id": 2, "suppress_tokens": [7, 9], "eos_token_id": 1});
    let config = config(file).unwrap();
    let allowed = |tokens: Option<Vec<i64>>| {
        let options = TranscribeOptions {
            suppress_tokens: tokens,
            ..TranscribeOptions::default()
        };
        let plan = config.plan(&options, false)?;
        let mut scores = [0.0; 12];
        for rule in plan.rules() {
            rule.apply(
                History {
                    tokens: &[2, 3],
                    prompt: 1,
                },
                &mut scores,
            );
        }
        let suppressed = (0..12).filter(|&token| scores[token] == f32::NEG_INFINITY);
        Ok::<Vec<usize>, OptionsError>(suppressed.collect())
    };
    assert_eq!(allowed(None).unwrap(), [7, 9]);
    assert!(allowed(Some(vec![])).unwrap().is_empty());
    assert_eq!(allowed(Some(vec![3, 500])).unwrap(), [3]);
    assert_eq!(allowed(Some(vec![-1, 3])).unwrap(), [3, 7, 9]);
    for wrong in [-2, i64::MAX] {
        let error = allowed(Some(vec![wrong])).unwrap_err().to_string();
        assert!(error.starts_with("suppress_tokens: must be ids"), "{error}");
    }
}

#[test]
fn wishes_that_a_model_cannot_meet_are_errors() {
    let german = TranscribeOptions {
        language: Some("de".to_owned()),
        ..TranscribeOptions::default()
    };
    let multi =
        config(json!({"decoder_start_token_id": 2, "lang_to_id": {"<|en|>": 3, "<|fr|>": 4}}))
            .unwrap();
    let error = multi.plan(&german, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "language \"de\" is not known to this model; it knows en, fr"
    );
    let translate = TranscribeOptions {
        task: Some(Task::Translate),
        ..TranscribeOptions::default()
    };
    assert!(matches!(
        multi.plan(&translate, false),
        Err(OptionsError::Task("translate"))
    ));
    let preset = config(json!({"decoder_start_token_id": 2, "task": "sing"})).unwrap();
    assert!(
        preset
            .plan(&TranscribeOptions::default(), false)
            .unwrap_err()
            .to_string()
            .contains("sing")
    );
}

#[test]
fn damaged_and_unsupported_files_are_errors_that_name_the_setting() {
    for (setting, value) in [
        ("eos_token_id", json!("end")),
        ("decoder_start_token_id", json!(-4)),
        ("decoder_start_token_id", json!(1_u64 << 40)),
        ("forced_decoder_ids", json!([[1, 2], [3, 4]])),
        ("forced_decoder_ids", json!([1, 2])),
        ("lang_to_id", json!({"<|en|>": "three"})),
        ("max_length", json!(-1)),
        ("suppress_tokens", json!({})),
        ("repetition_penalty", json!(1.2)),
        ("encoder_no_repeat_ngram_size", json!(3)),
        ("bad_words_ids", json!([[1]])),
        ("return_timestamps", json!("word")),
        ("num_beams", json!(0)),
        ("early_stopping", json!("soon")),
    ] {
        let mut file =
            json!({"decoder_start_token_id": 2, "repetition_penalty": 1.0, "num_beams": 5});
        file[setting] = value;
        let error = config(file).expect_err(setting);
        assert!(
            error
                .to_string()
                .starts_with(&format!("generation_config.json: {setting} is")),
            "{error}"
        );
    }
    assert!(WhisperConfig::from_json(Some(b"{"), b"{}").is_err());
    assert!(
        WhisperConfig::from_json(None, b"[]")
            .unwrap_err()
            .to_string()
            .contains("config.json")
    );
    let error = WhisperConfig::from_json(None, br#"{"decoder_start_token_id": 1}"#).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("max_target_positions is missing"),
        "{error}"
    );
}
