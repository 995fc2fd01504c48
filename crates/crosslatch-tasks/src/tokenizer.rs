//! From text to token ids and back, by a model's `tokenizer.json`.
//!
//! Models describe their tokens in a file that the `tokenizers` library defines and reads. This is a
//! thin layer over the library, so that the rest of the crate and its callers see a few operations
//! and one error. Regular expressions are those in pure Rust, so no C library is needed.
//!
//! The library trusts its file and panics at some that are malformed. Text that is not JSON is
//! refused before the library sees it, and every other panic becomes an error here, in the only
//! module that calls the library. A tokenizer does not change while it is used, so it can still be
//! used after a panic.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::IgnoredAny;
use tokenizers::Tokenizer;

/// What the library, or the JSON parser before it, reported.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a tokenizer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is not a tokenizer.
    #[error("tokenizer.json: {0}; take the file that belongs to the model")]
    Load(#[source] Cause),
    /// The text could not be turned into tokens.
    #[error("the text cannot be encoded: {0}")]
    Encode(#[source] Cause),
    /// The tokens could not be turned into text.
    #[error("the tokens cannot be decoded: {0}")]
    Decode(#[source] Cause),
}

/// A loaded tokenizer.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    inner: Tokenizer,
}

impl TextTokenizer {
    /// Reads the contents of a `tokenizer.json`. Truncation and padding that the file asks for are
    /// switched off, so that a text is encoded as it is.
    ///
    /// # Errors
    /// [`TokenizerError::Load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|e| TokenizerError::Load(e.into()))?;
        let mut inner = guarded(|| Tokenizer::from_bytes(bytes)).map_err(TokenizerError::Load)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(TokenizerError::Load)?;
        Ok(Self { inner })
    }

    /// The token ids of a text; with `special_tokens` also those that the model puts around one, such
    /// as `</s>`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        guarded(|| self.inner.encode_fast(text, special_tokens))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(TokenizerError::Encode)
    }

    /// The token ids of a text and of what the model puts around one; each says whether it is such an
    /// addition.
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

    /// The text of token ids. Special tokens are left out, and so are ids that do not exist.
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

    /// The tokens that were added to the vocabulary, among them the special ones, by id.
    pub fn added_tokens(&self) -> BTreeMap<u32, String> {
        let added = self.inner.get_added_tokens_decoder().into_iter();
        added.map(|(id, token)| (id, token.content)).collect()
    }

    /// Number of tokens, the added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// Calls the library and turns a panic of it into an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    let outcome = catch_unwind(AssertUnwindSafe(call));
    outcome.unwrap_or_else(|_| Err("the file breaks the library that reads it".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_json_is_refused_with_its_line() {
        let error = TextTokenizer::from_bytes(b"{\n\"decoder\": {\"type\"").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2"), "{text}");
    }

    #[test]
    fn a_vocabulary_that_breaks_the_library_is_an_error() {
        // The second half of the merge is shorter than the prefix that the library cuts off it.
        let file = br#"{"version": "1.0", "added_tokens": [], "model": {"type": "BPE",
            "continuing_subword_prefix": "a long prefix", "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": [["a", "b"]]}}"#;
        assert!(matches!(
            TextTokenizer::from_bytes(file),
            Err(TokenizerError::Load(_))
        ));
    }
}
