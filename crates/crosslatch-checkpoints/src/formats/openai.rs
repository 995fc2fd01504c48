//! What all of OpenAI's Whispers have in common, for formats that leave it out.
//!
//! A file of whisper.cpp has weights and a vocabulary; the special tokens, the tokens that are never
//! written and the features' settings are constants of that program. Here they become the files that
//! stand beside a checkpoint of transformers, so that whoever reads a model need not know where it came
//! from. (The numbers are those of `whisper/tokenizer.py` and `whisper/audio.py` of OpenAI's code, and
//! of the generation configurations that OpenAI published with its checkpoints.)

use serde_json::{Value, json};

use super::vocabulary::{Added, Vocabulary};

/// The languages in the order of their tokens.
const LANGUAGES: [&str; 100] = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it",
    "id", "hi", "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur",
    "hr", "bg", "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn",
    "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw", "gl", "mr", "pa", "si",
    "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo",
    "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl", "mg", "as", "tt", "haw", "ln",
    "ha", "ba", "jw", "su", "yue",
];

/// The tokens behind the languages.
const AFTER: [&str; 6] = [
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
];
/// An older name of `<|nospeech|>`.
const NO_CAPTIONS: &str = "<|nocaptions|>";

/// The vocabulary of an English model, and of the multilingual ones with 99 and with 100 languages.
const ENGLISH: usize = 51_864;
const MULTILINGUAL: [usize; 2] = [51_865, 51_866];

/// Symbols that do not stand for speech; each is suppressed as a token with and without a space.
const SYMBOLS: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> -- --- -( -[ \
    (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪";
/// Symbols of music, of which also the first of several tokens is suppressed.
const MUSIC: &str = "♩ ♪ ♫ ♬ ♭ ♮ ♯";

/// The special tokens of a Whisper.
#[derive(Clone, Debug)]
pub struct Specials {
    end: u32,
    start: u32,
    languages: Vec<(String, u32)>,
    /// Those of [`AFTER`].
    after: [u32; 6],
    is_multilingual: bool,
}

impl Specials {
    /// Those of a model whose vocabulary is this large.
    ///
    /// # Errors
    /// If no Whisper has such a vocabulary.
    pub fn of_size(vocabulary: usize) -> Result<Specials, String> {
        let is_multilingual = MULTILINGUAL.contains(&vocabulary);
        let (end, languages): (u32, usize) = match vocabulary {
            ENGLISH => (50_256, 99),
            51_865 => (50_257, 99),
            51_866 => (50_257, 100),
            other => {
                return Err(format!(
                    "the vocabulary has {other} tokens; that of a Whisper has {ENGLISH}, {} or {}",
                    MULTILINGUAL[0], MULTILINGUAL[1]
                ));
            }
        };
        let first = end + 2;
        let languages: Vec<_> = LANGUAGES[..languages]
            .iter()
            .map(|code| format!("<|{code}|>"))
            .zip(first..)
            .collect();
        let next = first + languages.len() as u32;
        Ok(Specials {
            end,
            start: end + 1,
            languages,
            after: std::array::from_fn(|i| next + i as u32),
            is_multilingual,
        })
    }

    /// Those that `id` finds by their names.
    ///
    /// # Errors
    /// If one is missing.
    pub fn named(vocabulary: usize, id: impl Fn(&str) -> Option<u32>) -> Result<Specials, String> {
        let find = |name: &str| match (id(name), name) {
            (None, "<|nospeech|>") => id(NO_CAPTIONS),
            (found, _) => found,
        };
        let find = |name| find(name).ok_or_else(|| format!("there is no token `{name}`"));
        let languages = LANGUAGES.iter().map(|code| format!("<|{code}|>"));
        let mut after = [0; 6];
        for (token, name) in after.iter_mut().zip(AFTER) {
            *token = find(name)?;
        }
        Ok(Specials {
            end: find("<|endoftext|>")?,
            start: find("<|startoftranscript|>")?,
            languages: languages
                .filter_map(|name| id(&name).map(|id| (name, id)))
                .collect(),
            after,
            // The English models have tokens for languages too, and were not trained on them.
            is_multilingual: vocabulary != ENGLISH,
        })
    }

    /// All of them, as added tokens.
    pub fn added(&self) -> Vec<Added> {
        let mut added = vec![
            (self.end, "<|endoftext|>"),
            (self.start, "<|startoftranscript|>"),
        ];
        added.extend(self.languages.iter().map(|(name, id)| (*id, name.as_str())));
        added.extend(self.after.into_iter().zip(AFTER));
        let added = added.into_iter();
        added
            .map(|(id, text)| Added {
                id,
                text: text.to_owned(),
            })
            .collect()
    }

    /// What `config.json` says about them.
    pub fn config(&self) -> Value {
        json!({"bos_token_id": self.end, "eos_token_id": self.end, "pad_token_id": self.end,
            "decoder_start_token_id": self.start})
    }

    /// The contents of `generation_config.json`, with these tokens suppressed: everywhere, and at the
    /// start.
    pub fn generation_config(
        &self,
        suppressed: &[u32],
        at_start: &[u32],
        positions: usize,
    ) -> Value {
        let [translate, transcribe, _, previous, _, no_timestamps] = self.after;
        let mut config = json!({
            "bos_token_id": self.end, "eos_token_id": self.end, "pad_token_id": self.end,
            "decoder_start_token_id": self.start, "max_length": positions,
            "max_initial_timestamp_index": 50, "is_multilingual": self.is_multilingual,
            "no_timestamps_token_id": no_timestamps, "prev_sot_token_id": previous,
            "return_timestamps": false, "suppress_tokens": suppressed,
            "begin_suppress_tokens": at_start,
        });
        if self.is_multilingual {
            let languages = self
                .languages
                .iter()
                .map(|(name, id)| (name.clone(), Value::from(*id)));
            config["lang_to_id"] = Value::Object(languages.collect());
            // A language that is found out, and the task that is meant where none is named.
            config["forced_decoder_ids"] = json!([[1, null], [2, transcribe]]);
            config["task_to_id"] = json!({"transcribe": transcribe, "translate": translate});
        }
        config
    }

    /// The tokens that are never written: signs that do not stand for speech, and those that only a
    /// prompt may have.
    pub fn suppressed(&self, vocabulary: &Vocabulary) -> Vec<u32> {
        let mut tokens = Vec::new();
        for start in [" -", " '"] {
            tokens.extend(vocabulary.encode(start).first());
        }
        for (symbols, is_music) in [(SYMBOLS, false), (MUSIC, true)] {
            for symbol in symbols.split(' ') {
                for word in [symbol.to_owned(), format!(" {symbol}")] {
                    match vocabulary.encode(&word)[..] {
                        [only] => tokens.push(only),
                        [first, ..] if is_music => tokens.push(first),
                        _ => {}
                    }
                }
            }
        }
        let [translate, transcribe, lm, previous, no_speech, _] = self.after;
        tokens.extend([self.start, translate, transcribe, lm, previous, no_speech]);
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// The tokens that are not written first: a space alone, and the end.
    pub fn suppressed_at_start(&self, vocabulary: &Vocabulary) -> Vec<u32> {
        let space = vocabulary.id(b" ");
        space.into_iter().chain([self.end]).collect()
    }
}

/// The contents of `preprocessor_config.json` of a model with so many bands and positions.
pub fn preprocessor_config(mels: usize, positions: usize) -> Value {
    // Two frames of 10 ms make a position.
    json!({"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": mels,
        "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400, "chunk_length": positions / 50})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_fill_the_vocabularies() {
        for size in [ENGLISH, MULTILINGUAL[0], MULTILINGUAL[1]] {
            let specials = Specials::of_size(size).unwrap();
            let first_timestamp = specials.after[5] as usize + 1;
            // 0.00 to 30.00 in steps of 0.02.
            assert_eq!(size - first_timestamp, 1501);
            let ids: Vec<u32> = specials.added().iter().map(|added| added.id).collect();
            assert_eq!(ids, (specials.end..=specials.after[5]).collect::<Vec<_>>());
            let added = specials.added();
            let named = Specials::named(size, |name| {
                added
                    .iter()
                    .find(|added| added.text == name)
                    .map(|added| added.id)
            });
            assert_eq!(named.unwrap().added(), added);
        }
        assert!(Specials::of_size(51_863).is_err());
    }
}
