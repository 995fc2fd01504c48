//! Weights in 16 bits that are computed with in `f32`.
//!
//! A checkpoint in float16 may be exported so that it computes in `f32`: its program then converts
//! each weight at every run, into a tensor of twice the size. Kernels that widen what they load need
//! no such tensor. [`type_as_f32`] gives such weights the type `f32` and removes the conversions. How
//! the bytes of a weight lie in memory is a matter of the binding, as long as no reader sees the
//! difference, and [`only_widened`] says of which weights that is true. All others have to be widened
//! when the model is loaded.

use std::collections::HashMap;

use crosslatch_kernels::DType;

use crate::effects::overwritten;
use crate::ir::Entry;
use crate::ir::graph::{Arg, Graph, Node, Program, SlotKind, ValueId, ValueType};

/// Operators that convert a tensor to another type.
const CONVERSIONS: [&str; 2] = ["aten::_to_copy", "aten::to.dtype"];

/// Whether numbers of this type are widened to `f32`.
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Types every weight of 16 bits as `f32` that the program does nothing with but convert it to `f32`,
/// and removes the conversions. `may` says which weights may be changed. Returns, for each slot,
/// whether it was.
pub fn type_as_f32(program: &mut Program, may: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let graph = &program.graph;
    let written = overwritten(graph);
    let inputs = graph.inputs.iter().zip(&program.slots).enumerate();
    let mut slots: HashMap<ValueId, usize> = inputs
        .filter(|(i, (id, slot))| {
            slot.kind == SlotKind::Weight && type_of(graph, **id).is_some_and(is_half) && may(*i)
        })
        .map(|(i, (id, _))| (*id, i))
        .collect();
    let mut conversions: HashMap<ValueId, ValueId> = HashMap::new();
    for node in &graph.nodes {
        match converted(graph, node).filter(|(_, to)| !written[to.index()]) {
            Some((from, to)) if slots.contains_key(&from) => {
                conversions.insert(to, from);
            }
            _ => node.operands().for_each(|id| {
                slots.remove(&id);
            }),
        }
    }
    for id in graph.outputs.iter().flat_map(Arg::values) {
        slots.remove(&id);
    }
    conversions.retain(|_, from| slots.contains_key(from));
    let mut changed = vec![false; program.slots.len()];
    for from in conversions.values() {
        changed[slots[from]] = true;
        if let ValueType::Tensor(ty) = &mut program.graph.values[from.index()].ty {
            ty.dtype = DType::F32;
        }
    }
    replace(&mut program.graph, &conversions);
    changed
}

/// The element type of a tensor.
fn type_of(graph: &Graph, id: ValueId) -> Option<DType> {
    match &graph.value(id).ty {
        ValueType::Tensor(ty) => Some(ty.dtype),
        _ => None,
    }
}

/// What a node converts to `f32`, if it does nothing else, and the result.
fn converted(graph: &Graph, node: &Node) -> Option<(ValueId, ValueId)> {
    let schema = &node.op.schema;
    let (from, dtype) = (schema.position("self")?, schema.position("dtype")?);
    let is_conversion = CONVERSIONS.contains(&schema.name.as_str());
    match (&node.args[from], &node.args[dtype], &node.results[..]) {
        (Arg::Value(from), Arg::DType(DType::F32), [to]) if is_conversion => {
            (type_of(graph, *to) == Some(DType::F32)).then_some((*from, *to))
        }
        _ => None,
    }
}

/// Removes the nodes that define these values, and reads others in their place.
fn replace(graph: &mut Graph, values: &HashMap<ValueId, ValueId>) {
    graph
        .nodes
        .retain(|node| !node.results.iter().any(|id| values.contains_key(id)));
    let args = graph.nodes.iter_mut().flat_map(|node| &mut node.args);
    for arg in args.chain(&mut graph.outputs) {
        let ids: Vec<&mut ValueId> = match arg {
            Arg::Value(id) => vec![id],
            Arg::Values(list) => list.iter_mut().flatten().collect(),
            _ => continue,
        };
        for id in ids {
            *id = values.get(id).copied().unwrap_or(*id);
        }
    }
}

/// For each slot of a program, whether it is a weight and every argument that reads it is one for
/// which kernels widen what they load.
pub fn only_widened(program: &Program) -> Vec<bool> {
    let slots = program.slots.iter();
    let mut only: Vec<bool> = slots.map(|slot| slot.kind == SlotKind::Weight).collect();
    let inputs = program.graph.inputs.iter().zip(0..);
    find_readers(
        &program.graph,
        inputs.map(|(id, i)| (*id, i)).collect(),
        &mut only,
    );
    only
}

/// Looks at everything in a graph that reads the values that these slots are.
fn find_readers(graph: &Graph, slots: HashMap<ValueId, usize>, only: &mut [bool]) {
    for node in &graph.nodes {
        if node.control().is_some() {
            find_readers_of_control(node, &slots, only);
            continue;
        }
        for (i, arg) in node.args.iter().enumerate() {
            let widens = node.op.quantized.is_some_and(|q| q.param == i);
            if widens && matches!(arg, Arg::Value(_)) {
                continue;
            }
            for slot in arg.values().filter_map(|id| slots.get(&id)) {
                only[*slot] = false;
            }
        }
    }
    for slot in graph.outputs.iter().flat_map(Arg::values) {
        if let Some(slot) = slots.get(&slot) {
            only[*slot] = false;
        }
    }
}

/// What regions capture is read by their nodes; what else a control operator is given is read as it is.
fn find_readers_of_control(node: &Node, slots: &HashMap<ValueId, usize>, only: &mut [bool]) {
    let entries = node.entries();
    let captured: Vec<ValueId> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Operand(id) => Some(*id),
            Entry::Carried(_) | Entry::Row(_) => None,
        })
        .collect();
    let uses = |id: ValueId| node.operands().filter(|other| *other == id).count();
    for id in node.operands() {
        let inside = captured.iter().filter(|other| **other == id).count();
        if let (true, Some(slot)) = (uses(id) > inside, slots.get(&id)) {
            only[*slot] = false;
        }
    }
    for (region, inputs) in node.captured() {
        let inner = inputs.iter();
        let inner = inner.filter_map(|(input, outer)| Some((*input, *slots.get(outer)?)));
        find_readers(region, inner.collect(), only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Catalogue;
    use crate::ir::parse::parse;
    use crate::ir::verify::verify;

    const PROGRAM: &str = "program m
input %x: f32[2, 3]
weight %w: f16[4, 3]
weight %bias: bf16[4]
weight %read: f16[4]
weight %written: f16[4]
weight %returned: f16[4]
weight %table: f32[5, 4]
%wide_w: f32[4, 3] = aten::_to_copy(self=%w, dtype=f32)
%wide_bias: f32[4] = aten::to.dtype(self=%bias, dtype=f32)
%wide_read: f32[4] = aten::_to_copy(self=%read, dtype=f32)
%other: f16[4] = aten::neg(self=%read)
%mine: f32[4] = aten::_to_copy(self=%written, dtype=f32)
%sum: f32[4] = aten::add_.Tensor(self=%mine, other=%wide_read)
%wide: f32[4] = aten::_to_copy(self=%returned, dtype=f32)
%y: f32[2, 4] = aten::linear(input=%x, weight=%wide_w, bias=%wide_bias)
%z: f32[2, 5] = aten::linear(input=%y, weight=%table)
return \"z\"=%z, \"sum\"=%sum, \"other\"=%other, \"wide\"=%wide, \"returned\"=%returned
";

    fn names(program: &Program, chosen: &[bool]) -> Vec<String> {
        let slots = program.slots.iter().zip(chosen);
        let chosen = slots.filter(|(_, chosen)| **chosen);
        chosen.map(|(slot, _)| slot.name.clone()).collect()
    }

    #[test]
    fn weights_that_are_only_converted_need_no_conversion() {
        let mut program = parse(PROGRAM, Catalogue::builtin()).unwrap();
        let before = program.graph.nodes.len();
        let changed = type_as_f32(&mut program, &|_| true);
        verify(&program).unwrap();
        assert_eq!(names(&program, &changed), ["w", "bias"]);
        assert_eq!(program.graph.nodes.len(), before - 2);
        let only = only_widened(&program);
        assert_eq!(names(&program, &only), ["w", "table"]);
    }

    #[test]
    fn weights_that_may_not_be_changed_are_left_alone() {
        let mut program = parse(PROGRAM, Catalogue::builtin()).unwrap();
        let changed = type_as_f32(&mut program, &|slot| slot == 2);
        verify(&program).unwrap();
        assert_eq!(names(&program, &changed), ["bias"]);
    }
}
