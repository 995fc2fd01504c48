//! Which nodes are fixed: depend on weights and latched inputs only.
//!
//! Operators of the catalogue are deterministic, so a node is fixed if its operands are, with two
//! exceptions: a `cond` or a loop is never moved, and a value whose memory some node changes later is not the
//! same at every step. State is never fixed.

use crate::effects::overwritten;
use crate::ir::graph::{Node, Program, SlotKind, ValueId};

/// What a value depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// Weights alone.
    Weights,
    /// Latched inputs, and perhaps weights.
    Latched,
    /// Anything else: other inputs, state.
    Step,
}

/// The fixed part of a program.
pub struct Fixed {
    /// For each value, what it depends on.
    values: Vec<Dependence>,
    /// For each node, what it depends on.
    nodes: Vec<Dependence>,
}

impl Fixed {
    /// Whether a value depends on weights and latched inputs only.
    pub fn value(&self, id: ValueId) -> bool {
        self.values[id.index()] < Dependence::Step
    }

    /// Whether a node does.
    pub fn node(&self, index: usize) -> bool {
        self.nodes[index] < Dependence::Step
    }

    /// Whether a node depends on latched inputs, and otherwise on weights only.
    pub fn is_latched(&self, index: usize) -> bool {
        self.nodes[index] == Dependence::Latched
    }
}

/// Finds the fixed part; `latched` are indices of slots.
pub fn fixed(program: &Program, latched: &[usize]) -> Fixed {
    let graph = &program.graph;
    let overwritten = overwritten(graph);
    let mut values = vec![Dependence::Step; graph.values.len()];
    for (i, (slot, id)) in program.slots.iter().zip(&graph.inputs).enumerate() {
        values[id.index()] = match slot.kind {
            _ if overwritten[id.index()] => Dependence::Step,
            SlotKind::Weight => Dependence::Weights,
            SlotKind::Input if latched.contains(&i) => Dependence::Latched,
            _ => Dependence::Step,
        };
    }
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let dependence = match is_movable(node, &overwritten) {
            true => node.operands().map(|id| values[id.index()]).max(),
            false => Some(Dependence::Step),
        };
        // A node without operands makes a constant.
        let dependence = dependence.unwrap_or(Dependence::Weights);
        for id in &node.results {
            values[id.index()] = dependence;
        }
        nodes.push(dependence);
    }
    Fixed { values, nodes }
}

fn is_movable(node: &Node, overwritten: &[bool]) -> bool {
    let writes = node.op.schema.written().next().is_some();
    node.control().is_none() && !writes && !node.results.iter().any(|id| overwritten[id.index()])
}
