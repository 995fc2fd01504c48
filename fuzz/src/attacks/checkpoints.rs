//! Hostile checkpoints: files of whisper.cpp, and weights of CTranslate2.

use super::Attack;
use crate::targets::checkpoint::ctranslate2;

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack::new(
        "ggml_token_of_gigabytes.bin",
        || ggml(&[1, u32::MAX]),
        "the file ends after 0 of 4294967295 bytes at byte 868",
    ),
    Attack::new(
        "ggml_billions_of_tokens.bin",
        || ggml(&[u32::MAX, 0, 0, 0]),
        "the file ends after 0 of 4 bytes at byte 876",
    ),
    Attack::new(
        "ggml_token_too_long.bin",
        || [ggml(&[1, 300]), vec![b'a'; 300]].concat(),
        "token 0 is too long for a vocabulary",
    ),
    Attack::new(
        "ggml_sizes_that_overflow.bin",
        || ggml(&[0, 4, 1, 0, u32::MAX, u32::MAX, u32::MAX, u32::MAX, 0]),
        "tensor `\0` cannot have the shape [4294967295, 4294967295, 4294967295, 4294967295]",
    ),
    Attack::new(
        "ggml_without_tensors.bin",
        || ggml(&[0]),
        "there is no tensor `encoder.conv1.weight`",
    ),
    Attack::new(
        "ctranslate2_billions_of_variables.model",
        || {
            let mut file = ctranslate2(0);
            // After the version, the specification's name and its revision.
            file.splice(22..26, u32::MAX.to_le_bytes());
            file
        },
        "model.bin: the file ends after 51 of 1667589120 bytes at byte 3018",
    ),
    Attack::new(
        "ctranslate2_cut.model",
        || {
            let mut file = ctranslate2(0);
            file.truncate(100);
            file
        },
        "model.bin: the file ends after 33 of 96 bytes at byte 67",
    ),
    Attack::new(
        "ctranslate2_without_scales.model",
        || renamed("linear_0/weight_scale", "linear_0/weight_seale"),
        "model.bin: there is no variable `encoder/layer_0/self_attention/linear_0/weight_scale`",
    ),
    Attack::new(
        "ctranslate2_without_scales_of_a_convolution.model",
        || renamed("conv1/weight_scale", "conv1/weight_zcale"),
        "model.bin: there is no variable `encoder/conv1/weight_scale`",
    ),
];

/// A file of whisper.cpp for two bands, with these numbers after its filters.
fn ggml(rest: &[u32]) -> Vec<u8> {
    const BANDS: u32 = 1;
    let sizes = [
        0x6767_6d6c,
        51_864,
        50,
        1,
        1,
        1,
        4,
        1,
        1,
        1,
        BANDS,
        1,
        BANDS,
        201,
    ];
    let filters = [0; 201];
    let numbers = sizes.iter().chain(&filters).chain(rest);
    numbers.flat_map(|number| number.to_le_bytes()).collect()
}

/// Weights of CTranslate2 in which a name is another of the same length.
fn renamed(name: &str, other: &str) -> Vec<u8> {
    let mut file = ctranslate2(1);
    for at in 0..file.len() - name.len() {
        if &file[at..at + name.len()] == name.as_bytes() {
            file[at..at + name.len()].copy_from_slice(other.as_bytes());
        }
    }
    file
}
