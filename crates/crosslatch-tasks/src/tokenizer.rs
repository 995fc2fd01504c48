//! Text to token ids and back, from a model's `tokenizer.json`.
//!
//! Models name their tokens in a file that the `tokenizers` library defines and reads; this is a
//! thin layer over it, so that the rest of the crate (and its callers) sees a few operations and
//! one error. The pure-Rust regular expressions are used, so no C library is needed.
//!
//! The library takes its file for a good one and panics at some that are not. Text that is no JSON is
//! refused before the library sees it; every other panic becomes an error here, the only place where
//! the library is called. Nothing of a tokenizer changes while it is used, so that it is as good
//! after a panic as before.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::IgnoredAny;
use tokenizers::Tokenizer;

/// Why a tokenizer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is not a tokenizer.
    #[error("tokenizer.json: {0}; take the file that belongs to the model")]
    Load(String),
    /// The text could not be turned into tokens.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
    /// The tokens could not be turned into text.
    #[error("the tokens cannot be decoded: {0}")]
    Decode(String),
}

/// A loaded tokenizer.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    inner: Tokenizer,
}

impl TextTokenizer {
    /// From the bytes of a `tokenizer.json`. Truncation and padding that the file asks for are
    /// switched off: a text is encoded as it is.
    ///
    /// # Errors
    /// [`TokenizerError::Load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let malformed = |e: &dyn std::fmt::Display| TokenizerError::Load(e.to_string());
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|e| malformed(&e))?;
        let read = guarded(|| Tokenizer::from_bytes(bytes));
        let mut inner = read.map_err(|e| malformed(&e))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| malformed(&e))?;
        Ok(Self { inner })
    }

    /// Token ids of a text; with `special_tokens`, what the model puts around one (such as `</s>`).
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        guarded(|| self.inner.encode_fast(text, special_tokens))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(TokenizerError::Encode)
    }

    /// Token ids of a text with what the model puts around one, and for each whether it was put there.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_marked(&self, text: &str) -> Result<Vec<(u32, bool)>, TokenizerError> {
        let encoding = guarded(|| self.inner.encode_fast(text, true));
        let encoding = encoding.map_err(TokenizerError::Encode)?;
        let marks = encoding.get_special_tokens_mask().iter();
        let ids = encoding.get_ids().iter().copied();
        Ok(ids.zip(marks.map(|&mark| mark == 1)).collect())
    }

    /// The text of token ids, special tokens left out; ids that do not exist are left out as well.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        guarded(|| self.inner.decode(tokens, true)).map_err(TokenizerError::Decode)
    }

    /// The id of a token by its exact text, such as `<|transcribe|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens that were added to the vocabulary, special ones among them, by id.
    pub fn added_tokens(&self) -> BTreeMap<u32, String> {
        let added = self.inner.get_added_tokens_decoder().into_iter();
        added.map(|(id, token)| (id, token.content)).collect()
    }

    /// Number of tokens, added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// What the library says, a panic of it included.
fn guarded<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(_) => Err("the file breaks the library that reads it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_json_is_refused_with_its_line() {
        let error = TextTokenizer::from_bytes(b"{\n\"decoder\": {\"type\"").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2"), "{text}");
    }

    #[test]
    fn a_vocabulary_that_breaks_the_library_is_an_error() {
        // A merge whose second half is shorter than the prefix that is cut off it.
        let file = br#"{"version": "1.0", "added_tokens": [], "model": {"type": "BPE",
            "continuing_subword_prefix": "a long prefix", "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": [["a", "b"]]}}"#;
        assert!(matches!(
            TextTokenizer::from_bytes(file),
            Err(TokenizerError::Load(_))
        ));
    }
}
