//! A tokenizer made of SentencePiece models and a vocabulary.
//!
//! The vocabulary gives each piece its token id. Special tokens are found in a text before it is cut
//! into pieces, and each stretch between them is cut for itself, as transformers' tokenizers of this
//! kind do.

use std::collections::{BTreeMap, HashMap, HashSet};

use sentencepiece_rs::Error;

use super::pieces::Pieces;

/// A tokenizer of SentencePiece models.
#[derive(Debug, Clone)]
pub struct PieceTokenizer {
    /// Cuts texts into pieces.
    pub source: Pieces,
    /// Puts texts together, if not `source` does.
    pub target: Option<Pieces>,
    /// Token ids of pieces.
    pub ids: HashMap<String, u32>,
    /// Pieces of token ids.
    pub names: HashMap<u32, String>,
    /// The id of everything that has none.
    pub unknown: u32,
    /// Tokens that are found in texts.
    pub special: Vec<String>,
    /// Tokens that are left out of texts.
    pub hidden: HashSet<u32>,
    /// Tokens that were added to the pieces, and those for languages.
    pub added: BTreeMap<u32, String>,
    /// Tokens before and behind a text.
    pub before: Vec<u32>,
    pub behind: Vec<u32>,
    /// Whether a text may begin with a language in marks, `>>fra<<`.
    pub reads_languages: bool,
}

impl PieceTokenizer {
    /// The token ids of a text, each with whether it was put around it.
    pub fn encode(&self, text: &str) -> Result<Vec<(u32, bool)>, Error> {
        let mut tokens: Vec<(u32, bool)> = self.before.iter().map(|&id| (id, true)).collect();
        let mut rest = text;
        let mut stretch = 0;
        while stretch < rest.len() {
            match self.special_at(&rest[stretch..]) {
                Some(special) => {
                    self.cut(&rest[..stretch], &mut tokens)?;
                    tokens.push((self.token(special), false));
                    rest = &rest[stretch + special.len()..];
                    stretch = 0;
                }
                None => stretch += rest[stretch..].chars().next().map_or(1, char::len_utf8),
            }
        }
        self.cut(rest, &mut tokens)?;
        tokens.extend(self.behind.iter().map(|&id| (id, true)));
        Ok(tokens)
    }

    /// The longest special token that a text begins with.
    fn special_at(&self, text: &str) -> Option<&str> {
        let found = self.special.iter().filter(|token| text.starts_with(*token));
        found.map(String::as_str).max_by_key(|token| token.len())
    }

    /// Adds the tokens of a text without special ones.
    fn cut(&self, text: &str, tokens: &mut Vec<(u32, bool)>) -> Result<(), Error> {
        if text.is_empty() {
            return Ok(());
        }
        let mut text = text;
        if let Some((language, rest)) = self.language_before(text) {
            tokens.push((self.token(language), false));
            text = rest;
        }
        let pieces = self.source.encode(text)?;
        tokens.extend(pieces.iter().map(|piece| (self.token(piece), false)));
        Ok(())
    }

    /// A language in marks at the beginning, and the text behind it.
    fn language_before<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let marked = text.starts_with(">>") && self.reads_languages;
        let end = text.find("<<").filter(|_| marked)? + "<<".len();
        text.split_at_checked(end)
    }

    fn token(&self, piece: &str) -> u32 {
        self.ids.get(piece).copied().unwrap_or(self.unknown)
    }

    /// The text of token ids, without special tokens and ids that do not exist.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        let shown = tokens.iter().filter(|id| !self.hidden.contains(id));
        let pieces: Vec<&str> = shown
            .filter_map(|id| self.names.get(id).map(String::as_str))
            .collect();
        let text = self
            .target
            .as_ref()
            .unwrap_or(&self.source)
            .decode(&pieces)?;
        Ok(text.replace('▁', " ").trim().to_owned())
    }
}
