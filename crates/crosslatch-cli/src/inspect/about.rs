//! What a model is, in a few words: its family, its size, and what it speaks.
//!
//! The programs of a model do not say that they are Whisper; the files beside them do, and different
//! families write the same fact under different names. What the files do not say is left out. They
//! are only shown here, so a file that is not JSON says nothing; the commands that decode by them
//! report it.

use std::collections::HashSet;

use crosslatch::Model;
use crosslatch::ir::graph::SlotKind;
use serde_json::{Value, json};

/// The names under which families write a fact, the commonest first.
const ENCODER_LAYERS: [&str; 3] = ["encoder_layers", "num_encoder_layers", "num_layers"];
const DECODER_LAYERS: [&str; 2] = ["decoder_layers", "num_decoder_layers"];
const WIDTH: [&str; 3] = ["d_model", "hidden_size", "n_embd"];

/// Describes a model: `family`, `architecture`, `parameters`, `encoder_layers`, `decoder_layers`,
/// `width`, `vocabulary`, `languages`, each if it is known.
pub fn describe(model: &Model) -> Value {
    let config = read(model, "config.json");
    let generation = read(model, "generation_config.json");
    let first = |names: &[&str]| names.iter().find_map(|name| config[*name].as_u64());
    let encoder = first(&ENCODER_LAYERS);
    // T5 names the decoder's layers only where there are not as many as in the encoder.
    let decoder = first(&DECODER_LAYERS).or(first(&["num_layers"]));
    json!({
        "family": config["model_type"],
        "architecture": config["architectures"][0],
        "parameters": parameters(model),
        "encoder_layers": encoder,
        "decoder_layers": decoder,
        "width": first(&WIDTH),
        "vocabulary": config["vocab_size"].as_u64(),
        "languages": languages(&config, &generation),
    })
}

fn read(model: &Model, name: &str) -> Value {
    let file = model.extra_file(name);
    file.and_then(|text| serde_json::from_slice(text).ok())
        .unwrap_or(Value::Null)
}

/// The number of elements of all weights, each weight counted once.
fn parameters(model: &Model) -> usize {
    let methods = model.methods().iter();
    let slots = methods.flat_map(|method| method.program.slots.iter().zip(&method.bindings));
    let weights = slots.filter(|(slot, _)| slot.kind == SlotKind::Weight);
    let weights = weights.filter_map(|(_, weight)| weight.as_ref());
    let mut seen = HashSet::new();
    let once = weights.filter(|weight| weight.dtype.is_float() && seen.insert(&weight.source));
    once.map(|weight| weight.layout.numel()).sum()
}

/// The codes of the languages that a speech model tells apart, in alphabetical order.
fn languages(config: &Value, generation: &Value) -> Value {
    if let Some(tokens) = generation["lang_to_id"].as_object() {
        let codes = tokens
            .keys()
            .map(|token| token.trim_matches(['<', '|', '>']));
        let mut codes: Vec<&str> = codes.collect();
        codes.sort_unstable();
        return json!(codes);
    }
    // Whisper's models for English alone have no tokens of languages.
    match config["model_type"].as_str() {
        Some("whisper") if !generation.is_null() => json!(["en"]),
        _ => Value::Null,
    }
}
