//! SentencePiece models: read as the tokenizers of several kinds of models, then used on texts.

use crosslatch_tasks::TextTokenizer;

use super::tokenizer::use_on_texts;
use super::{Target, kind_of};
use crate::mutation::bytes;

pub const TARGET: Target = Target {
    name: "pieces",
    run,
    seeds: || vec![model(1, false), model(2, true), model(2, false)],
    mutate: bytes::mutate,
    longest: 1 << 14,
};

/// The names that a model goes by, and the vocabulary and the configuration beside it.
const KINDS: [(&str, &[u8], &[u8]); 4] = [
    (
        "source.spm",
        br#"{"<unk>": 1, "</s>": 0, "a": 3, ">>fra<<": 4, "\u2581": 5, "ab": 6}"#,
        b"{}",
    ),
    ("spiece.model", b"{}", br#"{"model_type": "t5"}"#),
    ("spiece.model", b"{}", br#"{"model_type": "pegasus"}"#),
    (
        "sentencepiece.bpe.model",
        br#"{"<unk>": 1, "</s>": 0, "__en__": 2}"#,
        br#"{"model_type": "m2m_100"}"#,
    ),
];

fn run(model: &[u8]) -> String {
    let mut answer = String::new();
    for (name, vocabulary, config) in KINDS {
        let tokenizer = TextTokenizer::from_files(|file| match file {
            "vocab.json" => Some(vocabulary),
            "config.json" => Some(config),
            _ => (file == name).then_some(model),
        });
        answer.push_str(&match tokenizer {
            Ok(tokenizer) => use_on_texts(tokenizer),
            Err(error) => kind_of(&error.to_string()),
        });
    }
    answer
}

/// A model file: pieces of every kind, the way of cutting, and rules for normalizing.
fn model(model_type: u8, has_bytes: bool) -> Vec<u8> {
    let mut pieces = vec![
        ("<pad>".to_owned(), 0.0f32, 3u8),
        ("</s>".to_owned(), 0.0, 3),
        ("<unk>".to_owned(), 0.0, 2),
        ("::".to_owned(), 0.0, 4),
    ];
    let merged = [
        "▁", "a", "b", "aa", "ab", "aaaa", "▁aa", "H", "e", "l", "ll", "▁日", "本",
    ];
    let merged = (1u8..).zip(merged);
    pieces.extend(merged.map(|(i, piece)| (piece.to_owned(), -f32::from(i), 1 + 4 * (i % 7 / 6))));
    if has_bytes {
        pieces.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    }
    let mut file = Vec::new();
    for (text, score, kind) in pieces {
        let mut piece = message(1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(score.to_le_bytes());
        piece.extend([3 << 3, kind]);
        file.extend(message(1, &piece));
    }
    // Field 35 is whether there are pieces for bytes.
    file.extend(message(
        2,
        &[3 << 3, model_type, 0x98, 0x02, u8::from(has_bytes)],
    ));
    // Rules: a trie of 256 units, whose only key is `b`, and what it is replaced by.
    let mut rules = 1024u32.to_le_bytes().to_vec();
    let mut units = [0u32; 256];
    units[0] = 1 << 10;
    units[usize::from(b'b' ^ 1)] = u32::from(b'b') | 1 << 8 | 2 << 10;
    units[usize::from(b'b' ^ 1 ^ 2)] = 1 << 31;
    rules.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    rules.extend(b"a\0");
    file.extend(message(3, &message(2, &rules)));
    file
}

/// A field of a protocol buffer.
fn message(field: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_models_that_every_kind_can_use() {
        for seed in (TARGET.seeds)() {
            let answer = run(&seed);
            assert_eq!(answer.matches("good:").count(), KINDS.len(), "{answer}");
        }
    }
}
