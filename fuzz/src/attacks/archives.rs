//! Hostile `.pt2` files: archives that lie, descriptions that lie, programs that ask for too much.

use crosslatch::ir::parse::parse;
use crosslatch::ops::Catalogue;
use serde_json::{Value, json};

use super::Attack;
use crate::pt2::{Entry, archive, entries};

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
        "entry `models/model.json`: is called otherwise where it lies",
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
    // Reading gigabytes of weights for their checksum would cost more than it tells.
    Attack::new(
        "archive_wrong_checksum.pt2",
        || lying(|e| e.crc = Some(7)),
        "runs",
    ),
    Attack::new("archive_name_climbs.pt2", climbing, "runs"),
    Attack::new(
        "archive_million_entries_announced.pt2",
        announced,
        "its list has 5 entries, its end says 65278",
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
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are no plain numbers",
    ),
    Attack::new(
        "weight_negative_offset.pt2",
        || weight("/tensor_meta/storage_offset/as_int", json!(-1)),
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are no plain numbers",
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
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are no plain numbers",
    ),
    Attack::new(
        "weight_of_unknown_type.pt2",
        || weight("/tensor_meta/dtype", json!(99)),
        "entry `data/weights/weight_0`: `w`: element type 99 of the file is not supported",
    ),
    Attack::new(
        "weight_of_symbolic_size.pt2",
        || {
            weight(
                "/tensor_meta/sizes/0",
                json!({"as_expr": {"expr_str": "s0"}}),
            )
        },
        "entry `data/weights/weight_0`: `w`: has sizes or strides that are no plain numbers",
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
    // The program.
    Attack::new(
        "program_deep_json.pt2",
        deep_json,
        "entry `models/model.json`: EOF while parsing a list at line 1 column 20062",
    ),
    Attack::new(
        "program_nested_conds.pt2",
        || nested(30),
        "entry `models/model.json`: recursion limit exceeded at line 1 column 3056",
    ),
    Attack::new(
        "program_of_another_version.pt2",
        || changed("/schema_version/major", json!(i64::MAX)),
        "entry `models/model.json`: schema version 9223372036854775807.20 (torch 2.15.0); Crosslatch reads version 8",
    ),
    Attack::new(
        "program_negative_size.pt2",
        || {
            changed(
                "/graph_module/graph/tensor_values/x/sizes/0/as_int",
                json!(-2),
            )
        },
        "entry `models/model.json`: tensor `x`: negative size -2",
    ),
    Attack::new(
        "program_size_overflows.pt2",
        || size("s0*9223372036854775807"),
        "runs",
    ),
    Attack::new("program_size_divides_by_zero.pt2", || size("s0//0"), "runs"),
    Attack::new("program_size_is_nan.pt2", || size("nan"), "runs"),
    Attack::new(
        "program_size_is_code.pt2",
        || size("__import__('os').system('id')"),
        "entry `models/model.json`: tensor `x`: `__import__('os').system('id')` is not a size that Crosslatch understands: unexpected `'`",
    ),
    Attack::new(
        "program_range_is_empty.pt2",
        || {
            changed(
                "/range_constraints",
                json!({"s0": {"min_val": 9, "max_val": 3}}),
            )
        },
        "runs",
    ),
    Attack::new(
        "program_name_of_itself.pt2",
        || {
            changed(
                "/graph_module/graph/nodes/0/inputs/0/arg/as_tensor/name",
                json!("y"),
            )
        },
        "entry `models/model.json`: node `y` (aten::linear): `y` is used but not defined before",
    ),
    Attack::new(
        "program_name_twice.pt2",
        || {
            changed(
                "/graph_module/graph/nodes/0/outputs/0/as_tensor/name",
                json!("x"),
            )
        },
        "entry `models/model.json`: the name `x` is defined twice",
    ),
    Attack::new(
        "program_unknown_operator.pt2",
        || {
            changed(
                "/graph_module/graph/nodes/0/target",
                json!("torch.ops.evil.run.default"),
            )
        },
        "1 calls of operators that Crosslatch does not have:\n  evil::run, method `model`, node `y`",
    ),
    Attack::new(
        "program_signature_of_another.pt2",
        || changed("/graph_module/signature/input_specs", json!([])),
        "entry `models/model.json`: the signature and the graph have different numbers of inputs",
    ),
    Attack::new(
        "program_writes_no_slot.pt2",
        || {
            changed(
                "/graph_module/signature/output_specs/0",
                json!({"buffer_mutation": {"arg": {"name": "y"}, "buffer_name": "nothing"}}),
            )
        },
        "entry `models/model.json`: the signature writes `nothing`, which is no input",
    ),
    Attack::new(
        "program_input_is_a_token.pt2",
        || {
            changed(
                "/graph_module/signature/input_specs/0",
                json!({"token": {"arg": {"name": "x"}}}),
            )
        },
        "entry `models/model.json`: inputs that are objects or tokens are not supported",
    ),
    Attack::new("program_many_undescribed_values.pt2", many_values, "runs"),
    Attack::new(
        "program_weight_of_another_type.pt2",
        || changed("/graph_module/graph/tensor_values/w/dtype", json!(5)),
        "entry `models/model.json`: `w`: the program and the payload disagree about its type",
    ),
    // What a program asks for.
    Attack::new(
        "asks_for_a_terabyte.pt2",
        || of(ASKS),
        "method `model`, node `y` (aten::full): 4.0 TiB are needed, and the limit is 1.0 GiB; if that is meant, raise the limit (`--memory-limit`, `memory_limit`)",
    ),
    Attack::new("groups_of_nothing.pt2", || of(GROUPS), "runs"),
    Attack::new("triangle_of_endless_rows.pt2", || of(TRIANGLE), "runs"),
    Attack::new(
        "chunks_beyond_number.pt2",
        || of(CHUNKS),
        "method `model`, node `a` (aten::chunk): the arguments ask for 1099511627776 results, the node names 2",
    ),
    Attack::new(
        "sums_what_is_repeated.pt2",
        || of(SUMS),
        "method `model`, node `y` (aten::sum): 4.0 PiB are needed, and the limit is 1.0 GiB; if that is meant, raise the limit (`--memory-limit`, `memory_limit`)",
    ),
    Attack::new(
        "unfolds_beyond_number.pt2",
        || of(UNFOLDS),
        "method `model`, node `u` (aten::unfold): a tensor of shape [4294967296, 4294967296] is too large",
    ),
    Attack::new(
        "size_of_40000_signs.pt2",
        || size(&"-".repeat(40_000)),
        "entry `models/model.json`: tensor `x`: `--------------------------------------------------------------------------------…` is not a size that Crosslatch understands: it is nested more than 32 deep",
    ),
    Attack::new(
        "product_into_rows_that_overlap.pt2",
        || of(PRODUCT),
        "method `model`, node `c` (aten::copy_): what is written is a view whose elements share memory (shape [512, 640], strides [1, 1]), so that the result would depend on the order of the writes; clone the view before it is written",
    ),
    Attack::new(
        "copy_into_a_repeated_row.pt2",
        || of(REPEATED),
        "method `model`, node `c` (aten::copy_): what is written is a view whose elements share memory (shape [512, 640], strides [0, 1]), so that the result would depend on the order of the writes; clone the view before it is written",
    ),
];

const PLAIN: &str = "program model
input %x: f32[2, 3]
weight %w: f32[4, 3] = \"w\"
%y: f32[2, 4] = aten::linear(input=%x, weight=%w)
return \"y\"=%y";

const STATE: &str = "program model
input %x: f32[4, 3]
state %cache: f32[4, 3] = \"cache\"
%y: f32[4, 3] = aten::add_.Tensor(self=%cache, other=%x)
return \"y\"=%y";

const ASKS: &str = "program model
input %x: f32[2]
%y: f32[1] = aten::full(size=[1099511627776], fill_value=1.0)
return \"y\"=%y";

const GROUPS: &str = "program model
input %x: f32[2, 0]
%y: f32[2, 0] = aten::group_norm(input=%x, num_groups=1125899906842625)
return \"y\"=%y";

const TRIANGLE: &str = "program model
input %x: f32[2]
%y: i64[2, 0] = aten::tril_indices(row=9007199254740993, col=0)
return \"y\"=%y";

const CHUNKS: &str = "program model
input %x: f32[1]
%e: f32[1] = aten::expand(self=%x, size=[1099511627776])
%a: f32[1], %b: f32[1] = aten::chunk(self=%e, chunks=1099511627776)
return \"y\"=%a";

const SUMS: &str = "program model
input %x: f32[1]
%e: f32[1] = aten::expand(self=%x, size=[1125899906842624])
%y: f32[] = aten::sum(self=%e)
return \"y\"=%y";

const UNFOLDS: &str = "program model
input %x: f32[1]
%e: f32[1] = aten::expand(self=%x, size=[8589934591])
%u: f32[1] = aten::unfold(self=%e, dimension=0, size=4294967296, step=1)
%y: f32[] = aten::sum(self=%u)
return \"y\"=%y";

const PRODUCT: &str = "program model
input %s: f32[512, 640]
input %a: f32[512, 256]
input %b: f32[256, 640]
%t: f32[512, 640] = aten::mul.Scalar(self=%s, other=1.0)
%e: f32[512, 640] = aten::as_strided(self=%t, size=[512, 640], stride=[1, 1], storage_offset=0)
%m: f32[512, 640] = aten::mm(self=%a, mat2=%b)
%c: f32[512, 640] = aten::copy_(self=%e, src=%m)
return \"y\"=%t";

const REPEATED: &str = "program model
input %s: f32[1, 640]
input %a: f32[512, 256]
input %b: f32[256, 640]
%t: f32[1, 640] = aten::mul.Scalar(self=%s, other=1.0)
%e: f32[512, 640] = aten::expand(self=%t, size=[512, 640])
%m: f32[512, 640] = aten::mm(self=%a, mat2=%b)
%c: f32[512, 640] = aten::copy_(self=%e, src=%m)
return \"y\"=%t";

/// # Panics
/// If a program of this module is none.
fn parts(text: &str) -> Vec<Entry> {
    let program = parse(text, Catalogue::builtin()).unwrap_or_else(|e| panic!("{e}: {text}"));
    entries(&program)
}

fn of(text: &str) -> Vec<u8> {
    archive(&parts(text))
}

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

fn state_of_stride_0() -> Vec<u8> {
    edited(parts(STATE), 2, |config| {
        set(
            &mut config["config"]["cache"],
            "/tensor_meta/strides/0/as_int",
            &json!(0),
        );
    })
}

/// The program, changed in one place.
fn changed(pointer: &str, value: Value) -> Vec<u8> {
    edited(parts(PLAIN), 1, |program| set(program, pointer, &value))
}

fn size(expression: &str) -> Vec<u8> {
    let size = json!({ "as_expr": { "expr_str": expression } });
    changed("/graph_module/graph/tensor_values/x/sizes/0", size)
}

fn edited(mut parts: Vec<Entry>, at: usize, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(&parts[at].contents).unwrap_or_default();
    change(&mut json);
    parts[at].contents = json.to_string().into_bytes();
    archive(&parts)
}

/// # Panics
/// If there is no such place: the attack would be none.
fn set(json: &mut Value, pointer: &str, value: &Value) {
    match json.pointer_mut(pointer) {
        Some(place) => *place = value.clone(),
        None => panic!("there is no `{pointer}`"),
    }
}

fn deep_json() -> Vec<u8> {
    let mut parts = parts(PLAIN);
    let deep = "[".repeat(20_000);
    let version = "{\"schema_version\": {\"major\": 8, \"minor\": 20}, \"graph_module\": ";
    parts[1].contents = format!("{version}{deep}").into_bytes();
    archive(&parts)
}

fn nested(depth: usize) -> Vec<u8> {
    let (mut open, mut close) = (String::new(), String::new());
    for level in 0..depth {
        open.push_str(&format!(
            "%c{level}: f32[2] = higher_order::cond(pred=%p, operands={{%p, %x}}) \
             then(%p: bool[1], %x: f32[2]) {{\n"
        ));
        close.insert_str(
            0,
            &format!(
                "return {}\n}} else(%p: bool[1], %x: f32[2]) {{\n\
                 %y: f32[2] = aten::clone(self=%x)\nreturn %y\n}}\n",
                match level + 1 == depth {
                    true => "%y".to_owned(),
                    false => format!("%c{}", level + 1),
                }
            ),
        );
    }
    of(&format!(
        "program model\ninput %p: bool[1]\ninput %x: f32[2]\n{open}\
         %y: f32[2] = aten::clone(self=%x)\n{close}return \"y\"=%c0"
    ))
}

fn many_values() -> Vec<u8> {
    edited(parts(PLAIN), 1, |program| {
        let values = &mut program["graph_module"]["graph"]["tensor_values"];
        let huge = json!({ "dtype": 7, "sizes": [{ "as_int": i64::MAX }],
            "strides": [{ "as_int": 1 }], "storage_offset": { "as_int": 0 } });
        for i in 0..100 {
            values[format!("v{i}")] = huge.clone();
        }
    })
}
