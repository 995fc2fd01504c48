//! Hostile programs in `.pt2` files: graphs that lie, and graphs that ask for too much.

use serde_json::{Value, json};

use super::Attack;
use super::editing::{PLAIN, edited, of, parts, set};
use crate::pt2::archive;

/// All of them.
pub const ATTACKS: &[Attack] = &[
    // What the graph says.
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
    Attack::new("program_endless_loop.pt2", endless, ENDLESS),
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
        "a call of an operator that Crosslatch does not have:\n  evil::run, method `model`, node `y`",
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
        "entry `models/model.json`: the signature writes `nothing`, which is not an input",
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
    // What the graph asks for.
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

/// The program, changed in one place.
fn changed(pointer: &str, value: Value) -> Vec<u8> {
    edited(parts(PLAIN), 1, |program| set(program, pointer, &value))
}

fn size(expression: &str) -> Vec<u8> {
    let size = json!({ "as_expr": { "expr_str": expression } });
    changed("/graph_module/graph/tensor_values/x/sizes/0", size)
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

const ENDLESS: &str = "method `model`, node `y` (higher_order::while_loop): the loops of this run would \
    take more than 1024 turns, which is the limit; if that is meant, raise it (`Options::turn_limit`)";

fn endless() -> Vec<u8> {
    of("program model\ninput %p: bool[1]\ninput %x: f32[2]\n\
        %y: f32[2] = higher_order::while_loop(carried={%x}, operands={%p}) \
        while(%x: f32[2], %p: bool[1]) {\n%go: bool[1] = aten::eq.Tensor(self=%p, other=%p)\n\
        return %go\n} do(%x: f32[2], %p: bool[1]) {\n%z: f32[2] = aten::neg(self=%x)\n\
        return %z\n}\nreturn \"y\"=%y")
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
