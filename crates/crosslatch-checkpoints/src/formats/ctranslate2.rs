//! A folder of faster-whisper: a Whisper that CTranslate2's converter wrote.
//!
//! `model.bin` is a version, the name of a specification and its revision; then the variables, each with
//! its name, sizes, type and data; then names that stand for other variables. A text is its length in 16
//! bits and its bytes, of which the last is 0. (`_serialize` in `ctranslate2/specs/model_spec.py` writes
//! it.) Projections that read the same input are one variable there, query, key and value one below the
//! other. Weights of integers have a second variable, `…_scale`, with a number for each row by which it
//! was multiplied.
//!
//! `config.json` lists tokens to suppress; the tokenizer is a `tokenizer.json`, or else the list of
//! tokens in `vocabulary.json` or `vocabulary.txt`. Sizes are those of the variables.

use std::collections::HashMap;
use std::path::Path;

use crosslatch::Access;
use crosslatch::model::FileId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bytes::Reader;
use super::openai::{Specials, preprocessor_config};
use super::vocabulary::{Vocabulary, bytes};
use crate::checkpoint::{CONFIG, Checkpoint};
use crate::encoding::{Encoding, Float, Scales};
use crate::error::CheckpointError;
use crate::tensors::{Stored, Tensors};

/// The file with the weights.
pub const WEIGHTS: &str = "model.bin";

/// The versions of the file's format that are read: all since types have been named.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;

/// The specification of Whisper.
const WHISPER: &str = "WhisperSpec";

const TOKENIZER: &str = "tokenizer.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// Lists of tokens, one of which stands in for a tokenizer.
pub const VOCABULARIES: [&str; 2] = ["vocabulary.json", "vocabulary.txt"];

/// Whether a folder is one of CTranslate2.
pub fn is_ctranslate2(path: &Path) -> bool {
    path.join(WEIGHTS).is_file() && path.join(CONFIG).is_file()
}

/// What of `config.json` is used.
#[derive(Deserialize)]
struct Config {
    suppress_ids: Option<Vec<u32>>,
    suppress_ids_begin: Option<Vec<u32>>,
    alignment_heads: Option<Value>,
}

/// Reads a folder.
///
/// # Errors
/// If a file is missing or malformed, or it is no Whisper.
pub fn read(path: &Path, access: Access) -> Result<Checkpoint, CheckpointError> {
    let mut checkpoint = Checkpoint::new(path, "whisper", access);
    let file = checkpoint.model.file(&path.join(WEIGHTS))?;
    let contents = checkpoint.model.files().bytes(file);
    let variables = Variables::read(file, contents);
    let sizes = variables.and_then(|variables| {
        let sizes = Sizes::of(&variables)?;
        variables.name(&sizes, &mut checkpoint.tensors, contents)?;
        Ok(sizes)
    });
    let sizes = sizes.map_err(|reason| checkpoint.refuse(WEIGHTS, reason))?;
    let config: Config = crate::checkpoint::json(&path.join(CONFIG))?;
    let (specials, vocabulary) = tokenizer(&mut checkpoint, sizes.vocabulary)?;
    let suppressed = config.suppress_ids.unwrap_or_else(|| match &vocabulary {
        Some(vocabulary) => specials.suppressed(vocabulary),
        None => Vec::new(),
    });
    let at_start = config.suppress_ids_begin.unwrap_or_default();
    let mut generation = specials.generation_config(&suppressed, &at_start, sizes.text_positions);
    // The heads by which words get their times; whoever reads them checks them.
    if let Some(heads) = config.alignment_heads {
        generation["alignment_heads"] = heads;
    }
    checkpoint.add_contents("generation_config.json", &generation.to_string())?;
    checkpoint.add_contents(CONFIG, &sizes.config(&specials).to_string())?;
    match path.join(PREPROCESSOR).is_file() {
        true => checkpoint.add_file(PREPROCESSOR)?,
        false => {
            let features = preprocessor_config(sizes.mels, sizes.audio_positions);
            checkpoint.add_contents(PREPROCESSOR, &features.to_string())?;
        }
    }
    Ok(checkpoint)
}

/// Adds the tokenizer; returns the special tokens, and the vocabulary if it was made of one.
fn tokenizer(
    checkpoint: &mut Checkpoint,
    size: usize,
) -> Result<(Specials, Option<Vocabulary>), CheckpointError> {
    let path = checkpoint.path.join(TOKENIZER);
    if path.is_file() {
        checkpoint.add_file(TOKENIZER)?;
        let contents: Value = crate::checkpoint::json(&path)?;
        let ids = ids(&contents);
        let specials = Specials::named(size, |name| ids.get(name).copied());
        let specials = specials.map_err(|reason| checkpoint.refuse(TOKENIZER, reason))?;
        return Ok((specials, None));
    }
    let [json, text] = VOCABULARIES.map(|name| checkpoint.path.join(name));
    let (name, tokens) = match json.is_file() {
        true => (VOCABULARIES[0], crate::checkpoint::json(&json)?),
        false => {
            let text = std::fs::read_to_string(&text).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => checkpoint.refuse(
                    "",
                    format!(
                        "there is neither {TOKENIZER} nor {} in the folder",
                        VOCABULARIES[0]
                    ),
                ),
                _ => CheckpointError::Io { path: text, source },
            })?;
            (
                VOCABULARIES[1],
                text.lines().map(str::to_owned).collect::<Vec<String>>(),
            )
        }
    };
    let made = specials_and_vocabulary(&tokens, size);
    let (specials, vocabulary) = made.map_err(|reason| checkpoint.refuse(name, reason))?;
    let tokenizer = vocabulary.tokenizer(&specials.added()).to_string();
    checkpoint.add_contents(TOKENIZER, &tokenizer)?;
    Ok((specials, Some(vocabulary)))
}

/// The tokens in a list: those of bytes, and the special ones among them.
fn specials_and_vocabulary(
    tokens: &[String],
    size: usize,
) -> Result<(Specials, Vocabulary), String> {
    let ids: HashMap<&str, u32> = tokens.iter().map(String::as_str).zip(0..).collect();
    let specials = Specials::named(size, |name| ids.get(name).copied())?;
    let is_text = |token: &str| token.starts_with("<|") && token.ends_with("|>");
    let tokens = tokens.iter().map(|token| match is_text(token) {
        true => None,
        false => bytes(token),
    });
    Ok((specials, Vocabulary::new(tokens.collect())?))
}

/// The ids of a tokenizer's tokens.
fn ids(tokenizer: &Value) -> HashMap<&str, u32> {
    let id = |id: &Value| u32::try_from(id.as_u64()?).ok();
    let vocabulary = tokenizer["model"]["vocab"]
        .as_object()
        .into_iter()
        .flatten();
    let vocabulary = vocabulary.filter_map(|(token, number)| Some((token.as_str(), id(number)?)));
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|added| Some((added["content"].as_str()?, id(&added["id"])?)));
    vocabulary.chain(added).collect()
}

/// A variable of the file.
struct Variable {
    shape: Vec<usize>,
    /// The type by its number.
    kind: u8,
    range: std::ops::Range<usize>,
}

/// The variables of a file.
struct Variables<'b> {
    file: FileId,
    bytes: &'b [u8],
    by_name: HashMap<String, Variable>,
    aliases: HashMap<String, String>,
}

impl<'b> Variables<'b> {
    fn read(file: FileId, bytes: &'b [u8]) -> Result<Variables<'b>, String> {
        let mut reader = Reader::new(bytes);
        let version = reader.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(format!(
                "this is no file of CTranslate2, or one of version {version}; {} to {} are read",
                VERSIONS.start(),
                VERSIONS.end()
            ));
        }
        let specification = text(&mut reader)?;
        if specification != WHISPER {
            return Err(format!(
                "this is a model of CTranslate2 by `{specification}`; only `{WHISPER}` is read. The \
                 checkpoint that it was converted from may be"
            ));
        }
        reader.u32()?;
        let mut by_name = HashMap::new();
        for _ in 0..reader.count()? {
            let name = text(&mut reader)?;
            let mut shape = Vec::new();
            for _ in 0..reader.u8()? {
                shape.push(reader.count()?);
            }
            let kind = reader.u8()?;
            let len = reader.count()?;
            let range = reader.range(len)?;
            let variable = Variable { shape, kind, range };
            if let Some(name) = by_name.insert(name.clone(), variable).and(Some(name)) {
                return Err(format!("there is a second variable `{name}`"));
            }
        }
        let mut aliases = HashMap::new();
        if !reader.is_at_end() {
            for _ in 0..reader.count()? {
                aliases.insert(text(&mut reader)?, text(&mut reader)?);
            }
        }
        Ok(Variables {
            file,
            bytes,
            by_name,
            aliases,
        })
    }

    fn get(&self, name: &str) -> Result<&Variable, String> {
        let known = self.by_name.get(name);
        let known = known.or_else(|| self.by_name.get(self.aliases.get(name)?));
        known.ok_or_else(|| format!("there is no variable `{name}`"))
    }

    /// A variable that is one number.
    fn number(&self, name: &str) -> Result<usize, String> {
        let variable = self.get(name)?;
        let bytes = &self.bytes[variable.range.clone()];
        match (variable.kind, bytes) {
            (1, [byte]) => Ok(usize::from(*byte)),
            (2, [low, high]) => Ok(usize::from(u16::from_le_bytes([*low, *high]))),
            (3, [a, b, c, d]) => Ok(u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            _ => Err(format!("variable `{name}` is no number")),
        }
    }

    /// How many layers a side has.
    fn layers(&self, side: &str) -> usize {
        let has = |i: &usize| {
            let name = format!("{side}/layer_{i}/self_attention/layer_norm/gamma");
            self.get(&name).is_ok()
        };
        (0..).take_while(has).count()
    }

    /// A variable as a tensor, with its scales if it has any.
    fn tensor(&self, name: &str) -> Result<Stored, String> {
        let variable = self.get(name)?;
        let float = |kind: u8| match kind {
            0 => Some(Float::F32),
            4 => Some(Float::F16),
            5 => Some(Float::BF16),
            _ => None,
        };
        let scaled = |bytes: usize| {
            let scale = self.get(&format!("{name}_scale"))?;
            let float = float(scale.kind).ok_or("the scales are no floats")?;
            let scales = scale.range.len() / float.size();
            Ok::<_, String>(Encoding::Scaled {
                bytes,
                scales: Scales {
                    range: scale.range.clone(),
                    float,
                    shared_by: (variable.range.len() / bytes)
                        .checked_div(scales)
                        .unwrap_or(0),
                },
            })
        };
        let encoding = match (variable.kind, float(variable.kind)) {
            (_, Some(float)) => Encoding::Float(float),
            (1, None) => scaled(1)?,
            (2, None) => scaled(2)?,
            (other, None) => Encoding::Other(format!("{other} of CTranslate2")),
        };
        if self.get(&format!("{name}_zero")).is_ok() {
            return Err(format!("`{name}` is stored by AWQ, which is not read"));
        }
        Ok(Stored {
            file: self.file,
            encoding,
            shape: variable.shape.clone(),
            range: variable.range.clone(),
        })
    }

    /// Gives the variables the names of transformers.
    fn name(&self, sizes: &Sizes, tensors: &mut Tensors, bytes: &[u8]) -> Result<(), String> {
        let mut add = |theirs: String, ours: String, part: Option<(usize, usize)>| {
            let mut stored = self.tensor(&theirs)?;
            if let Some((number, count)) = part {
                let part = stored.part(number, count);
                stored = part.ok_or_else(|| format!("`{theirs}` is not {count} projections"))?;
            }
            tensors.insert(ours, stored, bytes)
        };
        for name in ["conv1", "conv2"] {
            for kind in ["weight", "bias"] {
                add(
                    format!("encoder/{name}/{kind}"),
                    format!("model.encoder.{name}.{kind}"),
                    None,
                )?;
            }
        }
        let embedding = "decoder/embeddings/weight".to_owned();
        add(
            embedding,
            "model.decoder.embed_tokens.weight".to_owned(),
            None,
        )?;
        for (side, layers) in [
            ("encoder", sizes.audio_layers),
            ("decoder", sizes.text_layers),
        ] {
            let positions = format!("{side}/position_encodings/encodings");
            add(
                positions,
                format!("model.{side}.embed_positions.weight"),
                None,
            )?;
            for (kind, theirs) in [("weight", "gamma"), ("bias", "beta")] {
                let norm = format!("{side}/layer_norm/{theirs}");
                add(norm, format!("model.{side}.layer_norm.{kind}"), None)?;
            }
            for i in 0..layers {
                let (theirs, ours) = (
                    format!("{side}/layer_{i}"),
                    format!("model.{side}.layers.{i}"),
                );
                for part in layer(side) {
                    for kind in ["weight", "bias"] {
                        let theirs = match (part.is_norm, kind) {
                            (true, "weight") => format!("{theirs}/{}/gamma", part.theirs),
                            (true, _) => format!("{theirs}/{}/beta", part.theirs),
                            (false, kind) => format!("{theirs}/{}/{kind}", part.theirs),
                        };
                        // Keys have no bias in a Whisper, and zeros in its place here.
                        if kind == "bias" && part.ours.ends_with("k_proj") {
                            continue;
                        }
                        add(theirs, format!("{ours}.{}.{kind}", part.ours), part.piece)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A part of a layer.
struct Part {
    theirs: &'static str,
    ours: &'static str,
    is_norm: bool,
    /// Which of how many projections in one variable.
    piece: Option<(usize, usize)>,
}

/// The parts of a layer of this side.
fn layer(side: &str) -> Vec<Part> {
    let part = |theirs, ours, piece| Part {
        theirs,
        ours,
        is_norm: false,
        piece,
    };
    let norm = |theirs, ours| Part {
        theirs,
        ours,
        is_norm: true,
        piece: None,
    };
    let mut parts = vec![
        norm("self_attention/layer_norm", "self_attn_layer_norm"),
        part("self_attention/linear_0", "self_attn.q_proj", Some((0, 3))),
        part("self_attention/linear_0", "self_attn.k_proj", Some((1, 3))),
        part("self_attention/linear_0", "self_attn.v_proj", Some((2, 3))),
        part("self_attention/linear_1", "self_attn.out_proj", None),
        norm("ffn/layer_norm", "final_layer_norm"),
        part("ffn/linear_0", "fc1", None),
        part("ffn/linear_1", "fc2", None),
    ];
    if side == "decoder" {
        parts.extend([
            norm("attention/layer_norm", "encoder_attn_layer_norm"),
            part("attention/linear_0", "encoder_attn.q_proj", None),
            part("attention/linear_1", "encoder_attn.k_proj", Some((0, 2))),
            part("attention/linear_1", "encoder_attn.v_proj", Some((1, 2))),
            part("attention/linear_2", "encoder_attn.out_proj", None),
        ]);
    }
    parts
}

/// The sizes of the model.
struct Sizes {
    vocabulary: usize,
    width: usize,
    mels: usize,
    audio_positions: usize,
    text_positions: usize,
    audio_layers: usize,
    text_layers: usize,
    audio_heads: usize,
    text_heads: usize,
    audio_inner: usize,
    text_inner: usize,
}

impl Sizes {
    fn of(variables: &Variables<'_>) -> Result<Sizes, String> {
        let size = |name: &str, dim: usize| {
            let shape = &variables.get(name)?.shape;
            let size = shape.get(dim).copied();
            size.ok_or_else(|| format!("variable `{name}` has the shape {shape:?}"))
        };
        Ok(Sizes {
            vocabulary: size("decoder/embeddings/weight", 0)?,
            width: size("decoder/embeddings/weight", 1)?,
            mels: size("encoder/conv1/weight", 1)?,
            audio_positions: size("encoder/position_encodings/encodings", 0)?,
            text_positions: size("decoder/position_encodings/encodings", 0)?,
            audio_layers: variables.layers("encoder"),
            text_layers: variables.layers("decoder"),
            audio_heads: variables.number("encoder/num_heads")?,
            text_heads: variables.number("decoder/num_heads")?,
            audio_inner: size("encoder/layer_0/ffn/linear_0/weight", 0)?,
            text_inner: size("decoder/layer_0/ffn/linear_0/weight", 0)?,
        })
    }

    /// The contents of transformers' `config.json`.
    fn config(&self, specials: &Specials) -> Value {
        let mut config = specials.config();
        let sizes = json!({
            "model_type": "whisper", "vocab_size": self.vocabulary, "num_mel_bins": self.mels,
            "d_model": self.width, "encoder_layers": self.audio_layers,
            "encoder_attention_heads": self.audio_heads, "encoder_ffn_dim": self.audio_inner,
            "decoder_layers": self.text_layers, "decoder_attention_heads": self.text_heads,
            "decoder_ffn_dim": self.text_inner, "max_source_positions": self.audio_positions,
            "max_target_positions": self.text_positions,
        });
        if let (Some(config), Some(sizes)) = (config.as_object_mut(), sizes.as_object()) {
            config.extend(sizes.clone());
        }
        config
    }
}

/// A text: its length, its bytes, a 0.
fn text(reader: &mut Reader<'_>) -> Result<String, String> {
    let len = usize::from(reader.u16()?);
    let bytes = reader.take(len)?;
    Ok(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned())
}
