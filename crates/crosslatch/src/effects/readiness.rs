//! Caches that a predicate declares ready.
//!
//! Problem. A `cond` that hands a cache back as it is, or else computes it, believes its predicate.
//! In a fresh session the cache holds what the file has, zeros; a predicate that says "ready" then
//! (a position that does not start at 0, a flag that was set too early) yields a plausible, wrong
//! result.
//!
//! Idea. Such a `cond` is recognised by its branches: one returns a state slot unchanged, or a clone
//! of it, and the other does not return what it found there. If nothing else in the program writes
//! the slot, then taking the first branch before the second was ever taken in this session is an
//! error. A slot that the file brings filled is ready from the start.

use std::collections::BTreeSet;

use super::{Origins, node_effects, summarize};
use crate::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind, ValueId};

/// A `cond` whose one branch needs what the other one leaves in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Index of the `cond` among the nodes of the program.
    pub node: usize,
    /// The branch that needs the slot filled; the other one fills it.
    pub branch: usize,
    /// The slot.
    pub slot: usize,
}

/// Finds them all.
pub fn readiness(program: &Program) -> Vec<Readiness> {
    let graph = &program.graph;
    let mut found = BTreeSet::new();
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.is_cond()) {
        let Some(Arg::Values(operands)) = node.args.get(1) else {
            continue;
        };
        for (j, operand) in operands.iter().flatten().enumerate() {
            let Some(slot) = graph.inputs.iter().position(|input| input == operand) else {
                continue;
            };
            let is_state = program.slots[slot].kind == SlotKind::State;
            if !is_state || written_elsewhere(program, index, slot) {
                continue;
            }
            for result in 0..node.results.len() {
                let hands_back = [0, 1].map(|b| unchanged(&node.branches[b], result, j));
                if hands_back[0] != hands_back[1] {
                    let branch = if hands_back[0] { 0 } else { 1 };
                    found.insert((index, branch, slot));
                }
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|(node, branch, slot)| Readiness { node, branch, slot })
        .collect()
}

/// Whether a branch returns input `j` as it found it, or a clone of that.
fn unchanged(branch: &Graph, result: usize, j: usize) -> bool {
    let summary = summarize(branch);
    if summary.writes.contains(&j) {
        return false;
    }
    if summary
        .returns
        .get(result)
        .is_some_and(|origins| origins.contains(&j))
    {
        return true;
    }
    let Some(Arg::Value(returned)) = branch.outputs.get(result) else {
        return false;
    };
    let is_clone = |n: &&Node| n.op.schema.name == "aten::clone" && n.results.contains(returned);
    let source = branch
        .nodes
        .iter()
        .find(is_clone)
        .and_then(|n| n.operands().next());
    source == branch.inputs.get(j).copied()
}

/// Whether anything but this node, or the storing of one of its results, writes a slot.
fn written_elsewhere(program: &Program, index: usize, slot: usize) -> bool {
    let graph = &program.graph;
    let mut origins: Vec<Origins> = vec![Origins::new(); graph.values.len()];
    for (i, input) in graph.inputs.iter().enumerate() {
        origins[input.index()].insert(i);
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let (results, written) = node_effects(node, &origins);
        let stores = is_copy_of_own_result(node, &graph.nodes[index], graph.inputs[slot]);
        if i != index && written.contains(&slot) && !stores {
            return true;
        }
        for (id, set) in node.results.iter().zip(results) {
            origins[id.index()] = set;
        }
    }
    let own = |value: &ValueId| graph.nodes[index].results.contains(value);
    program
        .outputs
        .iter()
        .zip(&graph.outputs)
        .any(|(output, value)| match (output, value) {
            (Output::Mutation { slot: s }, Arg::Value(value)) => *s == slot && !own(value),
            (Output::Mutation { slot: s }, _) => *s == slot,
            _ => false,
        })
}

/// Whether a node copies a result of `cond` over the whole of `memory`.
fn is_copy_of_own_result(node: &Node, cond: &Node, memory: ValueId) -> bool {
    let mut operands = node.operands();
    node.op.schema.name == "aten::copy_"
        && operands.next() == Some(memory)
        && operands.next().is_some_and(|v| cond.results.contains(&v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Catalogue;

    fn found(branches: &str, rest: &str) -> Vec<(usize, usize)> {
        let text = format!(
            "program model\ninput %x: f32[1, 1, 2, 2]\ninput %p: bool[1]\n\
             state %cache: f32[1, 1, 2, 2]\n\
             %k: f32[1, 1, 2, 2] = higher_order::cond(pred=%p, operands={{%cache, %x}}) {branches}\n\
             {rest}\n"
        );
        let program = crate::ir::parse::parse(&text, Catalogue::builtin()).unwrap();
        readiness(&program)
            .into_iter()
            .map(|r| (r.branch, r.slot))
            .collect()
    }

    const TYPES: &str = "(%c: f32[1, 1, 2, 2], %n: f32[1, 1, 2, 2])";
    const UPDATE: &str = "%u: f32[1, 1, 2, 2] = executorch::update_cross_attn_cache(value=%n, cache=%c)\n  return %u";

    #[test]
    fn one_branch_hands_back_and_the_other_fills() {
        let branches = format!("then{TYPES} {{\n  return %c\n}} else{TYPES} {{\n  {UPDATE}\n}}");
        assert_eq!(found(&branches, "return \"k\"=%k"), [(0, 2)]);
        let elsewhere = "%z: f32[1, 1, 2, 2] = aten::relu_(self=%cache)\nreturn \"k\"=%k";
        assert_eq!(found(&branches, elsewhere), []);
    }

    #[test]
    fn a_clone_that_is_stored_again_hands_back_too() {
        let clone = "%u: f32[1, 1, 2, 2] = aten::clone(self=%c)\n  return %u";
        let new = "%u: f32[1, 1, 2, 2] = aten::neg(self=%n)\n  return %u";
        let branches = format!("then{TYPES} {{\n  {new}\n}} else{TYPES} {{\n  {clone}\n}}");
        assert_eq!(found(&branches, "return @cache=%k, \"k\"=%k"), [(1, 2)]);
        assert_eq!(found(&branches, "return @cache=%x, \"k\"=%k"), []);
        let stored = |source| {
            format!("%z: f32[1, 1, 2, 2] = aten::copy_(self=%cache, src={source})\nreturn \"k\"=%k")
        };
        assert_eq!(found(&branches, &stored("%k")), [(1, 2)]);
        assert_eq!(found(&branches, &stored("%x")), []);
    }

    #[test]
    fn a_choice_between_computations_needs_nothing() {
        let sum = "%u: f32[1, 1, 2, 2] = aten::add.Tensor(self=%c, other=%n)\n  return %u";
        let new = "%u: f32[1, 1, 2, 2] = aten::neg(self=%n)\n  return %u";
        let branches = format!("then{TYPES} {{\n  {sum}\n}} else{TYPES} {{\n  {new}\n}}");
        assert_eq!(found(&branches, "return @cache=%k, \"k\"=%k"), []);
    }
}
