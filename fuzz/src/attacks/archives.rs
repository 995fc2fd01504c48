//! Hostile archives: zip headers that lie, and descriptions of weights that lie.

use serde_json::{Value, json};

use super::Attack;
use super::editing::{PLAIN, edited, of, parts, set};
use crate::pt2::{Entry, archive};

/// All of them.
pub const ATTACKS: &[Attack] = &[
    // The archive.
    Attack::new(
        "archive_empty_file.pt2",
        Vec::new,
        "is empty; copy or download it again",
    ),
    Attack::new(
        "archive_no_zip.pt2",
        || b"\x80\x02ctorch._utils\nrebuild".to_vec(),
        "not a .pt2 archive, or cut short (Missing end of central directory); save a program with torch.export.save",
    ),
    Attack::new(
        "archive_without_entries.pt2",
        || archive(&[]),
        "holds no exported program (no entry `models/….json`)",
    ),
    Attack::new(
        "archive_without_program.pt2",
        || archive(&[Entry::new("m/a", "b")]),
        "holds no exported program (no entry `models/….json`)",
    ),
    Attack::new(
        "archive_cut_in_its_directory.pt2",
        || cut(20),
        "not a .pt2 archive, or cut short (Missing end of central directory); save a program with torch.export.save",
    ),
    Attack::new(
        "archive_cut_in_half.pt2",
        || cut(1200),
        "not a .pt2 archive, or cut short (Missing end of central directory); save a program with torch.export.save",
    ),
    Attack::new(
        "archive_entry_twice.pt2",
        twice,
        "entry `models/model.json`: occurs twice",
    ),
    Attack::new(
        "archive_entry_outside.pt2",
        || lying(|e| e.offset = Some(1 << 30)),
        "entry `models/model.json`: lies outside the file",
    ),
    Attack::new(
        "archive_entry_between_headers.pt2",
        || lying(|e| e.offset = Some(3)),
        "entry `models/model.json`: lies outside the file",
    ),
    Attack::new(
        "archive_entry_of_another.pt2",
        || lying(|e| e.offset = Some(0)),
        "entry `models/model.json`: has another name in its local header",
    ),
    Attack::new(
        "archive_entry_too_long.pt2",
        || lying(|e| e.len = Some(u32::MAX - 1)),
        "entry `models/model.json`: lies outside the file",
    ),
    Attack::new(
        "archive_entry_too_short.pt2",
        || lying(|e| e.len = Some(7)),
        "entry `models/model.json`: EOF while parsing a string at line 1 column 7",
    ),
    Attack::new(
        "archive_entry_compressed.pt2",
        || lying(|e| e.method = 8),
        "entry `models/model.json`: is compressed or encrypted; PyTorch stores entries as they are",
    ),
    Attack::new(
        "archive_entry_encrypted.pt2",
        || lying(|e| e.flags = 1),
        "entry `models/model.json`: is compressed or encrypted; PyTorch stores entries as they are",
    ),
    Attack::new(
        "archive_entry_of_unknown_method.pt2",
        || lying(|e| e.method = 99),
        "entry `models/model.json`: is compressed or encrypted; PyTorch stores entries as they are",
    ),
    // Checksums are not verified: reading gigabytes of weights for them would cost too much.
    Attack::new(
        "archive_wrong_checksum.pt2",
        || lying(|e| e.crc = Some(7)),
        "runs",
    ),
    Attack::new("archive_name_climbs.pt2", climbing, "runs"),
    Attack::new(
        "archive_million_entries_announced.pt2",
        announced,
        "its directory lists 5 entries, its end record says 65278",
    ),
    // The description of weights.
    Attack::new(
        "weight_in_a_pickle.pt2",
        || weight("/use_pickle", json!(true)),
        "entry `data/weights/weight_0`: `w`: is stored as a pickle, which Crosslatch never opens; save plain dense tensors with torch.export.save",
    ),
    Attack::new(
        "weight_path_climbs.pt2",
        || weight("/path_name", json!("../../../etc/passwd")),
        "entry `data/weights/../../../etc/passwd`: the archive has no such entry",
    ),
    Attack::new(
        "weight_negative_size.pt2",
        || weight("/tensor_meta/sizes/0/as_int", json!(-4)),
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are not plain numbers",
    ),
    Attack::new(
        "weight_negative_offset.pt2",
        || weight("/tensor_meta/storage_offset/as_int", json!(-1)),
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are not plain numbers",
    ),
    Attack::new(
        "weight_offset_outside.pt2",
        || weight("/tensor_meta/storage_offset/as_int", json!(1_u64 << 62)),
        "entry `data/weights/weight_0`: `w`: its shape [4, 3] overflows",
    ),
    Attack::new(
        "weight_strides_overflow.pt2",
        || weight("/tensor_meta/strides/0/as_int", json!(i64::MAX)),
        "entry `data/weights/weight_0`: `w`: its shape [4, 3] overflows",
    ),
    Attack::new(
        "weight_larger_than_its_payload.pt2",
        || weight("/tensor_meta/sizes/0/as_int", json!(1_u64 << 40)),
        "entry `data/weights/weight_0`: `w`: shape [1099511627776, 3] of f32 needs 13194139533312 bytes, the payload has 48",
    ),
    Attack::new(
        "weight_with_too_few_strides.pt2",
        || weight("/tensor_meta/strides", json!([])),
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are not plain numbers",
    ),
    Attack::new(
        "weight_of_unknown_type.pt2",
        || weight("/tensor_meta/dtype", json!(99)),
        "entry `data/weights/weight_0`: `w`: element type 99 of the file is not known",
    ),
    Attack::new(
        "weight_of_symbolic_size.pt2",
        || {
            weight(
                "/tensor_meta/sizes/0",
                json!({"as_expr": {"expr_str": "s0"}}),
            )
        },
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are not plain numbers",
    ),
    Attack::new(
        "weight_sparse.pt2",
        || weight("/tensor_meta/layout", json!(1)),
        "entry `data/weights/weight_0`: `w`: is not a dense tensor",
    ),
    Attack::new(
        "weight_missing.pt2",
        || weight_config(|config| config["config"] = json!({})),
        "no payload for `w` is listed in the archive",
    ),
    Attack::new(
        "weight_config_no_json.pt2",
        || weight_config(|config| *config = json!([1, 2])),
        "entry `data/weights/model_weights_config.json`: invalid type: integer `1`, expected a map at line 1 column 2",
    ),
    Attack::new("weight_longer_than_its_matrix.pt2", longer, "runs"),
    Attack::new(
        "state_overlaps_itself.pt2",
        state_of_stride_0,
        "method `model`, node `y` (aten::add_.Tensor): what is written is a view whose elements share memory (shape [4, 3], strides [0, 1]), so that the result would depend on the order of the writes; clone the view before it is written",
    ),
    Attack::new(
        "state_of_a_terabyte_of_zeros.pt2",
        || vast_zeros(VAST_STATE),
        "the state of method `model`: 4.0 TiB are needed, and the limit is 1.0 GiB; if that is meant, raise the limit (`--memory-limit`, `memory_limit`)",
    ),
    Attack::new(
        "weight_of_a_terabyte_of_zeros.pt2",
        || vast_zeros(VAST_WEIGHT),
        "entry `data/weights/weight_0`: `w`: shape [1099511627776] of f32 needs 4398046511104 bytes, the payload has 0",
    ),
];

// The length becomes a terabyte.
const VAST_STATE: &str = "program model
input %x: f32[1]
state %cache: f32[7777] = \"cache\"
%y: f32[7777] = aten::add_.Tensor(self=%cache, other=%x)
%z: f32[1] = aten::slice.Tensor(self=%y, dim=0, start=0, end=1)
return \"z\"=%z";

const VAST_WEIGHT: &str = "program model
input %x: f32[1]
weight %w: f32[7777] = \"w\"
%y: f32[1] = aten::slice.Tensor(self=%w, dim=0, start=0, end=1)
return \"y\"=%y";

const STATE: &str = "program model
input %x: f32[4, 3]
state %cache: f32[4, 3] = \"cache\"
%y: f32[4, 3] = aten::add_.Tensor(self=%cache, other=%x)
return \"y\"=%y";

fn cut(bytes: usize) -> Vec<u8> {
    let mut file = of(PLAIN);
    file.truncate(file.len() - bytes);
    file
}

fn twice() -> Vec<u8> {
    let mut parts = parts(PLAIN);
    parts.push(parts[1].clone());
    archive(&parts)
}

/// The entry of the program, changed.
fn lying(change: fn(&mut Entry)) -> Vec<u8> {
    let mut parts = parts(PLAIN);
    change(&mut parts[1]);
    archive(&parts)
}

fn climbing() -> Vec<u8> {
    let mut parts = parts(PLAIN);
    parts.push(Entry::new("../../tmp/evil", "x"));
    parts.push(Entry::new("/etc/evil", "x"));
    archive(&parts)
}

/// The end of the directory announces more entries than there are.
fn announced() -> Vec<u8> {
    let mut file = of(PLAIN);
    let end = file.len() - 22;
    file[end + 8..end + 12].fill(0xfe);
    file
}

/// The configuration of weights, changed.
fn weight_config(change: impl Fn(&mut Value)) -> Vec<u8> {
    edited(parts(PLAIN), 2, change)
}

fn weight(pointer: &str, value: Value) -> Vec<u8> {
    weight_config(|config| set(&mut config["config"]["w"], pointer, &value))
}

/// A payload with a byte more than its matrix.
fn longer() -> Vec<u8> {
    let mut parts = parts(PLAIN);
    if let Some(payload) = parts.last_mut() {
        payload.contents.push(7);
    }
    archive(&parts)
}

/// An archive whose only payload is empty, although its tensor has a terabyte.
fn vast_zeros(program: &str) -> Vec<u8> {
    let mut parts = parts(program);
    for entry in &mut parts[1..3] {
        let text = String::from_utf8_lossy(&entry.contents);
        entry.contents = text.replace("7777", "1099511627776").into_bytes();
    }
    if let Some(payload) = parts.last_mut() {
        payload.contents.clear();
    }
    archive(&parts)
}

fn state_of_stride_0() -> Vec<u8> {
    edited(parts(STATE), 2, |config| {
        set(
            &mut config["config"]["cache"],
            "/tensor_meta/strides/0/as_int",
            &json!(0),
        );
    })
}
