//! Features equal to those of transformers' WhisperFeatureExtractor, and refusals.

use crosslatch_tasks::features::{FeatureConfig, FeatureError, LogMel};
use serde_json::Value;

use crate::fixture;

#[test]
fn equal_to_transformers_within_1e_4() {
    let index: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture("features.json")).unwrap()).unwrap();
    let blob = std::fs::read(fixture("features.bin")).unwrap();
    let number = |v: &Value| v.as_u64().unwrap() as usize;
    for case in &index {
        let extractor = LogMel::from_json(case["config"].to_string().as_bytes()).unwrap();
        let at = number(&case["offset"]);
        let count = number(&case["samples"]);
        let samples: Vec<f32> = blob[at..at + 2 * count]
            .chunks_exact(2)
            .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
            .collect();
        let mut out = Vec::new();
        extractor.extract(&samples, &mut out).unwrap();
        let (mels, frames) = (extractor.mels(), extractor.frames());
        assert_eq!(
            [mels, frames],
            [number(&case["shape"][0]), number(&case["shape"][1])]
        );
        assert_eq!(out.len(), mels * frames);
        let (first, last) = (number(&case["frames"][0]), number(&case["frames"][1]));
        let mut expected = blob[at + 2 * count..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let mut worst = 0.0_f32;
        for mel in 0..mels {
            for frame in first..last {
                let difference = out[mel * frames + frame] - expected.next().unwrap();
                worst = worst.max(difference.abs());
            }
        }
        println!("{}: {worst:e}", case["name"]);
        assert!(worst < 1e-4, "{}: {worst}", case["name"]);
    }
}

#[test]
fn buffers_are_reused_and_a_short_window_is_padded() {
    let extractor = LogMel::from_json(br#"{"chunk_length": 1, "some_future_field": [1]}"#).unwrap();
    let mut out = vec![9.0; 3];
    extractor.extract(&[0.5; 100], &mut out).unwrap();
    let first = out.clone();
    extractor.extract(&[0.5; 100], &mut out).unwrap();
    assert_eq!(out, first);
    assert_eq!(out.len(), 80 * 100);
}

#[test]
fn a_processor_config_is_read_as_well() {
    let json =
        br#"{"feature_extractor": {"chunk_length": 6}, "processor_class": "WhisperProcessor"}"#;
    let config = FeatureConfig::from_json(json).unwrap();
    assert_eq!((config.chunk_length, config.frames()), (6, 600));
}

#[test]
fn dither_changes_the_features_the_same_way_each_time() {
    let extractor = LogMel::from_json(br#"{"chunk_length": 1, "dither": 0.001}"#).unwrap();
    let silent = LogMel::from_json(br#"{"chunk_length": 1}"#).unwrap();
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    extractor.extract(&[], &mut a).unwrap();
    extractor.extract(&[], &mut b).unwrap();
    silent.extract(&[], &mut c).unwrap();
    assert_eq!(a, b);
    assert_ne!(a, c);
}

#[test]
fn bad_settings_and_samples_are_errors() {
    for json in [
        "",
        "[]",
        "{\"feature_size\": 0}",
        "{\"feature_size\": -1}",
        "{\"n_fft\": 0}",
        "{\"n_fft\": 401}",
        "{\"hop_length\": 0}",
        "{\"chunk_length\": 0}",
        "{\"chunk_length\": 4000000000}",
        "{\"sampling_rate\": 0}",
        "{\"padding_side\": \"left\"}",
        "{\"chunk_length\": 3600, \"sampling_rate\": 768000}",
        "{\"feature_size\": 1024, \"hop_length\": 1}",
        "{\"feature_size\": 1024, \"chunk_length\": 300, \"hop_length\": 16}",
        "{\"feature_size\": 1, \"n_fft\": 65536, \"hop_length\": 1}",
        "{\"chunk_length\": 60, \"sampling_rate\": 768000}",
        "{\"padding_value\": 1e999}",
        "{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\"}",
    ] {
        let error = LogMel::from_json(json.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("preprocessor_config.json"),
            "{error}"
        );
    }
    let extractor = LogMel::from_json(br#"{"chunk_length": 1}"#).unwrap();
    let mut out = Vec::new();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = extractor.extract(&[0.0, bad, 0.0], &mut out).unwrap_err();
        assert!(matches!(error, FeatureError::NotFinite));
    }
    assert!(extractor.extract(&[f32::MAX; 16], &mut out).is_ok());
    assert!(out.iter().all(|x| x.is_finite()));
    assert!(matches!(
        extractor.extract(&[0.0; 16_001], &mut out),
        Err(FeatureError::TooLong {
            given: 16_001,
            window: 16_000
        })
    ));
}
