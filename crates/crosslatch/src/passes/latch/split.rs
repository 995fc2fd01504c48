//! Splitting a program in two.

use crate::ir::graph::{Graph, Program, SlotKind, ValueId};
use crate::passes::part::{Part, PartBuilder};

use super::Latched;
use super::frontier::Choice;
use crate::passes::costs::Cost;
use crate::passes::dependence::Fixed;

/// Splits a program at the values that are kept.
pub(super) fn split(
    program: &Program,
    fixed: &Fixed,
    costs: &[Option<Cost>],
    choice: Choice,
) -> Latched {
    let graph = &program.graph;
    let result = |index: usize| graph.nodes[index].results[0];
    let names: Vec<(ValueId, String)> = choice
        .kept
        .iter()
        .map(|&i| {
            (
                result(i),
                format!("latched.{}", graph.value(result(i)).name),
            )
        })
        .collect();
    let once = once(program, fixed, costs, &choice.kept, &names);
    let step = step(program, fixed, &names);
    let left = choice.left.into_iter().filter_map(|(i, why)| {
        let id = graph.nodes[i].results.first()?;
        Some((graph.value(*id).name.clone(), why))
    });
    Latched {
        once,
        step,
        left: left.collect(),
    }
}

/// The program that computes the kept values. They are contiguous, so that every step reads them in
/// order; the planner lets the computation write them there.
fn once(
    program: &Program,
    fixed: &Fixed,
    costs: &[Option<Cost>],
    kept: &[usize],
    names: &[(ValueId, String)],
) -> Part {
    let graph = &program.graph;
    let needs = names.iter().map(|(id, _)| *id);
    let is_check = |i: usize| fixed.node(i) && graph.nodes[i].results.is_empty();
    let used = used(graph, needs, is_check, &[]);
    let mut part = PartBuilder::new(program, &format!("{}@once", program.name));
    for slot in 0..program.slots.len() {
        let is_fixed = fixed.value(graph.inputs[slot]);
        // A latched input that nothing here reads need not be given.
        if is_fixed && used[graph.inputs[slot].index()] {
            part.slot(slot);
        }
    }
    copy_nodes(&mut part, &used, is_check);
    for (&index, (id, name)) in kept.iter().zip(names) {
        match costs[index].as_ref().is_none_or(|cost| cost.contiguous) {
            true => part.output(*id, name),
            false => part.output_clone(*id, name),
        }
    }
    part.finish()
}

/// The program that every run does.
fn step(program: &Program, fixed: &Fixed, names: &[(ValueId, String)]) -> Part {
    let graph = &program.graph;
    let cut: Vec<ValueId> = names.iter().map(|(id, _)| *id).collect();
    let needs = graph.outputs.iter().flat_map(|arg| arg.values());
    // A fixed node is here only if something needs it; assertions about fixed values are in the
    // other part.
    let stays = |i: usize| !fixed.node(i);
    let used = used(graph, needs, stays, &cut);
    let mut part = PartBuilder::new(program, &program.name);
    for slot in 0..program.slots.len() {
        // The caller gives all inputs at every step, whether this part reads them or not.
        if program.slots[slot].kind != SlotKind::Weight || used[graph.inputs[slot].index()] {
            part.slot(slot);
        }
    }
    for (id, name) in names {
        part.fed(*id, name, SlotKind::Latched);
    }
    copy_nodes(&mut part, &used, stays);
    for (output, arg) in program.outputs.iter().zip(&graph.outputs) {
        part.output_of_whole(output, arg);
    }
    part.finish()
}

/// Copies the nodes that define a value that is used and not available, and those that `stay`.
fn copy_nodes(part: &mut PartBuilder<'_>, used: &[bool], stays: impl Fn(usize) -> bool) {
    for (index, node) in part.whole().graph.nodes.iter().enumerate() {
        let is_available = |id: &ValueId| part.has(*id) || !used[id.index()];
        if stays(index) || !node.results.iter().all(is_available) {
            part.node(index);
        }
    }
}

/// For each value, whether it is needed: because it is in `needs`, or by a node that `stays`. Values
/// in `cut` are available, and need nothing.
fn used(
    graph: &Graph,
    needs: impl Iterator<Item = ValueId>,
    stays: impl Fn(usize) -> bool,
    cut: &[ValueId],
) -> Vec<bool> {
    let mut used = vec![false; graph.values.len()];
    for id in needs {
        used[id.index()] = true;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let made = node
            .results
            .iter()
            .any(|id| used[id.index()] && !cut.contains(id));
        if made || stays(index) {
            node.operands().for_each(|id| used[id.index()] = true);
        }
    }
    used
}
