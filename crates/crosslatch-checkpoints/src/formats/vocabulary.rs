//! A byte-level tokenizer from its vocabulary alone.
//!
//! Formats that only decode keep the tokens of a byte-pair encoding as bytes, in the order in which
//! training made them, and no list of merges. The order is enough: a token of several bytes was made
//! by the merge of the two tokens that it falls into when only earlier tokens are used, and merges are
//! tried in that order. (`tiktoken`, which OpenAI's Whisper uses, keeps its vocabularies so.) What
//! comes out is a `tokenizer.json`, in which bytes stand as printable characters, as GPT-2's code
//! mapped them.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// The longest token, and the most bytes of all tokens: twice what GPT-2's vocabulary has.
const LONGEST: usize = 256;
const MOST: usize = 1 << 20;

/// The tokens of a byte-level vocabulary, in the order of their ids; a token may be missing.
#[derive(Debug)]
pub struct Vocabulary {
    tokens: Vec<Option<Vec<u8>>>,
    ids: HashMap<Vec<u8>, u32>,
}

/// A token that is text as a whole, such as `<|endoftext|>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    pub id: u32,
    pub text: String,
}

impl Vocabulary {
    /// The vocabulary with these tokens.
    ///
    /// # Errors
    /// If there are too many bytes.
    pub fn new(tokens: Vec<Option<Vec<u8>>>) -> Result<Vocabulary, String> {
        let mut ids = HashMap::new();
        let mut total = 0;
        for (id, token) in (0..).zip(&tokens) {
            let Some(token) = token else { continue };
            total += token.len();
            if token.len() > LONGEST || total > MOST {
                return Err(format!("token {id} is too long for a vocabulary"));
            }
            ids.entry(token.clone()).or_insert(id);
        }
        Ok(Vocabulary { tokens, ids })
    }

    /// The id of the token with these bytes.
    pub fn id(&self, bytes: &[u8]) -> Option<u32> {
        self.ids.get(bytes).copied()
    }

    /// The tokens that a word without spaces inside becomes; bytes that are no token are left out.
    pub fn encode(&self, word: &str) -> Vec<u32> {
        let parts = self.parts(word.as_bytes(), u32::MAX);
        parts.into_iter().filter_map(|part| self.id(part)).collect()
    }

    /// What merges of tokens before `end` make of bytes.
    fn parts<'b>(&self, bytes: &'b [u8], end: u32) -> Vec<&'b [u8]> {
        // The ends of the parts.
        let mut ends: Vec<usize> = (1..=bytes.len()).collect();
        loop {
            let start = |i: usize| if i == 0 { 0 } else { ends[i - 1] };
            let merges = (1..ends.len()).filter_map(|i| {
                let id = self.id(&bytes[start(i - 1)..ends[i]])?;
                (id < end).then_some((id, i))
            });
            match merges.min() {
                Some((_, i)) => ends.remove(i - 1),
                None => break,
            };
        }
        let starts = [0].into_iter().chain(ends.clone());
        starts
            .zip(ends)
            .map(|(start, end)| &bytes[start..end])
            .collect()
    }

    /// The contents of a `tokenizer.json`, with these added tokens.
    pub fn tokenizer(&self, added: &[Added]) -> Value {
        let characters = characters();
        let text = |bytes: &[u8]| -> String {
            bytes
                .iter()
                .map(|&byte| characters[usize::from(byte)])
                .collect()
        };
        let is_added: HashSet<u32> = added.iter().map(|added| added.id).collect();
        let mut vocabulary = Map::new();
        let mut merges = Vec::new();
        for (id, token) in (0..).zip(&self.tokens) {
            let Some(token) = token else { continue };
            if is_added.contains(&id) || self.id(token) != Some(id) {
                continue;
            }
            vocabulary.insert(text(token), id.into());
            if let [left, right] = self.parts(token, id)[..] {
                merges.push(json!([text(left), text(right)]));
            }
        }
        // Both parts of a merge must be tokens.
        merges.retain(|merge| {
            let is_token = |part: &Value| part.as_str().is_some_and(|p| vocabulary.contains_key(p));
            is_token(&merge[0]) && is_token(&merge[1])
        });
        let added: Vec<Value> = added
            .iter()
            .map(|Added { id, text }| {
                json!({"id": id, "content": text, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true})
            })
            .collect();
        let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true});
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
                "vocab": vocabulary, "merges": merges}})
    }
}

/// The character that stands for each byte: itself if it is printable and no space, otherwise one
/// from 256 on.
pub fn characters() -> [char; 256] {
    let mut next = 256..;
    std::array::from_fn(|byte| {
        let byte = byte as u32;
        let is_printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = match is_printable {
            true => byte,
            false => next.next().unwrap_or(byte),
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

/// The bytes that a token in such characters stands for; `None` if it has another character.
pub fn bytes(token: &str) -> Option<Vec<u8>> {
    let bytes: HashMap<char, u8> = characters().into_iter().zip(0..=255).collect();
    token.chars().map(|c| bytes.get(&c).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(more: &[&str]) -> Vocabulary {
        let bytes = (0..=255u8).map(|byte| Some(vec![byte]));
        let more = more.iter().map(|token| Some(token.as_bytes().to_vec()));
        Vocabulary::new(bytes.chain(more).collect()).unwrap()
    }

    #[test]
    fn merges_are_those_that_made_the_tokens() {
        let vocabulary = vocabulary(&["th", " t", "he", "the", " the", " thé"]);
        let merges = &vocabulary.tokenizer(&[])["model"]["merges"];
        // " the" is " " and "the" when only earlier tokens are used: "th" comes before " t".
        let expected = json!([
            ["t", "h"],
            ["Ġ", "t"],
            ["h", "e"],
            ["th", "e"],
            ["Ġ", "the"]
        ]);
        assert_eq!(*merges, expected);
        assert_eq!(vocabulary.encode(" then"), [260, u32::from(b'n')]);
        assert_eq!(vocabulary.encode("éhe"), [0xc3, 0xa9, 258]);
    }

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        let characters = characters();
        assert_eq!(characters.iter().collect::<HashSet<_>>().len(), 256);
        assert_eq!(characters[usize::from(b' ')], 'Ġ');
        let all: String = characters.iter().collect();
        assert_eq!(bytes(&all).unwrap(), (0..=255).collect::<Vec<u8>>());
        assert_eq!(bytes("日"), None);
    }

    #[test]
    fn a_vocabulary_that_is_too_long_is_refused() {
        assert!(Vocabulary::new(vec![Some(vec![0; 257])]).is_err());
        assert!(Vocabulary::new(vec![Some(vec![0; 256]); 5000]).is_err());
    }
}
