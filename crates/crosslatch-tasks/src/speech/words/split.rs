//! From tokens to words.
//!
//! A word begins with a token that begins with a space, and punctuation belongs to the word beside it; in
//! languages that are written without spaces, each letter is a word. A letter may need several tokens,
//! whose bytes only together are one.
//!
//! The rules are those of `_combine_tokens_into_words` in transformers (5.23), which come from
//! openai-whisper. There, what is punctuation is found as a part of a text of all such marks; a word that
//! is empty or consists of spaces is a part of every text.

use std::ops::Range;

use crate::tokenizer::{TextTokenizer, TokenizerError};

/// Marks that are a word of their own before they are merged.
const MARKS: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
/// Marks that belong to the word after them.
pub(super) const BEFORE: &str = "\"'“¡¿([{-";
/// Marks that belong to the word before them.
pub(super) const BEHIND: &str = "\"'.。,，!！?？:：”)]}、";
/// Codes of languages that are written without spaces between words.
const WITHOUT_SPACES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// A word and which tokens it consists of.
type Piece = (String, Range<usize>);

/// Whether a language, given by its code, has spaces between words.
pub(super) fn has_spaces(language: Option<&str>) -> bool {
    language.is_none_or(|code| !WITHOUT_SPACES.contains(&code))
}

/// The words that these tokens make, each with the range of its tokens.
pub(super) fn split(
    tokenizer: &TextTokenizer,
    tokens: &[u32],
    has_spaces: bool,
) -> Result<Vec<Piece>, TokenizerError> {
    let letters = on_letters(tokenizer, tokens)?;
    Ok(merged(match has_spaces {
        true => on_spaces(letters),
        false => letters,
    }))
}

/// The shortest runs of tokens that are text.
fn on_letters(tokenizer: &TextTokenizer, tokens: &[u32]) -> Result<Vec<Piece>, TokenizerError> {
    const REPLACEMENT: char = '\u{fffd}';
    let whole: Vec<char> = tokenizer.decode(tokens)?.chars().collect();
    let mut pieces = Vec::new();
    let (mut start, mut offset) = (0, 0);
    for end in 1..=tokens.len() {
        let text = tokenizer.decode(&tokens[start..end])?;
        let broken = text.chars().position(|letter| letter == REPLACEMENT);
        // A mark of broken text stays if the whole text has it there.
        let is_text = broken.is_none_or(|at| {
            let there = whole.get(offset + at);
            there.is_none_or(|&letter| letter == REPLACEMENT)
        });
        if is_text {
            offset += text.chars().count();
            pieces.push((text, start..end));
            start = end;
        }
    }
    Ok(pieces)
}

/// Joins each piece to the one before it, unless it begins with a space or is punctuation.
fn on_spaces(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::new();
    for (text, range) in pieces {
        let begins = text.starts_with(' ') || MARKS.contains(text.trim());
        match words.last_mut() {
            Some((word, tokens)) if !begins => {
                word.push_str(&text);
                tokens.end = range.end;
            }
            _ => words.push((text, range)),
        }
    }
    words
}

/// Merges punctuation with the words beside it.
fn merged(mut words: Vec<Piece>) -> Vec<Piece> {
    // Emptied words stay in place until both passes are done, as in transformers.
    let mut next = words.len().saturating_sub(1);
    for i in (0..next).rev() {
        let (word, _) = &words[i];
        if word.starts_with(' ') && BEFORE.contains(word.trim()) {
            let (word, range) = std::mem::take(&mut words[i]);
            words[next].0.insert_str(0, &word);
            words[next].1.start = range.start;
        } else {
            next = i;
        }
    }
    let mut before = 0;
    for i in 1..words.len() {
        if !words[before].0.ends_with(' ') && BEHIND.contains(words[i].0.as_str()) {
            let (word, range) = std::mem::take(&mut words[i]);
            if !range.is_empty() {
                words[before].0.push_str(&word);
                let tokens = &mut words[before].1;
                // The word before may have been emptied itself.
                if tokens.start == tokens.end {
                    tokens.start = range.start;
                }
                tokens.end = range.end;
            }
        } else {
            before = i;
        }
    }
    words.retain(|(word, range)| !word.is_empty() && !range.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(words: &[&str]) -> Vec<String> {
        let pieces = words.iter().enumerate();
        let pieces = pieces.map(|(i, word)| ((*word).to_owned(), i..i + 1));
        let merged = merged(on_spaces(pieces.collect()));
        let mut next = 0;
        for (_, range) in &merged {
            assert!(range.start >= next);
            next = range.end;
        }
        merged.into_iter().map(|(word, _)| word).collect()
    }

    /// The results of transformers' functions.
    #[test]
    fn punctuation_belongs_to_the_word_beside_it() {
        assert_eq!(
            merge(&[
                " He", "llo", ",", " \"", "wor", "ld", "!\"", " (", "so", ")", "."
            ]),
            [" Hello,", " \"world", "!\"", " (so)."]
        );
        assert_eq!(merge(&[" -", " a", " -", " b"]), [" - a", " - b"]);
        assert_eq!(merge(&["a", "…", " b"]), ["a…", " b"]);
        assert_eq!(merge(&[".", ".", " a"]), ["..", " a"]);
        assert_eq!(merge(&[" \"", " \"", " a"]), [" \" \" a"]);
        assert_eq!(merge(&[]), [""; 0]);
    }

    #[test]
    fn languages_without_spaces_are_known_by_their_codes() {
        assert!(has_spaces(None) && has_spaces(Some("en")) && has_spaces(Some("ko")));
        assert!(!has_spaces(Some("ja")) && !has_spaces(Some("yue")));
    }
}
