//! Tokenizers as models are published with them, without `tokenizer.json`.
//!
//! The files are SentencePiece models, for some kinds a vocabulary, and `tokenizer_config.json`. Which
//! token id a piece has is a convention of each kind:
//!
//! | kind | files | ids |
//! |---|---|---|
//! | Marian | `source.spm`, `target.spm`, `vocab.json`, `target_vocab.json` | from the vocabulary |
//! | M2M100 | `sentencepiece.bpe.model`, `vocab.json` | from the vocabulary, then languages |
//! | NLLB, mBART | `sentencepiece.bpe.model` | four special tokens, then pieces from the fourth on, languages, `<mask>` |
//! | T5 | `spiece.model` | the pieces' numbers, then extra ids, the last first |
//! | Pegasus | `spiece.model` | special tokens up to an offset, then pieces from the third on |

mod languages;
mod settings;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::pieces::Pieces;
use super::vocabulary::PieceTokenizer;
use settings::Settings;

/// A file of a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct FileError {
    file: &'static str,
    cause: String,
}

/// The files of a model, by name.
pub type Files<'f> = dyn Fn(&str) -> Option<&'f [u8]> + 'f;

const SOURCE: &str = "source.spm";
const TARGET: &str = "target.spm";
const VOCABULARY: &str = "vocab.json";
const TARGET_VOCABULARY: &str = "target_vocab.json";
const BPE: &str = "sentencepiece.bpe.model";
const PIECES: &str = "spiece.model";

/// What Pegasus has in front of the pieces, if its file does not say it.
const PEGASUS_OFFSET: u32 = 103;
/// How many extra ids T5 has, if its file does not say it.
const EXTRA_IDS: u32 = 100;
/// The most tokens beside pieces that a file may ask for.
const MOST_EXTRA: u32 = 10_000;

/// The tokenizer that these files are; `None` if they are none.
///
/// # Errors
/// Which file is missing or malformed.
pub fn tokenizer(files: &Files<'_>) -> Result<Option<PieceTokenizer>, FileError> {
    let has = |name: &str| files(name).is_some();
    if !(has(SOURCE) || has(BPE) || has(PIECES)) {
        return Ok(None);
    }
    let settings = Settings::read(files)?;
    let kind = settings.kind();
    let made = match kind {
        _ if has(SOURCE) => marian(files, &settings)?,
        _ if has(BPE) && has(VOCABULARY) => m2m100(files, &settings)?,
        Some("nllb") if has(BPE) => fairseq(files, &settings, languages::NLLB, "eng_Latn")?,
        Some("mbart50") if has(BPE) => fairseq(files, &settings, languages::MBART_50, "en_XX")?,
        Some("mbart") if has(BPE) => fairseq(files, &settings, languages::MBART, "en_XX")?,
        Some("t5") if has(PIECES) => t5(files, &settings)?,
        Some("pegasus") if has(PIECES) => pegasus(files, &settings)?,
        _ => {
            let file = if has(BPE) { BPE } else { PIECES };
            return Err(FileError {
                file,
                cause: "which kind of tokenizer it belongs to is not known; save the tokenizer as \
                        tokenizer.json with transformers"
                    .to_owned(),
            });
        }
    };
    Ok(Some(made))
}

fn bytes<'f>(files: &Files<'f>, name: &'static str) -> Result<&'f [u8], FileError> {
    files(name).ok_or_else(|| FileError {
        file: name,
        cause: "the file is missing".to_owned(),
    })
}

fn pieces(files: &Files<'_>, name: &'static str) -> Result<Pieces, FileError> {
    let pieces = Pieces::from_bytes(bytes(files, name)?);
    pieces.map_err(|cause| FileError { file: name, cause })
}

fn vocabulary(files: &Files<'_>, name: &'static str) -> Result<HashMap<String, u32>, FileError> {
    serde_json::from_slice(bytes(files, name)?).map_err(|error| FileError {
        file: name,
        cause: error.to_string(),
    })
}

/// A tokenizer in the making.
struct Making {
    source: Pieces,
    ids: HashMap<String, u32>,
    special: Vec<String>,
    languages: BTreeMap<u32, String>,
}

impl Making {
    /// With these ids, and special tokens that have some.
    fn new(source: Pieces, ids: HashMap<String, u32>, special: Vec<String>) -> Making {
        Making {
            source,
            ids,
            special,
            languages: BTreeMap::new(),
        }
    }

    /// Adds a token, which is special.
    fn add(&mut self, token: &str, id: u32) {
        self.ids.insert(token.to_owned(), id);
        self.special.push(token.to_owned());
    }

    /// Adds tokens for languages, with ids from `first` on.
    fn add_languages(&mut self, tokens: impl Iterator<Item = String>, first: u32) {
        for (id, token) in (first..).zip(tokens) {
            self.add(&token, id);
            self.languages.insert(id, token);
        }
    }

    fn id(&self, file: &'static str, token: &str) -> Result<u32, FileError> {
        let id = self.ids.get(token).copied();
        id.ok_or_else(|| FileError {
            file,
            cause: format!("there is no token `{token}`"),
        })
    }

    fn finish(self, unknown: u32, [before, behind]: [Vec<u32>; 2]) -> PieceTokenizer {
        let special_ids = self.special.iter().filter_map(|token| self.ids.get(token));
        let hidden: HashSet<u32> = special_ids.copied().collect();
        let mut added = self.languages;
        for token in &self.special {
            added.extend(self.ids.get(token).map(|&id| (id, token.clone())));
        }
        PieceTokenizer {
            source: self.source,
            target: None,
            names: names(&self.ids),
            ids: self.ids,
            unknown,
            special: self.special,
            hidden,
            added,
            before,
            behind,
            reads_languages: false,
        }
    }
}

fn names(ids: &HashMap<String, u32>) -> HashMap<u32, String> {
    ids.iter().map(|(piece, &id)| (id, piece.clone())).collect()
}

fn marian(files: &Files<'_>, settings: &Settings) -> Result<PieceTokenizer, FileError> {
    let special = settings.tokens(&[("unk", "<unk>"), ("eos", "</s>"), ("pad", "<pad>")]);
    let [unknown, end] = [special[0].clone(), special[1].clone()];
    let ids = vocabulary(files, VOCABULARY)?;
    let mut made = Making::new(pieces(files, SOURCE)?, ids, special);
    let is_language = |token: &str| token.starts_with(">>") && token.ends_with("<<");
    let languages = made.ids.iter().filter(|(token, _)| is_language(token));
    made.languages = languages.map(|(token, &id)| (id, token.clone())).collect();
    let unknown = made.id(VOCABULARY, &unknown)?;
    let end = made.id(VOCABULARY, &end)?;
    let mut tokenizer = made.finish(unknown, [vec![], vec![end]]);
    tokenizer.reads_languages = true;
    if settings.separate_vocabs {
        tokenizer.target = Some(pieces(files, TARGET)?);
        tokenizer.names = names(&vocabulary(files, TARGET_VOCABULARY)?);
    }
    Ok(tokenizer)
}

fn m2m100(files: &Files<'_>, settings: &Settings) -> Result<PieceTokenizer, FileError> {
    let special = settings.tokens(&[
        ("unk", "<unk>"),
        ("eos", "</s>"),
        ("bos", "<s>"),
        ("sep", "</s>"),
        ("pad", "<pad>"),
    ]);
    let [unknown, end] = [special[0].clone(), special[1].clone()];
    let mut made = Making::new(pieces(files, BPE)?, vocabulary(files, VOCABULARY)?, special);
    let languages = match settings.language_codes.as_deref() {
        Some("wmt21") => languages::WMT21,
        _ => languages::M2M100,
    };
    let size = made.ids.len() as u32;
    let languages = languages.split(' ').map(|code| format!("__{code}__"));
    made.add_languages(languages, size);
    let language = settings.src_lang.as_deref().unwrap_or("en");
    let language = made.id(settings::FILE, &format!("__{language}__"))?;
    let unknown = made.id(VOCABULARY, &unknown)?;
    let end = made.id(VOCABULARY, &end)?;
    Ok(made.finish(unknown, [vec![language], vec![end]]))
}

/// NLLB and mBART, whose ids are those of the fairseq library.
fn fairseq(
    files: &Files<'_>,
    settings: &Settings,
    languages: &str,
    language: &str,
) -> Result<PieceTokenizer, FileError> {
    let special = ["<s>", "<pad>", "</s>", "<unk>"];
    let source = pieces(files, BPE)?;
    let pieces = source.all().map(str::to_owned);
    let mut ids: HashMap<String, u32> = (1..).zip(pieces).skip(3).map(|(i, p)| (p, i)).collect();
    let count = source.all().count() as u32;
    ids.extend((0..).zip(special).map(|(id, token)| (token.to_owned(), id)));
    let mut made = Making::new(source, ids, special.map(str::to_owned).into());
    let languages: Vec<String> = languages.split(' ').map(str::to_owned).collect();
    let mask = count + 1 + languages.len() as u32;
    made.add_languages(languages.into_iter(), count + 1);
    made.add("<mask>", mask);
    let language = settings.src_lang.as_deref().unwrap_or(language);
    let language = made.id(settings::FILE, language)?;
    let end = 2;
    let around = match settings.kind() {
        Some("mbart") => [vec![], vec![end, language]],
        Some("nllb") if settings.legacy_behaviour => [vec![], vec![end, language]],
        _ => [vec![language], vec![end]],
    };
    Ok(made.finish(3, around))
}

fn t5(files: &Files<'_>, settings: &Settings) -> Result<PieceTokenizer, FileError> {
    let special = settings.tokens(&[("unk", "<unk>"), ("eos", "</s>"), ("pad", "<pad>")]);
    let [unknown, end] = [special[0].clone(), special[1].clone()];
    let source = pieces(files, PIECES)?;
    let ids = source.all().map(str::to_owned).zip(0..).collect();
    let count = source.all().count() as u32;
    let mut made = Making::new(source, ids, special);
    let extra = settings.extra_ids.unwrap_or(EXTRA_IDS);
    check_extra("extra_ids", extra)?;
    for i in 0..extra {
        made.add(&format!("<extra_id_{i}>"), count + extra - 1 - i);
    }
    let unknown = made.id(PIECES, &unknown)?;
    let end = made.id(PIECES, &end)?;
    Ok(made.finish(unknown, [vec![], vec![end]]))
}

fn pegasus(files: &Files<'_>, settings: &Settings) -> Result<PieceTokenizer, FileError> {
    let offset = settings.offset.unwrap_or(PEGASUS_OFFSET);
    check_extra("offset", offset)?;
    let source = pieces(files, PIECES)?;
    let pieces = source.all().map(str::to_owned);
    let ids = (offset..)
        .zip(pieces)
        .skip(2)
        .map(|(i, p)| (p, i))
        .collect();
    let mut made = Making::new(source, ids, vec!["<unk>".to_owned()]);
    let front = ["<pad>", "</s>", "<mask_1>", "<mask_2>"].map(str::to_owned);
    let more = (2..offset).map(|i| format!("<unk_{i}>"));
    for (id, token) in (0..).zip(front.into_iter().chain(more)) {
        made.add(&token, id);
    }
    let unknown = made.id(PIECES, "<unk>")?;
    Ok(made.finish(unknown, [vec![], vec![1]]))
}

fn check_extra(name: &str, count: u32) -> Result<(), FileError> {
    match count > MOST_EXTRA {
        true => Err(FileError {
            file: settings::FILE,
            cause: format!("{name} is {count}; expected at most {MOST_EXTRA}"),
        }),
        false => Ok(()),
    }
}
