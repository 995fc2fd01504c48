//! Small `.pt2` files, written from programs of the IR.
//!
//! The files of `torch.export.save` are large, and it cannot be made to lie. These files are as small as a
//! program allows, and each number in the archive's headers can be replaced by a wrong one.

use crosslatch::ir::COND;
use crosslatch::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind, ValueId, ValueType};
use crosslatch::{DType, ir::Size};
use serde_json::{Map, Value, json};

/// An entry of a zip archive, with the lies in its headers.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its name, with the folder at the top of the archive.
    pub name: Vec<u8>,
    /// Its bytes.
    pub contents: Vec<u8>,
    /// A wrong checksum.
    pub crc: Option<u32>,
    /// A wrong length, in both headers.
    pub len: Option<u32>,
    /// A wrong place of the local header.
    pub offset: Option<u32>,
    /// The number of a compression method.
    pub method: u16,
    /// Flags; 1 says that it is encrypted.
    pub flags: u16,
}

impl Entry {
    /// An honest entry.
    pub fn new(name: impl Into<Vec<u8>>, contents: impl Into<Vec<u8>>) -> Entry {
        Entry {
            name: name.into(),
            contents: contents.into(),
            ..Entry::default()
        }
    }
}

/// Payloads start at multiples of this, as in PyTorch's files.
const ALIGNMENT: usize = 64;

/// The bytes of an archive.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let start = file.len();
        let crc = entry
            .crc
            .unwrap_or_else(|| crc32fast::hash(&entry.contents));
        let len = entry.len.unwrap_or(entry.contents.len() as u32);
        let header = |into: &mut Vec<u8>, extra: usize| {
            for short in [20, entry.flags, entry.method, 0, 0x21] {
                into.extend(u16::to_le_bytes(short));
            }
            for long in [crc, len, len] {
                into.extend(long.to_le_bytes());
            }
            into.extend((entry.name.len() as u16).to_le_bytes());
            into.extend((extra as u16).to_le_bytes());
        };
        // PyTorch pads with an extra field, whose own header takes four bytes.
        let unpadded = start + 30 + entry.name.len() + 4;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        file.extend(b"PK\x03\x04");
        header(&mut file, padding + 4);
        file.extend(&entry.name);
        file.extend(b"FB");
        file.extend((padding as u16).to_le_bytes());
        file.extend(std::iter::repeat_n(b'Z', padding));
        file.extend(&entry.contents);

        directory.extend(b"PK\x01\x02");
        directory.extend(20_u16.to_le_bytes());
        header(&mut directory, 0);
        // Comment, disk, internal and external attributes.
        directory.extend([0; 10]);
        let offset = entry.offset.unwrap_or(start as u32);
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let (start, len) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend(b"PK\x05\x06");
    file.extend([0; 4]);
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend(len.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// The entries of a model of one program, with payloads of the numbers 1, 2, … for its weights and of
/// zeros for its state. Every other payload of zeros is empty, which means the same.
pub fn entries(program: &Program) -> Vec<Entry> {
    let mut config = Map::new();
    let mut payloads = Vec::new();
    for (slot, input) in program.slots.iter().zip(&program.graph.inputs) {
        let ValueType::Tensor(ty) = &program.graph.value(*input).ty else {
            continue;
        };
        if slot.kind == SlotKind::Input {
            continue;
        }
        let sizes = ty
            .sizes
            .iter()
            .map(|s| s.constant().unwrap_or(1).max(0) as usize);
        let bytes = sizes.product::<usize>() * ty.dtype.size();
        let contents = match slot.kind {
            SlotKind::State if payloads.len() % 2 == 1 => Vec::new(),
            SlotKind::State => vec![0; bytes],
            // Small positive numbers in every type, and valid booleans.
            _ => (0..bytes)
                .map(|i| u8::from(i % ty.dtype.size() == 0))
                .collect(),
        };
        let path = format!("weight_{}", payloads.len());
        let meta = json!({
            "path_name": path, "is_param": slot.kind == SlotKind::Weight, "use_pickle": false,
            "tensor_meta": tensor_meta(ty.dtype, &ty.sizes),
        });
        config.insert(slot.name.clone(), meta);
        payloads.push(Entry::new(format!("m/data/weights/{path}"), contents));
    }
    let mut entries = vec![
        Entry::new("m/archive_format", "pt2"),
        Entry::new("m/models/model.json", model_json(program).to_string()),
        Entry::new(
            "m/data/weights/model_weights_config.json",
            json!({ "config": config }).to_string(),
        ),
        Entry::new(
            "m/data/constants/model_constants_config.json",
            r#"{"config": {}}"#,
        ),
    ];
    entries.extend(payloads);
    entries
}

/// A program as PyTorch writes it.
pub fn model_json(program: &Program) -> Value {
    let name = |id: &ValueId| &program.graph.value(*id).name;
    let inputs = program.slots.iter().zip(&program.graph.inputs);
    let input_specs = inputs.map(|(slot, id)| match slot.kind {
        SlotKind::Input => {
            json!({ "user_input": { "arg": { "as_tensor": { "name": name(id) } } } })
        }
        SlotKind::State => json!({ "buffer": {
            "arg": { "name": name(id) }, "buffer_name": slot.name, "persistent": true,
        } }),
        _ => json!({ "parameter": {
            "arg": { "name": name(id) }, "parameter_name": slot.name,
        } }),
    });
    let input_specs: Vec<Value> = input_specs.collect();
    let outputs = program.outputs.iter().zip(&program.graph.outputs);
    let output_specs = outputs.map(|(output, arg)| match (output, arg) {
        (Output::Mutation { slot }, Arg::Value(id)) => json!({ "buffer_mutation": {
            "arg": { "name": name(id) }, "buffer_name": program.slots[*slot].name,
        } }),
        _ => json!({ "user_output": { "arg": argument(&program.graph, arg) } }),
    });
    let output_specs: Vec<Value> = output_specs.collect();
    let ranges = program.symbols.iter().map(|symbol| {
        let range = json!({ "min_val": symbol.min, "max_val": symbol.max });
        (symbol.name.clone(), range)
    });
    json!({
        "graph_module": {
            "graph": graph(&program.graph),
            "signature": { "input_specs": input_specs, "output_specs": output_specs },
            "module_call_graph": [],
        },
        "range_constraints": Value::Object(ranges.collect()),
        "schema_version": { "major": 8, "minor": 20 },
        "torch_version": "2.15.0",
    })
}

fn graph(graph: &Graph) -> Value {
    let mut tensors = Map::new();
    for value in &graph.values {
        if let ValueType::Tensor(ty) = &value.ty {
            tensors.insert(value.name.clone(), tensor_meta(ty.dtype, &ty.sizes));
        }
    }
    let inputs = graph.inputs.iter().map(|id| value(graph, *id));
    json!({
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": graph.outputs.iter().map(|a| argument(graph, a)).collect::<Vec<_>>(),
        "nodes": graph.nodes.iter().map(|n| node(graph, n)).collect::<Vec<_>>(),
        "tensor_values": tensors,
    })
}

fn node(graph: &Graph, node: &Node) -> Value {
    let name = &node.op.schema.name;
    let (space, rest) = name.split_once("::").unwrap_or(("aten", name));
    let target = match (space, rest.contains('.')) {
        ("python", _) => format!("_operator.{rest}"),
        _ if *name == COND => "torch.ops.higher_order.cond".to_owned(),
        (_, true) => format!("torch.ops.{space}.{rest}"),
        (_, false) => format!("torch.ops.{space}.{rest}.default"),
    };
    let named = node.op.schema.params.iter().zip(&node.args);
    let mut inputs: Vec<Value> = named
        .map(|(param, arg)| json!({ "name": param.name, "arg": argument(graph, arg), "kind": 1 }))
        .collect();
    let branches = node.regions.iter().enumerate().map(|(i, branch)| {
        let graph = json!({ "name": format!("branch_{i}"), "graph": self::graph(branch) });
        json!({ "name": "", "arg": { "as_graph": graph }, "kind": 1 })
    });
    // A `cond` takes its predicate before the graphs.
    let before = usize::from(*name == COND).min(inputs.len());
    inputs.splice(before..before, branches);
    let outputs = node.results.iter().map(|id| value(graph, *id));
    let outputs: Vec<Value> = match node.op.schema.returns.iter().any(|r| r.list) {
        true if *name != COND => {
            let list = node
                .results
                .iter()
                .map(|id| json!({ "name": graph.value(*id).name }));
            vec![json!({ "as_tensors": list.collect::<Vec<_>>() })]
        }
        _ => outputs.collect(),
    };
    json!({ "target": target, "inputs": inputs, "outputs": outputs, "metadata": {} })
}

fn value(graph: &Graph, id: ValueId) -> Value {
    let value = graph.value(id);
    match value.ty {
        ValueType::Tensor(_) => json!({ "as_tensor": { "name": value.name } }),
        ValueType::Int => json!({ "as_sym_int": { "as_name": value.name } }),
        ValueType::Float => json!({ "as_sym_float": { "as_name": value.name } }),
        ValueType::Bool => json!({ "as_sym_bool": { "as_name": value.name } }),
    }
}

fn argument(graph: &Graph, arg: &Arg) -> Value {
    match arg {
        Arg::None => json!({ "as_none": true }),
        Arg::Value(id) => value(graph, *id),
        Arg::Values(list) if list.iter().all(Option::is_some) => {
            let names = list
                .iter()
                .flatten()
                .map(|id| json!({ "name": graph.value(*id).name }));
            json!({ "as_tensors": names.collect::<Vec<_>>() })
        }
        Arg::Values(list) => {
            let names = list.iter().map(|id| match id {
                Some(id) => json!({ "as_tensor": { "name": graph.value(*id).name } }),
                None => json!({ "as_none": true }),
            });
            json!({ "as_optional_tensors": names.collect::<Vec<_>>() })
        }
        Arg::Int(i) => json!({ "as_int": i }),
        Arg::Float(x) if x.is_finite() => json!({ "as_float": x }),
        Arg::Float(x) if x.is_nan() => json!({ "as_float": "NaN" }),
        Arg::Float(x) if *x > 0.0 => json!({ "as_float": "Infinity" }),
        Arg::Float(_) => json!({ "as_float": "-Infinity" }),
        Arg::Bool(b) => json!({ "as_bool": b }),
        Arg::List(list) if list.iter().all(|a| matches!(a, Arg::Int(_))) => {
            let numbers = list.iter().map(|a| match a {
                Arg::Int(i) => *i,
                _ => 0,
            });
            json!({ "as_ints": numbers.collect::<Vec<_>>() })
        }
        Arg::List(list) if list.iter().any(|a| matches!(a, Arg::Float(_))) => {
            let numbers = list.iter().map(|a| match a {
                Arg::Float(x) if x.is_finite() => *x,
                _ => 0.0,
            });
            json!({ "as_floats": numbers.collect::<Vec<_>>() })
        }
        Arg::List(list) => {
            let numbers = list.iter().map(|a| match a {
                Arg::Value(id) => json!({ "as_name": graph.value(*id).name }),
                Arg::Int(i) => json!({ "as_int": i }),
                _ => json!({ "as_int": 0 }),
            });
            json!({ "as_sym_ints": numbers.collect::<Vec<_>>() })
        }
        Arg::Str(s) => json!({ "as_string": s }),
        Arg::DType(d) => json!({ "as_scalar_type": number_of(*d) }),
    }
}

/// The number of an element type in the file.
pub fn number_of(dtype: DType) -> i64 {
    match dtype {
        DType::U8 => 1,
        DType::I8 => 2,
        DType::I16 => 3,
        DType::I32 => 4,
        DType::I64 => 5,
        DType::F16 => 6,
        DType::F32 => 7,
        DType::F64 => 8,
        DType::C64 => 10,
        DType::C128 => 11,
        DType::Bool => 12,
        DType::BF16 => 13,
    }
}

fn tensor_meta(dtype: DType, sizes: &[Size]) -> Value {
    let numbers: Vec<i64> = sizes.iter().map(|s| s.constant().unwrap_or(1)).collect();
    let mut stride = 1_i64;
    let strides = numbers.iter().rev().map(|size| {
        let own = stride;
        stride = stride.saturating_mul(*size);
        json!({ "as_int": own })
    });
    let mut strides: Vec<Value> = strides.collect();
    strides.reverse();
    let sizes = sizes.iter().map(|size| match size.constant() {
        Some(n) => json!({ "as_int": n }),
        None => json!({ "as_expr": { "expr_str": size.to_string() } }),
    });
    json!({
        "dtype": number_of(dtype), "sizes": sizes.collect::<Vec<_>>(), "strides": strides,
        "storage_offset": { "as_int": 0 }, "layout": 7, "requires_grad": false,
        "device": { "type": "cpu", "index": null },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosslatch::ir::parse::parse;
    use crosslatch::ops::Catalogue;
    use crosslatch::pt2::convert::convert;

    #[test]
    fn a_program_is_the_same_after_the_way_through_the_files_json() {
        let text = include_str!(concat!(
            "../../crates/crosslatch/tests/filetests/plan/",
            "conditional_cache_is_updated_in_place_and_aliased.ir"
        ));
        let program = parse(text, Catalogue::builtin()).unwrap();
        let json = model_json(&program).to_string();
        let file = serde_json::from_str(&json).unwrap();
        let converted = convert("model", &file, Catalogue::builtin());
        let again = converted.unwrap_or_else(|e| panic!("{e:?}")).program;
        let nodes = |program: &Program| {
            let text = program.to_string();
            let lines = text.lines().filter(|l| l.contains("::"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(nodes(&again), nodes(&program));
    }
}
