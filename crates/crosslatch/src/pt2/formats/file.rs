//! Files, recognised by their first bytes.

use super::Remedy::{Do, ExportFolder, ExportOriginal};
use super::{Format, OfContents};

/// How far into a file a word of text is looked for.
const HEAD: usize = 4096;

/// The largest header that a safetensors file may have, by the definition of the format.
const SAFETENSORS_HEADER: u64 = 100_000_000;

/// Formats of files.
pub(super) const FORMATS: &[Format<OfContents>] = &[
    Format {
        what: "empty",
        matches: |file| file.is_empty(),
        remedy: Do("copy or download it again"),
    },
    Format {
        what: "a pointer of Git LFS and not the file that it stands for",
        matches: |file| file.starts_with(b"version https://git-lfs.github.com/spec/"),
        remedy: Do("fetch the file: git lfs pull"),
    },
    Format {
        what: "a safetensors file, which holds weights and no program",
        matches: is_safetensors,
        remedy: ExportFolder,
    },
    Format {
        what: "a GGUF file, which holds weights for llama.cpp and its kind",
        matches: |file| file.starts_with(b"GGUF"),
        remedy: ExportOriginal,
    },
    Format {
        what: "a ggml file, which holds weights for whisper.cpp and its kind",
        matches: |file| {
            [b"lmgg", b"fmgg", b"tjgg", b"algg"]
                .iter()
                .any(|magic| file.starts_with(*magic))
        },
        remedy: ExportOriginal,
    },
    Format {
        what: "an ExecuTorch program (.pte)",
        matches: |file| has_identifier(file, b"ET"),
        remedy: ExportOriginal,
    },
    Format {
        what: "an ExecuTorch data file (.ptd), which holds weights and no program",
        matches: |file| has_identifier(file, b"FT"),
        remedy: ExportOriginal,
    },
    Format {
        what: "a TensorFlow Lite model",
        matches: |file| has_identifier(file, b"TFL"),
        remedy: ExportOriginal,
    },
    Format {
        what: "an HDF5 file, such as Keras and TensorFlow write",
        matches: |file| file.starts_with(b"\x89HDF\r\n\x1a\n"),
        remedy: ExportOriginal,
    },
    Format {
        what: "a checkpoint that torch.save wrote before torch 1.6, which holds weights as a pickle",
        matches: |file| {
            file.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
        },
        remedy: ExportFolder,
    },
    Format {
        what: "a pickle, which is never opened",
        matches: |file| matches!(file, [0x80, 2..=5, .., b'.']),
        remedy: ExportFolder,
    },
    Format {
        what: "a model of CTranslate2",
        matches: is_ctranslate2,
        remedy: ExportOriginal,
    },
    Format {
        what: "a NumPy array",
        matches: |file| file.starts_with(b"\x93NUMPY"),
        remedy: Do("arrays are inputs: crosslatch run MODEL.pt2 --input IN.npz"),
    },
    Format {
        what: "machine code, such as AOTInductor writes",
        matches: |file| file.starts_with(b"\x7fELF"),
        remedy: ExportOriginal,
    },
    Format {
        what: "the program of an OpenVINO model",
        matches: |file| has_word(file, b"<net ") && !has_word(file, b"<html"),
        remedy: ExportOriginal,
    },
    Format {
        what: "a web page",
        matches: |file| has_word(file, b"<!doctype html") || has_word(file, b"<html"),
        remedy: Do("the download was answered with something else; download the file itself"),
    },
    Format {
        what: "a JSON file, such as a model's configuration",
        matches: |file| file.trim_ascii_start().starts_with(b"{"),
        remedy: ExportFolder,
    },
    Format {
        what: "a SavedModel of TensorFlow",
        matches: |file| {
            let fields = protobuf_fields(file);
            matches!(fields[..], [(1, Some(1)), (2, None), ..])
                && fields[1..].iter().all(|field| *field == (2, None))
        },
        remedy: ExportOriginal,
    },
    Format {
        what: "an ONNX model",
        matches: |file| {
            let fields = protobuf_fields(file);
            // The version of the format, and the graph.
            matches!(fields.first(), Some((1, Some(1..=64)))) && fields.contains(&(7, None))
        },
        remedy: ExportOriginal,
    },
];

/// Whether a file begins with a length and JSON.
fn is_safetensors(file: &[u8]) -> bool {
    let Some((length, rest)) = file.split_first_chunk() else {
        return false;
    };
    (2..=SAFETENSORS_HEADER).contains(&u64::from_le_bytes(*length)) && rest.starts_with(b"{")
}

/// Whether a FlatBuffer has this file identifier: four characters after the first offset, of which
/// the last are a version.
fn has_identifier(file: &[u8], begins: &[u8]) -> bool {
    let Some(identifier) = file.get(4..8) else {
        return false;
    };
    let version = identifier.strip_prefix(begins);
    version.is_some_and(|version| version.iter().all(u8::is_ascii_digit))
}

/// Whether a file begins with a version and the name of a specification, which ends with `Spec`.
fn is_ctranslate2(file: &[u8]) -> bool {
    let [version, 0, 0, 0, length, 0, rest @ ..] = file else {
        return false;
    };
    let name = rest.get(..usize::from(*length));
    (1..=64).contains(version) && name.is_some_and(|name| name.ends_with(b"Spec\0"))
}

/// Whether a markup file contains a word near its beginning, in any case.
fn has_word(file: &[u8], word: &[u8]) -> bool {
    let head = &file[..file.len().min(HEAD)];
    head.trim_ascii_start().starts_with(b"<")
        && head
            .windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
}

/// The first fields of a protocol buffer: number, and value if that is an integer. Empty if the bytes
/// are not a protocol buffer.
fn protobuf_fields(file: &[u8]) -> Vec<(u64, Option<u64>)> {
    const MOST: usize = 64;
    let mut fields = Vec::new();
    let mut rest = file;
    while !rest.is_empty() && fields.len() < MOST {
        let Some(tag) = varint(&mut rest) else {
            return Vec::new();
        };
        let value = match tag & 7 {
            0 => varint(&mut rest).map(Some),
            2 => varint(&mut rest)
                .and_then(|length| rest.get(usize::try_from(length).ok()?..))
                .map(|after| {
                    rest = after;
                    None
                }),
            _ => None,
        };
        let Some(value) = value else {
            return Vec::new();
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
