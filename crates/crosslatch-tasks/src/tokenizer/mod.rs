//! From text to token ids and back, by the files that a model is published with.
//!
//! Most models describe their tokens in `tokenizer.json`, a file that the `tokenizers` library defines
//! and reads. Others come with SentencePiece models and a vocabulary ([`published`]), which make a
//! tokenizer of their own ([`vocabulary`]). This is a thin layer over both, so that the rest of the
//! crate and its callers see a few operations and one error. No C library is needed.
//!
//! The libraries trust their files, and `tokenizers` panics at some that are malformed. Text that is
//! not JSON is refused before the library sees it, and every other panic becomes an error here. A
//! tokenizer does not change while it is used, so it can still be used after a panic.

mod pieces;
mod published;
mod texts;
mod vocabulary;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;
use tokenizers::{DecoderWrapper, Tokenizer};

use vocabulary::PieceTokenizer;

/// What the library, or the JSON parser before it, reported.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a tokenizer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The model has neither `tokenizer.json` nor SentencePiece files.
    #[error(
        "there is no tokenizer: neither `tokenizer.json` nor SentencePiece files (`source.spm`, \
         `sentencepiece.bpe.model`, `spiece.model`); copy the files of the tokenizer to those of the \
         model, or export both together"
    )]
    Missing,
    /// A file of a tokenizer of SentencePiece models is missing or malformed.
    #[error("{0}; take the files that belong to the model")]
    Published(#[source] Cause),
    /// The file is not a tokenizer.
    #[error("tokenizer.json: {0}; take the file that belongs to the model")]
    Load(#[source] Cause),
    /// The text could not be turned into tokens.
    #[error("the text cannot be encoded: {0}")]
    Encode(#[source] Cause),
    /// It is not known what text single tokens are.
    #[error("a grammar cannot be obeyed with this tokenizer: {0}; leave out the grammar")]
    Texts(#[source] Cause),
    /// The tokens could not be turned into text.
    #[error("the tokens cannot be decoded: {0}")]
    Decode(#[source] Cause),
}

/// A loaded tokenizer.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    inner: Inner,
    /// What text each token is, if that was asked for.
    texts: OnceLock<Arc<Vec<Option<Vec<u8>>>>>,
}

#[derive(Debug, Clone)]
enum Inner {
    /// A `tokenizer.json`.
    Json(Box<Tokenizer>),
    /// SentencePiece models.
    Pieces(Box<PieceTokenizer>),
}

impl TextTokenizer {
    /// Reads the tokenizer of a model from the files beside it: `tokenizer.json`, or else the
    /// SentencePiece models and vocabularies that Marian, M2M100, NLLB, mBART, T5 and Pegasus are
    /// published with.
    ///
    /// # Errors
    /// If there is none, or a file is malformed.
    pub fn from_files<'f>(
        files: impl Fn(&str) -> Option<&'f [u8]> + 'f,
    ) -> Result<Self, TokenizerError> {
        if let Some(json) = files("tokenizer.json") {
            return Self::from_bytes(json);
        }
        let pieces = guarded(|| published::tokenizer(&files).map_err(Into::into));
        match pieces.map_err(TokenizerError::Published)? {
            Some(pieces) => Ok(Self {
                inner: Inner::Pieces(Box::new(pieces)),
                texts: OnceLock::new(),
            }),
            None => Err(TokenizerError::Missing),
        }
    }

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
        Ok(Self {
            inner: Inner::Json(Box::new(inner)),
            texts: OnceLock::new(),
        })
    }

    /// The token ids of a text; with `special_tokens` also those that the model puts around one,
    /// such as `</s>`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        match &self.inner {
            Inner::Json(json) => guarded(|| json.encode_fast(text, special_tokens))
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(TokenizerError::Encode),
            Inner::Pieces(_) => {
                let tokens = self.encode_marked(text)?.into_iter();
                let tokens = tokens.filter(|(_, is_around)| special_tokens || !is_around);
                Ok(tokens.map(|(id, _)| id).collect())
            }
        }
    }

    /// The token ids of a text and of what the model puts around one; each says whether it is such
    /// an addition.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_marked(&self, text: &str) -> Result<Vec<(u32, bool)>, TokenizerError> {
        match &self.inner {
            Inner::Json(json) => {
                let encoding = guarded(|| json.encode_fast(text, true));
                let encoding = encoding.map_err(TokenizerError::Encode)?;
                let marks = encoding.get_special_tokens_mask().iter();
                let ids = encoding.get_ids().iter().copied();
                Ok(ids.zip(marks.map(|&mark| mark == 1)).collect())
            }
            Inner::Pieces(pieces) => {
                guarded(|| Ok(pieces.encode(text)?)).map_err(TokenizerError::Encode)
            }
        }
    }

    /// The text of token ids. Special tokens are left out, and so are ids that do not exist.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        let text = match &self.inner {
            Inner::Json(json) => guarded(|| json.decode(tokens, true)),
            Inner::Pieces(pieces) => guarded(|| Ok(pieces.decode(tokens)?)),
        };
        text.map_err(TokenizerError::Decode)
    }

    /// Whether the text of more tokens begins with that of fewer, but for a letter that ends in the middle.
    pub(crate) fn is_steady(&self) -> bool {
        let Inner::Json(json) = &self.inner else {
            return false;
        };
        let writes_on = |decoder: &DecoderWrapper| {
            matches!(
                decoder,
                DecoderWrapper::ByteLevel(_) | DecoderWrapper::Metaspace(_)
            )
        };
        json.get_decoder().is_none_or(writes_on)
    }

    /// The bytes of each token by its id; `None` for those that are not text.
    ///
    /// # Errors
    /// [`TokenizerError::Texts`].
    pub(crate) fn texts(&self) -> Result<Arc<Vec<Option<Vec<u8>>>>, TokenizerError> {
        if let Some(texts) = self.texts.get() {
            return Ok(Arc::clone(texts));
        }
        let texts = texts::texts(self).map_err(TokenizerError::Texts)?;
        Ok(Arc::clone(self.texts.get_or_init(|| Arc::new(texts))))
    }

    /// The id of a token by its exact text, such as `<|transcribe|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.inner {
            Inner::Json(json) => json.token_to_id(token),
            Inner::Pieces(pieces) => pieces.ids.get(token).copied(),
        }
    }

    /// The tokens that were added to the vocabulary, among them the special ones and those that
    /// stand for languages, by id.
    pub fn added_tokens(&self) -> BTreeMap<u32, String> {
        match &self.inner {
            Inner::Json(json) => {
                let added = json.get_added_tokens_decoder().into_iter();
                added.map(|(id, token)| (id, token.content)).collect()
            }
            Inner::Pieces(pieces) => pieces.added.clone(),
        }
    }

    /// Number of tokens, the added ones included.
    pub fn vocabulary_size(&self) -> usize {
        match &self.inner {
            Inner::Json(json) => json.get_vocab_size(true),
            Inner::Pieces(pieces) => pieces.ids.len(),
        }
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
