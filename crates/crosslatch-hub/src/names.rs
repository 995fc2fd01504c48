//! What people call models: short names, names on the hub, and what is rather a path.
//!
//! A name on the hub has two parts, `owner/name`, and so has many a path. A word with an ending that
//! files of models have is therefore a path, everything else of that form is a name. A third part
//! names one file of a repository that holds many models, such as `ggerganov/whisper.cpp`.

use std::path::Path;

/// A model that can be named in one word.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShortName {
    /// The word.
    pub name: &'static str,
    /// Its name on the hub.
    pub repository: &'static str,
    /// Parameters in millions, as published.
    pub parameters: u32,
}

/// The models of OpenAI, and those that were distilled from them, by the words that other programs
/// use for them.
pub const SHORT_NAMES: &[ShortName] = &[
    short("tiny.en", "openai/whisper-tiny.en", 39),
    short("tiny", "openai/whisper-tiny", 39),
    short("base.en", "openai/whisper-base.en", 74),
    short("base", "openai/whisper-base", 74),
    short("small.en", "openai/whisper-small.en", 244),
    short("small", "openai/whisper-small", 244),
    short("medium.en", "openai/whisper-medium.en", 769),
    short("medium", "openai/whisper-medium", 769),
    short("large-v1", "openai/whisper-large", 1550),
    short("large-v2", "openai/whisper-large-v2", 1550),
    short("large-v3", "openai/whisper-large-v3", 1550),
    short("large", "openai/whisper-large-v3", 1550),
    short("large-v3-turbo", "openai/whisper-large-v3-turbo", 809),
    short("turbo", "openai/whisper-large-v3-turbo", 809),
    short("distil-small.en", "distil-whisper/distil-small.en", 166),
    short("distil-medium.en", "distil-whisper/distil-medium.en", 394),
    short("distil-large-v2", "distil-whisper/distil-large-v2", 756),
    short("distil-large-v3", "distil-whisper/distil-large-v3", 756),
    short("distil-large-v3.5", "distil-whisper/distil-large-v3.5", 756),
];

const fn short(name: &'static str, repository: &'static str, parameters: u32) -> ShortName {
    ShortName {
        name,
        repository,
        parameters,
    }
}

/// Endings of files that hold models: what ends so is a path.
const ENDINGS: [&str; 8] = [
    "pt2",
    "bin",
    "safetensors",
    "gguf",
    "onnx",
    "pte",
    "pt",
    "pth",
];

/// The name of a model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The one file that is meant.
    pub file: Option<String>,
}

impl Name {
    /// What this means as a name; `None` if it can only be a path.
    pub fn parse(text: &str) -> Option<Name> {
        let text = match SHORT_NAMES.iter().find(|short| short.name == text) {
            Some(short) => short.repository,
            None => text,
        };
        let (text, revision) = match text.split_once('@') {
            Some((text, revision)) => (text, revision),
            None => (text, "main"),
        };
        let mut parts = text.splitn(3, '/');
        let (owner, name, file) = (parts.next()?, parts.next()?, parts.next());
        let is_word = |word: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            word.chars().all(allowed) && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        let is_model = |word: &str| has_ending(word) && is_word(word);
        let fits = is_word(owner) && is_word(name) && !has_ending(name) && is_word(revision);
        (fits && file.is_none_or(is_model)).then(|| Name {
            repository: format!("{owner}/{name}"),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        })
    }
}

fn has_ending(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|e| e.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// What may have been meant by something that is neither a path nor a name, as the end of a sentence.
pub fn hint(path: &Path) -> String {
    let text = path.to_string_lossy();
    let bare = text.strip_prefix("whisper-").unwrap_or(&text);
    if let Some(short) = SHORT_NAMES.iter().find(|short| short.name == bare) {
        return format!(". Did you mean `{}`?", short.name);
    }
    if text.contains('/') || has_ending(&text) {
        return "; `crosslatch models` lists the models on this machine".to_owned();
    }
    ", and a name on the hub is `owner/name`, or one of the short names that `crosslatch models` \
     lists, such as `tiny.en`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let parse = |text| Name::parse(text).map(|n| (n.repository, n.revision, n.file));
        let named = |repository: &str, revision: &str, file: Option<&str>| {
            let file = file.map(str::to_owned);
            Some((repository.to_owned(), revision.to_owned(), file))
        };
        assert_eq!(
            parse("tiny.en"),
            named("openai/whisper-tiny.en", "main", None)
        );
        let own = named("me/my_model.v2", "a1b2", None);
        assert_eq!(parse("me/my_model.v2@a1b2"), own);
        let one = named("ggerganov/whisper.cpp", "main", Some("ggml-tiny.en.bin"));
        assert_eq!(parse("ggerganov/whisper.cpp/ggml-tiny.en.bin"), one);
        for path in [
            "",
            "whisper",
            "models/whisper.pt2",
            "./tiny.en",
            "../a/b",
            "/a/b",
            "a//b",
            "a/b/",
            "a/b/c",
            "a/b/../c.bin",
            "~/model",
            "a/b@../../c",
            "a/b@",
            "ä/b",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn every_short_name_is_a_name() {
        for short in SHORT_NAMES {
            assert_eq!(Name::parse(short.name), Name::parse(short.repository));
            assert!(Name::parse(short.repository).is_some(), "{short:?}");
        }
    }

    #[test]
    fn hints_say_what_may_be_meant() {
        assert!(hint(Path::new("whisper-tiny.en")).contains("mean `tiny.en`"));
        assert!(hint(Path::new("tinny")).contains("`owner/name`"));
        assert!(hint(Path::new("models/x.pt2")).contains("crosslatch models"));
    }
}
