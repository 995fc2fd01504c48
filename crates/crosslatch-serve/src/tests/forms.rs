//! What a form becomes for a model.

use axum::body::Body;
use axum::http::Request;
use crosslatch_tasks::{Task, TranscribeOptions, WhisperConfig};

use crate::form::Form;
use crate::{Limits, Patience};

/// The options of a request with these fields, on a server with these defaults.
async fn options(fields: &[(&str, &str)], defaults: &TranscribeOptions) -> TranscribeOptions {
    let mut body = String::new();
    for (name, value) in fields {
        let head = format!("content-disposition: form-data; name=\"{name}\"");
        body.push_str(&format!("--cut\r\n{head}\r\n\r\n{value}\r\n"));
    }
    let request = Request::post("/")
        .header("content-type", "multipart/form-data; boundary=cut")
        .body(Body::from(body + "--cut--\r\n"))
        .unwrap();
    let limits = Limits {
        body: 1 << 20,
        seconds: 60.0,
    };
    let form = Form::read(request, limits, Patience::default()).await;
    let model =
        br#"{"max_target_positions": 448, "decoder_start_token_id": 50257, "eos_token_id": 50256}"#;
    let model = WhisperConfig::from_json(None, model).unwrap();
    form.unwrap().options(Task::Transcribe, &model, defaults)
}

#[tokio::test]
async fn a_request_decides_about_fallback_and_otherwise_the_server_does() {
    let plain = TranscribeOptions::default();
    let careful = TranscribeOptions::default().with_fallback();
    let all = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    for (defaults, fields, temperatures) in [
        (&plain, &[][..], &[0.0][..]),
        (&plain, &[("fallback", "true")], &all),
        (&plain, &[("temperature", "0.3")], &[0.3]),
        (
            &plain,
            &[("fallback", "1"), ("temperature", "0.4")],
            &all[2..],
        ),
        (
            &plain,
            &[("temperature", "0.5"), ("fallback", "1")],
            &[0.5, 0.6, 0.8, 1.0],
        ),
        (&careful, &[], &all),
        (&careful, &[("temperature", "0")], &all),
        (&careful, &[("temperature", "1")], &all[5..]),
        (&careful, &[("fallback", "false")], &[0.0]),
        (
            &careful,
            &[("fallback", "0"), ("temperature", "0.6")],
            &[0.6],
        ),
    ] {
        let given = options(fields, defaults).await;
        assert_eq!(given.temperatures, temperatures, "{fields:?}");
        let is_careful = match fields.iter().find(|(name, _)| *name == "fallback") {
            Some((_, value)) => ["1", "true"].contains(value),
            None => defaults == &careful,
        };
        let from = if is_careful { &careful } else { &plain };
        assert_eq!(given.logprob_threshold, from.logprob_threshold);
        assert_eq!(given.no_speech_threshold, from.no_speech_threshold);
        assert_eq!(
            given.compression_ratio_threshold,
            from.compression_ratio_threshold
        );
    }
}

#[tokio::test]
async fn a_language_is_the_requests_or_the_servers_or_detected() {
    let german = TranscribeOptions {
        language: Some("de".to_owned()),
        beam_size: Some(5),
        ..TranscribeOptions::default()
    };
    for (defaults, given, expected) in [
        (&TranscribeOptions::default(), None, None),
        (&TranscribeOptions::default(), Some("fr"), Some("fr")),
        (&TranscribeOptions::default(), Some("auto"), None),
        (&german, None, Some("de")),
        (&german, Some(""), Some("de")),
        (&german, Some("French"), Some("French")),
        (&german, Some("auto"), None),
    ] {
        let fields: Vec<_> = given.map(|g| ("language", g)).into_iter().collect();
        let options = options(&fields, defaults).await;
        assert_eq!(options.language.as_deref(), expected, "{given:?}");
        assert_eq!(options.beam_size, defaults.beam_size);
    }
}
