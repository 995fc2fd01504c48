//! Which of a tokenizer's tokens stand for languages, and which one a person means.
//!
//! Multilingual models mark languages with tokens, each kind of model in its own way: `fra_Latn`
//! (NLLB), `fr_XX` (mBART), `__fr__` (M2M100), `>>fra<<` before the source (Marian). Nothing in a
//! model's files lists them, so they are recognised by their shape among the tokens that were added
//! to the vocabulary.

use crate::config::{OptionsError, language_code};
use crate::tokenizer::TextTokenizer;

/// The languages of a tokenizer.
#[derive(Debug, Clone, Default)]
pub(super) struct Languages {
    known: Vec<Language>,
}

/// A token that stands for a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Language {
    pub id: u32,
    /// The language's name without the marks around it, such as `fra_Latn` or `fr`.
    name: String,
    /// Whether the token belongs before the source.
    pub is_of_source: bool,
}

impl Languages {
    pub fn of(tokenizer: &TextTokenizer) -> Self {
        let added = tokenizer.added_tokens().into_iter();
        Self {
            known: added.filter_map(|(id, text)| language(id, &text)).collect(),
        }
    }

    /// Whether a token stands for a language.
    pub fn contains(&self, id: u32) -> bool {
        self.known.iter().any(|language| language.id == id)
    }

    /// The language that a person calls `wanted`: by its token or the name in the token, in any
    /// case; by the part before `_`; or by its English name where the tokens carry codes of two
    /// letters.
    pub fn find(&self, wanted: &str) -> Result<&Language, OptionsError> {
        let lower = wanted.to_lowercase();
        let bare = language(0, wanted).map_or(lower.clone(), |l| l.name.to_lowercase());
        let code = language_code(wanted).unwrap_or(&lower);
        let whole = |l: &&Language| l.name.to_lowercase() == bare;
        let start = |l: &&Language| {
            let start = l.name.split('_').next().unwrap_or_default();
            start.eq_ignore_ascii_case(&bare) || start.eq_ignore_ascii_case(code)
        };
        if let Some(language) = self.known.iter().find(whole) {
            return Ok(language);
        }
        match self.known.iter().filter(start).collect::<Vec<_>>()[..] {
            [only] => Ok(only),
            [] => Err(OptionsError::Language {
                language: wanted.to_owned(),
                known: match self.known.is_empty() {
                    true => "none by name".to_owned(),
                    false => names(&mut self.known.iter()),
                },
            }),
            ref several => Err(OptionsError::Ambiguous {
                language: wanted.to_owned(),
                known: names(&mut several.iter().copied()),
            }),
        }
    }
}

fn names(languages: &mut dyn Iterator<Item = &Language>) -> String {
    let names: Vec<&str> = languages.map(|l| l.name.as_str()).collect();
    names.join(", ")
}

/// The language that a token stands for, if it does.
fn language(id: u32, text: &str) -> Option<Language> {
    let between = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let is_code = |code: &str| {
        (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let is_whole = |name: &str| {
        name.split_once('_').is_some_and(|(code, rest)| {
            is_code(code)
                && rest.starts_with(|first: char| first.is_ascii_uppercase())
                && rest.bytes().all(|byte| byte.is_ascii_alphabetic())
        })
    };
    let of = |name: &str, is_of_source| Language {
        id,
        name: name.to_owned(),
        is_of_source,
    };
    match (between("__", "__"), between(">>", "<<")) {
        (Some(name), _) => is_code(name).then(|| of(name, false)),
        (_, Some(name)) => {
            let start = name.split('_').next().unwrap_or_default();
            is_code(start).then(|| of(name, true))
        }
        _ => is_whole(text).then(|| of(text, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(tokens: &[&str]) -> Languages {
        let known = (0..)
            .zip(tokens)
            .filter_map(|(id, text)| language(id, text));
        Languages {
            known: known.collect(),
        }
    }

    #[test]
    fn language_tokens_of_every_kind_are_recognised_and_no_others() {
        let tokens = ["</s>", "fra_Latn", "fr_XX", "__fr__", ">>fra<<", "<mask>"];
        let found = languages(&tokens);
        let ids: Vec<u32> = found.known.iter().map(|l| l.id).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert!(found.contains(4) && !found.contains(5));
        let others = [
            "__",
            "____",
            "_",
            "__fra",
            "Fr_XX",
            "fr_xx",
            "a_b",
            "<extra_id_0>",
        ];
        assert!(languages(&others).known.is_empty());
    }

    #[test]
    fn a_language_is_found_by_token_name_code_and_english_name() {
        let m2m = languages(&["__en__", "__fr__", "__de__"]);
        for wanted in ["fr", "FR", "French", "__fr__"] {
            assert_eq!(m2m.find(wanted).unwrap().id, 1, "{wanted}");
        }
        let nllb = languages(&["eng_Latn", "fra_Latn", "zho_Hans", "zho_Hant"]);
        for wanted in ["fra_Latn", "fra", "FRA_LATN"] {
            assert_eq!(nllb.find(wanted).unwrap().id, 1, "{wanted}");
        }
        assert_eq!(
            languages(&["en_XX", "ro_RO"]).find("Romanian").unwrap().id,
            1
        );
        assert!(languages(&[">>fra<<"]).find("fra").unwrap().is_of_source);
        assert_eq!(
            nllb.find("zho").unwrap_err().to_string(),
            "language \"zho\" could be zho_Hans, zho_Hant; name one of them"
        );
        assert_eq!(
            m2m.find("klingon").unwrap_err().to_string(),
            "language \"klingon\" is not known to this model; it knows en, fr, de"
        );
    }
}
