//! Hostile files of other kinds: programs as text, arrays, sound, tokenizers, configurations, forms.

use super::Attack;
use crate::pt2::{Entry, archive};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack::new(
        "text_string_without_end.ir",
        || b"program p\ninput %x: f32[1] = \"x".to_vec(),
        "line 2: a string is not terminated",
    ),
    Attack::new(
        "text_type_without_end.ir",
        || b"program p\ninput %x: f32[1".to_vec(),
        "line 2: a type is not terminated",
    ),
    Attack::new(
        "text_list_without_end.ir",
        || ir("aten::cat(tensors={%x, "),
        "line 3: expected `%`, found `return \"y\"=%y`",
    ),
    Attack::new(
        "text_number_beyond_numbers.ir",
        || ir("aten::add.Tensor(self=%x, other=99999999999999999999)"),
        "runs",
    ),
    Attack::new(
        "text_output_twice.ir",
        || b"program p\ninput %x: f32[1]\nreturn \"y\"=%x, \"y\"=%x".to_vec(),
        "two outputs are called `y`",
    ),
    Attack::new(
        "text_input_twice.ir",
        || {
            b"program p\ninput %x: f32[1] = \"a\"\ninput %y: f32[1] = \"a\"\nreturn \"y\"=%x"
                .to_vec()
        },
        "two inputs are called `a`",
    ),
    Attack::new(
        "npz_of_a_terabyte.npz",
        || npy("'<f4'", "(1099511627776,)"),
        "array `x`: is cut short: it has 4 of 4398046511104 bytes",
    ),
    Attack::new(
        "npz_shape_overflows.npz",
        || npy("'<f4'", "(9223372036854775807, 3)"),
        "array `x`: its shape overflows",
    ),
    Attack::new(
        "npz_negative_shape.npz",
        || npy("'<f4'", "(-1,)"),
        "array `x`: its shape has a dimension `-1`",
    ),
    Attack::new(
        "npz_of_objects.npz",
        || npy("'|O'", "(1,)"),
        "array `x`: has a type that is not supported: |O",
    ),
    Attack::new(
        "npz_truth_values_beyond_one.npz",
        || npy("'|b1'", "(4,)"),
        "array `x`: has truth values other than 0 and 1",
    ),
    Attack::new(
        "wav_rate_without_divisor.wav",
        || wav(767_999, 1, 16),
        "cannot resample from 767999 Hz to 16000 Hz: the rates have next to no divisor in common; convert the sound to 48000 Hz",
    ),
    Attack::new(
        "wav_of_no_rate.wav",
        || wav(0, 1, 16),
        "sound: has no usable audio track: a sample rate of 0 Hz is outside 1000 to 768000 Hz; the header is damaged",
    ),
    Attack::new(
        "wav_of_no_channels.wav",
        || wav(16_000, 0, 16),
        "sound: is Waveform Audio (WAV), but cannot be read: malformed stream: riff: invalid channel count; convert it, for example with `ffmpeg -i FILE sound.wav`",
    ),
    Attack::new(
        "wav_of_65535_channels.wav",
        || wav(16_000, 65_535, 16),
        "sound: is Waveform Audio (WAV), but cannot be read: malformed stream: riff: invalid channel count; convert it, for example with `ffmpeg -i FILE sound.wav`",
    ),
    Attack::new(
        "wav_of_0_bits.wav",
        || wav(16_000, 1, 0),
        "sound: is Waveform Audio (WAV), but cannot be read: malformed stream: wav: bits per sample for fmt_pcm must be 8, 16, 24 or 32 bits; convert it, for example with `ffmpeg -i FILE sound.wav`",
    ),
    Attack::new(
        "tokenizer_cut.json",
        || b"{\"decoder\": {\"type\": \"Byte".to_vec(),
        "tokenizer.json: EOF while parsing a string at line 1 column 26; take the file that belongs to the model",
    ),
    Attack::new(
        "tokenizer_merge_shorter_than_its_prefix.json",
        || MERGE.as_bytes().to_vec(),
        "tokenizer.json: the file breaks the library that reads it; take the file that belongs to the model",
    ),
    Attack::new(
        "tokenizer_deep.json",
        || "[".repeat(20_000).into_bytes(),
        "tokenizer.json: EOF while parsing a list at line 1 column 20000; take the file that belongs to the model",
    ),
    Attack::new(
        "config_of_2_to_40_positions.json",
        || br#"{"decoder_start_token_id": 1, "max_target_positions": 1099511627776}"#.to_vec(),
        "config.json: max_target_positions is 1099511627776: must be 2 to 2^20",
    ),
    Attack::new(
        "config_negative_start.json",
        || br#"{"decoder_start_token_id": -1, "max_target_positions": 40}"#.to_vec(),
        "config.json: decoder_start_token_id is -1: is no token id",
    ),
    Attack::new(
        "config_list.json",
        || b"[1, 2, 3]".to_vec(),
        "config.json: invalid type: sequence, expected a map at line 1 column 0; take the file that belongs to the model",
    ),
    Attack::new(
        "preprocessor_window_of_days.json",
        || br#"{"chunk_length": 3600, "sampling_rate": 768000}"#.to_vec(),
        "preprocessor_config.json: chunk_length is 3600: must be 1 to 3600 and no more than 2^24 samples",
    ),
    Attack::new(
        "preprocessor_hop_of_nothing.json",
        || br#"{"hop_length": 0}"#.to_vec(),
        "preprocessor_config.json: hop_length is 0: must be 1 to 65536",
    ),
    Attack::new(
        "form_without_boundary.form",
        || b"multipart/form-data\n--b--\r\n".to_vec(),
        "Invalid `boundary` for `multipart/form-data` request; send multipart/form-data",
    ),
    Attack::new(
        "form_without_end.form",
        || {
            b"multipart/form-data; boundary=b\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nRIFF".to_vec()
        },
        "the form cannot be read: field \"file\" received with incomplete data",
    ),
    Attack::new(
        "form_field_without_name.form",
        || b"multipart/form-data; boundary=b\n--b\r\n\r\nx\r\n--b--\r\n".to_vec(),
        "the form cannot be read: incomplete multipart stream",
    ),
    Attack::new(
        "form_temperature_is_nan.form",
        || {
            b"multipart/form-data; boundary=b\n--b\r\nContent-Disposition: form-data; name=\"temperature\"\r\n\r\nNaN\r\n--b--\r\n".to_vec()
        },
        "temperature is \"NaN\"; it must be a number from 0 to 1",
    ),
];

/// A merge whose second half is shorter than the prefix that is cut off it.
const MERGE: &str = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "BPE",
"continuing_subword_prefix": "a long prefix", "vocab": {"a": 0, "b": 1, "ab": 2},
"merges": [["a", "b"]]}}"#;

fn ir(call: &str) -> Vec<u8> {
    format!("program p\ninput %x: f32[1]\n%y: f32[1] = {call}\nreturn \"y\"=%y").into_bytes()
}

fn npy(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend((text.len() as u16).to_le_bytes());
    array.extend(text.as_bytes());
    array.extend([2, 1, 0, 7]);
    archive(&[Entry::new("x.npy", array)])
}

fn wav(rate: u32, channels: u16, bits: u16) -> Vec<u8> {
    let block = channels.wrapping_mul(bits / 8);
    let mut file = b"RIFF\x64\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(rate.wrapping_mul(u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data\x40\0\0\0");
    file.extend([0; 64]);
    file
}
