use std::path::Path;

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
    crate::pt2::archive::tests::zip(&entries)
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
