//! Checkpoints of other formats: files of whisper.cpp and folders of CTranslate2, opened and made ready to
//! transcribe.
//!
//! An input is one file. Files of whisper.cpp are only accepted with OpenAI's vocabularies, whose embeddings
//! are most of the bytes of even the smallest model, and numbers that tolerate anything. So mutations leave them
//! out.

use std::path::Path;

use crosslatch::Access;
use crosslatch_checkpoints::{is_checkpoint, open};
use crosslatch_tasks::speech_pipeline;

use super::archive::scratch;
use super::config::FILES;
use super::{Target, kind_of};
use crate::mutation::{Chance, bytes};

pub const GGML: Target = Target {
    name: "ggml",
    run: |bytes| {
        let path = scratch(".bin");
        let answer = match std::fs::write(&path, bytes) {
            Ok(()) => opened(&path),
            Err(error) => format!("cannot be written: {error}"),
        };
        let _ = std::fs::remove_file(&path);
        answer
    },
    seeds: || vec![ggml(51_864), ggml(51_865), ggml(51_866)],
    mutate: around_the_embeddings,
    longest: 1 << 18,
};

pub const CTRANSLATE2: Target = Target {
    name: "ctranslate2",
    run: |bytes| match in_folder(bytes, opened) {
        Ok(answer) => answer,
        Err(error) => format!("cannot be written: {error}"),
    },
    seeds: || [0, 1, 2, 4, 5].map(ctranslate2).to_vec(),
    mutate: bytes::mutate,
    longest: 1 << 15,
};

/// Does something with a folder whose weights are these.
///
/// # Errors
/// If it cannot be written.
pub fn in_folder<T>(weights: &[u8], act: impl FnOnce(&Path) -> T) -> std::io::Result<T> {
    let path = scratch("-ctranslate2");
    folder(&path, weights)?;
    let result = act(&path);
    let _ = std::fs::remove_dir_all(&path);
    Ok(result)
}

/// What opening gives, and what becomes of a model that could be opened.
fn opened(path: &Path) -> String {
    if !is_checkpoint(path) {
        return "is no checkpoint".to_owned();
    }
    let short = |error: &dyn std::fmt::Display| {
        let text = error.to_string();
        let place = path.display().to_string();
        kind_of(text.strip_prefix(&place).unwrap_or(&text))
    };
    match open(path, Access::Copy) {
        Err(error) => short(&error),
        Ok(model) => match speech_pipeline(&model) {
            Err(error) => format!("good: {}", short(&error)),
            Ok(_) => format!("good: {} methods", model.methods().len()),
        },
    }
}

/// Changes what is not the data of a file's embeddings.
fn around_the_embeddings(chance: &mut Chance, input: &[u8], other: &[u8]) -> Vec<u8> {
    let name = b"decoder.token_embedding.weight";
    let start = input.windows(name.len()).position(|window| window == name);
    // All that a model of this width needs, as floats of 16 bits.
    let data = start.map(|start| start + name.len()..(start + name.len() + 2 * 51_864));
    let Some(data) = data.filter(|data| data.end < input.len()) else {
        return bytes::mutate(chance, input, other);
    };
    let head = bytes::mutate(
        chance,
        &input[..data.start],
        &other[..other.len().min(4096)],
    );
    let mut changed = match chance.bool() {
        true => head,
        false => input[..data.start].to_vec(),
    };
    changed.extend(&input[data.clone()]);
    let tail = &input[data.end..];
    match chance.bool() {
        true => changed.extend(tail),
        false => changed.extend(bytes::mutate(chance, tail, tail)),
    }
    changed
}

/// The smallest model of whisper.cpp with this vocabulary, in floats of 16 bits.
pub fn ggml(vocabulary: u32) -> Vec<u8> {
    const MELS: u32 = 2;
    const POSITIONS: u32 = 50;
    let mut file = Vec::new();
    let numbers = |file: &mut Vec<u8>, numbers: &[u32]| {
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    numbers(
        &mut file,
        &[
            0x6767_6d6c,
            vocabulary,
            POSITIONS,
            1,
            1,
            1,
            4,
            1,
            1,
            1,
            MELS,
            1,
        ],
    );
    numbers(&mut file, &[MELS, 201]);
    file.resize(file.len() + MELS as usize * 201 * 4, 0);
    let tokens: [&[u8]; 8] = [b" ", b"-", b" -", b"a", b"b", b"ab", b"", b"\xe3\x80"];
    numbers(&mut file, &[tokens.len() as u32]);
    for token in tokens {
        numbers(&mut file, &[token.len() as u32]);
        file.extend(token);
    }
    let mut tensor = |name: &str, shape: &[u32]| {
        let kind = u32::from(shape.len() > 1);
        numbers(&mut file, &[shape.len() as u32, name.len() as u32, kind]);
        numbers(&mut file, &shape.iter().rev().copied().collect::<Vec<_>>());
        file.extend(name.as_bytes());
        let numel: u32 = shape.iter().product();
        file.resize(
            file.len() + numel as usize * if kind == 0 { 4 } else { 2 },
            1,
        );
    };
    tensor("decoder.token_embedding.weight", &[vocabulary, 1]);
    tensor("encoder.positional_embedding", &[POSITIONS, 1]);
    tensor("decoder.positional_embedding", &[4, 1]);
    for (name, input) in [("encoder.conv1", MELS), ("encoder.conv2", 1)] {
        tensor(&format!("{name}.weight"), &[1, input, 3]);
        tensor(&format!("{name}.bias"), &[1, 1]);
    }
    for side in ["encoder", "decoder"] {
        let block = format!("{side}.blocks.0");
        let norm = if side == "encoder" {
            "encoder.ln_post"
        } else {
            "decoder.ln"
        };
        let mut vectors = vec![norm.to_owned()];
        let mut matrices = Vec::new();
        let attentions: &[&str] = if side == "encoder" {
            &["attn"]
        } else {
            &["attn", "cross_attn"]
        };
        for attention in attentions {
            vectors.push(format!("{block}.{attention}_ln"));
            matrices.extend(
                ["query", "key", "value", "out"].map(|p| format!("{block}.{attention}.{p}")),
            );
        }
        vectors.push(format!("{block}.mlp_ln"));
        matrices.extend(["0", "2"].map(|n| format!("{block}.mlp.{n}")));
        for name in vectors {
            tensor(&format!("{name}.weight"), &[1]);
            tensor(&format!("{name}.bias"), &[1]);
        }
        for name in matrices {
            tensor(&format!("{name}.weight"), &[1, 1]);
            if !name.ends_with("key") {
                tensor(&format!("{name}.bias"), &[1]);
            }
        }
    }
    file
}

/// A folder with this file of weights.
fn folder(path: &Path, weights: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::write(path.join("model.bin"), weights)?;
    let config = r#"{"suppress_ids": [1, 2], "suppress_ids_begin": [3], "lang_ids": [4]}"#;
    std::fs::write(path.join("config.json"), config)?;
    let specials = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ];
    let tokens: Vec<&str> = ["a", "b", "Ġa", "ab"].into_iter().chain(specials).collect();
    let tokens = serde_json::to_string(&tokens)?;
    std::fs::write(path.join("vocabulary.json"), tokens)?;
    // The features of the other targets' models.
    for (name, contents) in FILES
        .iter()
        .filter(|(name, _)| name.starts_with("preprocessor"))
    {
        std::fs::write(path.join(name), contents)?;
    }
    Ok(())
}

/// The types of CTranslate2's variables.
const FLOAT: u8 = 0;
const INT8: u8 = 1;
const INT16: u8 = 2;

/// The smallest model of CTranslate2, with weights of this type.
pub fn ctranslate2(kind: u8) -> Vec<u8> {
    const POSITIONS: u32 = 50;
    const VOCABULARY: u32 = 12;
    let mut variables = Vec::new();
    let mut count = 0u32;
    let mut variable = |name: &str, kind: u8, shape: &[u32]| {
        variables.extend(text(name));
        variables.push(shape.len() as u8);
        variables.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
        let size = [4, 1, 2, 4, 2, 2][usize::from(kind)];
        let len = shape.iter().product::<u32>() * size;
        variables.push(kind);
        variables.extend(len.to_le_bytes());
        variables.resize(variables.len() + len as usize, 1);
        count += 1;
    };
    let mut weight = |name: &str, shape: &[u32]| {
        let name = format!("{name}/weight");
        variable(&name, kind, shape);
        match kind {
            INT8 => variable(&format!("{name}_scale"), FLOAT, &shape[..1]),
            INT16 => variable(&format!("{name}_scale"), FLOAT, &[]),
            _ => {}
        }
    };
    weight("encoder/conv1", &[1, 8, 3]);
    weight("encoder/conv2", &[1, 1, 3]);
    weight("decoder/embeddings", &[VOCABULARY, 1]);
    let mut biases = vec![
        ("encoder/conv1".to_owned(), 1),
        ("encoder/conv2".to_owned(), 1),
    ];
    let mut norms = vec!["encoder".to_owned(), "decoder".to_owned()];
    for side in ["encoder", "decoder"] {
        let layer = format!("{side}/layer_0");
        let mut linears = vec![
            ("self_attention/linear_0", 3),
            ("self_attention/linear_1", 1),
        ];
        linears.extend([("ffn/linear_0", 1), ("ffn/linear_1", 1)]);
        norms.extend(["self_attention", "ffn"].map(|part| format!("{layer}/{part}")));
        if side == "decoder" {
            linears.extend([("attention/linear_0", 1), ("attention/linear_1", 2)]);
            linears.push(("attention/linear_2", 1));
            norms.push(format!("{layer}/attention"));
        }
        for (name, rows) in linears {
            weight(&format!("{layer}/{name}"), &[rows, 1]);
            biases.push((format!("{layer}/{name}"), rows));
        }
    }
    for side in ["encoder", "decoder"] {
        variable(&format!("{side}/num_heads"), INT8, &[]);
        variable(
            &format!("{side}/position_encodings/encodings"),
            FLOAT,
            &[POSITIONS, 1],
        );
    }
    for (name, rows) in biases {
        variable(&format!("{name}/bias"), FLOAT, &[rows]);
    }
    for name in norms {
        for part in ["gamma", "beta"] {
            variable(&format!("{name}/layer_norm/{part}"), FLOAT, &[1]);
        }
    }
    let mut file = 6u32.to_le_bytes().to_vec();
    file.extend(text("WhisperSpec"));
    file.extend(3u32.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(variables);
    file.extend(1u32.to_le_bytes());
    file.extend(text("decoder/projection/weight"));
    file.extend(text("decoder/embeddings/weight"));
    file
}

/// A text of CTranslate2: its length, its bytes, a zero.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16 + 1).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}
