//! Caches of keys and values in fewer bytes: bf16, or bytes with a scale for each row.
//!
//! A decoder step reads the cross-attention keys and values of all layers once, like its weights;
//! where those are quantized, `f32` caches are a third of what a step reads, or more. So a low
//! precision stores caches as it stores weights. A cache is written, unlike a weight, so what it
//! holds is part of what the program means. This pass therefore changes the program and nothing
//! else: the type of the state becomes bf16, or that of [scaled rows](crosslatch_kernels::tensor::scaled_rows); a conversion is
//! inserted where an `f32` tensor is written to it or takes its place; and attention takes keys and
//! values of that type. Interpreter and planner see the same program.
//!
//! A cache is converted if it is `f32`, starts as zeros, and is used only
//!
//! * by `cond`, [`alias`, `update_cross_attn_cache`](crate::ops) and `clone`, which hand it on,
//! * as its own next contents, where a functional program says what it becomes,
//! * and, at least once, as the keys or values of attention.

use std::sync::Arc;

use crosslatch_kernels::DType;
use crosslatch_kernels::tensor::MAX_COLUMNS;
use crosslatch_kernels::tensor::scaled_rows::SCALE_BYTES;

use crate::effects::{overwritten, summarize};
use crate::ir::graph::{
    Arg, Graph, Node, Output, Program, Provenance, SlotKind, TensorType, ValueId, ValueType,
};
use crate::ir::operator::Operator;
use crate::ops::Catalogue;

/// How caches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFormat {
    /// In bf16.
    Bf16,
    /// As [scaled rows](crosslatch_kernels::tensor::scaled_rows): a byte for each element, and a scale for each row.
    Int8,
}

impl CacheFormat {
    /// The name that it has in messages.
    pub fn name(self) -> &'static str {
        match self {
            CacheFormat::Bf16 => "bf16",
            CacheFormat::Int8 => "int8",
        }
    }

    /// The type of an `f32` tensor that is stored so; `None` if it cannot be, or has a size in its
    /// last dimension that is not known.
    fn stored(self, ty: &TensorType) -> Option<TensorType> {
        let mut ty = ty.clone();
        match self {
            CacheFormat::Bf16 => ty.dtype = DType::BF16,
            CacheFormat::Int8 => {
                let last = ty.sizes.last_mut()?;
                // Shorter rows would take more memory than they do in `f32`.
                let columns = last.constant();
                let columns = columns.filter(|n| (2..=MAX_COLUMNS as i64).contains(n))?;
                *last = columns.checked_add(SCALE_BYTES as i64)?.into();
                ty.dtype = DType::I8;
            }
        }
        Some(ty)
    }

    fn dtype(self) -> DType {
        match self {
            CacheFormat::Bf16 => DType::BF16,
            CacheFormat::Int8 => DType::I8,
        }
    }
}

/// Operators that hand a cache on: the operator, for each result the argument that it is, and the
/// argument that is written to it, if any.
const CARRIERS: [(&str, &[&str], Option<&str>); 3] = [
    ("executorch::alias", &["x", "y"], None),
    (
        "executorch::update_cross_attn_cache",
        &["cache"],
        Some("value"),
    ),
    ("aten::clone", &["self"], None),
];

/// Operators that read caches, and the arguments in which they do.
const READERS: [(&str, [&str; 2]); 2] = [
    ("aten::scaled_dot_product_attention", ["key", "value"]),
    (
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        ["key", "value"],
    ),
];

/// The program with its caches stored in this format, and for each slot whether it is one.
/// `starts_as_zeros` says which state starts as zeros. `None` if there is no cache to convert.
pub fn convert_caches(
    program: &Program,
    format: CacheFormat,
    starts_as_zeros: &dyn Fn(usize) -> bool,
) -> Option<(Program, Vec<bool>)> {
    let chosen: Vec<bool> = (0..program.slots.len())
        .map(|slot| is_convertible(program, format, slot) && starts_as_zeros(slot))
        .collect();
    if !chosen.contains(&true) {
        return None;
    }
    let mut program = program.clone();
    let returned: Vec<bool> = (program.outputs.iter())
        .map(|output| matches!(output, Output::Mutation { slot } if chosen[*slot]))
        .collect();
    rewrite(&mut program.graph, format, &chosen, &returned)?;
    Some((program, chosen))
}

/// Whether a slot is a cache that is used only as the pass allows.
fn is_convertible(program: &Program, format: CacheFormat, slot: usize) -> bool {
    let graph = &program.graph;
    let fits = match &graph.value(graph.inputs[slot]).ty {
        ValueType::Tensor(ty) => ty.dtype == DType::F32 && format.stored(ty).is_some(),
        _ => false,
    };
    if program.slots[slot].kind != SlotKind::State || !fits {
        return false;
    }
    let only: Vec<bool> = (0..graph.inputs.len()).map(|i| i == slot).collect();
    let Some(trace) = Trace::of(graph, &only) else {
        return false;
    };
    let mut outputs = program.outputs.iter().zip(&graph.outputs);
    let stays = outputs.all(|(output, arg)| {
        let is_itself = *output == Output::Mutation { slot };
        is_itself || !arg.values().any(|id| trace.is_cache(id))
    });
    stays && trace.read
}

/// Which values of a graph are caches.
struct Trace {
    /// For each value, whether it is a cache.
    caches: Vec<bool>,
    /// Whether attention reads a cache.
    read: bool,
}

impl Trace {
    /// Follows the inputs that are caches; `None` if one is used in a way that is not allowed.
    fn of(graph: &Graph, inputs: &[bool]) -> Option<Trace> {
        let mut trace = Trace {
            caches: vec![false; graph.values.len()],
            read: false,
        };
        for (id, is_cache) in graph.inputs.iter().zip(inputs) {
            trace.caches[id.index()] = *is_cache;
        }
        for node in &graph.nodes {
            if !node.operands().any(|id| trace.is_cache(id)) {
                continue;
            }
            if node.is_cond() {
                trace.cond(node)?;
            } else if node.control().is_some() {
                // A loop could carry a cache in its own type only.
                return None;
            } else if let Some(links) = Links::of(&node.op) {
                trace.carrier(node, &links)?;
            } else {
                trace.reader(node)?;
            }
        }
        Some(trace)
    }

    fn is_cache(&self, id: ValueId) -> bool {
        self.caches[id.index()]
    }

    fn cond(&mut self, node: &Node) -> Option<()> {
        let operands = operands(node)?;
        // The predicate may not depend on what a cache holds.
        if node.args[0].values().any(|id| self.is_cache(id)) {
            return None;
        }
        let inputs: Vec<bool> = operands.iter().map(|id| self.is_cache(*id)).collect();
        let returned = returned(node, &inputs)?;
        for branch in &node.regions {
            self.read |= Trace::of(branch, &inputs)?.read;
            let origins = summarize(branch).returns;
            for (origins, is_cache) in origins.iter().zip(&returned) {
                // What takes the place of a cache is converted, so it must not be memory that
                // somebody writes through the result.
                if *is_cache && origins.iter().any(|input| !inputs[*input]) {
                    return None;
                }
            }
        }
        for (id, is_cache) in node.results.iter().zip(returned) {
            self.caches[id.index()] = is_cache;
        }
        Some(())
    }

    fn carrier(&mut self, node: &Node, links: &Links) -> Option<()> {
        // A cache written to another cache would have to be converted twice.
        if let Some(written) = links.written
            && node.args[written].values().any(|id| self.is_cache(id))
        {
            return None;
        }
        for (param, id) in links.carried.iter().zip(&node.results) {
            let from = node.args[*param].values().next()?;
            self.caches[id.index()] = self.is_cache(from);
        }
        Some(())
    }

    fn reader(&mut self, node: &Node) -> Option<()> {
        let name = &node.op.schema.name;
        let (_, params) = READERS.iter().find(|(reader, _)| reader == name)?;
        let reads = |i: usize| node.args[i].values().any(|id| self.is_cache(id));
        let may = |i: usize| params.contains(&node.op.schema.params[i].name.as_str());
        if (0..node.args.len()).any(|i| reads(i) && !may(i)) {
            return None;
        }
        self.read = true;
        Some(())
    }
}

/// The operands of a `cond`.
fn operands(node: &Node) -> Option<Vec<ValueId>> {
    match node.args.get(1) {
        Some(Arg::Values(list)) => list.iter().copied().collect(),
        _ => None,
    }
}

/// Which results of a `cond` are caches: those that are one in either branch.
fn returned(node: &Node, inputs: &[bool]) -> Option<Vec<bool>> {
    let mut returned = vec![false; node.results.len()];
    for branch in &node.regions {
        let trace = Trace::of(branch, inputs)?;
        for (returned, arg) in returned.iter_mut().zip(&branch.outputs) {
            *returned |= arg.values().any(|id| trace.is_cache(id));
        }
    }
    Some(returned)
}

/// A row of [`CARRIERS`], with the positions of its arguments.
struct Links {
    carried: Vec<usize>,
    written: Option<usize>,
}

impl Links {
    fn of(op: &Operator) -> Option<Links> {
        let schema = &op.schema;
        let (_, carried, written) = CARRIERS.iter().find(|(name, ..)| *name == schema.name)?;
        let carried = carried.iter().map(|param| schema.position(param));
        let written = match written {
            Some(param) => Some(schema.position(param)?),
            None => None,
        };
        Some(Links {
            carried: carried.collect::<Option<_>>()?,
            written,
        })
    }
}

/// Changes the type of inputs that are caches and of all values that are the same caches, and
/// converts what is returned in place of one.
fn rewrite(
    graph: &mut Graph,
    format: CacheFormat,
    inputs: &[bool],
    outputs: &[bool],
) -> Option<()> {
    let trace = Trace::of(graph, inputs)?;
    for (value, is_cache) in graph.values.iter_mut().zip(&trace.caches) {
        if let (true, ValueType::Tensor(ty)) = (is_cache, &mut value.ty) {
            *ty = format.stored(ty)?;
        }
    }
    for mut node in std::mem::take(&mut graph.nodes) {
        if node.operands().any(|id| trace.is_cache(id)) {
            rewrite_node(graph, format, &mut node, &trace)?;
        }
        graph.nodes.push(node);
    }
    let mut returned = std::mem::take(&mut graph.outputs);
    for (arg, is_cache) in returned.iter_mut().zip(outputs) {
        if *is_cache {
            convert(graph, format, arg)?;
        }
    }
    graph.outputs = returned;
    Some(())
}

/// Rewrites the branches of a node that takes a cache, and converts its other operands where they
/// must be of the same type.
fn rewrite_node(
    graph: &mut Graph,
    format: CacheFormat,
    node: &mut Node,
    trace: &Trace,
) -> Option<()> {
    if node.is_cond() {
        let inputs: Vec<bool> = operands(node)?
            .iter()
            .map(|id| trace.is_cache(*id))
            .collect();
        let returned = returned(node, &inputs)?;
        let mut branches = node.regions.iter_mut();
        return branches.try_for_each(|branch| rewrite(branch, format, &inputs, &returned));
    }
    let converted = match Links::of(&node.op) {
        Some(links) => links.written.into_iter().collect(),
        None => {
            // Keys and values are of one type.
            let name = &node.op.schema.name;
            let (_, params) = READERS.iter().find(|(reader, _)| reader == name)?;
            let positions = params.iter().map(|param| node.op.schema.position(param));
            positions.collect::<Option<Vec<_>>>()?
        }
    };
    converted
        .into_iter()
        .try_for_each(|i| convert(graph, format, &mut node.args[i]))
}

/// Replaces a tensor by its conversion, unless it is of the right type.
fn convert(graph: &mut Graph, format: CacheFormat, arg: &mut Arg) -> Option<()> {
    let Arg::Value(from) = *arg else {
        return None;
    };
    let value = graph.value(from);
    let ValueType::Tensor(ty) = &value.ty else {
        return None;
    };
    if ty.dtype == format.dtype() {
        return Some(());
    }
    let ty = format.stored(ty)?;
    let name = format!("{}_{}_{}", value.name, format.name(), graph.values.len());
    let to = graph.add_value(name, ValueType::Tensor(ty));
    let op = Catalogue::builtin().get(match format {
        CacheFormat::Bf16 => "aten::_to_copy",
        CacheFormat::Int8 => "crosslatch::scale_rows",
    })?;
    let args = op
        .schema
        .params
        .iter()
        .map(|param| match param.name.as_str() {
            "self" => Arg::Value(from),
            "dtype" => Arg::DType(format.dtype()),
            "non_blocking" => Arg::Bool(false),
            _ => Arg::None,
        });
    let node = Node {
        op: Arc::clone(op),
        args: args.collect(),
        regions: Vec::new(),
        results: vec![to],
        provenance: Provenance::default(),
    };
    graph.nodes.insert(conversion_index(graph, from), node);
    *arg = Arg::Value(to);
    Some(())
}

/// Where to convert a value: as soon as it is defined, so that it need not be kept, unless its memory
/// may be written before the conversion is read.
fn conversion_index(graph: &Graph, value: ValueId) -> usize {
    let defines = |node: &Node| node.results.contains(&value);
    match graph.nodes.iter().position(defines) {
        Some(index) if !overwritten(graph)[value.index()] => index + 1,
        _ => graph.nodes.len(),
    }
}
