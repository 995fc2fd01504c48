//! Folders, recognised by the names in them.

use std::path::Path;

use super::Remedy::{Do, ExportFolder, ExportOriginal};
use super::{Format, OfNames};

/// The most names of a folder that are looked at.
const MAX_NAMES: usize = 10_000;

/// Formats of folders.
pub(super) const FORMATS: &[Format<OfNames>] = &[
    Format {
        what: "the folder of a Hugging Face model, which holds weights and no program",
        matches: is_exportable,
        remedy: ExportFolder,
    },
    Format {
        what: "the folder of a CTranslate2 model",
        matches: |names| has(names, "model.bin") && any(names, |n| n.contains("vocabulary")),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of an OpenVINO model",
        matches: |names| {
            let stems = names.iter().filter_map(|n| n.strip_suffix(".xml"));
            stems
                .into_iter()
                .any(|stem| has(names, &format!("{stem}.bin")))
        },
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of an ONNX model",
        matches: |names| any(names, |n| n.ends_with(".onnx")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a folder of GGUF files",
        matches: |names| any(names, |n| n.ends_with(".gguf")),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of a TensorFlow or Flax model",
        matches: |names| {
            let signs = ["saved_model.pb", "tf_model.h5", "flax_model.msgpack"];
            signs.iter().any(|sign| has(names, sign))
        },
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of a Hugging Face model without its weights",
        matches: |names| has(names, "config.json"),
        remedy: Do(
            "download the weights (model.safetensors), then: crosslatch-export FOLDER OUT.pt2",
        ),
    },
    Format {
        what: "a .pt2 archive that was unpacked",
        matches: |names| has(names, "archive_format") && has(names, "models"),
        remedy: Do("name the .pt2 file itself"),
    },
    Format {
        what: "a folder with .pt2 files",
        matches: |names| any(names, |n| n.ends_with(".pt2")),
        remedy: Do("name one of them"),
    },
];

/// The names in a folder that are UTF-8; no format is recognised by another name.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.take(MAX_NAMES).flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether a folder has a configuration and weights that PyTorch reads.
pub(super) fn is_exportable(names: &[&str]) -> bool {
    let is_torch = |n: &str| n.starts_with("pytorch_model") && n.ends_with(".bin");
    has(names, "config.json") && any(names, |n| is_torch(n) || n.ends_with(".safetensors"))
}

pub(super) fn has(names: &[&str], name: &str) -> bool {
    names.contains(&name)
}

pub(super) fn any(names: &[&str], is: impl Fn(&str) -> bool) -> bool {
    names.iter().any(|name| is(name))
}
