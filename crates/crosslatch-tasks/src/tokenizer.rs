//! Text to token ids and back, from a model's `tokenizer.json`.
//!
//! Models name their tokens in a file that the `tokenizers` library defines and reads; this is a
//! thin layer over it, so that the rest of the crate (and its callers) sees a few operations and
//! one error. The pure-Rust regular expressions are used, so no C library is needed.

use std::collections::BTreeMap;

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
        let mut inner =
            Tokenizer::from_bytes(bytes).map_err(|e| TokenizerError::Load(e.to_string()))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| TokenizerError::Load(e.to_string()))?;
        Ok(Self { inner })
    }

    /// Token ids of a text; with `special_tokens`, what the model puts around one (such as `</s>`).
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        self.inner
            .encode_fast(text, special_tokens)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| TokenizerError::Encode(e.to_string()))
    }

    /// Token ids of a text with what the model puts around one, and for each whether it was put there.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_marked(&self, text: &str) -> Result<Vec<(u32, bool)>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(text, true)
            .map_err(|e| TokenizerError::Encode(e.to_string()))?;
        let marks = encoding.get_special_tokens_mask().iter();
        let ids = encoding.get_ids().iter().copied();
        Ok(ids.zip(marks.map(|&mark| mark == 1)).collect())
    }

    /// The text of token ids, special tokens left out; ids that do not exist are left out as well.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        self.inner
            .decode(tokens, true)
            .map_err(|e| TokenizerError::Decode(e.to_string()))
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
