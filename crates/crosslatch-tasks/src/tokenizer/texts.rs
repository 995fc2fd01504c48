//! What text each token is, as bytes.
//!
//! A rule about text has to know the bytes of every token: letters may be cut between tokens. The file of a
//! tokenizer says how tokens become text. Byte-level vocabularies write each byte as a letter; those of
//! SentencePiece write a space as `▁`, and may have tokens for single bytes, `<0x0A>`.

use std::collections::HashMap;

use serde_json::Value;

use super::{Cause, Inner, TextTokenizer};

/// How tokens are written in a vocabulary.
enum Spelling {
    /// Each byte as a letter.
    Bytes(HashMap<char, u8>),
    /// A space as `▁`.
    Pieces,
    /// As words, with a space before each.
    Words,
}

/// The bytes of each token by its number; `None` for those that are not text.
pub(super) fn texts(tokenizer: &TextTokenizer) -> Result<Vec<Option<Vec<u8>>>, Cause> {
    let mut texts = HashMap::new();
    match &tokenizer.inner {
        Inner::Json(json) => {
            let spelling = match json.get_decoder() {
                Some(decoder) => spelling(&serde_json::to_value(decoder)?),
                None => Some(Spelling::Words),
            };
            let spelling = spelling.ok_or(
                "it is not known how its decoder makes text of single tokens; known are byte-level and \
                 SentencePiece vocabularies, and words",
            )?;
            texts.extend(
                json.get_vocab(false)
                    .into_iter()
                    .map(|(token, id)| (id, spelling.text(&token))),
            );
            for (id, token) in json.get_added_tokens_decoder() {
                let text = (!token.special).then(|| token.content.into_bytes());
                texts.insert(id, text);
            }
        }
        Inner::Pieces(pieces) => {
            let is_text = |id: &u32| !pieces.hidden.contains(id) && *id != pieces.unknown;
            let shown = pieces.names.iter().filter(|(id, _)| is_text(id));
            texts.extend(shown.map(|(&id, piece)| (id, Spelling::Pieces.text(piece))));
        }
    }
    let count = texts.keys().max().map_or(0, |&last| last as usize + 1);
    // Numbers may come from a file; there are not many more of them than tokens.
    if count > 2 * texts.len() + (1 << 16) {
        return Err("its tokens have numbers that are far apart".into());
    }
    let mut all = vec![None; count];
    for (id, text) in texts {
        all[id as usize] = text;
    }
    Ok(all)
}

/// How tokens are written, by the decoder of a `tokenizer.json`; `None` if that is not known.
fn spelling(decoder: &Value) -> Option<Spelling> {
    match decoder["type"].as_str()? {
        "ByteLevel" => Some(Spelling::Bytes(byte_letters())),
        "Metaspace" => Some(Spelling::Pieces),
        "Replace" if decoder["pattern"]["String"] == "▁" => Some(Spelling::Pieces),
        "Sequence" => decoder["decoders"].as_array()?.iter().find_map(spelling),
        _ => None,
    }
}

impl Spelling {
    fn text(&self, token: &str) -> Option<Vec<u8>> {
        match self {
            Spelling::Bytes(letters) => token
                .chars()
                .map(|letter| letters.get(&letter).copied())
                .collect(),
            Spelling::Pieces => Some(match byte(token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            }),
            Spelling::Words => Some(format!(" {token}").into_bytes()),
        }
    }
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.len() == 2)
}

/// The letter for each byte in GPT-2's vocabulary: printable ones are themselves, and the others follow
/// behind the first 256.
fn byte_letters() -> HashMap<char, u8> {
    let mut next = 256_u32;
    let letters = (0..=u8::MAX).filter_map(|byte| {
        let letter = match byte {
            33..=126 | 161..=172 | 174..=255 => u32::from(byte),
            _ => {
                next += 1;
                next - 1
            }
        };
        Some((char::from_u32(letter)?, byte))
    });
    letters.collect()
}
