//! The text of a stream for programs, as JSON objects that say by their `type` what they are.

use serde_json::{Value, json};

use super::StreamUpdate;
use crate::transcript::Transcript;

/// What is new after so many seconds of sound: what is certain and what may change (`text`), and each
/// segment that is final (`segment`).
pub fn stream_events(update: &StreamUpdate, heard: f64) -> Vec<Value> {
    let is_new = !(update.certain.is_empty() && update.tentative.is_empty());
    let text = (is_new || !update.segments.is_empty()).then(|| {
        json!({
            "type": "text",
            "certain": update.certain,
            "open": update.open,
            "tentative": update.tentative,
            "heard": heard,
        })
    });
    let segments = update.segments.iter().map(|segment| {
        // A segment is made of texts, lists and numbers, which JSON can hold.
        let mut event = serde_json::to_value(segment).unwrap_or_default();
        event["type"] = "segment".into();
        event
    });
    text.into_iter().chain(segments).collect()
}

/// The whole text, when the sound has ended (`transcript`).
pub fn transcript_event(transcript: &Transcript) -> Value {
    json!({
        "type": "transcript",
        "text": transcript.text,
        "language": transcript.language,
        "duration": transcript.duration,
    })
}
