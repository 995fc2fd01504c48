//! The text of a window while it is decoded, as far as it will not change.
//!
//! A search tells after each step which tokens are certain. People want letters, and of those only what
//! stays: a token may end in the middle of a letter, white space at the end of a segment is cut off, and
//! where the model writes timestamps, all that follows the last closed segment may be thrown away
//! ([`seek`](crate::speech::seek)). So of the first segment of a window every whole letter is told at once,
//! because it is kept whether it is closed or not, and of a later segment all when it is closed. What was
//! not told by the end of the window is told with its segments.
//!
//! Assumed is that the text of more tokens begins with that of fewer, but for a letter that is cut. Where
//! a tokenizer does not promise that ([`TextTokenizer::is_steady`]), segments are told as a whole.

use crate::speech::join;
use crate::speech::whisper::WhisperPlan;
use crate::tokenizer::{TextTokenizer, TokenizerError};

/// What stands in a text for bytes that are no letter, or not yet.
const CUT: char = '\u{fffd}';

/// What is told of a window.
pub(super) struct Deltas<'a> {
    tokenizer: &'a TextTokenizer,
    plan: &'a WhisperPlan,
    /// The length of the text before the window.
    before: usize,
    /// The last letter of that, and the text of the segments that are closed.
    closed: String,
    /// How many tokens they have.
    closed_tokens: usize,
    /// The first segment, until it is closed.
    open: Open,
    /// How much of the window's text was told, in bytes.
    told: usize,
}

impl<'a> Deltas<'a> {
    /// For a window behind this text.
    pub fn new(tokenizer: &'a TextTokenizer, plan: &'a WhisperPlan, text: &str) -> Self {
        Self {
            tokenizer,
            plan,
            before: text.len(),
            closed: String::from_iter(text.chars().next_back()),
            closed_tokens: 0,
            open: Open::default(),
            told: 0,
        }
    }

    /// Takes all tokens of the window that will not change, and returns the text that is new by them; it
    /// may be empty.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn take(&mut self, tokens: &[u32]) -> Result<String, TokenizerError> {
        let letter = self.letter();
        while let Some(at) = self.next_closing(tokens) {
            let text = self.words(&tokens[self.closed_tokens..at]);
            append(&mut self.closed, &self.tokenizer.decode(&text)?);
            self.closed_tokens = at + 1;
        }
        let mut all = self.closed.clone();
        if self.closed_tokens == 0 && self.tokenizer.is_steady() {
            self.open.take(self.words(tokens), self.tokenizer)?;
            append(&mut all, &self.open.text);
        }
        let new = all.get(letter + self.told..).unwrap_or_default();
        self.told += new.len();
        Ok(new.to_owned())
    }

    /// What is new in the text of the whole sound, which now has a segment of the window more.
    pub fn rest<'t>(&mut self, text: &'t str) -> &'t str {
        let new = text.get(self.before + self.told..).unwrap_or_default();
        self.told += new.len();
        new
    }

    /// How many bytes of `closed` are the letter before the window.
    fn letter(&self) -> usize {
        match self.before {
            0 => 0,
            _ => self.closed.chars().next().map_or(0, char::len_utf8),
        }
    }

    /// The next token that closes a segment: a timestamp behind a word.
    fn next_closing(&self, tokens: &[u32]) -> Option<usize> {
        let zero = self.plan.time_zero()?;
        let is_time = |at: usize| tokens[at] >= zero;
        (self.closed_tokens.max(1)..tokens.len()).find(|&at| is_time(at) && !is_time(at - 1))
    }

    fn words(&self, tokens: &[u32]) -> Vec<u32> {
        let words = tokens.iter().copied();
        words.filter(|&token| self.plan.is_text(token)).collect()
    }
}

/// The text of a segment to which tokens are added.
#[derive(Default)]
struct Open {
    /// The text but for that of the last tokens, if these end in the middle of a letter.
    text: String,
    /// The tokens that it has, and those of them to which the next may be joined.
    known: usize,
    joined: usize,
}

impl Open {
    /// Takes all tokens of the segment.
    fn take(&mut self, tokens: Vec<u32>, tokenizer: &TextTokenizer) -> Result<(), TokenizerError> {
        let (Some(joined), Some(last)) = (
            tokens.get(self.joined..self.known),
            tokens.get(self.joined..),
        ) else {
            return Ok(());
        };
        let (joined, last) = (tokenizer.decode(joined)?, tokenizer.decode(last)?);
        if let (false, Some(new)) = (last.ends_with(CUT), last.strip_prefix(&joined)) {
            self.text.push_str(new);
            (self.joined, self.known) = (self.known, tokens.len());
        }
        Ok(())
    }
}

/// Appends the text of a segment, if it has any.
fn append(all: &mut String, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        join::append(all, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::TranscribeOptions;
    use crate::speech::whisper::WhisperConfig;

    /// Token 0 ends a text. Then come those whose bytes these are, and behind them the token that says
    /// that no timestamps follow, and time zero.
    const TEXTS: [&[u8]; 9] = [
        b" One",
        b" two",
        b".",
        b" ",
        "日".as_bytes(),
        b"\xf0\x9f",
        b"\x98",
        b"\x80",
        b" \xff",
    ];
    const ZERO: u32 = 11;

    fn tokenizer(decoder: &str) -> TextTokenizer {
        // The letters of the GPT-2 alphabet of bytes.
        let letter = |&byte: &u8| match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            0..=0x20 => char::from_u32(256 + u32::from(byte)).unwrap(),
            0x7f..=0xa0 => char::from_u32(256 + 33 + u32::from(byte) - 0x7f).unwrap(),
            0xad => char::from_u32(256 + 67).unwrap(),
        };
        let texts = TEXTS
            .iter()
            .map(|text| text.iter().map(letter).collect::<String>());
        let all = ["<end>".to_owned()].into_iter().chain(texts);
        let vocab: serde_json::Map<String, serde_json::Value> = all
            .enumerate()
            .map(|(id, text)| (text, id.into()))
            .collect();
        let json = serde_json::json!({
            "version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": vocab, "merges": []},
            "decoder": {"type": decoder, "add_prefix_space": false, "trim_offsets": true,
                "use_regex": false, "prefix": "##", "cleanup": true}
        });
        TextTokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
    }

    fn plan(has_times: bool) -> WhisperPlan {
        let settings =
            br#"{"decoder_start_token_id": 0, "eos_token_id": 0, "no_timestamps_token_id": 10,
            "is_multilingual": false, "max_length": 100}"#;
        let config = WhisperConfig::from_json(Some(settings), b"{\"max_target_positions\": 100}");
        let options = TranscribeOptions {
            timestamps: Some(has_times),
            ..TranscribeOptions::default()
        };
        config.unwrap().plan(&options, false).unwrap()
    }

    /// What is told after each of these tokens.
    fn told(before: &str, has_times: bool, tokens: &[u32]) -> Vec<String> {
        let (tokenizer, plan) = (tokenizer("ByteLevel"), plan(has_times));
        let mut deltas = Deltas::new(&tokenizer, &plan, before);
        let counts = 1..=tokens.len();
        counts
            .map(|count| deltas.take(&tokens[..count]).unwrap())
            .collect()
    }

    #[test]
    fn every_whole_letter_is_told_at_once_and_joined_to_the_text_before() {
        assert_eq!(told("", false, &[1, 2, 3]), ["One", " two", "."]);
        assert_eq!(told("Zero.", false, &[1, 2]), [" One", " two"]);
        assert_eq!(told("日", false, &[5, 1]), ["日", " One"]);
        assert_eq!(
            told("", false, &[1, 6, 7, 8, 3]),
            ["One", "", "", "😀", "."]
        );
        // White space may turn out to be the last of the segment.
        assert_eq!(told("", false, &[4, 1, 4, 2]), ["", "One", "", "  two"]);
    }

    #[test]
    fn bytes_that_are_no_letter_are_told_when_a_letter_follows() {
        assert_eq!(told("", false, &[1, 9, 2]), ["One", "", " \u{fffd} two"]);
        assert_eq!(told("", false, &[6, 1]), ["", "\u{fffd} One"]);
    }

    #[test]
    fn a_later_segment_is_told_when_it_is_closed() {
        let tokens = [
            ZERO,
            1,
            2,
            ZERO + 9,
            ZERO + 9,
            2,
            3,
            ZERO + 12,
            ZERO + 12,
            1,
        ];
        let expected = ["", "One", " two", "", "", "", "", " two.", "", ""];
        assert_eq!(told("", true, &tokens), expected);
        // Whatever is told in the end, it follows.
        let (tokenizer, plan) = (tokenizer("ByteLevel"), plan(true));
        let mut deltas = Deltas::new(&tokenizer, &plan, "Zero.");
        deltas.take(&tokens).unwrap();
        assert_eq!(deltas.rest("Zero. One two"), "");
        assert_eq!(deltas.rest("Zero. One two two. One"), " One");
        assert_eq!(deltas.rest("Zero. One two two. One"), "");
    }

    #[test]
    fn a_tokenizer_that_changes_what_it_wrote_has_its_segments_told_as_a_whole() {
        let (tokenizer, plan) = (tokenizer("WordPiece"), plan(true));
        let mut deltas = Deltas::new(&tokenizer, &plan, "");
        assert_eq!(deltas.take(&[ZERO, 1, 2]).unwrap(), "");
        assert_ne!(deltas.take(&[ZERO, 1, 2, ZERO + 3]).unwrap(), "");
    }
}
