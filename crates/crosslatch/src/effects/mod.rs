//! Aliasing and mutation: what a graph may read, write and return, whatever the sizes.
//!
//! Problem. A buffer of the model may be written by an operator far from it: through a view, in a
//! branch of a `cond`, by an operator whose schema in PyTorch hides the write. A session must give
//! such a buffer memory of its own; all others are weights, which sessions share.
//!
//! Idea. Each value has a set of *origins*: the inputs of the graph whose memory it may be. A view
//! has the origins of its operand, fresh memory has none, a result of a `cond` has those of what the
//! branches return, and a result of a loop none, because loops carry values ([`crate::ir::control`]). An operator that writes an argument writes all origins of the argument. One walk
//! in program order computes both, because a value is defined before it is used.
//!
//! The sets follow from the annotations of the schemas alone. They say what *may* happen: a set can
//! be too large, but never too small.

mod copied_views;
mod readiness;

pub use copied_views::check_copied_views;
pub use readiness::{Readiness, readiness};

use std::collections::BTreeSet;

use crate::ir::build::{BuildError, ProgramBuilder};
use crate::ir::graph::{Arg, Graph, Node, Output, Program, SlotKind};
use crate::ir::verify::verify;
use crate::ir::{Control, Entry};

/// Where memory may come from, as indices: of inputs of a graph, or of values.
pub type Origins = BTreeSet<usize>;

/// What a graph may do to the memory of its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs that are written.
    pub writes: Origins,
    /// For each output, the inputs whose memory it may be.
    pub returns: Vec<Origins>,
}

/// Summarises a graph, its regions included.
pub fn summarize(graph: &Graph) -> Summary {
    let mut origins: Vec<Origins> = vec![Origins::new(); graph.values.len()];
    for (i, input) in graph.inputs.iter().enumerate() {
        origins[input.index()].insert(i);
    }
    let mut writes = Origins::new();
    for node in &graph.nodes {
        let (results, written) = node_effects(node, &origins);
        writes.extend(written);
        for (id, set) in node.results.iter().zip(results) {
            origins[id.index()] = set;
        }
    }
    Summary {
        writes,
        returns: graph.outputs.iter().map(|o| of_arg(o, &origins)).collect(),
    }
}

fn of_arg(arg: &Arg, origins: &[Origins]) -> Origins {
    arg.values()
        .flat_map(|v| origins[v.index()].iter().copied())
        .collect()
}

/// The origins of each result, and the origins that the node writes.
fn node_effects(node: &Node, origins: &[Origins]) -> (Vec<Origins>, Origins) {
    if node.control().is_some() {
        return control_effects(node, origins);
    }
    let schema = &node.op.schema;
    let results = (0..node.results.len())
        .map(|i| {
            schema
                .aliased_by(i)
                .flat_map(|p| of_arg(&node.args[p], origins))
                .collect()
        })
        .collect();
    let written = schema
        .written()
        .flat_map(|p| of_arg(&node.args[p], origins))
        .collect();
    (results, written)
}

fn control_effects(node: &Node, origins: &[Origins]) -> (Vec<Origins>, Origins) {
    let entries = node.entries();
    let outer = |inner: &Origins| -> Origins {
        let entered = inner.iter().filter_map(|&i| entries.get(i));
        let sets = entered.flat_map(|entry| &origins[entry.outer().index()]);
        sets.copied().collect()
    };
    let mut results = vec![Origins::new(); node.results.len()];
    let mut written = Origins::new();
    for region in &node.regions {
        let summary = summarize(region);
        written.extend(outer(&summary.writes));
        if node.control() == Some(Control::Cond) {
            for (result, inner) in results.iter_mut().zip(&summary.returns) {
                result.extend(outer(inner));
            }
        }
    }
    (results, written)
}

/// Checks that no region of a loop writes what it is given anew at each turn: which memory that is
/// would depend on the turn.
///
/// # Errors
/// The reason, if one does.
pub fn check_loop(node: &Node) -> Result<(), String> {
    let entries = node.entries();
    let is_new = |input: &usize| !matches!(entries.get(*input), Some(Entry::Operand(_)));
    let writes = |region: &Graph| summarize(region).writes.iter().any(is_new);
    match node.regions.iter().any(writes) {
        true => Err("a loop writes what it is carried, or a row; write a clone instead".to_owned()),
        false => Ok(()),
    }
}

/// For each value of a graph, whether some node may change its memory.
pub fn overwritten(graph: &Graph) -> Vec<bool> {
    let Memory { values, writes } = memory(graph);
    let written: Origins = writes.into_iter().flatten().collect();
    let is_written = |set: &Origins| !set.is_disjoint(&written);
    values.iter().map(is_written).collect()
}

/// Which memory the values of a graph may lie in, and which its nodes may write. Memory is identified
/// by the first value that lies in it.
pub struct Memory {
    /// For each value, the memory that it may lie in.
    pub values: Vec<Origins>,
    /// For each node, the memory that it may write.
    pub writes: Vec<Origins>,
}

/// The memory of a graph.
pub fn memory(graph: &Graph) -> Memory {
    let mut values: Vec<Origins> = vec![Origins::new(); graph.values.len()];
    let mut writes = Vec::with_capacity(graph.nodes.len());
    for id in &graph.inputs {
        values[id.index()].insert(id.index());
    }
    for node in &graph.nodes {
        let (results, written) = node_effects(node, &values);
        writes.push(written);
        for (id, mut set) in node.results.iter().zip(results) {
            // After one of the branches, the result of a `cond` may be fresh memory.
            if set.is_empty() || node.is_cond() {
                set.insert(id.index());
            }
            values[id.index()] = set;
        }
    }
    Memory { values, writes }
}

impl ProgramBuilder {
    /// The program, verified. Weights that a run may change become state.
    ///
    /// # Errors
    /// If it breaks a rule of the IR.
    pub fn finish(self) -> Result<Program, BuildError> {
        let mut program = self.into_program();
        mark_state(&mut program);
        verify(&program)?;
        Ok(program)
    }
}

/// Makes every weight that a run may change a state slot.
pub fn mark_state(program: &mut Program) {
    let summary = summarize(&program.graph);
    let mutated = program.outputs.iter().filter_map(|o| match o {
        Output::Mutation { slot } => Some(*slot),
        Output::User(_) => None,
    });
    for slot in summary.writes.into_iter().chain(mutated) {
        if let Some(slot) = program.slots.get_mut(slot)
            && slot.kind == SlotKind::Weight
        {
            slot.kind = SlotKind::State;
        }
    }
}
