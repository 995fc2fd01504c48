//! Text to text over scripted models: tokens equal to transformers' generate, sources, refusals.

use std::convert::Infallible;

use crosslatch_tasks::rules::{
    BadWords, Forced, History, MinLength, NoRepeatNgram, Repetition, Rule,
};
use crosslatch_tasks::{
    Decoder, GenerateError, GenerateOptions, Generation, TextConfig, TextLimits, TextModel,
    TextPipeline, TextTokenizer,
};
use serde_json::{Value, json};

use crate::fixture;

const VOCAB: usize = 48;

/// The formula of `make_text.py`.
fn formula(position: usize, token: i64, case: u64) -> impl Iterator<Item = f32> {
    (0..VOCAB as u64).map(move |id| {
        let sum = position as u64 * 73_856_093
            + token as u64 * 19_349_663
            + id * 83_492_791
            + case * 2_654_435_761;
        let h = sum & 0xffff_ffff;
        let h = ((h ^ (h >> 15)) * 2_246_822_519) & 0xffff_ffff;
        ((h ^ (h >> 13)) & 0xffff) as f32 / 4096.0
    })
}

/// Scores by the formula, and writes down what it was given.
#[derive(Default)]
struct Formula {
    case: u64,
    row: Vec<f32>,
    sources: Vec<Vec<i64>>,
    started_with: Vec<i64>,
    sequences: usize,
}

impl TextModel for Formula {
    fn encode(&mut self, tokens: &[i64]) -> Result<(), Infallible> {
        self.sources.push(tokens.to_vec());
        Ok(())
    }
}

impl Decoder for Formula {
    type Error = Infallible;

    fn sequences(&mut self, wanted: usize) -> Result<usize, Infallible> {
        Ok(wanted.min(self.sequences.max(1)))
    }

    fn decode(&mut self, _: usize, tokens: &[i64], position: usize) -> Result<&[f32], Infallible> {
        if position == 0 {
            self.started_with.push(tokens[0]);
        }
        let last = tokens.len() - 1;
        self.row.clear();
        self.row
            .extend(formula(position + last, tokens[last], self.case));
        Ok(&self.row)
    }
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().into_iter().flatten();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn words(ids: &[u32]) -> String {
    let words: Vec<String> = ids.iter().map(|id| format!("w{id}")).collect();
    words.join(" ")
}

#[test]
fn each_rule_changes_scores_as_that_of_transformers_does() {
    let file = read("rules.json");
    let source = ids(&file["source"]);
    let cases = file["rules"].as_array().unwrap();
    assert!(cases.len() > 80);
    for case in cases {
        let size = case["size"].as_u64().unwrap_or(0) as usize;
        let penalty = case["penalty"].as_f64().unwrap_or(1.0) as f32;
        let rule: Box<dyn Rule> = match case["rule"].as_str().unwrap() {
            "repetition" => Box::new(Repetition::of_text(penalty)),
            "source_repetition" => Box::new(Repetition::of_source(penalty, &source)),
            "ngram" => Box::new(NoRepeatNgram::in_text(size)),
            "source_ngram" => Box::new(NoRepeatNgram::of_source(size, &source)),
            "words" => {
                let words = case["words"].as_array().unwrap().iter().map(ids).collect();
                Box::new(BadWords::new(words, &ids(&case["ends"])))
            }
            "min_length" => Box::new(MinLength {
                length: case["length"].as_u64().unwrap() as usize,
                ends: ids(&case["ends"]),
            }),
            "forced" => Box::new(Forced {
                position: case["place"].as_u64().unwrap() as usize,
                tokens: ids(&case["tokens"]),
            }),
            other => panic!("{other}"),
        };
        let tokens = ids(&case["so_far"]);
        let last = i64::from(tokens[tokens.len() - 1]);
        let number = case["case"].as_u64().unwrap();
        let row = formula(tokens.len() - 1, last, number).map(|score| score - 8.0);
        let mut row: Vec<f32> = row.collect();
        row[10] = f32::NEG_INFINITY;
        let history = History {
            tokens: &tokens,
            prompt: 1,
        };
        rule.apply(history, &mut row);
        let expected = case["scores"].as_array().unwrap().iter();
        let expected = expected.map(|v| v.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32));
        for (token, (score, expected)) in row.iter().zip(expected).enumerate() {
            let near = (score - expected).abs() <= 1e-6 * expected.abs();
            assert!(
                near || *score == expected,
                "{rule:?}, {tokens:?}, {token}: {score}, {expected}"
            );
        }
    }
}

/// A tokenizer in which token `i` is the word `w<i>`, these ids have other texts, and this is put
/// around a text.
fn tokenizer(named: &[(u32, &str)], around: Value) -> Vec<u8> {
    let name = |i: u32| {
        let name = named.iter().find(|(id, _)| *id == i);
        name.map_or(format!("w{i}"), |(_, name)| (*name).to_owned())
    };
    let vocab: serde_json::Map<String, Value> =
        (0..VOCAB as u32).map(|i| (name(i), i.into())).collect();
    let added: Vec<Value> = (named.iter())
        .map(|(id, name)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "w0"});
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": added, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": around, "decoder": null, "model": model
    });
    file.to_string().into_bytes()
}

fn pipeline(tokenizer: &[u8], generation: &Value, limits: TextLimits) -> TextPipeline {
    let generation = generation.to_string();
    let tokenizer = TextTokenizer::from_bytes(tokenizer).unwrap();
    TextPipeline::new(tokenizer, Some(generation.as_bytes()), b"{}", limits).unwrap()
}

fn options(arguments: &Value) -> GenerateOptions {
    let number = |name: &str| arguments[name].as_u64().map(|n| n as usize);
    let float = |name: &str| arguments[name].as_f64().map(|x| x as f32);
    GenerateOptions {
        beam_size: number("num_beams"),
        max_new_tokens: number("max_new_tokens"),
        min_new_tokens: number("min_new_tokens"),
        no_repeat_ngram_size: number("no_repeat_ngram_size"),
        repetition_penalty: float("repetition_penalty"),
        length_penalty: float("length_penalty"),
        ..GenerateOptions::default()
    }
}

#[test]
fn texts_are_those_of_transformers_generate() {
    let file = read("text.json");
    let text = words(&ids(&file["source"]));
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    for (case, sequences) in cases.iter().flat_map(|case| [(case, 1), (case, 9)]) {
        let name = &case["name"];
        let plain = tokenizer(&[], Value::Null);
        let pipeline = pipeline(&plain, &case["generation_config"], TextLimits::default());
        let mut model = Formula {
            case: case["case"].as_u64().unwrap(),
            sequences,
            ..Formula::default()
        };
        let found = pipeline
            .generate(&mut model, &text, &options(&case["arguments"]))
            .unwrap();
        let expected = case["best"].as_array().unwrap();
        assert_eq!(expected.len(), 1 + found.alternatives.len(), "{name}");
        let all = std::iter::once(&found.best).chain(&found.alternatives);
        for (found, expected) in all.zip(expected) {
            let tokens = ids(&expected["tokens"]);
            assert_eq!(model.started_with[0], i64::from(tokens[0]), "{name}");
            assert_eq!(found.tokens, tokens[1..], "{name}");
            assert_eq!(found.complete, expected["complete"] == true, "{name}");
            assert_eq!(found.text, words(&tokens[1..]), "{name}");
            if let Some(score) = expected["score"].as_f64() {
                assert!((f64::from(found.score) - score).abs() < 1e-4, "{name}");
            }
        }
    }
}

/// What goes around a text: the language before it, the end after it.
fn around() -> Value {
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special("en_XX"), text, special("</s>")],
        "pair": [special("en_XX"), text, special("</s>")],
        "special_tokens": {
            "en_XX": {"id": "en_XX", "ids": [4], "tokens": ["en_XX"]},
            "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}
        }
    })
}

const NAMED: [(u32, &str); 4] = [(1, "</s>"), (4, "en_XX"), (5, "fr_XX"), (6, ">>fra<<")];

/// The start, the source and the result of one text.
fn run(
    generation: &Value,
    text: &str,
    options: &GenerateOptions,
) -> Result<(i64, Vec<i64>, Generation), GenerateError<Infallible>> {
    let limits = TextLimits {
        source: Some(6),
        positions: Some(9),
        ..TextLimits::default()
    };
    let pipeline = pipeline(&tokenizer(&NAMED, around()), generation, limits);
    let mut model = Formula::default();
    let found = pipeline.generate(&mut model, text, options)?;
    let start = model.started_with.first().copied().unwrap_or(-1);
    Ok((start, model.sources.pop().unwrap_or_default(), found))
}

fn file() -> Value {
    json!({"decoder_start_token_id": 2, "eos_token_id": 1})
}

#[test]
fn a_source_has_its_prefix_and_its_language_and_loses_its_end_when_asked() {
    let default = GenerateOptions::default();
    assert_eq!(run(&file(), "w10 w11", &default).unwrap().1, [4, 10, 11, 1]);
    let prefixed = GenerateOptions {
        prefix: Some("w12 ".to_owned()),
        ..default.clone()
    };
    let (_, source, found) = run(&file(), "w10", &prefixed).unwrap();
    assert_eq!((source, found.source.as_str()), (vec![4, 12, 10, 1], "w10"));
    let french = GenerateOptions {
        source_language: Some("French".to_owned()),
        ..default.clone()
    };
    // A language inside the text is the text's.
    let (_, source, _) = run(&file(), "en_XX w10", &french).unwrap();
    assert_eq!(source, [5, 4, 10, 1]);

    let long = "w10 w11 w12 w13 w14";
    let error = run(&file(), long, &default).unwrap_err();
    assert!(matches!(
        error,
        GenerateError::TooLong {
            tokens: 7,
            limit: 6
        }
    ));
    let cut = GenerateOptions {
        truncate: true,
        ..default
    };
    assert_eq!(run(&file(), long, &cut).unwrap().1, [4, 10, 11, 12, 13, 1]);
}

#[test]
fn a_target_language_goes_where_the_model_has_it() {
    let to = |language: &str| GenerateOptions {
        target_language: Some(language.to_owned()),
        ..GenerateOptions::default()
    };
    let (start, _, found) = run(&file(), "w10", &to("fr_XX")).unwrap();
    assert_eq!((start, found.best.tokens[0]), (2, 5));
    let mut by_start = file();
    by_start["decoder_start_token_id"] = json!(4);
    let (start, _, found) = run(&by_start, "w10", &to("fr")).unwrap();
    assert_eq!(start, 5);
    assert_ne!(found.best.tokens[0], 5);
    let (start, source, _) = run(&file(), "w10", &to(">>fra<<")).unwrap();
    assert_eq!((start, source), (2, vec![6, 4, 10, 1]));
    let error = run(&file(), "w10", &to("de")).unwrap_err().to_string();
    assert_eq!(
        error,
        "language \"de\" is not known to this model; it knows en_XX, fr_XX, fra"
    );
}

#[test]
fn nothing_is_made_of_nothing() {
    for blank in ["", " \t "] {
        let (start, source, found) = run(&file(), blank, &GenerateOptions::default()).unwrap();
        assert!(start < 0 && source.is_empty());
        assert!(found.best.text.is_empty() && found.best.complete && found.source == blank);
    }
    let plain = pipeline(&tokenizer(&[], Value::Null), &file(), TextLimits::default());
    let options = GenerateOptions {
        source_language: Some("de".to_owned()),
        ..GenerateOptions::default()
    };
    let error = plain.generate(&mut Formula::default(), "w10", &options);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("it knows none by name")
    );
}

#[test]
fn lengths_are_bounded_by_the_positions_of_the_decoder() {
    let new = |count| GenerateOptions {
        max_new_tokens: Some(count),
        min_new_tokens: Some(count),
        ..GenerateOptions::default()
    };
    // Nine positions are fed, the tenth token is not.
    assert_eq!(run(&file(), "w10", &new(9)).unwrap().2.best.tokens.len(), 9);
    let error = run(&file(), "w10", &new(10)).unwrap_err().to_string();
    assert!(
        error.contains("10 new ones exceed the decoder's 9 positions"),
        "{error}"
    );
    assert!(run(&file(), "w10", &new(0)).is_err());
    // What the file asks for is cut instead: it knows nothing of the export.
    let long = json!({"decoder_start_token_id": 2, "max_length": 500});
    let default = GenerateOptions::default();
    assert_eq!(run(&long, "w10", &default).unwrap().2.best.tokens.len(), 9);
    let short = json!({"decoder_start_token_id": 2, "max_length": 1});
    assert!(run(&short, "w10", &default).is_err());
}

#[test]
fn a_length_that_a_file_gives_takes_no_memory_before_there_are_tokens() {
    let ends: Vec<u32> = (0..24).collect();
    for length in [1u64 << 40, 1 << 60, u64::MAX] {
        let file = json!({"decoder_start_token_id": 2, "eos_token_id": ends, "max_length": length});
        for beams in [1, 3] {
            let limits = TextLimits {
                source: Some(6),
                positions: None,
                ..TextLimits::default()
            };
            let pipeline = pipeline(&tokenizer(&NAMED, around()), &file, limits);
            let options = GenerateOptions {
                beam_size: Some(beams),
                ..GenerateOptions::default()
            };
            let found = pipeline.generate(&mut Formula::default(), "w10", &options);
            assert!(found.unwrap().best.tokens.len() < 1_000);
        }
    }
}

#[test]
fn what_beams_cannot_do_is_refused() {
    let default = GenerateOptions::default();
    for options in [
        GenerateOptions {
            beam_size: Some(0),
            ..default.clone()
        },
        GenerateOptions {
            beam_size: Some(2),
            alternatives: Some(2),
            ..default.clone()
        },
        GenerateOptions {
            alternatives: Some(1),
            ..default.clone()
        },
        GenerateOptions {
            length_penalty: Some(f32::NAN),
            ..default.clone()
        },
        GenerateOptions {
            repetition_penalty: Some(0.0),
            ..default.clone()
        },
    ] {
        assert!(run(&file(), "w10", &options).is_err(), "{options:?}");
    }
}

#[test]
fn damaged_and_unsupported_settings_are_errors_that_name_them() {
    let config = |file: &Value| TextConfig::from_json(Some(file.to_string().as_bytes()), b"{}");
    // What does nothing is no reason to refuse a file.
    let mut neutral = file();
    for (name, value) in [
        ("do_sample", json!(false)),
        ("top_k", json!(50)),
        ("temperature", json!(1.0)),
        ("num_beam_groups", json!(1)),
        ("diversity_penalty", json!(0.0)),
        ("guidance_scale", Value::Null),
        ("sequence_bias", Value::Null),
        ("remove_invalid_values", json!(false)),
        ("a_setting_of_tomorrow", json!(3)),
    ] {
        neutral[name] = value;
    }
    assert!(config(&neutral).is_ok());
    for (name, value) in [
        ("do_sample", json!(true)),
        ("num_beam_groups", json!(2)),
        ("diversity_penalty", json!(0.5)),
        ("guidance_scale", json!(1.5)),
        ("sequence_bias", json!([[[1], 2.0]])),
        ("exponential_decay_length_penalty", json!([5, 1.1])),
        ("remove_invalid_values", json!(true)),
        ("renormalize_logits", json!(true)),
        ("stop_strings", json!("end")),
        ("forced_decoder_ids", json!([[1, 2]])),
        ("bad_words_ids", json!([[]])),
        ("bad_words_ids", json!([[-1]])),
        ("repetition_penalty", json!(0)),
        ("repetition_penalty", json!("high")),
        ("forced_bos_token_id", json!(-1)),
        ("no_repeat_ngram_size", json!(-1)),
        ("num_beams", json!(1000)),
        ("early_stopping", json!("soon")),
    ] {
        let mut file = file();
        file[name] = value;
        let error = config(&file).expect_err(name).to_string();
        let place = format!("generation_config.json: {name} is");
        assert!(error.starts_with(&place), "{error}");
    }
    let error = config(&json!({})).unwrap_err().to_string();
    assert!(
        error.contains("decoder_start_token_id is missing"),
        "{error}"
    );
    let old = TextConfig::from_json(None, br#"{"bos_token_id": 7, "num_beams": 3}"#).unwrap();
    assert_eq!(
        (old.decoding.decoder_start_token_id, old.decoding.num_beams),
        (7, Some(3))
    );
}
