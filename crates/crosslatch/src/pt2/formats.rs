//! What people give instead of a `.pt2`, and how they get one.
//!
//! Models come in many files, and most of them hold something else than a program: weights alone, a
//! program for another runtime, machine code. None of them can be read here; but each is told by its
//! first bytes, by what is in its archive or its folder, and for each there is a command that makes a
//! `.pt2` of the model that it belongs to. [`FORMATS`] has them all, the more special ones first.
//!
//! Names of files are not looked at, since they are often wrong, except in a folder, where they are all
//! there is. Nothing is assumed about the contents.

use std::path::Path;

/// A format that is not read.
struct Format {
    /// What it is, in words that follow `is`.
    what: &'static str,
    sign: Sign,
    remedy: Remedy,
}

/// What a format is known by.
enum Sign {
    /// The contents of a file.
    Bytes(fn(&[u8]) -> bool),
    /// The names in a zip archive, below its own folder.
    Entries(fn(&[&str]) -> bool),
    /// The names in a folder.
    Folder(fn(&[&str]) -> bool),
}

/// How to get a `.pt2` instead.
enum Remedy {
    /// Weights of a model whose folder, or name, can be exported.
    ExportFolder,
    /// The model that it was made of has to be exported.
    ExportOriginal,
    /// Something else.
    Say(&'static str),
}

use Remedy::{ExportFolder, ExportOriginal, Say};
use Sign::{Bytes, Entries, Folder};

/// Bytes at the beginning of a file that text is looked for in.
const HEAD: usize = 4096;

/// The largest header that a safetensors file may have, by its definition.
const SAFETENSORS_HEADER: u64 = 100_000_000;

/// Names that are read of a folder.
const MOST_NAMES: usize = 10_000;

/// All formats that are told apart; the first that fits is meant.
const FORMATS: &[Format] = &[
    Format {
        what: "empty",
        sign: Bytes(|file| file.is_empty()),
        remedy: Say("copy or download it again"),
    },
    Format {
        what: "a pointer of Git LFS and not the file that it stands for",
        sign: Bytes(|file| file.starts_with(b"version https://git-lfs.github.com/spec/")),
        remedy: Say("fetch the file: git lfs pull"),
    },
    Format {
        what: "a safetensors file, which holds weights and no program",
        sign: Bytes(is_safetensors),
        remedy: ExportFolder,
    },
    Format {
        what: "a GGUF file, which holds weights for llama.cpp and its kind",
        sign: Bytes(|file| file.starts_with(b"GGUF")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a ggml file, which holds weights for whisper.cpp and its kind",
        sign: Bytes(|file| {
            [b"lmgg", b"fmgg", b"tjgg", b"algg"]
                .iter()
                .any(|magic| file.starts_with(*magic))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "an ExecuTorch program (.pte)",
        sign: Bytes(|file| has_identifier(file, b"ET")),
        remedy: ExportOriginal,
    },
    Format {
        what: "an ExecuTorch data file (.ptd), which holds weights and no program",
        sign: Bytes(|file| has_identifier(file, b"FT")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a TensorFlow Lite model",
        sign: Bytes(|file| has_identifier(file, b"TFL")),
        remedy: ExportOriginal,
    },
    Format {
        what: "an HDF5 file, such as Keras and TensorFlow write",
        sign: Bytes(|file| file.starts_with(b"\x89HDF\r\n\x1a\n")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a checkpoint that torch.save wrote before torch 1.6, which holds weights as a pickle",
        sign: Bytes(|file| {
            file.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
        }),
        remedy: ExportFolder,
    },
    Format {
        what: "a pickle, which is never opened",
        sign: Bytes(|file| matches!(file, [0x80, 2..=5, .., b'.'])),
        remedy: ExportFolder,
    },
    Format {
        what: "a model of CTranslate2",
        sign: Bytes(is_ctranslate2),
        remedy: ExportOriginal,
    },
    Format {
        what: "a NumPy array",
        sign: Bytes(|file| file.starts_with(b"\x93NUMPY")),
        remedy: Say("arrays are inputs: crosslatch run MODEL.pt2 --input IN.npz"),
    },
    Format {
        what: "machine code, such as AOTInductor writes",
        sign: Bytes(|file| file.starts_with(b"\x7fELF")),
        remedy: ExportOriginal,
    },
    Format {
        what: "the program of an OpenVINO model",
        sign: Bytes(|file| has_word(file, b"<net ") && !has_word(file, b"<html")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a web page",
        sign: Bytes(|file| has_word(file, b"<!doctype html") || has_word(file, b"<html")),
        remedy: Say("the download was answered with something else; download the file itself"),
    },
    Format {
        what: "a JSON file, such as a model's configuration",
        sign: Bytes(|file| file.trim_ascii_start().starts_with(b"{")),
        remedy: ExportFolder,
    },
    Format {
        what: "a SavedModel of TensorFlow",
        sign: Bytes(|file| {
            let fields = protobuf_fields(file);
            matches!(fields[..], [(1, Some(1)), (2, None), ..])
                && fields[1..].iter().all(|field| *field == (2, None))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "an ONNX model",
        sign: Bytes(|file| {
            let fields = protobuf_fields(file);
            // The version of the format, and the graph.
            matches!(fields.first(), Some((1, Some(1..=64)))) && fields.contains(&(7, None))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "a program that torch.export.save wrote before torch 2.8",
        sign: Entries(|names| has(names, "serialized_exported_program.json")),
        remedy: Say("write it anew with a later torch: \
             torch.export.save(torch.export.load(\"OLD.pt2\"), \"NEW.pt2\")"),
    },
    Format {
        what: "a TorchScript archive",
        sign: Entries(|names| {
            has(names, "constants.pkl") && any(names, |n| n.starts_with("code/"))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "a checkpoint that torch.save wrote, which holds weights as a pickle",
        sign: Entries(|names| has(names, "data.pkl")),
        remedy: ExportFolder,
    },
    Format {
        what: "a package of AOTInductor, which holds machine code for PyTorch",
        sign: Entries(|names| any(names, |n| n.starts_with("data/aotinductor/"))),
        remedy: ExportOriginal,
    },
    Format {
        what: "a Keras model",
        sign: Entries(|names| has(names, "model.weights.h5")),
        remedy: ExportOriginal,
    },
    Format {
        what: "a file of NumPy arrays",
        sign: Entries(|names| !names.is_empty() && names.iter().all(|n| n.ends_with(".npy"))),
        remedy: Say("arrays are inputs: crosslatch run MODEL.pt2 --input IN.npz"),
    },
    Format {
        what: "the folder of a Hugging Face model, which holds weights and no program",
        sign: Folder(is_exportable),
        remedy: ExportFolder,
    },
    Format {
        what: "the folder of a CTranslate2 model",
        sign: Folder(|names| has(names, "model.bin") && any(names, |n| n.contains("vocabulary"))),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of an OpenVINO model",
        sign: Folder(|names| {
            let stems = names.iter().filter_map(|n| n.strip_suffix(".xml"));
            stems
                .into_iter()
                .any(|stem| has(names, &format!("{stem}.bin")))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of an ONNX model",
        sign: Folder(|names| any(names, |n| n.ends_with(".onnx"))),
        remedy: ExportOriginal,
    },
    Format {
        what: "a folder of GGUF files",
        sign: Folder(|names| any(names, |n| n.ends_with(".gguf"))),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of a TensorFlow or Flax model",
        sign: Folder(|names| {
            let signs = ["saved_model.pb", "tf_model.h5", "flax_model.msgpack"];
            signs.iter().any(|sign| has(names, sign))
        }),
        remedy: ExportOriginal,
    },
    Format {
        what: "the folder of a Hugging Face model without its weights",
        sign: Folder(|names| has(names, "config.json")),
        remedy: Say(
            "download the weights (model.safetensors), then: crosslatch-export FOLDER OUT.pt2",
        ),
    },
    Format {
        what: "a .pt2 archive that was unpacked",
        sign: Folder(|names| has(names, "archive_format") && has(names, "models")),
        remedy: Say("name the .pt2 file itself"),
    },
    Format {
        what: "a folder with .pt2 files",
        sign: Folder(|names| any(names, |n| n.ends_with(".pt2"))),
        remedy: Say("name one of them"),
    },
];

impl Format {
    /// What the file or folder is, and what to do.
    fn message(&self, path: &Path) -> String {
        let what = self.what;
        let Some(folder) = exportable_folder(path) else {
            let remedy = match self.remedy {
                Remedy::ExportFolder => {
                    "make a .pt2 of the model that it belongs to: crosslatch-export MODEL OUT.pt2, \
                     where MODEL is the model's folder, or its name on the Hugging Face hub"
                }
                Remedy::ExportOriginal => {
                    "make a .pt2 of the model that it was made of: crosslatch-export MODEL OUT.pt2 \
                     for one of Hugging Face, by its folder or name, or \
                     torch.export.save(torch.export.export(module, inputs), \"OUT.pt2\")"
                }
                Remedy::Say(remedy) => remedy,
            };
            return format!("is {what}; {remedy}");
        };
        match self.remedy {
            Remedy::ExportFolder | Remedy::ExportOriginal => {
                format!("is {what}; make a .pt2 of it: crosslatch-export {folder} OUT.pt2")
            }
            Remedy::Say(remedy) => format!("is {what}; {remedy}"),
        }
    }
}

/// The Hugging Face folder that a path is, or that a file lies in, if it can be exported; as a shell
/// takes it.
fn exportable_folder(path: &Path) -> Option<String> {
    let folder = match path.is_dir() {
        true => path,
        false => path.parent()?,
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let names = names_in(folder);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    is_exportable(&names).then(|| quoted(&folder.display().to_string()))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What a file is, if its contents are known.
pub fn of_file(path: &Path, contents: &[u8]) -> Option<String> {
    let mut formats = FORMATS.iter();
    let found = formats.find(|f| matches!(f.sign, Sign::Bytes(is) if is(contents)));
    found.map(|format| format.message(path))
}

/// What a zip archive with these entries, named below its own folder, is.
pub fn of_archive(path: &Path, names: &[&str]) -> Option<String> {
    let mut formats = FORMATS.iter();
    let found = formats.find(|f| matches!(f.sign, Sign::Entries(is) if is(names)));
    found.map(|format| format.message(path))
}

/// What a folder is.
pub fn of_folder(path: &Path) -> Option<String> {
    let names = names_in(path);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut formats = FORMATS.iter();
    let found = formats.find(|f| matches!(f.sign, Sign::Folder(is) if is(&names)));
    found.map(|format| format.message(path))
}

/// Names in a folder; those that are no text are nobody's sign.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.take(MOST_NAMES).flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether a folder has a configuration and weights that PyTorch reads.
fn is_exportable(names: &[&str]) -> bool {
    let is_torch = |n: &str| n.starts_with("pytorch_model") && n.ends_with(".bin");
    has(names, "config.json") && any(names, |n| is_torch(n) || n.ends_with(".safetensors"))
}

fn has(names: &[&str], name: &str) -> bool {
    names.contains(&name)
}

fn any(names: &[&str], is: impl Fn(&str) -> bool) -> bool {
    names.iter().any(|name| is(name))
}

/// A length, and then so much JSON.
fn is_safetensors(file: &[u8]) -> bool {
    let Some((length, rest)) = file.split_first_chunk() else {
        return false;
    };
    (2..=SAFETENSORS_HEADER).contains(&u64::from_le_bytes(*length)) && rest.starts_with(b"{")
}

/// A FlatBuffer has four letters behind its first offset; the last of them count versions.
fn has_identifier(file: &[u8], begins: &[u8]) -> bool {
    let Some(identifier) = file.get(4..8) else {
        return false;
    };
    let version = identifier.strip_prefix(begins);
    version.is_some_and(|version| version.iter().all(u8::is_ascii_digit))
}

/// A version, and the name of a specification: its length, and text that ends with `Spec` and zero.
fn is_ctranslate2(file: &[u8]) -> bool {
    let [version, 0, 0, 0, length, 0, rest @ ..] = file else {
        return false;
    };
    let name = rest.get(..usize::from(*length));
    (1..=64).contains(version) && name.is_some_and(|name| name.ends_with(b"Spec\0"))
}

/// Whether a text file has a word near its beginning, in letters of any case.
fn has_word(file: &[u8], word: &[u8]) -> bool {
    let head = &file[..file.len().min(HEAD)];
    head.trim_ascii_start().starts_with(b"<")
        && head
            .windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
}

/// The first fields of a protocol buffer: number, and value if that is an integer. Empty, if the bytes
/// are none.
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
                .map(|behind| {
                    rest = behind;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;

    /// A file of these bytes, opened as a model.
    fn refused(name: &str, contents: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let error = Model::open(&path).unwrap_err().to_string();
        let place = format!("{}: ", path.display());
        error.strip_prefix(&place).unwrap().to_owned()
    }

    /// A zip archive with empty entries.
    fn archive(names: &[&str]) -> Vec<u8> {
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
        super::super::archive::tests::zip(&entries)
    }

    #[test]
    fn a_file_of_each_kind_is_named_with_the_command_that_makes_a_pt2_of_it() {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut safetensors = (header.len() as u64).to_le_bytes().to_vec();
        safetensors.extend(header);
        safetensors.extend([0; 4]);
        // `ir_version`, `producer_name`, `graph` with a name, `opset_import` with a version.
        let onnx = b"\x08\x0a\x12\x07pytorch\x3a\x06\x12\x04main\x42\x02\x10\x11";
        let saved_model = b"\x08\x01\x12\x04\x0a\x02\x12\x00";
        let ctranslate2 = b"\x06\x00\x00\x00\x0c\x00WhisperSpec\x00\x08\x00\x00\x00";
        let legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
        let files: [(&[u8], &str); 21] = [
            (b"", "is empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS",
            ),
            (&safetensors, "is a safetensors file"),
            (b"GGUF\x03\0\0\0", "is a GGUF file"),
            (b"lmgg\x99\xca\0\0", "is a ggml file"),
            (b"\x1c\0\0\0ET12\0\0", "is an ExecuTorch program"),
            (b"\x1c\0\0\0FT01\0\0", "is an ExecuTorch data file"),
            (b"\x1c\0\0\0TFL3\0\0", "is a TensorFlow Lite model"),
            (b"\x89HDF\r\n\x1a\n\0", "is an HDF5 file"),
            (legacy, "before torch 1.6"),
            (b"\x80\x04\x95\x02\0\0\0\0\0\0\0}\x94.", "is a pickle"),
            (ctranslate2, "is a model of CTranslate2"),
            (b"\x93NUMPY\x01\0", "is a NumPy array"),
            (b"\x7fELF\x02\x01", "is machine code"),
            (
                b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\">",
                "is the program of an OpenVINO model",
            ),
            (b"<!DOCTYPE html>\n<html>", "is a web page"),
            (b"{\"model_type\": \"whisper\"}", "is a JSON file"),
            (saved_model, "is a SavedModel of TensorFlow"),
            (onnx, "is an ONNX model"),
            (b"PK\x03\x04 cut short", "not a .pt2 archive, or cut short"),
            (b"something else", "not a .pt2 archive, or cut short"),
        ];
        for (contents, what) in files {
            let error = refused("m.pt2", contents);
            assert!(error.contains(what), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn an_archive_of_each_kind_is_named_with_the_command_that_makes_a_pt2_of_it() {
        let archives: [(&[&str], &str); 8] = [
            (
                &["serialized_exported_program.json", "version"],
                "torch.export.load",
            ),
            (
                &["m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"],
                "is a TorchScript archive",
            ),
            (&["m/data.pkl", "m/data/0", "m/version"], "torch.save wrote"),
            (
                &["m/archive_format", "m/data/aotinductor/model/m.wrapper.so"],
                "is a package of AOTInductor",
            ),
            (&["config.json", "model.weights.h5"], "is a Keras model"),
            (&["a.npy", "b.npy"], "is a file of NumPy arrays"),
            (&["m/archive_format", "m/version"], "no exported program"),
            (&["document.xml"], "no exported program"),
        ];
        for (names, what) in archives {
            let error = refused("m.pt2", &archive(names));
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_folder_of_each_kind_is_named_with_the_command_that_makes_a_pt2_of_it() {
        let folders: [(&[&str], &str); 11] = [
            (
                &["config.json", "model.safetensors", "model.onnx"],
                "crosslatch-export ",
            ),
            (&["config.json", "pytorch_model.bin"], "crosslatch-export "),
            (
                &["config.json", "model.bin", "vocabulary.json"],
                "CTranslate2 model",
            ),
            (&["m.xml", "m.bin"], "OpenVINO model"),
            (&["config.json", "encoder_model.onnx"], "ONNX model"),
            (&["m-q4.gguf"], "GGUF"),
            (&["saved_model.pb", "variables"], "TensorFlow"),
            (&["config.json"], "without its weights"),
            (&["archive_format", "models"], "unpacked"),
            (&["encoder.pt2", "decoder.pt2"], "name one of them"),
            (&["notes.txt"], "no list `export.json`"),
        ];
        for (names, what) in folders {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::write(folder.path().join(name), b"").unwrap();
            }
            let error = Model::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn weights_in_their_folder_are_told_with_the_command_for_that_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("my model");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), b"{}").unwrap();
        let weights = folder.join("model.safetensors");
        std::fs::write(&weights, b"\x02\0\0\0\0\0\0\0{}").unwrap();
        let command = format!("crosslatch-export '{}' OUT.pt2", folder.display());
        for path in [&weights, &folder.join("config.json"), &folder] {
            let error = Model::open(path).unwrap_err().to_string();
            assert!(error.contains(&command), "{error}");
        }
    }

    #[test]
    fn every_prefix_and_every_damage_of_a_file_is_an_error_and_no_more() {
        let mut file = archive(&["m/data.pkl", "m/data/0"]);
        for end in 0..file.len() {
            refused("m.pt2", &file[..end]);
        }
        for at in 0..file.len() {
            file[at] ^= 0xff;
            refused("m.pt2", &file);
            file[at] ^= 0xff;
        }
        let onnx = b"\x08\x0a\x12\x07pytorch\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert!(of_file(Path::new("m"), onnx).is_none());
    }
}
