//! A file of whisper.cpp: `ggml-tiny.en.bin`.
//!
//! The file is one sequence of little-endian numbers: a magic number, eleven sizes, the filters that
//! make mel bands, the tokens as bytes, and the tensors until the end, each with its rank, the length of
//! its name, its type, its sizes (the innermost first), its name and its data. The names are those of
//! OpenAI's own checkpoints. (`models/convert-pt-to-ggml.py` of whisper.cpp writes the format, and
//! `whisper_model_load` reads it.) Everything else is the same for all such files; `openai.rs` has it.
//!
//! The filters are not used: they are those of every Whisper, which the features compute themselves.
//! They are compared in size alone.

use std::path::Path;

use crosslatch::Access;
use serde_json::json;

use super::bytes::Reader;
use super::openai::{Specials, preprocessor_config};
use super::vocabulary::Vocabulary;
use crate::checkpoint::Checkpoint;
use crate::encoding::{Block, Encoding, Float};
use crate::error::CheckpointError;
use crate::tensors::Stored;

/// `ggml` as a number.
const MAGIC: u32 = 0x6767_6d6c;

/// Frequencies of a frame of 400 samples.
const FREQUENCIES: usize = 201;

/// The magic number that a file begins with, if this is one of whisper.cpp.
pub fn is_ggml(path: &Path) -> bool {
    use std::io::Read;
    // Only of files: a pipe would be waited for.
    if !path.is_file() {
        return false;
    }
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && u32::from_le_bytes(magic) == MAGIC
}

/// Reads a file.
///
/// # Errors
/// If it is malformed.
pub fn read(path: &Path, access: Access) -> Result<Checkpoint, CheckpointError> {
    let mut checkpoint = Checkpoint::new(path, "whisper", access);
    let file = checkpoint.model.file(path)?;
    let refuse = |reason: String| CheckpointError::File {
        path: path.to_owned(),
        reason,
    };
    let Checkpoint { model, tensors, .. } = &mut checkpoint;
    let bytes = model.files().bytes(file);
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader).map_err(refuse)?;
    while !reader.is_at_end() {
        let (name, mut stored) = tensor(&mut reader, file).map_err(refuse)?;
        let name = transformers_name(&name)
            .ok_or_else(|| refuse(format!("`{name}` is no tensor of a Whisper")))?;
        // A convolution's bias is a column.
        if let ([_, 1], true) = (&stored.shape[..], name.ends_with("bias")) {
            stored.shape.pop();
        }
        tensors.insert(name, stored, bytes).map_err(refuse)?;
    }
    let files = header.files(tensors.shape("model.encoder.layers.0.fc1.weight"));
    for (name, contents) in files.map_err(refuse)? {
        checkpoint.add_contents(name, &contents)?;
    }
    Ok(checkpoint)
}

/// What comes before the tensors.
struct Header {
    vocabulary_size: usize,
    audio: Side,
    text: Side,
    mels: usize,
    vocabulary: Vocabulary,
}

/// The sizes of encoder or decoder.
struct Side {
    positions: usize,
    width: usize,
    heads: usize,
    layers: usize,
}

impl Side {
    fn read(reader: &mut Reader<'_>) -> Result<Side, String> {
        Ok(Side {
            positions: reader.count()?,
            width: reader.count()?,
            heads: reader.count()?,
            layers: reader.count()?,
        })
    }
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Header, String> {
        if reader.u32()? != MAGIC {
            return Err("this is no file of whisper.cpp".to_owned());
        }
        let vocabulary_size = reader.count()?;
        let (audio, text) = (Side::read(reader)?, Side::read(reader)?);
        let mels = reader.count()?;
        // The type of most tensors; each names its own, too.
        reader.u32()?;
        if audio.width != text.width {
            return Err("encoder and decoder differ in width".to_owned());
        }
        let filters = (reader.count()?, reader.count()?);
        if filters != (mels, FREQUENCIES) {
            let (bands, frequencies) = filters;
            return Err(format!(
                "the filters are {bands} × {frequencies}; expected {mels} × {FREQUENCIES}"
            ));
        }
        reader.take(mels.saturating_mul(FREQUENCIES * size_of::<f32>()))?;
        let mut tokens = Vec::new();
        for _ in 0..reader.count()? {
            let len = reader.count()?;
            tokens.push(Some(reader.take(len)?.to_vec()));
        }
        Ok(Header {
            vocabulary_size,
            audio,
            text,
            mels,
            vocabulary: Vocabulary::new(tokens)?,
        })
    }

    /// The files that stand beside a checkpoint of transformers. The shape of a feed-forward layer
    /// says how wide those are.
    fn files(&self, feed_forward: Option<&[usize]>) -> Result<Vec<(&'static str, String)>, String> {
        let specials = Specials::of_size(self.vocabulary_size)?;
        if !self.audio.positions.is_multiple_of(50) || self.audio.positions == 0 {
            return Err(format!(
                "{} positions are no whole seconds",
                self.audio.positions
            ));
        }
        let inner = match feed_forward {
            Some([inner, _]) => *inner,
            _ => self.audio.width.saturating_mul(4),
        };
        let mut config = specials.config();
        let sizes = json!({
            "model_type": "whisper", "vocab_size": self.vocabulary_size, "num_mel_bins": self.mels,
            "d_model": self.audio.width, "encoder_layers": self.audio.layers,
            "encoder_attention_heads": self.audio.heads, "encoder_ffn_dim": inner,
            "decoder_layers": self.text.layers, "decoder_attention_heads": self.text.heads,
            "decoder_ffn_dim": inner, "max_source_positions": self.audio.positions,
            "max_target_positions": self.text.positions,
        });
        if let (Some(config), Some(sizes)) = (config.as_object_mut(), sizes.as_object()) {
            config.extend(sizes.clone());
        }
        let suppressed = specials.suppressed(&self.vocabulary);
        let at_start = specials.suppressed_at_start(&self.vocabulary);
        let generation = specials.generation_config(&suppressed, &at_start, self.text.positions);
        Ok(vec![
            ("config.json", config.to_string()),
            ("generation_config.json", generation.to_string()),
            (
                "preprocessor_config.json",
                preprocessor_config(self.mels, self.audio.positions).to_string(),
            ),
            (
                "tokenizer.json",
                self.vocabulary.tokenizer(&specials.added()).to_string(),
            ),
        ])
    }
}

/// The next tensor and its name.
fn tensor(
    reader: &mut Reader<'_>,
    file: crosslatch::model::FileId,
) -> Result<(String, Stored), String> {
    let (rank, len, kind) = (reader.count()?, reader.count()?, reader.u32()?);
    if rank > 4 {
        return Err(format!(
            "a tensor has {rank} dimensions at byte {}",
            reader.at()
        ));
    }
    let mut shape = Vec::with_capacity(rank);
    for _ in 0..rank {
        shape.push(reader.count()?);
    }
    shape.reverse();
    let name = String::from_utf8_lossy(reader.take(len)?).into_owned();
    let encoding = match kind {
        0 => Encoding::Float(Float::F32),
        1 => Encoding::Float(Float::F16),
        2 => Encoding::Blocks(Block::Q4_0),
        3 => Encoding::Blocks(Block::Q4_1),
        6 => Encoding::Blocks(Block::Q5_0),
        7 => Encoding::Blocks(Block::Q5_1),
        8 => Encoding::Blocks(Block::Q8_0),
        30 => Encoding::Float(Float::BF16),
        other => {
            return Err(format!(
                "tensor `{name}` has ggml's type {other}; f32, f16, bf16, q4_0, q4_1, q5_0, q5_1 and \
                 q8_0 are read"
            ));
        }
    };
    let size = encoding.size(&shape);
    let size = size.ok_or_else(|| format!("tensor `{name}` cannot have the shape {shape:?}"))?;
    let range = reader.range(size)?;
    let stored = Stored {
        file,
        encoding,
        shape,
        range,
    };
    Ok((name, stored))
}

/// What transformers calls a tensor of OpenAI's checkpoints.
fn transformers_name(name: &str) -> Option<String> {
    let (side, rest) = name.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.').unwrap_or((rest, "weight"));
    let own = match (side, part) {
        ("encoder" | "decoder", "positional_embedding") => "embed_positions",
        ("decoder", "token_embedding") => "embed_tokens",
        ("encoder", "conv1" | "conv2") => part,
        ("encoder", "ln_post") | ("decoder", "ln") => "layer_norm",
        ("encoder" | "decoder", _) => {
            let (number, part) = part.strip_prefix("blocks.")?.split_once('.')?;
            let number: usize = number.parse().ok()?;
            let part = layer_part(side, part)?;
            return Some(format!("model.{side}.layers.{number}.{part}.{kind}"));
        }
        _ => return None,
    };
    Some(format!("model.{side}.{own}.{kind}"))
}

/// What transformers calls a part of a layer.
fn layer_part(side: &str, part: &str) -> Option<String> {
    let (attention, rest) = match part.split_once('.') {
        Some(("attn", rest)) => ("self_attn", rest),
        Some(("cross_attn", rest)) if side == "decoder" => ("encoder_attn", rest),
        _ => {
            let own = match part {
                "attn_ln" => "self_attn_layer_norm",
                "cross_attn_ln" if side == "decoder" => "encoder_attn_layer_norm",
                "mlp_ln" => "final_layer_norm",
                "mlp.0" => "fc1",
                "mlp.2" => "fc2",
                _ => return None,
            };
            return Some(own.to_owned());
        }
    };
    let projection = match rest {
        "query" => "q_proj",
        "key" => "k_proj",
        "value" => "v_proj",
        "out" => "out_proj",
        _ => return None,
    };
    Some(format!("{attention}.{projection}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_have_the_names_of_transformers() {
        for (theirs, ours) in [
            (
                "encoder.positional_embedding",
                "model.encoder.embed_positions.weight",
            ),
            (
                "decoder.positional_embedding",
                "model.decoder.embed_positions.weight",
            ),
            (
                "decoder.token_embedding.weight",
                "model.decoder.embed_tokens.weight",
            ),
            ("encoder.conv2.bias", "model.encoder.conv2.bias"),
            ("encoder.ln_post.weight", "model.encoder.layer_norm.weight"),
            ("decoder.ln.bias", "model.decoder.layer_norm.bias"),
            (
                "encoder.blocks.3.attn.key.weight",
                "model.encoder.layers.3.self_attn.k_proj.weight",
            ),
            (
                "decoder.blocks.10.cross_attn.out.bias",
                "model.decoder.layers.10.encoder_attn.out_proj.bias",
            ),
            (
                "decoder.blocks.0.cross_attn_ln.bias",
                "model.decoder.layers.0.encoder_attn_layer_norm.bias",
            ),
            (
                "encoder.blocks.0.attn_ln.weight",
                "model.encoder.layers.0.self_attn_layer_norm.weight",
            ),
            (
                "decoder.blocks.1.mlp.2.weight",
                "model.decoder.layers.1.fc2.weight",
            ),
            (
                "decoder.blocks.1.mlp_ln.weight",
                "model.decoder.layers.1.final_layer_norm.weight",
            ),
        ] {
            assert_eq!(transformers_name(theirs).as_deref(), Some(ours));
        }
        for unknown in [
            "encoder",
            "encoder.blocks.x.mlp_ln.bias",
            "encoder.blocks.0.cross_attn.out.bias",
            "head.w",
        ] {
            assert_eq!(transformers_name(unknown), None);
        }
    }
}
